"""Preparing data sets with TFDS without TensorFlow, and opening them."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

from snnjax.data import manifest, registry, selection
from snnjax.data.importers import array_record, idx, prepare
from tests.datasets.downloads import write_mnist

WRITE = "snnjax.data.importers.array_record.Writer.write"


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
  """A small MNIST, prepared once: its source, its data folder, its arrays."""
  root = tmp_path_factory.mktemp("mnist")
  found = write_mnist(root / "source")
  written = {split: as_written(*pair) for split, pair in found.items()}
  prepare.prepare(root / "source", "mnist", root / "data")
  return root / "source", root / "data", written


def as_written(images, labels):
  """Examples in the order that seed 0 writes them."""
  order = selection.permutation(len(labels), 0, selection.Purpose.WRITING)
  return images[order], labels[order]


def copy(mnist, tmp_path):
  shutil.copytree(mnist[1], tmp_path / "data")
  return tmp_path / "data"


def test_a_prepared_set_reads_back_exactly(mnist):
  _, folder, written = mnist
  for split, (images, labels) in written.items():
    data = registry.open_dataset("mnist", split, folder)
    np.testing.assert_array_equal(data.inputs, images)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.inputs.dtype == np.uint8
    assert (data.name, data.num_classes) == (f"mnist/{split}", 10)
    assert data.classes == tuple("0123456789")


def test_tfds_reads_the_set_itself(mnist):
  _, folder, written = mnist
  source = tfds.data_source("mnist:1.0.0", split="test", data_dir=folder)
  assert len(source) == 3
  np.testing.assert_array_equal(source[2]["image"], written["test"][0][2])
  assert source[2]["label"] == written["test"][1][2]


def test_tensorflow_is_not_needed(mnist, tmp_path):
  stub = tmp_path / "stub" / "tensorflow.py"
  stub.parent.mkdir()
  stub.write_text("raise ModuleNotFoundError('tensorflow')\n")
  script = f"""
