"""Readers of downloads: CIFAR, SVHN, folders of images, and what they refuse.

The files are written here in the layouts their publishers use: Python 2's
pickles byte for byte, binary records, MATLAB 5.0, JPEG and PNG folders.
"""

import contextlib
import io
import pickle
import string
import struct
import tarfile

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from snnjax.data import (
  archives,
  cifar,
  folders,
  matlab,
  plain_pickle,
  sources,
  svhn,
)

NAMES = tuple(string.ascii_lowercase[:10])
FINE = tuple(f"fine{number:02d}" for number in range(100))


# Python 2's pickle, protocol 2, as cPickle wrote the published batches.


def memo(state):
  state.append(len(state))
  return b"q" + bytes([state[-1]]) if len(state) <= 256 else b""


def text(value, state):
  raw = value.encode() if isinstance(value, str) else value
  if len(raw) < 256:
    return b"U" + bytes([len(raw)]) + raw + memo(state)
  return b"T" + struct.pack("<i", len(raw)) + raw


def number(value):
  if 0 <= value < 256:
    return b"K" + bytes([value])
  if 0 <= value < 65536:
    return b"M" + struct.pack("<H", value)
  return b"J" + struct.pack("<i", value)


def array(value, state):
  lengths = b"".join(number(length) for length in value.shape)
  return (
    b"cnumpy.core.multiarray\n_reconstruct\n" + memo(state)
    + b"cnumpy\nndarray\n" + memo(state)
    + b"K\x00\x85" + memo(state) + text("b", state) + b"\x87R" + memo(state)
    + b"(K\x01" + lengths + b"\x86" + memo(state)
    + b"cnumpy\ndtype\n" + memo(state) + text("u1", state)
    + b"K\x00K\x01\x87R" + memo(state) + b"(K\x03" + text("|", state)
    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    + text(value.tobytes(), state) + b"tb"
  )  # fmt: skip


def encode(value, state):
  if isinstance(value, dict):
    items = b"".join(
      text(key, state) + encode(item, state) for key, item in value.items()
    )
    return b"}" + memo(state) + b"(" + items + b"u"
  if isinstance(value, list):
    items = b"".join(encode(item, state) for item in value)
    return b"]" + memo(state) + b"(" + items + b"e"
  if isinstance(value, np.ndarray):
    return array(value, state)
  return number(value) if isinstance(value, int) else text(value, state)


def pickled(value):
  return b"\x80\x02" + encode(value, [0]) + b"."


# The published layouts.


def pixels(count, seed):
  random = np.random.default_rng(seed)
  return random.integers(0, 256, (count, 3072), np.uint8)


def batches(layout):
  """File name -> (pixels, labels) of every batch of a layout."""
  listed = [name for split in layout.splits.values() for name in split]
  return {
    name: (pixels(4, seed), [seed, 7, 0, layout.num_classes - 1])
    for seed, name in enumerate(listed)
  }


def contents(layout):
  files = {}
  for name, (image, labels) in batches(layout).items():
    if layout.labels is None:
      coarse = [[9]] * len(labels) if layout.label_bytes == 2 else None
      columns = np.array(labels, np.uint8)[:, None]
      head = columns if coarse is None else np.hstack([coarse, columns])
      files[name] = np.hstack([head.astype(np.uint8), image]).tobytes()
    else:
      batch = {
        "batch_label": "training batch 1 of 5",
        layout.labels: labels,
        "data": image,
        "filenames": ["a.png", "b.png"],
      }
      if layout.num_classes == 100:
        batch["coarse_labels"] = [1] * len(labels)
      files[name] = pickled(batch)
  names = NAMES if layout.num_classes == 10 else FINE
  if layout.meta_key is None:
    files[layout.meta] = ("\n".join(names) + "\n\n").encode()
  else:
    files[layout.meta] = pickled(
      {layout.meta_key: list(names), "num_vis": 3072}
    )
  return files


