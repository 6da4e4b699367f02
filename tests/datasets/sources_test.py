"""Folders of images, and finding out what a download is."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from snnjax.data import image_files
from snnjax.data.importers import archives, cifar, downloads, image_folders
from tests.datasets.downloads import (
  contents,
  write_images,
  write_mnist,
  write_svhn,
  write_tar,
)

COUNTS = {"train/dog": 3, "train/cat": 2, "test/cat": 1, "test/dog": 1}


def collect(source, split):
  examples = source.splits[split]()
  images = np.stack(
    [examples.read(row)["image"] for row in range(examples.size)]
  )
  return images, examples.labels.tolist()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_folder_of_images_is_sorted_by_class_and_name(tmp_path, mode):
  written = write_images(tmp_path, COUNTS, mode=mode)
  source = downloads.recognise(tmp_path, "pets")
  assert source.layout == "folder of images"
  assert source.classes == ("cat", "dog")
  images, labels = collect(source, "train")
  assert labels == [0, 0, 1, 1, 1]
  names = [n for n in sorted(written) if n.startswith("train")]
  np.testing.assert_array_equal(images, [written[name] for name in names])


def test_tars_of_folders_read_as_the_folders_do(tmp_path):
  write_images(tmp_path / "open", COUNTS, suffix=".jpg")
  (tmp_path / "shut").mkdir()
  for split in ("train", "test"):
    with tarfile.open(tmp_path / "shut" / f"{split}.tar.xz", "w:xz") as archive:
      archive.add(tmp_path / "open" / split, split)
  opened = downloads.recognise(tmp_path / "open", "pets")
  shut = downloads.recognise(tmp_path / "shut", "pets")
  one = downloads.recognise(tmp_path / "shut" / "test.tar.xz", "pets")
  assert (shut.classes, set(one.splits)) == (opened.classes, {"test"})
  for split in ("train", "test"):
    images, labels = collect(opened, split)
    packed, packed_labels = collect(shut, split)
    np.testing.assert_array_equal(images, packed)
    assert labels == packed_labels
  path = tmp_path / "shut" / "test.tar.xz"
  path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(ValueError, match=r"test\.tar\.xz must be a whole"):
    downloads.recognise(tmp_path / "shut", "pets")


def save_odd(path, fault):
  image = Image.fromarray(np.zeros((6, 5, 3), np.uint8))
  if fault == "truncated":
    stream = io.BytesIO()
    image.save(stream, "PNG")
    path.write_bytes(stream.getvalue()[:-20])
  elif fault == "half":
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    path.write_bytes(stream.getvalue()[:-20])
  elif fault == "size":
    image.resize((6, 6)).save(path)
  elif fault == "mode":
    image.convert("RGBA").save(path)
  elif fault == "format":
    image.save(path, "GIF")
  else:
    path.write_bytes(b"no image")


@pytest.mark.parametrize(
  ("fault", "message"),
  [
    ("truncated", "a whole image"),
    ("half", "a whole image"),
    ("size", r"the shape \(6, 5, 3\).*\(6, 6, 3\)"),
    ("mode", "its mode is RGBA"),
    ("format", "a whole image"),
    ("text", "a whole image"),
  ],
)
def test_an_odd_image_is_named(tmp_path, fault, message):
  write_images(tmp_path, COUNTS)
  save_odd(tmp_path / "train/dog/9999.png", fault)
  source = downloads.recognise(tmp_path, "pets")
  with pytest.raises(ValueError, match=rf"9999\.png must .*{message}"):
    collect(source, "train")


def test_grey_among_colour_gets_three_channels_and_not_the_reverse(tmp_path):
  write_images(tmp_path / "a", COUNTS)
  grey = np.arange(30, dtype=np.uint8).reshape(6, 5)
  Image.fromarray(grey).save(tmp_path / "a/train/dog/9999.png")
  images, _ = collect(downloads.recognise(tmp_path / "a", "pets"), "train")
  np.testing.assert_array_equal(images[-1], np.stack([grey] * 3, axis=-1))
  write_images(tmp_path / "b", COUNTS, mode="L")
  colour = np.zeros((6, 5, 3), np.uint8)
  Image.fromarray(colour).save(tmp_path / "b/train/dog/9999.png")
  with pytest.raises(
    ValueError, match=r"9999\.png .*\(6, 5, 1\) of most images"
  ):
    collect(downloads.recognise(tmp_path / "b", "pets"), "train")


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("train/dog/notes.txt", "notes.txt must be an image"),
    ("train/notes.txt", "one folder per class; notes.txt is a file"),
  ],
)
def test_a_file_that_is_no_image_is_not_skipped(tmp_path, name, message):
  write_images(tmp_path, COUNTS)
  (tmp_path / "train/dog/.DS_Store").write_bytes(b"hidden: passed over")
  assert downloads.recognise(tmp_path, "pets").splits["train"]().size == 5
  (tmp_path / name).write_bytes(b"x")
  with pytest.raises(ValueError, match=message):
    downloads.recognise(tmp_path, "pets")


def test_real_photographs_unpacked_read_as_packed(tmp_path, shared):
  path = shared / "data" / "cifar10_jpeg" / "test.tar.xz"
  if not path.is_file():
    pytest.skip(f"no {path}")
  kept = 0
  for name, content in archives.entries(path):
    if content is not None and int(name[-8:-4]) % 40 == 0:
      (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / name).write_bytes(content)
      kept += 1
  source = downloads.recognise(tmp_path, "cifar10_jpeg")
  images, labels = collect(source, "test")
  assert kept == len(images) == 250
  assert images.shape[1:] == (32, 32, 3)
  assert np.bincount(labels).tolist() == [25] * 10
  assert source.classes[0] == "airplane"
  assert source.classes[-1] == "truck"
  packed = image_folders.read(path).splits["test"]
  assert len(packed) == 10_000
  np.testing.assert_array_equal(image_files.decode(packed[40], None), images[1])


def test_idx_folders_are_found_out_and_named(tmp_path):
  write_mnist(tmp_path / "a", (3, 4))
  source = downloads.recognise(tmp_path / "a", "fashion_mnist")
  assert source.classes[9] == "Ankle boot"
  assert len(source.files) == 4
  images, labels = collect(source, "test")
  assert images.shape == (4, 28, 28, 1)
  assert labels == [1, 2, 3, 4]
  assert downloads.recognise(tmp_path / "a", "mnist").classes[9] == "9"
  for name in ("letters", "digits"):
    write_mnist(tmp_path / "b", (3, 4), prefix=f"emnist-{name}-")
  letters = downloads.recognise(tmp_path / "b", "emnist_letters")
  assert letters.classes[0] == "A"
  assert collect(letters, "train")[1] == [0, 1, 2]
  with pytest.raises(ValueError, match="several EMNIST sets"):
    downloads.recognise(tmp_path / "b", "emnist")


def test_a_download_folder_with_one_archive_is_that_archive(tmp_path):
  layout = cifar.LAYOUTS[3]
  write_tar(tmp_path / "cifar-100-binary.tar.gz", contents(layout))
  source = downloads.recognise(tmp_path, "cifar100")
  assert source.layout == layout.name
  assert source.splits["test"]().size == 4
  with pytest.raises(ValueError, match="must be cifar10; it is CIFAR-100"):
    downloads.recognise(tmp_path, "cifar10")
  write_tar(tmp_path / "cifar-100-python.tar.gz", contents(cifar.LAYOUTS[2]))
  with pytest.raises(
    ValueError, match=r"several data sets, cifar-100-python\.tar\.gz and"
  ):
    downloads.recognise(tmp_path, "cifar100")


def test_what_is_nothing_known_or_several_is_said_to_be(tmp_path):
  with pytest.raises(FileNotFoundError, match="no file or folder"):
    downloads.recognise(tmp_path / "nowhere", "x")
  (tmp_path / "x").mkdir()
  with pytest.raises(ValueError, match="it is none of these"):
    downloads.recognise(tmp_path / "x", "x")
  (tmp_path / "x.tar.gz").write_bytes(b"no tar")
  with pytest.raises(ValueError, match="first bytes say it is none"):
    downloads.recognise(tmp_path / "x.tar.gz", "x")
  (tmp_path / "x.bin").write_bytes(b"no tar")
  with pytest.raises(ValueError, match="it is none of these"):
    downloads.recognise(tmp_path / "x.bin", "x")
  write_mnist(tmp_path / "x")
  write_svhn(tmp_path / "x", "test", 2)
  with pytest.raises(ValueError, match="several data sets, IDX files and SVHN"):
    downloads.recognise(tmp_path / "x", "x")
  source = downloads.recognise(tmp_path / "x" / "test_32x32.mat", "x")
  assert set(source.splits) == {"test"}
  assert source.splits["test"]().size == 2