import sys
sys.path.insert(0, {str(stub.parent)!r})
from snnjax.data import registry
from snnjax.data.importers import prepare
prepare.prepare({str(mnist[0])!r}, "mnist", {str(tmp_path)!r})
data = registry.open_dataset("mnist", "train", {str(tmp_path)!r})
assert len(data.labels) == 7
assert "tensorflow" not in sys.modules
"""
  subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_second_run_finds_it_done(mnist, monkeypatch):
  source, folder, _ = mnist

  def fail(*arguments):
    raise AssertionError("written again")

  monkeypatch.setattr(WRITE, fail)
  outcome = prepare.prepare(source, "mnist", folder)
  assert not outcome.fresh
  assert outcome.prepared.splits == {"train": 7, "test": 3}
  assert outcome.warnings[2:] == (
    "mnist/train has 7 examples; as published it has 60000",
    "mnist/test has 3 examples; as published it has 10000",
  )


def test_another_source_is_refused_or_replaces_at_a_word(mnist, tmp_path):
  folder = copy(mnist, tmp_path)
  changed = write_mnist(tmp_path / "other", seed=1)
  with pytest.raises(ValueError, match=r"other files .*--overwrite"):
    prepare.prepare(tmp_path / "other", "mnist", folder)
  kept = registry.open_dataset("mnist", "train", folder)
  np.testing.assert_array_equal(kept.inputs, mnist[2]["train"][0])
  outcome = prepare.prepare(tmp_path / "other", "mnist", folder, overwrite=True)
  assert outcome.fresh
  data = registry.open_dataset("mnist", "train", folder)
  np.testing.assert_array_equal(data.inputs, as_written(*changed["train"])[0])
  assert [one.version for one in manifest.list_prepared(folder)] == ["1.0.1"]


def test_equal_sources_have_equal_checksums(mnist, tmp_path):
  shutil.copytree(mnist[0], tmp_path / "moved")
  one = prepare.prepare(tmp_path / "moved", "mnist", tmp_path / "data")
  other = manifest.locate("mnist", mnist[1])
  for key in ("source", "examples", "files"):
    assert one.prepared.manifest[key] == other.manifest[key]
  assert one.prepared.manifest["source"]["layout"] == "IDX files"
  assert len(one.prepared.manifest["source"]["files"]) == 4


@pytest.mark.parametrize("fault", ["flip", "truncate", "delete"])
@pytest.mark.parametrize(
  "name",
  ["mnist-train.array_record-00000", "features.json", "dataset_info.json"],
)
def test_every_damage_is_seen(mnist, tmp_path, name, fault):
  folder = copy(mnist, tmp_path)
  path = folder / "mnist" / "1.0.0" / name
  content = bytearray(path.read_bytes())
  if fault == "delete":
    path.unlink()
  elif fault == "truncate":
    path.write_bytes(content[: len(content) // 2])
  else:
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
  with pytest.raises((ValueError, manifest.MissingDataError), match="prepare"):
    registry.open_dataset("mnist", "train", folder)
  with pytest.raises(ValueError, match="--overwrite"):
    prepare.prepare(mnist[0], "mnist", folder)
  prepare.prepare(mnist[0], "mnist", folder, overwrite=True)
  data = registry.open_dataset("mnist", "train", folder)
  np.testing.assert_array_equal(data.inputs, mnist[2]["train"][0])


def test_a_damaged_shard_is_seen_without_checksums_too(mnist, tmp_path):
  folder = copy(mnist, tmp_path)
  path = folder / "mnist" / "1.0.0" / "mnist-train.array_record-00000"
  (path.parent / manifest.FILE).unlink()  # as TFDS prepares sets
  content = bytearray(path.read_bytes())
  content[200] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r"1\.0\.0 is damaged: "):
    registry.open_dataset("mnist", "train", folder)


@pytest.mark.parametrize("moment", ["hash", "write test", "verify train"])
def test_a_stop_at_any_moment_leaves_nothing(mnist, tmp_path, moment):
  def stop(done, total, description):
    if description.startswith(moment):
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    prepare.prepare(mnist[0], "mnist", tmp_path / "data", progress=stop)
  assert not list(tmp_path.rglob("*.*"))
  assert manifest.list_prepared(tmp_path / "data") == []


def test_what_a_killed_process_left_is_cleared(mnist, tmp_path):
  draft = tmp_path / "mnist" / ".tmp-1.0.0"
  draft.mkdir(parents=True)
  (draft / "dataset_info.json").write_text("{}")
  assert manifest.list_prepared(tmp_path) == []
  prepare.prepare(mnist[0], "mnist", tmp_path)
  assert not draft.exists()
  assert [path.name for path in (tmp_path / "mnist").iterdir()] == ["1.0.0"]


def test_what_reads_back_other_than_written_is_not_kept(
  mnist, tmp_path, monkeypatch
):
  write = array_record.Writer.write
  monkeypatch.setattr(WRITE, lambda *arguments: write(*arguments)[::-1])
  with pytest.raises(OSError, match="reads back other than it was written"):
    prepare.prepare(mnist[0], "mnist", tmp_path)
  assert manifest.list_prepared(tmp_path) == []


def test_a_second_process_waits_its_turn(mnist, tmp_path):
  def nested(done, total, description):
    if description == "write test":
      with pytest.raises(OSError, match="another process prepares"):
        prepare.prepare(mnist[0], "mnist", tmp_path)

  assert prepare.prepare(mnist[0], "mnist", tmp_path, progress=nested).fresh


def test_svhn_and_images_are_prepared_too(tmp_path):
  random = np.random.default_rng(0)
  images = random.integers(0, 256, (32, 32, 3, 11), np.uint8)
  (tmp_path / "svhn").mkdir()
  for split in ("train", "test"):
    labels = np.arange(1, 12)[:, None] % 11
    labels[10] = 10
    scipy.io.savemat(
      tmp_path / "svhn" / f"{split}_32x32.mat",
      {"X": images, "y": labels.astype(np.uint8)},
    )
  prepare.prepare(tmp_path / "svhn", "svhn_cropped", tmp_path / "data")
  data = registry.open_dataset("svhn_cropped", "test", tmp_path / "data")
  upright = images.transpose(3, 0, 1, 2)
  digits = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0])
  expected = as_written(upright, digits)
  np.testing.assert_array_equal(data.inputs, expected[0])
  np.testing.assert_array_equal(data.labels, expected[1])
  for index in range(8):
    split = "train" if index < 4 else "test"
    path = tmp_path / "pets" / split / "ab"[index % 2] / f"{index}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(images[..., index]).save(path)
  prepare.prepare(tmp_path / "pets", "pets", tmp_path / "data")
  data = registry.open_dataset("pets", "train", tmp_path / "data")
  expected = as_written(upright[[0, 2, 1, 3]], np.array([0, 0, 1, 1]))
  np.testing.assert_array_equal(data.inputs, expected[0])
  np.testing.assert_array_equal(data.labels, expected[1])
  assert data.classes == ("a", "b")
  with pytest.raises(ValueError, match=r"cifar10 must have .*10 classes"):
    prepare.prepare(tmp_path / "pets", "cifar10", tmp_path / "data")
  found = manifest.list_prepared(tmp_path / "data")
  assert [one.name for one in found] == ["pets", "svhn_cropped"]


@pytest.mark.parametrize("name", ["digits", "a/b", "../x", "Mnist", "1st", ""])
def test_a_name_that_cannot_be_is_refused(mnist, tmp_path, name):
  with pytest.raises(ValueError, match="name must be lower-case"):
    prepare.prepare(mnist[0], name, tmp_path)


def test_the_whole_test_split_of_mnist(tmp_path, shared):
  folder = shared / "data" / "mnist"
  if not folder.is_dir():
    pytest.skip(f"no {folder}")
  (tmp_path / "source").mkdir()
  for path in folder.glob("t10k-*"):
    shutil.copy(path, tmp_path / "source")
  with pytest.raises(ValueError, match="give --splits=test:test to prepare"):
    prepare.prepare(tmp_path / "source", "mnist", tmp_path)
  outcome = prepare.prepare(
    tmp_path / "source", "mnist", tmp_path, splits={"test": "test"}
  )
  assert outcome.warnings == (
    "mnist has no split train; as published it has one",
  )
  data = registry.open_dataset("mnist", "test", tmp_path)
  published = idx.load_idx_folder(folder, "test")
  expected = as_written(published.inputs, published.labels)
  np.testing.assert_array_equal(data.inputs, expected[0])
  np.testing.assert_array_equal(data.labels, expected[1])
