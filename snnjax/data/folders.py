"""Folders of images, `split/class/file`, and tars of such folders."""

import io
import pathlib
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from snnjax.data import archives

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_FORMATS = ("JPEG", "PNG", "BMP")
_CHANNELS = {"L": 1, "RGB": 3}


class Picture(NamedTuple):
  """One image file.

  Attributes:
    label: the class' name.
    name: the file's, for messages and for the order.
    read: returns the content.
  """

  label: str
  name: str
  read: Callable[[], bytes]


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
  entries = (e for e in folder.iterdir() if not e.name.startswith("."))
  return sorted(entries, key=lambda entry: entry.name)


def _stem(path: pathlib.Path) -> str:
  return path.name.partition(".tar")[0].removesuffix(".tgz")


def splits(path: pathlib.Path) -> Mapping[str, pathlib.Path]:
  """Returns the splits of a folder of images; empty if it is none.

  A split is a subfolder of subfolders, or a compressed tar called after it:
  `train.tar.xz`. A single such tar is one split. What begins with a dot is
  not looked at.

  Args:
    path: a folder, or a compressed tar.
  """
  if path.is_file():
    return {_stem(path): path} if archives.is_archive(path) else {}
  found: dict[str, pathlib.Path] = {}
  for entry in _visible(path):
    if entry.is_dir() and any(inner.is_dir() for inner in _visible(entry)):
      found[entry.name] = entry
    elif archives.is_archive(entry):
      found.setdefault(_stem(entry), entry)  # unpacked beside it: the same
  return found


def _check_suffix(where: str, name: str) -> None:
  if not name.lower().endswith(SUFFIXES):
    raise ValueError(
      f"{where}: {name} must be an image, one of {SUFFIXES}; remove it or "
      "convert it"
    )


def _from_folder(folder: pathlib.Path) -> Iterator[Picture]:
  for group in _visible(folder):
    if not group.is_dir():
      raise ValueError(
        f"{folder} must hold one folder per class; {group.name} is a file"
      )
    for path in _visible(group):
      _check_suffix(str(group), path.name)
      yield Picture(group.name, str(path), path.read_bytes)


def _from_archive(path: pathlib.Path) -> Iterator[Picture]:
  for name, content in archives.members(path):
    parts = name.split("/")
    if parts[-1].startswith("."):
      continue
    _check_suffix(str(path), name)
    if len(parts) < 2:
      raise ValueError(f"{path}: {name} must lie in a folder, its class")
    kept = io.BytesIO(content).getvalue
    yield Picture(parts[-2], f"{path}: {name}", kept)


def pictures(path: pathlib.Path) -> list[Picture]:
  """Lists one split's images, sorted by class and name.

  Args:
    path: a folder of folders, or a compressed tar of one, whose files are
      then held in memory as they are, compressed.

  Raises:
    ValueError: if a file lies elsewhere or is no image, a tar is damaged, or
      there is no image.
  """
  found = _from_folder(path) if path.is_dir() else _from_archive(path)
  listed = sorted(found, key=lambda picture: picture[:2])
  if not listed:
    raise ValueError(f"{path} must hold class/image files; it holds none")
  return listed


def decode(picture: Picture, shape: tuple[int, ...] | None) -> np.ndarray:
  """Decodes one image.

  Args:
    picture: the file.
    shape: what it must be, (H, W, C); None takes any. A grey image among
      images in colour (C = 3) gets three equal channels.

  Returns:
    Pixels [H, W, C] uint8, C = 1 for grey and 3 for colour.

  Raises:
    ValueError: if the image is damaged, of another format, mode or shape.
  """
  try:
    content = picture.read()
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
      image.verify()  # PNG's checksums; the image cannot be decoded after it
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
      mode = image.mode
      pixels = np.asarray(image)
  except (
    OSError,  # Pillow's own error is one
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
  ) as error:
    raise ValueError(
      f"{picture.name} must be a whole image, one of {_FORMATS}; it is "
      f"damaged, truncated or foreign: {error}"
    ) from error
  if mode not in _CHANNELS:
    raise ValueError(
      f"{picture.name} must be 8-bit grey or RGB without transparency or "
      f"palette; its mode is {mode}"
    )
  pixels = pixels.reshape(*pixels.shape[:2], _CHANNELS[mode])
  if shape is not None and shape == (*pixels.shape[:2], 3) and mode == "L":
    pixels = np.repeat(pixels, 3, axis=2)
  if shape is not None and pixels.shape != shape:
    raise ValueError(
      f"{picture.name} must have the shape {shape} of the first image; it has "
      f"{pixels.shape}: bring all images to one size and mode first"
    )
  return pixels
