"""Writes what publishers offer, in their layouts, for the tests of readers.

Python 2's pickles byte for byte, binary records, IDX, MATLAB 5.0, images.
"""

import io
import string
import struct
import tarfile

import numpy as np
import scipy.io
from PIL import Image

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


def write_svhn(folder, split, count, seed=0, compressed=True):
  random = np.random.default_rng(seed)
  images = random.integers(0, 256, (32, 32, 3, count), np.uint8)
  labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
  path = folder / f"{split}_32x32.mat"
  scipy.io.savemat(path, {"X": images, "y": labels}, do_compression=compressed)
  return path, images, labels


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


def write_idx(path, values):
  head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
  path.write_bytes(head + values.tobytes())


def write_mnist(folder, sizes=(7, 3), seed=0, prefix=None):
  """Writes both splits; returns {split: (images, labels)}."""
  folder.mkdir(exist_ok=True)
  stems = {"train": "train", "test": "t10k"}
  if prefix is not None:  # EMNIST
    stems = {split: f"{prefix}{split}" for split in stems}
  random = np.random.default_rng(seed)
  written = {}
  for (split, stem), size in zip(stems.items(), sizes, strict=True):
    images = random.integers(0, 256, (size, 28, 28), np.uint8)
    labels = (np.arange(1, size + 1) % 10).astype(np.uint8)
    write_idx(folder / f"{stem}-images-idx3-ubyte", images)
    write_idx(folder / f"{stem}-labels-idx1-ubyte", labels)
    written[split] = (images[..., None], labels)
  return written


def recording(seed, count=40):
  """Random events in the order of time: t, x, y, p of each, [count, 4]."""
  random = np.random.default_rng(seed)
  t = np.sort(random.integers(0, 300_000, count))
  t[0], t[-1] = 7, 300_000
  return np.stack([t, *random.integers(0, 34, (2, count)), t % 2], axis=-1)


def nmnist_bytes(listed):
  """Events t, x, y, p as N-MNIST's 40-bit words."""
  return b"".join(
    bytes([x, y, p << 7 | t >> 16, t >> 8 & 0xFF, t & 0xFF])
    for t, x, y, p in listed.tolist()
  )


def write_nmnist(folder, labels):
  """Writes the recordings of both splits; returns their events.

  Args:
    folder: where Train and Test will lie.
    labels: {split: digits}, the digit of each recording.

  Returns:
    {split: [events t, x, y, p of each recording]}.
  """
  written = {}
  for number, (split, digits) in enumerate(labels.items()):
    written[split] = [recording([number, n]) for n in range(1, len(digits) + 1)]
    pairs = zip(digits, written[split], strict=True)
    for n, (digit, listed) in enumerate(pairs, 1):
      place = folder / split.capitalize() / str(digit) / f"{n:05d}.bin"
      place.parent.mkdir(parents=True, exist_ok=True)
      place.write_bytes(nmnist_bytes(listed))
  return written
