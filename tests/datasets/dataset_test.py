"""Data sets, the embedded digits and IDX folders."""

import gzip
import importlib.util
import math
import pathlib
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax.data import dataset, embedded
from snnjax.data.importers import idx

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4"}


def encode(array, code=0x08):
  header = struct.pack(
    f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape
  )
  return header + array.astype(CODES[code]).tobytes()


def small(labels=(0, 1, 2), classes=3, inputs=None):
  labels = np.array(labels, np.int32)
  if inputs is None:
    inputs = np.zeros((len(labels), 2, 2, 1), np.float32)
  names = tuple(str(c) for c in range(classes))
  return dataset.Dataset(inputs, labels, classes, "small", names)


def write_folder(folder, *, prefix="", train="train", images=None, labels=None):
  """Writes one split under MNIST's names."""
  if images is None:
    images = np.arange(3 * 5 * 4, dtype=np.uint8).reshape(3, 5, 4)
  if labels is None:
    labels = np.array([1, 2, 3], np.uint8)
  stem = f"{prefix}{train}"
  (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(
    gzip.compress(encode(images), mtime=0)
  )
  (folder / f"{stem}-labels-idx1-ubyte").write_bytes(encode(labels))
  return images, labels


# The embedded subset.


@pytest.mark.parametrize(
  ("split", "size"), [("train", 10_000), ("test", 2_000)]
)
def test_the_embedded_digits_are_whole(split, size):
  digits = embedded.mnist(split)
  assert digits.inputs.shape == (size, 28, 28, 1)
  assert digits.inputs.dtype == np.uint8
  assert digits.labels.dtype == np.int32
  counts = np.bincount(digits.labels, minlength=10)
  assert counts.min() > size * 0.07
  assert 30 < digits.inputs.mean() < 37  # MNIST's mean is 33.3


def test_the_embedded_digits_are_the_canonical_ones(shared):
  folder = shared / "data" / "mnist"
  train = idx.load_idx_folder(folder, "train")
  test = idx.load_idx_folder(folder, "test")
  assert (len(train.labels), len(test.labels)) == (60_000, 10_000)
  for whole, split, part in (
    (train, "train", slice(0, 10_000)),
    (test, "test", slice(0, None, 5)),
  ):
    ours = embedded.mnist(split)
    np.testing.assert_array_equal(ours.inputs, whole.inputs[part])
    np.testing.assert_array_equal(ours.labels, whole.labels[part])


def test_the_build_script_selects_and_repeats_its_bytes(tmp_path):
  spec = importlib.util.spec_from_file_location(
    "build_embedded", ROOT / "scripts" / "build_embedded.py"
  )
  script = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(script)
  source, target = tmp_path / "source", tmp_path / "target"
  source.mkdir()
  target.mkdir()
  train, _ = write_folder(source)
  pixels = np.arange(11 * 4, dtype=np.uint8).reshape(11, 2, 2)
  digits = np.arange(11, dtype=np.uint8) % 10
  write_folder(source, train="t10k", images=pixels, labels=digits)
  for name in ("one.npz", "two.npz"):
    script.main([str(source), str(target / name)])
  assert sorted(p.name for p in target.iterdir()) == ["one.npz", "two.npz"]
  contents = {p.read_bytes() for p in target.iterdir()}
  assert len(contents) == 1
  with np.load(target / "one.npz", allow_pickle=False) as built:
    np.testing.assert_array_equal(built["train_images"], train)
    np.testing.assert_array_equal(built["test_images"], pixels[::5])
    np.testing.assert_array_equal(built["test_labels"], [0, 5, 0])
    assert built["test_labels"].dtype == np.uint8


def shipped():
  return (ROOT / "snnjax" / "data" / "mnist.npz").read_bytes()


@pytest.mark.parametrize(
  "damage",
  [
    lambda content: b"",
    lambda content: b"no archive at all",
    lambda content: content[: len(content) // 2],
    lambda content: content[:-1],
    lambda content: (
      content[:200_000] + bytes([content[200_000] ^ 1]) + content[200_001:]
    ),
  ],
  ids=["empty", "text", "half", "last byte", "one bit"],
)
def test_a_damaged_archive_is_named(tmp_path, damage):
  path = tmp_path / "mnist.npz"
  path.write_bytes(damage(shipped()))
  with pytest.raises(ValueError, match=r"mnist\.npz must be.*Reinstall"):
    embedded.mnist("train", path)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"other": np.zeros(3)}, "it has besides 'other'"),
    ({"train_images": None}, "it lacks 'train_images'"),
    (
      {"train_images": np.zeros((3, 28, 28), np.uint8)},
      r"'train_images' is uint8 \[3, 28, 28\], not uint8 \[10000, 28, 28\]",
    ),
    (
      {"train_labels": np.full(10_000, 10, np.uint8)},
      r"labels must be in \[0, 10\); got 10 at index 0",
    ),
    (
      {"train_images": np.array([None, {}], object)},
      "'train_images' has a header that is not an array's",
    ),
  ],
)
def test_another_archive_is_refused(tmp_path, changes, message):
  path = tmp_path / "mnist.npz"
  arrays = {}
  for split, size in embedded.SIZES.items():
    arrays[f"{split}_images"] = np.zeros((size, 28, 28), np.uint8)
    arrays[f"{split}_labels"] = np.zeros(size, np.uint8)
  arrays |= changes
  kept = {name: array for name, array in arrays.items() if array is not None}
  np.savez_compressed(path, **kept)
  with pytest.raises(ValueError, match=message):
    embedded.mnist("train", path)


