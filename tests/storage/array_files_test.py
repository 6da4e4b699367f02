"""Named leaves, and parameters through npz and safetensors files."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.storage import array_files, files
from tests import peers

SUFFIXES = (".npz", ".safetensors")


def tree():
  return {
    "conv": {"kernel": jnp.arange(6.0).reshape(2, 3), "file": jnp.ones(2)},
    "half": jnp.asarray([1.5, -2.0], jnp.bfloat16),
    "layers": (jnp.arange(3), {"scale": jnp.float32(2.0)}),
  }


def equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype
    assert isinstance(y, type(x))
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_names_are_paths():
  assert list(array_files.named_leaves(tree())) == [
    "conv/file",
    "conv/kernel",
    "half",
    "layers/0",
    "layers/1/scale",
  ]


@pytest.mark.parametrize(
  ("bad", "match"),
  [
    ({"a": {"b": 1}, "a/b": 2}, "two leaves are named 'a/b'"),
    ({"a/b": 1, "a": {"b/c": 2}}, "both a leaf and a subtree"),
  ],
)
def test_ambiguous_names_are_refused(bad, match):
  with pytest.raises(ValueError, match=match):
    array_files.named_leaves(bad)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_gives_back_what_it_got(tmp_path, suffix):
  path = tmp_path / f"weights{suffix}"
  array_files.export(tree(), path)
  equal(tree(), array_files.restore(path, tree()))
  template = jax.eval_shape(tree)
  equal(tree(), array_files.restore(path, template))
  assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_other_tools_read_the_names(tmp_path):
  weights = {"a": {"b": np.ones((2, 3), np.float32)}}
  array_files.export(weights, tmp_path / "w.npz")
  with np.load(tmp_path / "w.npz", allow_pickle=False) as archive:
    np.testing.assert_array_equal(archive["a/b"], weights["a"]["b"])
  numpy = peers.load("safetensors.numpy")
  array_files.export(weights, tmp_path / "w.safetensors")
  loaded = numpy.load_file(tmp_path / "w.safetensors")
  np.testing.assert_array_equal(loaded["a/b"], weights["a"]["b"])


def test_files_of_other_tools_are_read(tmp_path):
  weights = {"a": {"b": np.ones((2, 3), np.float32)}}
  paths = [tmp_path / name for name in ("w.npz", "small.npz", "w.safetensors")]
  np.savez(paths[0], **{"a/b": weights["a"]["b"]})
  np.savez_compressed(paths[1], **{"a/b": weights["a"]["b"]})
  numpy = peers.load("safetensors.numpy")
  numpy.save_file({"a/b": weights["a"]["b"]}, paths[2])
  for path in paths:
    equal(weights, array_files.restore(path, weights, foreign=True))
    # Without a digest it could as well be a damaged file of ours.
    with pytest.raises(ValueError, match=r"foreign=True"):
      array_files.restore(path, weights)
  with pytest.raises(ValueError, match=r"w\.npz is damaged: .*float64"):
    array_files.restore(paths[0], {"a": {"b": np.ones((2, 3))}}, foreign=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_cast_and_every_misfit_is_named(tmp_path, suffix):
  path = tmp_path / f"weights{suffix}"
  array_files.export({"a": np.ones(2, np.float32), "b": np.ones(3)}, path)
  template = {"a": np.ones(2, np.float16), "c": np.ones(1)}
  with pytest.raises(ValueError, match="does not fit") as caught:
    array_files.restore(path, template)
  message = str(caught.value)
  assert "a: float32[2] came, float16[2] is expected" in message
  assert "b: float64[3] came, no such leaf is expected" in message
  assert "c: missing, float64[1] is expected" in message


def test_double_precision_is_not_halved_where_jax_holds_none(tmp_path):
  path = tmp_path / "w.npz"
  array_files.export({"a": np.ones(2)}, path)
  template = {"a": jax.ShapeDtypeStruct((2,), np.dtype("float64"))}
  with pytest.raises(ValueError, match="jax_enable_x64"):
    array_files.restore(path, template)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_never_read_as_other_weights(tmp_path, suffix):
  path = tmp_path / f"weights{suffix}"
  weights = {"a": np.arange(64, dtype=np.float32)}
  array_files.export(weights, path)
  content = path.read_bytes()
  refused = 0
  for place in range(0, len(content), 7):
    spoiled = bytearray(content)
    spoiled[place] ^= 4
    path.write_bytes(bytes(spoiled))
    try:
      equal(weights, array_files.restore(path, weights))
    except ValueError as error:
      assert str(path) in str(error)  # noqa: PT017
      refused += 1
  assert refused > 30
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(ValueError, match="weights"):
    array_files.restore(path, weights)


def test_pickles_are_refused_both_ways(tmp_path):
  np.savez(tmp_path / "w.npz", a=np.asarray([{}], dtype=object))
  for foreign in (False, True):
    with pytest.raises(ValueError, match="a header that is not an array's"):
      array_files.restore(
        tmp_path / "w.npz", {"a": np.ones(1)}, foreign=foreign
      )
  with pytest.raises(ValueError, match="bject"):
    files.write_arrays(tmp_path / "x.npz", {"a": np.asarray([{}], object)})
  assert not (tmp_path / "x.npz").exists()


def test_random_keys_and_unknown_endings_are_refused(tmp_path):
  with pytest.raises(ValueError, match="rng is a random key"):
    array_files.export({"rng": jax.random.key(0)}, tmp_path / "w.npz")
  with pytest.raises(ValueError, match=r"\.npz or \.safetensors"):
    array_files.export({}, tmp_path / "w.pkl")
  with pytest.raises(ValueError, match="safetensors holds"):
    array_files.export({"a": np.ones(1, "U1")}, tmp_path / "w.safetensors")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "safetensors", None)
  monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
  with pytest.raises(ModuleNotFoundError, match=r"snnjax\[safetensors\]"):
    array_files.export({"a": np.ones(1)}, tmp_path / "w.safetensors")


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
  path = tmp_path / "file"
  files.write_bytes(path, b"old")

  def fill(stream):
    stream.write(b"half")
    raise OSError(28, "No space left on device")

  with pytest.raises(OSError, match="No space"):
    files.write_with(path, fill)
  assert path.read_bytes() == b"old"
  assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_json_is_checked_both_ways(tmp_path):
  files.write_json(tmp_path / "a.json", {"b": [1, 2.5]})
  assert files.read_json(tmp_path / "a.json") == {"b": [1, 2.5]}
  with pytest.raises(ValueError, match="float"):
    files.write_json(tmp_path / "a.json", {"b": float("nan")})
  (tmp_path / "a.json").write_text("{")
  with pytest.raises(ValueError, match=r"a\.json is damaged"):
    files.read_json(tmp_path / "a.json")
