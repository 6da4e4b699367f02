"""Image sets as people have them: read, or named in an error, never dropped."""

import io
import os
import tarfile

import numpy as np
import pytest
import scipy.io
from PIL import Image

from snnjax.data import registry
from snnjax.data.importers import downloads, prepare, split_names
from tests.datasets.downloads import write_idx, write_images, write_mnist

PETS = {"train/cat": 4, "train/dog": 4, "test/cat": 2, "test/dog": 2}


def pack(path, folder, name="data"):
  with tarfile.open(path, "w:gz") as archive:
    archive.add(folder, name)
  return path


def labels(folder, name="pets", split="train"):
  return sorted(registry.open_dataset(name, split, folder).labels.tolist())


def test_a_tar_of_splits_keeps_its_splits(tmp_path):
  write_images(tmp_path / "data", PETS)
  source = downloads.recognise(
    pack(tmp_path / "x.tar.gz", tmp_path / "data"), "p"
  )
  assert {s: source.splits[s]().size for s in source.splits} == {
    "train": 8,
    "test": 4,
  }
  opened = downloads.recognise(tmp_path / "data", "p")
  for split in ("train", "test"):
    one, other = source.splits[split](), opened.splits[split]()
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.read(1)["image"], other.read(1)["image"])


@pytest.mark.parametrize("name", ["b\nc", "b ", "b\udcff"])
def test_class_names_that_a_list_cannot_hold_are_refused(tmp_path, name):
  write_images(tmp_path / "in", {**PETS, os.fsdecode(f"train/{name}"): 1})
  with pytest.raises(ValueError, match="class names must be one line"):
    prepare.prepare(tmp_path / "in", "pets", tmp_path / "out")
  assert not list((tmp_path / "out").rglob("*.json"))


def test_a_file_name_that_is_no_text_is_read(tmp_path):
  write_images(tmp_path / "in", PETS)
  old = tmp_path / "in/train/cat/0000.png"
  old.rename(old.with_name("a\udcff.png"))
  prepare.prepare(tmp_path / "in", "pets", tmp_path / "out")
  assert labels(tmp_path / "out") == [0] * 4 + [1] * 4
  old.with_name("a\udcff.png").write_bytes(b"no image")
  with pytest.raises(ValueError, match=r"cat/a\\xff\.png must be a whole"):
    prepare.prepare(tmp_path / "in", "pets2", tmp_path / "out")


def test_classes_without_examples_keep_their_number_and_are_told(tmp_path):
  write_images(tmp_path / "in", {**PETS, "train/zebra": 2})
  for split in ("train", "test"):
    (tmp_path / "in" / split / "ant").mkdir()
  outcome = prepare.prepare(tmp_path / "in", "pets", tmp_path / "out")
  assert labels(tmp_path / "out") == [1] * 4 + [2] * 4 + [3] * 2
  assert set(outcome.warnings) == {
    "pets/train: 1 of 4 classes have no example: 'ant'",
    "pets/test: 2 of 4 classes have no example: 'ant', 'zebra'",
  }
  packed = downloads.recognise(
    pack(tmp_path / "x.tar.gz", tmp_path / "in"), "pets"
  )
  assert packed.classes == ("ant", "cat", "dog", "zebra")


@pytest.mark.parametrize(
  ("names", "advice"),
  [
    (("Train", "Test"), "give --splits=train:Train,test:Test"),
    (("train", "val"), "give --splits=train:train,test:val"),
    (("train",), "give --hold_out=0.2 to hold a fifth"),
    (("one", "two"), "give --splits=train:NAME,test:NAME"),
  ],
)
def test_splits_that_cannot_be_trained_are_told_at_preparation(
  tmp_path, names, advice
):
  counted = {f"{n}/{c}": 5 for n in names for c in ("cat", "dog")}
  write_images(tmp_path / "in", counted)
  with pytest.raises(split_names.SplitsError, match=advice):
    prepare.prepare(tmp_path / "in", "pets", tmp_path / "out")
  if names == ("train",):
    outcome = prepare.prepare(
      tmp_path / "in", "pets", tmp_path / "out", hold_out=0.2
    )
    assert outcome.prepared.splits == {"train": 8, "test": 2}
    assert labels(tmp_path / "out", split="test") == [0, 1]
  elif names == ("Train", "Test"):
    splits = split_names.parse("train:Train,test:Test")
    outcome = prepare.prepare(
      tmp_path / "in", "pets", tmp_path / "out", splits=splits
    )
    assert outcome.prepared.splits == {"train": 10, "test": 10}
    with pytest.raises(ValueError, match=r"made otherwise.*seed 0 -> 1"):
      prepare.prepare(
        tmp_path / "in", "pets", tmp_path / "out", splits=splits, seed=1
      )


