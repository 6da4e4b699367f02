"""CIFAR's archives and their pickles, and what is refused."""

import contextlib
import pickle
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax.data.importers import archives, cifar, plain_pickle
from tests.datasets.downloads import (
  FINE,
  NAMES,
  batches,
  contents,
  pickled,
  pixels,
  write_tar,
)


def upright(image):
  """Rows of 1024 red, 1024 green, 1024 blue -> [32, 32, 3], by hand."""
  planes = image.reshape(-1, 3, 32, 32)
  return np.stack([planes[:, channel] for channel in range(3)], axis=-1)


LAYOUTS = pytest.mark.parametrize("layout", cifar.LAYOUTS, ids=lambda x: x.name)


@LAYOUTS
def test_cifar_archives_read_as_published(tmp_path, layout):
  path = write_tar(tmp_path / "download.tar.gz", contents(layout))
  assert cifar.recognise(path) == layout
  written = batches(layout)
  for split, names in layout.splits.items():
    data = cifar.load(path, split)
    images = np.concatenate([upright(written[name][0]) for name in names])
    labels = np.concatenate([written[name][1] for name in names])
    np.testing.assert_array_equal(data.inputs, images)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.classes == (NAMES if layout.num_classes == 10 else FINE)
    assert data.name == f"{layout.dataset}/{split}"


@LAYOUTS
def test_cifar_reads_the_unpacked_folder_too(tmp_path, layout):
  for name, content in contents(layout).items():
    (tmp_path / name).write_bytes(content)
  path = write_tar(tmp_path.with_suffix(".tar.gz"), contents(layout))
  np.testing.assert_array_equal(
    cifar.load(tmp_path, "test").inputs, cifar.load(path, "test").inputs
  )


@LAYOUTS
def test_every_damage_to_a_cifar_archive_is_a_clear_error(tmp_path, layout):
  whole = write_tar(tmp_path / "whole.tar.gz", contents(layout)).read_bytes()
  path = tmp_path / "cut.tar.gz"
  random = np.random.default_rng(3)
  for cut in [*random.integers(10, len(whole), 12), len(whole) - 1]:
    path.write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"cut\.tar\.gz"):
      cifar.load(path, "train")
  for place in random.integers(10, len(whole), 12):
    damaged = bytearray(whole)
    damaged[place] ^= 0x10
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"cut\.tar\.gz"):
      cifar.load(path, "train")


@LAYOUTS
def test_a_missing_or_short_batch_is_named(tmp_path, layout):
  files = contents(layout)
  victim = layout.splits["train"][-1]
  files[victim] = files[victim][:-3]
  path = write_tar(tmp_path / "a.tar.gz", files)
  with pytest.raises(ValueError, match=f"{victim} must"):
    cifar.load(path, "train")
  kept = {name: content for name, content in files.items() if name != victim}
  path = write_tar(tmp_path / "b.tar.gz", kept)
  with pytest.raises(ValueError, match=f"must hold {victim}"):
    cifar.load(path, "train")
  with pytest.raises(ValueError, match="split must be one of"):
    cifar.load(path, "validation", layout)


def test_a_label_or_a_name_that_does_not_fit_is_refused(tmp_path):
  binary, python = cifar.LAYOUTS[1], cifar.LAYOUTS[0]
  files = contents(binary)
  files["test_batch.bin"] = b"\x0a" + bytes(3072)
  path = write_tar(tmp_path / "a.tar.gz", files)
  with pytest.raises(ValueError, match=r"labels must be in \[0, 10\); got 10"):
    cifar.load(path, "test")
  files = contents(binary) | {binary.meta: b"cat\ndog\n"}
  path = write_tar(tmp_path / "b.tar.gz", files)
  with pytest.raises(ValueError, match="must name 10 classes; it names 2"):
    cifar.load(path, "test")
  batch = {"data": pixels(2, 0), "labels": [1]}
  files = contents(python) | {"test_batch": pickled(batch)}
  path = write_tar(tmp_path / "c.tar.gz", files)
  with pytest.raises(ValueError, match="labels must be a list of 2"):
    cifar.load(path, "test")
  batch = {"data": pixels(2, 0)[:, :-1], "labels": [1, 2]}
  files = contents(python) | {"test_batch": pickled(batch)}
  path = write_tar(tmp_path / "d.tar.gz", files)
  with pytest.raises(ValueError, match=r"bytes \[N, 3072\]; got \(2, 3071\)"):
    cifar.load(path, "test")


def test_two_files_of_one_name_are_not_chosen_between(tmp_path):
  path = tmp_path / "a.tar.gz"
  with tarfile.open(path, "w:gz") as archive:
    for folder in ("x", "y"):
      archive.addfile(tarfile.TarInfo(f"{folder}/test_batch"))
  with pytest.raises(ValueError, match="one file test_batch"):
    archives.read(path, ("test_batch",))


def zipped(path, files, method=zipfile.ZIP_DEFLATED, attributes=0):
  with zipfile.ZipFile(path, "w") as archive:
    for name, content in files.items():
      info = zipfile.ZipInfo(name)
      info.compress_type = method
      info.external_attr = attributes << 16
      archive.writestr(info, content)
  return path