def test_unknown_splits_are_refused(tmp_path):
  with pytest.raises(ValueError, match=r"\['test', 'train'\]; got 'valid'"):
    embedded.mnist("valid")
  with pytest.raises(ValueError, match=r"\['test', 'train'\]; got 'valid'"):
    idx.load_idx_folder(tmp_path, "valid")


# IDX files.


@settings(deadline=None, max_examples=60)
@given(
  st.sampled_from(sorted(CODES)),
  st.lists(st.integers(0, 5), min_size=1, max_size=4),
  st.booleans(),
  st.integers(0, 2**31),
)
def test_idx_files_read_back(tmp_path_factory, code, shape, packed, seed):
  array = np.random.default_rng(seed).integers(0, 127, shape)
  content = encode(array, code)
  path = tmp_path_factory.getbasetemp() / "array-idx"
  path.write_bytes(gzip.compress(content, 1, mtime=0) if packed else content)
  read = idx.read_idx(path)
  np.testing.assert_array_equal(read, array)
  assert read.dtype == np.dtype(CODES[code]).newbyteorder("=")
  assert read.flags.writeable


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_cut_or_longer_idx_file_is_refused(tmp_path_factory, data):
  content = encode(np.arange(24).reshape(2, 3, 4))
  length = data.draw(st.integers(0, len(content) + 9))
  if length == len(content):
    length += 1
  path = tmp_path_factory.getbasetemp() / "cut-idx"
  path.write_bytes((content + bytes(9))[:length])
  with pytest.raises(ValueError, match="cut-idx"):
    idx.read_idx(path)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"\x01\x00\x08\x01", "magic number"),
    (b"PK\x03\x04 a zip", "magic number"),
    (b"\0\0\x07\x01\0\0\0\0", "0x08, 0x09.*got 0x07"),
    (b"\0\0\x08\x00", "at least one axis"),
    (encode(np.zeros((2, 3)))[:-1], "is truncated.*takes 18 bytes; got 17"),
    (encode(np.zeros((2, 3))) + b"x", "has trailing bytes.*got 19"),
    (gzip.compress(encode(np.zeros(99)), mtime=0)[:-9], "damaged or truncated"),
    (gzip.compress(encode(np.zeros(99)), mtime=0)[:-4] + b"oops", "damaged"),
    (b"\x1f\x8b nonsense", "damaged or truncated"),
  ],
)
def test_bad_idx_files_say_what_is_wrong(tmp_path, content, message):
  path = tmp_path / "bad-idx3-ubyte"
  path.write_bytes(content)
  with pytest.raises(ValueError, match=f"bad-idx3-ubyte.*{message}"):
    idx.read_idx(path)


def test_a_header_that_claims_too_much_is_refused_before_allocation(tmp_path):
  path = tmp_path / "huge"
  path.write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3))
  with pytest.raises(ValueError, match=str(16 + math.prod([2**32 - 1] * 3))):
    idx.read_idx(path)


# Folders.


def test_an_mnist_folder(tmp_path):
  images, labels = write_folder(tmp_path)
  data = idx.load_idx_folder(tmp_path, "train")
  np.testing.assert_array_equal(data.inputs[..., 0], images)
  np.testing.assert_array_equal(data.labels, labels)
  assert data.num_classes == 10
  assert data.name == f"{tmp_path.name}/train"
  with pytest.raises(FileNotFoundError, match="t10k-images-idx3-ubyte"):
    idx.load_idx_folder(tmp_path, "test")


def test_names_with_a_dot_are_found(tmp_path):
  write_folder(tmp_path, train="t10k")
  for path in list(tmp_path.iterdir()):
    path.rename(tmp_path / path.name.replace("-idx", ".idx"))
  assert len(idx.load_idx_folder(tmp_path, "test").labels) == 3


def test_emnist_is_turned_upright_and_letters_start_at_zero(tmp_path):
  images, labels = write_folder(
    tmp_path, prefix="emnist-letters-", labels=np.array([1, 26, 3], np.uint8)
  )
  data = idx.load_idx_folder(tmp_path, "train")
  np.testing.assert_array_equal(data.inputs[..., 0], images.transpose(0, 2, 1))
  np.testing.assert_array_equal(data.labels, labels.astype(int) - 1)
  assert (data.num_classes, data.name) == (26, "emnist-letters/train")
  assert [data.classes[c] for c in data.labels] == ["A", "Z", "C"]


