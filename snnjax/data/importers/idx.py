"""IDX files, and folders of them: MNIST, Fashion-MNIST, EMNIST.

An IDX file is 0, 0, a type code, the number of axes, then each axis' length
as a big-endian 32-bit integer, then the values in C order, big-endian.

References:
  Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits",
  1998 (the format).
  H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", 2017, arXiv:1708.07747.
  G. Cohen, S. Afshar, J. Tapson, A. van Schaik, "EMNIST: an extension of
  MNIST to handwritten letters", 2017, arXiv:1702.05373.
"""

import io
import math
import pathlib
import string
from collections.abc import Callable

import numpy as np

from snnjax.arguments import check_array
from snnjax.data import dataset, size_limits

_TYPES = {
  0x08: ">u1",
  0x09: ">i1",
  0x0B: ">i2",
  0x0C: ">i4",
  0x0D: ">f4",
  0x0E: ">f8",
}
_AXES = 8  # the format has up to 255; images have 3
_DIGITS = tuple(string.digits)
_MERGED = (*string.digits, *string.ascii_uppercase, *"abdefghnqrt")
EMNIST_CLASSES = {
  "balanced": _MERGED,
  "bymerge": _MERGED,
  "byclass": (
    *string.digits,
    *string.ascii_uppercase,
    *string.ascii_lowercase,
  ),
  "digits": _DIGITS,
  "letters": tuple(string.ascii_uppercase),
  "mnist": _DIGITS,
}
_PREFIXES = {"train": "train", "test": "t10k"}
_KINDS = ("images-idx3", "labels-idx1")


def _open_reader(path: pathlib.Path) -> Callable[[int], bytes]:
  """Returns a function that reads the next bytes, unpacked if gzipped."""
  content = path.read_bytes()
  if content[:2] == b"\x1f\x8b":
    return size_limits.Unzipped(path, content).read
  stream = io.BytesIO(content)
  return lambda size: stream.read(min(size, len(content)))


def read_idx(path: str | pathlib.Path) -> np.ndarray:
  """Reads one IDX file, plain or gzip-compressed.

  Args:
    path: the file; compression is seen from its content, not its name.

  Returns:
    The array, in the machine's byte order.

  Raises:
    ValueError: if the magic number, the type or the length is wrong, or it
      unpacks to far more than its size.
    FileNotFoundError: if there is no such file.
  """
  path = pathlib.Path(path)
  read = _open_reader(path)
  magic = read(4)
  if len(magic) < 4 or magic[:2] != b"\0\0":
    raise ValueError(
      f"{path} must start with an IDX magic number (0, 0, type, axes); got "
      f"{magic!r}"
    )
  code, axes = magic[2], magic[3]
  if code not in _TYPES:
    allowed = ", ".join(f"0x{known:02x}" for known in _TYPES)
    raise ValueError(
      f"{path}: the IDX type code must be one of {allowed}; got 0x{code:02x}"
    )
  lengths = read(4 * axes)
  if not 1 <= axes <= _AXES or len(lengths) < 4 * axes:
    raise ValueError(
      f"{path} must have at least one axis, at most {_AXES}, and a header of 4 "
      f"+ 4 * axes bytes; got {axes} axes in a file of {4 + len(lengths)} bytes"
    )
  shape = tuple(map(int, np.frombuffer(lengths, ">u4")))
  dtype = np.dtype(_TYPES[code])
  size = math.prod(shape) * dtype.itemsize
  content = read(size)
  trailing = read(1)
  if len(content) < size or trailing:
    fault = "has trailing bytes" if trailing else "is truncated"
    begin = 4 + 4 * axes
    raise ValueError(
      f"{path} {fault}: its header says {dtype.name} {shape}, which takes "
      f"{begin + size} bytes; got {begin + len(content) + len(trailing)}"
      f"{' or more' if trailing else ''}"
    )
  values = np.frombuffer(content, dtype).reshape(shape)
  return values.astype(dtype.newbyteorder("="))


def _find(folder: pathlib.Path, prefix: str, kind: str) -> pathlib.Path | None:
  """The file as downloaded, gunzipped, or with a dot before "idx"."""
  for stem in (f"{prefix}-{kind}", f"{prefix}-{kind.replace('-', '.')}"):
    for suffix in ("-ubyte", "-ubyte.gz"):
      path = folder / (stem + suffix)
      if path.is_file():
        return path
  return None


def is_plain(folder: pathlib.Path) -> bool:
  """Returns whether a folder has files named as MNIST's (Fashion-MNIST's)."""
  return any(
    _find(folder, prefix, kind)
    for prefix in _PREFIXES.values()
    for kind in _KINDS
  )