@pytest.mark.parametrize("text", ["train", "train:a,train:b", "train:", ""])
def test_splits_written_otherwise_are_refused(text):
  with pytest.raises(
    split_names.SplitsError, match="splits must be NAME:SPLIT"
  ):
    split_names.parse(text)


@pytest.mark.parametrize("packed", [False, True])
def test_what_systems_leave_is_left_out_and_said(tmp_path, packed):
  write_images(tmp_path / "in", PETS)
  junk = ("train/.DS_Store", "train/cat/._0000.png", "__MACOSX/train/x.png")
  for name in (*junk, "README.md"):
    (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "in" / name).write_bytes(b"x")
  path = tmp_path / "in"
  if packed:
    path = pack(tmp_path / "x.tar.gz", path)
  outcome = prepare.prepare(path, "pets", tmp_path / "out")
  assert outcome.prepared.splits == {"train": 8, "test": 4}
  (line,) = outcome.warnings
  assert line.startswith("pets: not read, left out: ")
  for name in (".DS_Store", "._*", "__MACOSX", "README.md"):
    assert f"{name} (1)" in line


def test_members_of_a_tar_that_are_not_read_are_named(tmp_path):
  write_images(tmp_path / "in", PETS)
  link = tmp_path / "in/train/cat/9999.png"
  link.symlink_to("0000.png")
  path = pack(tmp_path / "x.tar.gz", tmp_path / "in")
  with pytest.raises(ValueError, match=r"9999\.png must be a file.*a link"):
    downloads.recognise(path, "pets")
  image = (tmp_path / "in/train/cat/0000.png").read_bytes()
  with tarfile.open(tmp_path / "y.tar.gz", "w:gz") as archive:
    for _ in range(2):
      member = tarfile.TarInfo("train/cat/a.png")
      member.size = len(image)
      archive.addfile(member, io.BytesIO(image))
  with pytest.raises(ValueError, match=r"a\.png must be there once"):
    downloads.recognise(tmp_path / "y.tar.gz", "pets")


@pytest.mark.parametrize("odd", ["L", "RGB"])
def test_the_minority_is_blamed_though_it_comes_first(tmp_path, odd):
  most = "RGB" if odd == "L" else "L"
  write_images(tmp_path / "in", PETS, mode=most)
  first = tmp_path / "in/train/cat/0000.png"
  size = (5, 6) if odd == "RGB" else (7, 7)
  Image.new(odd, size).save(first)
  source = downloads.recognise(tmp_path / "in", "pets")
  examples = source.splits["train"]()
  with pytest.raises(ValueError, match=r"cat/0000\.png must have the shape"):
    examples.read(0)
  assert examples.read(1)["image"].shape == (6, 5, 3 if most == "RGB" else 1)


def test_emnist_in_its_other_layouts(tmp_path):
  random = np.random.default_rng(0)
  images = random.integers(0, 256, (3, 28, 28), np.uint8)
  numbers = np.array([1, 26, 2], np.uint8)
  part = {
    "images": images.swapaxes(1, 2).reshape(3, 784),
    "labels": numbers[:, None].astype(np.float64),
    "writers": np.arange(3.0)[:, None],
  }
  (tmp_path / "mat" / "matlab").mkdir(parents=True)
  scipy.io.savemat(
    tmp_path / "mat/matlab/emnist-letters.mat",
    {"dataset": {"train": part, "test": part, "mapping": np.ones((26, 2))}},
    do_compression=True,
  )
  nested = tmp_path / "idx" / "gzip"
  nested.mkdir(parents=True)
  for split in ("train", "test"):
    stem = f"emnist-letters-{split}"
    write_idx(nested / f"{stem}-images-idx3-ubyte", images.swapaxes(1, 2))
    write_idx(nested / f"{stem}-labels-idx1-ubyte", numbers)
  for folder in ("mat", "idx"):
    source = downloads.recognise(tmp_path / folder, "emnist_letters")
    assert (source.classes[0], source.classes[25]) == ("A", "Z")
    examples = source.splits["test"]()
    assert examples.labels.tolist() == [0, 25, 1]
    np.testing.assert_array_equal(examples.read(1)["image"][..., 0], images[1])
  with pytest.raises(ValueError, match=r"emnist-digits-train.*to be emnist_d"):
    downloads.recognise(tmp_path / "idx", "emnist_digits")
  (tmp_path / "csv").mkdir()
  (tmp_path / "csv/emnist-letters-train.csv").write_text("1,0\n")
  with pytest.raises(ValueError, match=r"it holds emnist-letters-train\.csv"):
    downloads.recognise(tmp_path / "csv", "emnist_letters")


def test_other_files_of_a_download_are_said(tmp_path):
  write_mnist(tmp_path / "in")
  (tmp_path / "in" / "notes.txt").write_text("x")
  source = downloads.recognise(tmp_path / "in", "mnist")
  assert source.left_out == {"notes.txt": 1}