def test_a_zip_reads_as_a_tar_does(tmp_path):
  files = {"a/": b"", "a/x.bin": bytes(5000), "a/y.bin": b"12"}
  for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    path = zipped(tmp_path / "x.zip", files, method)
    assert list(archives.entries(path)) == [
      ("a/", None),
      ("a/x.bin", bytes(5000)),
      ("a/y.bin", b"12"),
    ]
    assert archives.names(path) == ["a/x.bin", "a/y.bin"]


def test_odd_zips_are_refused(tmp_path):
  path = zipped(tmp_path / "x.zip", {"a.bin": b"1"}, zipfile.ZIP_LZMA)
  with pytest.raises(ValueError, match=r"a\.bin must be stored or deflated"):
    list(archives.entries(path))
  zipped(path, {"a.bin": b"/etc/passwd"}, attributes=stat.S_IFLNK)
  with pytest.raises(ValueError, match=r"a\.bin must be a file or a folder"):
    list(archives.entries(path))
  content = bytearray(zipped(path, {"a.bin": b"1"}).read_bytes())
  for head, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
    content[content.index(head) + flags] |= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match="without a password"):
    list(archives.entries(path))


def test_every_damage_to_a_zip_is_a_clear_error(tmp_path):
  random = np.random.default_rng(5)
  files = {f"{name}.bin": random.bytes(400) for name in "abc"}
  whole = zipped(tmp_path / "x.zip", files).read_bytes()
  expected = list(archives.entries(tmp_path / "x.zip"))
  path = tmp_path / "cut.zip"
  refused = 0
  for place in range(0, len(whole), 3):
    damaged = bytearray(whole)
    damaged[place] ^= 1 << place % 8
    path.write_bytes(damaged)
    try:
      # Dates, attributes and the like say nothing of names and contents.
      assert list(archives.entries(path)) == expected
    except ValueError as error:
      refused += str(path) in str(error)
    path.write_bytes(whole[:place])
    with pytest.raises(ValueError, match=r"cut\.zip"):
      list(archives.entries(path))
  assert refused > 400


# Pickles.


def test_the_plain_pickle_reads_values_as_written():
  value = {
    "labels": [1, 300, 70_000, -1],
    "data": pixels(2, 1),
    "name": "x",
    "none": [],
  }
  read = plain_pickle.loads(pickled(value), "batch")
  assert read["labels"] == value["labels"]
  assert read["name"] == b"x"
  assert read["none"] == []
  np.testing.assert_array_equal(read["data"], value["data"])


def test_a_memory_index_takes_no_memory():
  """Python's own loader makes room for 2^31 values, 34 GB, at once."""
  content = b"\x80\x02}r\xff\xff\xff\x7f."
  assert plain_pickle.loads(content, "batch") == {}


def test_the_test_writes_pickles_that_python_reads():
  value = {"labels": [1, 2], "data": pixels(2, 1)}
  # The bytes are ours, two lines above: nothing foreign is loaded.
  read = pickle.loads(pickled(value), encoding="bytes")
  np.testing.assert_array_equal(read[b"data"], value["data"])
  assert read[b"labels"] == [1, 2]


class Evil:
  def __reduce__(self):
    return (exec, ("raise SystemExit('ran')",))


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (pickle.dumps({"a": Evil()}, protocol=0), "not allowed"),
    (pickle.dumps({"a": Evil()}, protocol=2), "BINUNICODE is not allowed"),
    (b"\x80\x02c__builtin__\nexec\n.", "asks for '__builtin__ exec'"),
    (pickle.dumps({"a": Evil()}, protocol=4), "not allowed"),
    (b"\x80\x02cos\nsystem\nU\x02id\x85R.", "asks for 'os system'"),
    (b"\x80\x02cnumpy\nndarray\nK\x00\x85R.", "no array of unsigned bytes"),
    (b"\x80\x02cnumpy\ndtype\nU\x01OK\x00K\x01\x87R.", "no array of unsigned"),
    (b"\x80\x02}U\x01aK\x01s", "pickle exhausted"),
    (b"\x80\x02K\x01.", "it holds a int, no dictionary"),
    (b"\x80\x02}.extra", "bytes follow"),
    (b"\x80\x02}K\x01K\x02s.", "a key is no string"),
    (b"\x80\x02}U\x01ah\x07s.", "damaged or foreign"),
    (b"\x80\x02R.", "damaged or foreign"),
    (b"", "damaged or foreign"),
    (pickled({"a": pixels(1, 0)}).replace(b"M\x00\x0c", b"M\x01\x0c"), "shape"),
  ],
)  # fmt: skip
def test_foreign_pickles_are_refused_and_never_run(content, message):
  with pytest.raises(ValueError, match=message):
    plain_pickle.loads(content, "batch")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_pickles_raise_nothing_but_value_errors(data):
  whole = bytearray(pickled({"labels": [1, 300], "data": pixels(1, 0)[:, :40]}))
  for _ in range(data.draw(st.integers(1, 3))):
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
  # Anything but a ValueError fails the test by itself.
  with contextlib.suppress(ValueError):
    assert isinstance(plain_pickle.loads(bytes(whole), "batch"), dict)