def emnist_sets(folder: pathlib.Path) -> list[str]:
  """Returns which EMNIST sets a folder has files of, sorted."""
  return [
    name
    for name in sorted(EMNIST_CLASSES)
    if any(
      _find(folder, f"emnist-{name}-{split}", kind)
      for split in _PREFIXES
      for kind in _KINDS
    )
  ]


def _emnist_set(folder: pathlib.Path, chosen: str | None) -> str | None:
  """Which EMNIST set to read; None for the plain MNIST names."""
  if chosen is not None:
    if chosen not in EMNIST_CLASSES:
      raise ValueError(
        f"emnist must be one of {sorted(EMNIST_CLASSES)} or None; got "
        f"{chosen!r}"
      )
    return chosen
  if is_plain(folder):
    return None
  present = emnist_sets(folder)
  if len(present) > 1:
    raise ValueError(
      f"{folder} holds several EMNIST sets; emnist must name one of {present}"
    )
  return present[0] if present else None


def _check(
  images: np.ndarray, labels: np.ndarray, folder: pathlib.Path, prefix: str
) -> None:
  name = f"{folder}: {prefix}"
  count = check_array(f"{name} images", images, "uint8 [N, H, W]")["N"]
  advice = "There is one per image"
  check_array(f"{name} labels", labels, "uint8 [N]", advice, N=count)


def _read_pair(
  folder: pathlib.Path, prefix: str
) -> tuple[np.ndarray, np.ndarray]:
  arrays = []
  for kind in _KINDS:
    path = _find(folder, prefix, kind)
    if path is None:
      raise FileNotFoundError(
        f"{folder} must hold {prefix}-{kind}-ubyte, with or without .gz (or "
        "the same of one EMNIST set, emnist-<set>-train-...); there is none"
      )
    arrays.append(read_idx(path))
  images, labels = arrays
  _check(images, labels, folder, prefix)
  return images, labels


def _prefix(emnist: str | None, split: str) -> str:
  return f"emnist-{emnist}-{split}" if emnist else _PREFIXES[split]


def find_pair(
  folder: str | pathlib.Path, split: str, *, emnist: str | None = None
) -> tuple[pathlib.Path, ...]:
  """Returns the files of one split that are there, without reading them.

  Args:
    folder: where the files are.
    split: "train" or "test".
    emnist: as in `load_idx_folder`.

  Returns:
    The images' and the labels' file; fewer where they are missing.

  Raises:
    ValueError: as `load_idx_folder`, about the set.
  """
  folder = pathlib.Path(folder)
  prefix = _prefix(_emnist_set(folder, emnist), split)
  paths = (_find(folder, prefix, kind) for kind in _KINDS)
  return tuple(path for path in paths if path is not None)


def load_idx_folder(
  folder: str | pathlib.Path, split: str, *, emnist: str | None = None
) -> dataset.Dataset:
  """Loads MNIST, Fashion-MNIST or EMNIST from the files as downloaded.

  MNIST and Fashion-MNIST use the same names, `train-images-idx3-ubyte` and
  so on, so the data set is called after its folder. EMNIST's files,
  `emnist-<set>-train-images-idx3-ubyte`, hold transposed images: they are
  turned upright. The labels of its letters run from 1 to 26: they become 0 to
  25, A to Z. All may be gzip-compressed or not.

  Args:
    folder: where the files are.
    split: "train" or "test".
    emnist: which EMNIST set; needed only where the folder holds several, or
      holds MNIST beside it.

  Returns:
    Images [N, H, W, 1] uint8 with labels [N] int32.

  Raises:
    ValueError: if the split or set is unknown, a file is damaged, images and
      labels do not fit, or a label is out of range.
    FileNotFoundError: if a file is missing, naming it.
  """
  folder = pathlib.Path(folder)
  if split not in _PREFIXES:
    raise ValueError(f"split must be one of {sorted(_PREFIXES)}; got {split!r}")
  emnist = _emnist_set(folder, emnist)
  prefix = _prefix(emnist, split)
  images, labels = _read_pair(folder, prefix)
  labels = labels.astype(np.int32)
  if emnist:
    images = np.ascontiguousarray(images.swapaxes(1, 2))
  if emnist == "letters":
    labels -= 1
  classes = EMNIST_CLASSES[emnist] if emnist else _DIGITS
  name = f"emnist-{emnist}" if emnist else folder.resolve().name
  return dataset.validate(
    dataset.Dataset(
      images[..., None], labels, len(classes), f"{name}/{split}", classes
    )
  )
