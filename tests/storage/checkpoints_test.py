"""Checkpoints: what was saved comes back, or an error says why not."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from snnjax.storage import checkpoint_manifest, checkpoints


def state(value):
  """A training state of the kinds of leaves that occur."""
  params = {"conv.1": {"kernel": jnp.full((4, 3), value), "bias": jnp.ones(3)}}
  return {
    "params": params,
    "half": jnp.asarray([value], jnp.bfloat16),
    "opt": optax.adam(1e-3).init(params),
    "rng": jax.random.key(7),
    "keys": jax.random.split(jax.random.key(1, impl="rbg"), 2),
    "none": None,
    "empty": jnp.zeros((0, 2)),
    "step": 3,
    "epoch": np.int64(2),
    "mask": np.asarray([True, False]),
  }


def equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert isinstance(y, type(x))
    if hasattr(x, "dtype"):
      assert x.dtype == y.dtype
      if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x, y = jax.random.key_data(x), jax.random.key_data(y)
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
  """A folder with steps 10 and 20, to be copied before it is spoiled."""
  folder = tmp_path_factory.mktemp("checkpoints")
  checkpoints.save(10, state(1.0), folder)
  checkpoints.save(20, state(2.0), folder)
  return folder


@pytest.fixture
def folder(two_steps, tmp_path):
  return shutil.copytree(two_steps, tmp_path / "copy")


def test_every_kind_of_leaf_comes_back(folder):
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    restored = checkpoints.restore(folder, state(0.0))
  assert restored.step == 20
  equal(state(2.0), restored.tree)
  assert checkpoints.steps(folder) == (10, 20)
  assert checkpoints.verify(10, folder) == ""
  abstract = jax.eval_shape(lambda: state(0.0)["params"])
  checkpoints.save(30, state(3.0)["params"], folder)
  equal(state(3.0)["params"], checkpoints.restore(folder, abstract).tree)


def test_one_step_can_be_asked_for(folder):
  equal(state(1.0), checkpoints.restore(folder, state(0.0), 10).tree)
  with pytest.raises(FileNotFoundError, match=r"no step 15 .*\[10, 20\]"):
    checkpoints.restore(folder, state(0.0), 15)


def test_an_empty_folder_says_so(tmp_path):
  assert checkpoints.steps(tmp_path / "none") == ()
  with pytest.raises(FileNotFoundError, match="no checkpoint in"):
    checkpoints.restore(tmp_path / "none", state(0.0))


def test_the_sharding_is_the_templates(tmp_path):
  mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Auto,))
  sharding = jax.NamedSharding(mesh, jax.P("data"))
  tree = {"a": jax.device_put(jnp.arange(4.0), sharding)}
  checkpoints.save(1, tree, tmp_path)
  restored = checkpoints.restore(tmp_path, tree).tree
  assert restored["a"].sharding == sharding
  np.testing.assert_array_equal(restored["a"], np.arange(4.0))


def truncate(path):
  os.truncate(path, path.stat().st_size // 2)


def delete(path):
  path.unlink()


def flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 16
  path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [truncate, delete, flip])
def test_a_damaged_file_falls_back_to_the_older_step(folder, damage):
  step = folder / "00000020"
  names = sorted(p.relative_to(step) for p in step.rglob("*") if p.is_file())
  assert len(names) > 8
  params = state(0.0)["params"]["conv.1"]["kernel"]
  for name in names:
    backup = folder.parent / "backup"
    shutil.copytree(step, backup)
    damage(step / name)
    with pytest.warns(checkpoints.CheckpointWarning) as caught:
      restored = checkpoints.restore(folder, state(0.0))
    message = str(caught[0].message)
    assert "step 20" in message, message
    assert name.name in message, message
    assert "step 10 is used" in message
    assert restored.step == 10
    np.testing.assert_array_equal(
      restored.tree["params"]["conv.1"]["kernel"], params + 1.0
    )
    shutil.rmtree(step)
    backup.rename(step)


def test_a_step_without_its_manifest_is_damaged(folder):
  (folder / "00000020" / "manifest.json").unlink()
  assert checkpoints.verify(20, folder) == "manifest.json is missing"
  with pytest.warns(checkpoints.CheckpointWarning, match="manifest.json is mi"):
    assert checkpoints.restore(folder, state(0.0)).step == 10
  with pytest.raises(checkpoints.CheckpointError, match=r"step 20: manifest"):
    checkpoints.restore(folder, state(0.0), 20)
  (folder / "00000010" / "manifest.json.sha256").unlink()
  with pytest.raises(checkpoints.CheckpointError, match=r"step 20.*step 10"):
    checkpoints.restore(folder, state(0.0))


def test_bytes_altered_between_disk_and_array_are_found(folder, monkeypatch):
  monkeypatch.setattr(checkpoint_manifest, "read", altered_manifest(folder))
  with pytest.raises(checkpoints.CheckpointError, match="mask came back alter"):
    checkpoints.restore(folder, state(0.0))


def altered_manifest(folder):
  manifest = checkpoint_manifest.read(folder / "00000020")
  manifest["leaves"]["mask"]["sha256"] = "0" * 64
  return lambda place: manifest


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"half": jnp.ones(1)}, "half: bfloat16[1] came, float32[1] is expected"),
    ({"mask": np.ones(3, bool)}, "mask: bool[2] came, bool[3] is expected"),
    ({"none": np.ones(1)}, "none: missing, float64[1] is expected"),
    ({"step": None}, "step: int64[] came, no such leaf is expected"),
    (
      {"rng": jax.random.key(0, impl="rbg")},
      "rng: key<fry>[] came, key<rbg>[] is expected",
    ),
  ],
)
def test_nothing_is_cast(folder, change, message):
  with pytest.raises(checkpoints.CheckpointError, match="does not fit") as e:
    checkpoints.restore(folder, {**state(0.0), **change})
  assert message in str(e.value)


def test_the_last_ones_stay(tmp_path):
  tree = {"a": jnp.ones(2)}
  for step in range(1, 6):
    checkpoints.save(step, tree, tmp_path, keep=2)
  assert checkpoints.steps(tmp_path) == (4, 5)
  checkpoints.save(6, tree, tmp_path, keep=None)
  assert checkpoints.steps(tmp_path) == (4, 5, 6)
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    "00000004",
    "00000005",
    "00000006",
  ]


def test_a_step_can_be_saved_again(folder):
  delete(folder / "00000020" / "manifest.json")
  checkpoints.save(20, state(5.0), folder)
  equal(state(5.0), checkpoints.restore(folder, state(0.0)).tree)


def test_what_a_killed_process_left_is_no_checkpoint(folder):
  left = folder / ".tmp-00000030"
  shutil.copytree(folder / "00000020", left)
  assert checkpoints.restore(folder, state(0.0)).step == 20
  checkpoints.save(40, {"a": jnp.ones(1)}, folder)
  assert not left.exists()


def one_line(error, folder):
  assert "\n" not in str(error)
  assert "30" in str(error)
  assert str(folder) in str(error)
  assert checkpoints.steps(folder) == (10, 20)
  assert not list(folder.glob(".tmp-*"))
  equal(state(2.0), checkpoints.restore(folder, state(0.0)).tree)


def test_a_file_size_limit_leaves_the_older_ones(folder, caplog):
  big = {"a": np.random.default_rng(0).normal(size=50_000)}
  old = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
  try:
    with pytest.raises(OSError, match="File too large") as caught:
      checkpoints.save(30, big, folder)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
  assert caught.value.errno == errno.EFBIG
  assert caplog.text == ""
  one_line(caught.value, folder)


def test_a_full_disk_under_orbax_leaves_the_older_ones(folder, monkeypatch):
  import orbax.checkpoint as orbax

  def save(self, directory, tree):
    del self, tree
    directory.mkdir()
    (directory / "half").write_bytes(b"x")
    # The text tensorstore raised on a full tmpfs.
    raise ValueError(
      "RESOURCE_EXHAUSTED: Error writing: Failed to write 6635520 bytes to "
      "file 14:\n No space left on device [os_error_code='28']"
    )

  monkeypatch.setattr(orbax.PyTreeCheckpointer, "save", save)
  with pytest.raises(OSError, match="No space left") as caught:
    checkpoints.save(30, {"a": np.ones(3)}, folder)
  monkeypatch.undo()
  assert caught.value.errno == errno.ENOSPC
  one_line(caught.value, folder)


def test_a_full_disk_at_the_manifest_leaves_the_older_ones(folder, monkeypatch):
  def full(path, value):
    del value
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

  monkeypatch.setattr(checkpoints.files, "write_json", full)
  with pytest.raises(OSError, match="No space") as caught:
    checkpoints.save(30, {"a": np.ones(3)}, folder)
  monkeypatch.undo()
  one_line(caught.value, folder)


@pytest.mark.parametrize(
  ("step", "tree", "keep", "match"),
  [
    (-1, {"a": np.ones(1)}, 3, "step"),
    (1, {"a": np.ones(1)}, 0, "keep"),
    (1, {}, 3, "no array"),
    (1, {"a": {"b": 1}, "a/b": 2}, 3, "two leaves"),
  ],
)
def test_bad_arguments_write_nothing(tmp_path, step, tree, keep, match):
  with pytest.raises(ValueError, match=match):
    checkpoints.save(step, tree, tmp_path, keep)
  assert list(tmp_path.iterdir()) == []


def test_importing_the_module_leaves_orbax_out():
  code = "import sys, snnjax.storage.checkpoints; print('orbax' in sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert done.stdout == "False\n"