def write_tar(path, files, folder="cifar", mode="w:gz"):
  with tarfile.open(path, mode) as archive:
    for name, content in files.items():
      member = tarfile.TarInfo(f"{folder}/{name}")
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))
  return path


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


# SVHN.


def write_svhn(folder, split, count, seed=0, compressed=True):
  random = np.random.default_rng(seed)
  images = random.integers(0, 256, (32, 32, 3, count), np.uint8)
  labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
  path = folder / f"{split}_32x32.mat"
  scipy.io.savemat(path, {"X": images, "y": labels}, do_compression=compressed)
  return path, images, labels


@pytest.mark.parametrize("compressed", [True, False])
def test_svhn_reads_as_published(tmp_path, compressed):
  path, images, labels = write_svhn(tmp_path, "train", 12, 0, compressed)
  data = svhn.load(tmp_path, "train")
  for index in range(12):
    np.testing.assert_array_equal(data.inputs[index], images[:, :, :, index])
  assert labels[9] == 10
  assert data.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
  assert data.inputs.flags.c_contiguous
  assert svhn.load(path, "train").name == "svhn_cropped/train"


@pytest.mark.parametrize(
  ("variables", "message"),
  [
    ({"X": np.zeros((32, 32, 3, 2), np.uint8)}, r"X and y; it holds \['X'\]"),
    ({"X": np.zeros((32, 31, 3, 2), np.uint8), "y": np.ones((2, 1))}, "32, 31"),
    ({"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1))}, "uint8"),
    (
      {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1))},
      r"y must be numbers \[2, 1\]",
    ),
    (
      {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[1], [0]])},
      "from 1 to 10; got 0",
    ),
    (
      {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[1.5], [1]])},
      "got 1.5",
    ),
    ({"X": "text", "y": np.ones((2, 1))}, "X must be real numbers"),
    (
      {"X": np.ones((2, 2), np.complex64), "y": np.ones((2, 1))},
      "real numbers",
    ),
  ],
)
def test_other_matlab_files_are_refused(tmp_path, variables, message):
  scipy.io.savemat(tmp_path / "test_32x32.mat", variables)
  with pytest.raises(ValueError, match=message):
    svhn.load(tmp_path, "test")


@pytest.mark.parametrize("compressed", [True, False])
def test_matlab_files_read_as_scipy_reads_them(tmp_path, compressed):
  random = np.random.default_rng(0)
  variables = {
    name: random.integers(0, 100, shape).astype(dtype)
    for name, dtype, shape in (
      ("a", np.uint8, (3, 4, 5)), ("b", np.int16, (1, 7)),
      ("c", np.int8, (2, 2)), ("d", np.float64, (4, 1)),
      ("e", np.float32, (2, 3)), ("f", np.uint16, (3, 3)),
      ("g", np.int64, (1, 1)), ("long_name", np.uint32, (5, 1)),
    )
  } | {"text": "skipped", "h": np.array([[0.5, -1e300]])}  # fmt: skip
  path = tmp_path / "x.mat"
  scipy.io.savemat(path, variables, do_compression=compressed)
  wanted = set(variables) - {"text"}
  read = matlab.read(path, wanted)
  assert set(read) == wanted
  for name, value in scipy.io.loadmat(path, variable_names=wanted).items():
    if name in wanted:
      np.testing.assert_array_equal(read[name], value)
      assert read[name].dtype == value.dtype


@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_matlab_files_raise_nothing_but_value_errors(
  tmp_path, compressed
):
  path, _, _ = write_svhn(tmp_path, "train", 1, 0, compressed)
  whole = path.read_bytes()
  random = np.random.default_rng(1)
  for _ in range(300):
    damaged = bytearray(whole)
    for place in random.integers(
      0, min(len(whole), 320), random.integers(1, 4)
    ):
      damaged[place] = random.integers(256)
    path.write_bytes(damaged[: random.integers(1, len(whole) * 2)])
    with contextlib.suppress(ValueError):
      assert svhn.load(path, "train").inputs.shape[1:] == (32, 32, 3)
  for cut in (0, 100, 128, 131, len(whole) // 2, len(whole) - 9):
    path.write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"train_32x32\.mat"):
      svhn.load(path, "train")


