"""Image files: what most of them are, and their pixels."""

import collections
import io
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
LOSSY = ("JPEG",)
_FORMATS = ("JPEG", "PNG", "BMP")
_CHANNELS = {"L": 1, "RGB": 3}
_FAULTS = (
  OSError,  # Pillow's own error is one
  ValueError,
  SyntaxError,
  EOFError,
  struct.error,
  zlib.error,
  Image.DecompressionBombError,
)


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


class Survey(NamedTuple):
  """What many image files are, of their headers.

  Attributes:
    shape: (H, W, C) of most; C = 3 if as many are in colour as are grey. None
      if no header could be read.
    formats: how many there are of each format, of those that can be read.
  """

  shape: tuple[int, int, int] | None
  formats: Mapping[str, int]


def survey(pictures: Iterable[Picture]) -> Survey:
  """Reads every image's header; damaged ones are left to `decode`."""
  sizes: collections.Counter[tuple[int, int]] = collections.Counter()
  modes: collections.Counter[tuple[tuple[int, int], str]] = (
    collections.Counter()
  )
  formats: collections.Counter[str] = collections.Counter()
  for picture in pictures:
    try:
      with Image.open(io.BytesIO(picture.read()), formats=_FORMATS) as image:
        size, mode, kind = image.size, image.mode, str(image.format)
    except _FAULTS:
      continue
    formats[kind] += 1
    sizes[size] += mode in _CHANNELS
    modes[size, mode] += 1
  if not +sizes:
    return Survey(None, dict(formats))
  (size, _), *_ = sizes.most_common(1)
  channels = 3 if modes[size, "RGB"] >= modes[size, "L"] else 1
  return Survey((size[1], size[0], channels), dict(formats))


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
  except _FAULTS as error:
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
      f"{picture.name} must have the shape {shape} of most images; it has "
      f"{pixels.shape}: bring all images to one size and mode first"
    )
  return pixels
