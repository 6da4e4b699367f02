"""Image files: the shape that most of them have, checks, and decoding."""

import collections
import io
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
LOSSY = ("JPEG",)
_FORMATS = ("JPEG", "PNG", "BMP")
CHANNELS = {"L": 1, "RGB": 3}
_SPARE = 16 << 20  # bytes that any image's pixels may have
_TIMES = 10  # and times its file
_TEXTS = 16  # packed texts and profiles of a PNG; each may become a megabyte
_SCANS = 100  # of a JPEG: each may go over every pixel
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
  """What the headers of many image files say.

  Attributes:
    shape: (H, W, C) of most; C = 3 if as many are in colour as are grey. None
      if no header could be read.
    formats: how many there are of each format, of those that can be read.
  """

  shape: tuple[int, int, int] | None
  formats: Mapping[str, int]


def _excess(content: bytes) -> str:
  """Names what makes a file costly to decode; empty if nothing does.

  Only bytes are counted: no decoder runs on a file that fails here.
  """
  if content.startswith(b"\x89PNG"):
    texts = sum(map(content.count, (b"zTXt", b"iTXt", b"iCCP")))
    return f"{texts} packed texts" if texts > _TEXTS else ""
  # JPEG escapes 0xff within pixel data, so 0xff 0xda is always a scan's start.
  scans = content.count(b"\xff\xda") if content[:2] == b"\xff\xd8" else 0
  return f"{scans} scans" if scans > _SCANS else ""


def check(
  content: bytes,
  name: str,
  shape: tuple[int, ...] | None,
  channels: Mapping[str, int] = CHANNELS,
) -> str:
  """Raises unless an image may be decoded; reads the header only.

  Args:
    content: of the file.
    name: for messages.
    shape: the shape it must have, (H, W, C), or in grey (H, W, 1); None takes
      any. In both cases the number of pixels is limited by the file's size.
    channels: of each mode that is allowed.

  Returns:
    The mode, as Pillow calls it.

  Raises:
    ValueError: if the image is damaged, has another format, mode or shape, or
      would cost far more to decode than its size suggests.
  """
  if excess := _excess(content):
    raise ValueError(
      f"{name} must be a plain image; it has {excess}: save it anew"
    )
  try:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
      (width, height), mode = image.size, image.mode
  except _FAULTS as error:
    raise _damaged(name, error) from error
  if mode not in channels:
    raise ValueError(
      f"{name} must be 8-bit grey or RGB without transparency or palette; its "
      f"mode is {mode}"
    )
  image_shape = (height, width, channels[mode])
  if shape is not None and image_shape not in (shape, (*shape[:2], 1)):
    raise ValueError(
      f"{name} must have the shape {shape} of most images; it has "
      f"{image_shape}: bring all images to one size and mode first"
    )
  if math.prod(image_shape) > _SPARE + _TIMES * len(content):
    raise ValueError(
      f"{name} has {len(content):,} bytes and claims {width} x {height} "
      f"pixels; {_TIMES} times its bytes and {_SPARE:,} are the most: cut it "
      "into smaller images, or save it without compression"
    )
  return mode


def _damaged(name: str, error: Exception) -> ValueError:
  return ValueError(
    f"{name} must be a whole image, one of {_FORMATS}; it is damaged, "
    f"truncated or foreign: {error}"
  )


def survey(pictures: Iterable[Picture]) -> Survey:
  """Returns the most common shape, and how many files each format has.

  Only headers are read. Damaged files are passed over: `decode` raises there.
  """
  sizes: collections.Counter[tuple[int, int]] = collections.Counter()
  modes: collections.Counter[tuple[tuple[int, int], str]] = (
    collections.Counter()
  )
  formats: collections.Counter[str] = collections.Counter()
  for picture in pictures:
    content = picture.read()
    if _excess(content):
      continue
    try:
      with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        size, mode, kind = image.size, image.mode, str(image.format)
    except _FAULTS:
      continue
    formats[kind] += 1
    sizes[size] += mode in CHANNELS
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
  content = picture.read()
  mode = check(content, picture.name, shape)
  try:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
      image.verify()  # PNG's checksums; the image cannot be decoded after it
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
      pixels = np.asarray(image)
  except _FAULTS as error:
    raise _damaged(picture.name, error) from error
  pixels = pixels.reshape(*pixels.shape[:2], CHANNELS[mode])
  if shape is not None and pixels.shape != shape:  # grey among colours
    pixels = np.repeat(pixels, 3, axis=2)
  return pixels