def test_svhn_names_what_is_missing(tmp_path):
  with pytest.raises(FileNotFoundError, match="test_32x32"):
    svhn.load(tmp_path, "test")
  with pytest.raises(ValueError, match="split must be one of"):
    svhn.load(tmp_path, "validation")


# Folders of images.


def write_images(root, counts, size=(6, 5), mode="RGB", suffix=".png"):
  """Writes split/class/NNNN files; returns their pixels by path."""
  random = np.random.default_rng(0)
  shape = (*size, 3) if mode == "RGB" else size
  written = {}
  for folder, count in counts.items():
    (root / folder).mkdir(parents=True)
    for index in range(count):
      image = random.integers(0, 256, shape, np.uint8)
      name = f"{folder}/{index:04d}{suffix}"
      Image.fromarray(image).save(root / name)
      written[name] = image.reshape(*size, -1)
  return written


COUNTS = {"train/dog": 3, "train/cat": 2, "test/cat": 1, "test/dog": 1}


def collect(source, split):
  rows = list(source.splits[split]().rows)
  return np.stack([row[0] for row in rows]), [row[1] for row in rows]


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_folder_of_images_is_sorted_by_class_and_name(tmp_path, mode):
  written = write_images(tmp_path, COUNTS, mode=mode)
  source = sources.recognise(tmp_path, "pets")
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
  opened = sources.recognise(tmp_path / "open", "pets")
  shut = sources.recognise(tmp_path / "shut", "pets")
  one = sources.recognise(tmp_path / "shut" / "test.tar.xz", "pets")
  assert (shut.classes, set(one.splits)) == (opened.classes, {"test"})
  for split in ("train", "test"):
    images, labels = collect(opened, split)
    packed, packed_labels = collect(shut, split)
    np.testing.assert_array_equal(images, packed)
    assert labels == packed_labels
  path = tmp_path / "shut" / "test.tar.xz"
  path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(ValueError, match=r"test\.tar\.xz must be a whole"):
    sources.recognise(tmp_path / "shut", "pets")


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
  source = sources.recognise(tmp_path, "pets")
  with pytest.raises(ValueError, match=rf"9999\.png must .*{message}"):
    collect(source, "train")


def test_grey_among_colour_gets_three_channels_and_not_the_reverse(tmp_path):
  write_images(tmp_path / "a", COUNTS)
  grey = np.arange(30, dtype=np.uint8).reshape(6, 5)
  Image.fromarray(grey).save(tmp_path / "a/train/dog/9999.png")
  images, _ = collect(sources.recognise(tmp_path / "a", "pets"), "train")
  np.testing.assert_array_equal(images[-1], np.stack([grey] * 3, axis=-1))
  write_images(tmp_path / "b", COUNTS, mode="L")
  colour = np.zeros((6, 5, 3), np.uint8)
  Image.fromarray(colour).save(tmp_path / "b/train/dog/9999.png")
  with pytest.raises(ValueError, match=r"\(6, 5, 1\) of the first image"):
    collect(sources.recognise(tmp_path / "b", "pets"), "train")


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
  assert sources.recognise(tmp_path, "pets").splits["train"]().size == 5
  (tmp_path / name).write_bytes(b"x")
  with pytest.raises(ValueError, match=message):
    sources.recognise(tmp_path, "pets")