@pytest.mark.parametrize(
  ("name", "classes"),
  [
    ("balanced", 47),
    ("bymerge", 47),
    ("byclass", 62),
    ("digits", 10),
    ("letters", 26),
    ("mnist", 10),
  ],
)
def test_every_emnist_set_knows_its_classes(tmp_path, name, classes):
  write_folder(tmp_path, prefix=f"emnist-{name}-", train="test")
  data = idx.load_idx_folder(tmp_path, "test", emnist=name)
  assert data.num_classes == len(set(data.classes)) == classes


def test_several_emnist_sets_must_be_told_apart(tmp_path):
  write_folder(tmp_path, prefix="emnist-digits-")
  write_folder(tmp_path, prefix="emnist-letters-")
  with pytest.raises(ValueError, match=r"\['digits', 'letters'\]"):
    idx.load_idx_folder(tmp_path, "train")
  with pytest.raises(ValueError, match=r"emnist must be one of.*'numbers'"):
    idx.load_idx_folder(tmp_path, "train", emnist="numbers")
  chosen = idx.load_idx_folder(tmp_path, "train", emnist="digits")
  assert chosen.labels.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"labels": np.array([1, 2], np.uint8)}, r"labels must be uint8 \[3\]"),
    ({"labels": np.array([1, 2, 10], np.uint8)}, "got 10 at index 2"),
    ({"images": np.zeros((3, 4), np.uint8)}, r"images must be.*\(3, 4\)"),
    ({"images": np.zeros((0, 4, 4), np.uint8)}, r"labels must be uint8 \[0\]"),
  ],
)
def test_folders_that_do_not_fit_are_refused(tmp_path, fields, message):
  write_folder(tmp_path, **fields)
  with pytest.raises(ValueError, match=message):
    idx.load_idx_folder(tmp_path, "train")


def test_a_letter_label_of_zero_is_refused(tmp_path):
  write_folder(
    tmp_path, prefix="emnist-letters-", labels=np.array([0, 1, 2], np.uint8)
  )
  with pytest.raises(ValueError, match=r"\[0, 26\); got -1"):
    idx.load_idx_folder(tmp_path, "train")


# Data sets.


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_to_unit_is_a_named_step(array):
  pixels = array(np.array([[0, 51, 255]], np.uint8))
  unit = dataset.to_unit(pixels)
  assert unit.dtype == np.float32
  np.testing.assert_allclose(unit, [[0, 0.2, 1]], rtol=1e-6)
  with pytest.raises(ValueError, match="uint8; got float32"):
    dataset.to_unit(unit)


def test_subsets_keep_modalities_together():
  inputs = {"a": np.arange(5.0)[:, None], "b": np.arange(5)[:, None, None]}
  data = small([0, 1, 2, 0, 1], inputs=inputs)
  part = dataset.subset(data, np.array([4, 1]))
  assert part.inputs["a"].tolist() == [[4.0], [1.0]]
  assert part.inputs["b"].ravel().tolist() == [4, 1]
  assert part.labels.tolist() == [1, 1]


@pytest.mark.parametrize("indices", [[3], [-1], [0.0], [[0]], [True]])
def test_indices_outside_are_refused(indices):
  with pytest.raises(ValueError, match=r"indices must be.*\[0, 3\)"):
    dataset.subset(small(), np.array(indices))


def unit(*values):
  return np.array(values, np.float32)[:, None]


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (small([0, 1, 3]), r"small: labels.*\[0, 3\); got 3 at index 2"),
    (small([0, -1, 2]), "got -1 at index 1"),
    (small()._replace(labels=np.zeros(3)), "int32 .N.; got float64"),
    (small([], inputs=unit()), "N > 0"),
    (small(inputs=unit(0, 1)), r"one example per label, 3; got.*\(2, 1\)"),
    (small(inputs={}), "one example per label"),
    (small(inputs=unit(0, 1, 1.5)), r"\[0, 1\]; got 1.5 at index \(2, 0\)"),
    (small(inputs=unit(0, -0.5, 0)), r"got -0.5 at index \(1, 0\)"),
    (small(inputs=unit(0, 0, np.nan)), "got nan"),
    (small(inputs={"e": unit(0, 0, np.inf)}), r"inputs\['e'\].*got inf"),
    (small(inputs=np.zeros((3, 2), int)), "uint8 or floating.*int64"),
    (small()._replace(classes=("a",)), "all 3 classes; got 1 names"),
  ],
)
def test_unsound_data_are_refused(data, message):
  with pytest.raises(ValueError, match=message):
    dataset.validate(data)


def test_sound_data_pass():
  data = small(inputs={"a": unit(0, 0.5, 1), "b": np.zeros((3, 1), np.uint8)})
  assert dataset.validate(data) is data