def test_real_photographs_unpacked_read_as_packed(tmp_path, shared):
  path = shared / "data" / "cifar10_jpeg" / "test.tar.xz"
  if not path.is_file():
    pytest.skip(f"no {path}")
  kept = 0
  for name, content in archives.members(path):
    if int(name[-8:-4]) % 40 == 0:
      (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / name).write_bytes(content)
      kept += 1
  source = sources.recognise(tmp_path, "cifar10_jpeg")
  images, labels = collect(source, "test")
  assert kept == len(images) == 250
  assert images.shape[1:] == (32, 32, 3)
  assert np.bincount(labels).tolist() == [25] * 10
  assert source.classes[0] == "airplane"
  assert source.classes[-1] == "truck"
  packed = folders.pictures(path)
  assert len(packed) == 10_000
  np.testing.assert_array_equal(folders.decode(packed[40], None), images[1])


# Finding out.


def write_idx(path, values):
  head = struct.pack(
    f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape
  )
  path.write_bytes(head + values.tobytes())


def write_mnist(folder, prefix="", splits=("train", "t10k")):
  folder.mkdir(exist_ok=True)
  for count, split in enumerate(splits, 3):
    images = np.arange(count * 784, dtype=np.uint8).reshape(count, 28, 28)
    write_idx(folder / f"{prefix}{split}-images-idx3-ubyte", images)
    labels = np.arange(1, count + 1, dtype=np.uint8)
    write_idx(folder / f"{prefix}{split}-labels-idx1-ubyte", labels)


def test_idx_folders_are_found_out_and_named(tmp_path):
  write_mnist(tmp_path / "a")
  source = sources.recognise(tmp_path / "a", "fashion_mnist")
  assert source.classes[9] == "Ankle boot"
  assert len(source.files) == 4
  images, labels = collect(source, "test")
  assert images.shape == (4, 28, 28, 1)
  assert labels == [1, 2, 3, 4]
  assert sources.recognise(tmp_path / "a", "mnist").classes[9] == "9"
  for name in ("letters", "digits"):
    write_mnist(tmp_path / "b", f"emnist-{name}-", ("train", "test"))
  letters = sources.recognise(tmp_path / "b", "emnist_letters")
  assert letters.classes[0] == "A"
  assert collect(letters, "train")[1] == [0, 1, 2]
  with pytest.raises(ValueError, match="several EMNIST sets"):
    sources.recognise(tmp_path / "b", "emnist")


def test_a_download_folder_with_one_archive_is_that_archive(tmp_path):
  layout = cifar.LAYOUTS[3]
  write_tar(tmp_path / "cifar-100-binary.tar.gz", contents(layout))
  source = sources.recognise(tmp_path, "cifar100")
  assert source.layout == layout.name
  assert source.splits["test"]().size == 4
  with pytest.raises(ValueError, match="must be cifar10; it is CIFAR-100"):
    sources.recognise(tmp_path, "cifar10")
  write_tar(tmp_path / "cifar-100-python.tar.gz", contents(cifar.LAYOUTS[2]))
  with pytest.raises(ValueError, match="several archives"):
    sources.recognise(tmp_path, "cifar100")


def test_what_is_nothing_known_or_several_is_said_to_be(tmp_path):
  with pytest.raises(FileNotFoundError, match="no file or folder"):
    sources.recognise(tmp_path / "nowhere", "x")
  (tmp_path / "x").mkdir()
  with pytest.raises(ValueError, match="it is none of these"):
    sources.recognise(tmp_path / "x", "x")
  (tmp_path / "x.tar.gz").write_bytes(b"no tar")
  with pytest.raises(ValueError, match="first bytes say it is none"):
    sources.recognise(tmp_path / "x.tar.gz", "x")
  (tmp_path / "x.bin").write_bytes(b"no tar")
  with pytest.raises(ValueError, match="it is none of these"):
    sources.recognise(tmp_path / "x.bin", "x")
  write_mnist(tmp_path / "x")
  write_svhn(tmp_path / "x", "test", 2)
  with pytest.raises(ValueError, match="IDX files and SVHN"):
    sources.recognise(tmp_path / "x", "x")
  source = sources.recognise(tmp_path / "x" / "test_32x32.mat", "x")
  assert set(source.splits) == {"test"}
  assert source.splits["test"]().size == 2
