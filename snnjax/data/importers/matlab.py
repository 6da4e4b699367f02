"""Numeric arrays of MATLAB 5.0 files, checked before every step.

A file is a header of 128 bytes, then elements: a tag (type, length), the
content, padding to 8 bytes; a content of at most 4 bytes may stand inside its
tag. A matrix is an element of elements: flags, dimensions, name, values; a
compressed element is a zlib stream of one. SciPy reads all of MATLAB's types,
but ends the process on some damaged files (1.17.1: segmentation fault); this
reads real numeric arrays, alone or in structures, and raises ValueError on
anything else.

References:
  The MathWorks, "MAT-File Format", 2018 (level 5).
"""

import math
import pathlib
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from snnjax.data import size_limits

_HEADER = 128
_START = 1 << 10  # bytes of a zlib stream that hold its first eight
_MAGIC = b"MATLAB 5.0 MAT-file"
_COMPRESSED = 15
_MATRIX = 14
_INT8, _INT32, _UINT32 = 1, 5, 6
_STRUCTURE = 2
_STORED = {  # the element's type code
  1: "i1",
  2: "u1",
  3: "i2",
  4: "u2",
  5: "i4",
  6: "u4",
  7: "f4",
  9: "f8",
  12: "i8",
  13: "u8",
}
_CLASSES = {  # the matrix' class code
  6: np.float64,
  7: np.float32,
  8: np.int8,
  9: np.uint8,
  10: np.int16,
  11: np.uint16,
  12: np.int32,
  13: np.uint32,
  14: np.int64,
  15: np.uint64,
}
_COMPLEX = 0x800


class _Element(NamedTuple):
  """A type code and its content."""

  code: int
  content: memoryview


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
  begin = 0
  while begin < len(content):
    if begin + 8 > len(content):
      raise ValueError("it ends inside a tag")
    code, size = struct.unpack_from(f"{order}2I", content, begin)
    start, after = begin + 8, begin + 8 + size
    if code >> 16:  # the length stands in the tag's upper half
      code, size = code & 0xFFFF, code >> 16
      start, after = begin + 4, begin + 8
      if size > 4:
        raise ValueError(f"a short element claims {size} bytes")
    elif code != _COMPRESSED:
      after += -size % 8
    if start + size > len(content):
      raise ValueError(f"it ends inside an element of {size} bytes")
    yield _Element(code, content[start : start + size])
    begin = after


def _inflate(
  content: memoryview, order: str, budget: size_limits.Budget
) -> memoryview:
  """Unpacks one element; raises if it is longer or shorter than its tag says.

  The tag is unpacked first, and the rest only as far as the tag announces, so
  that a small file cannot fill the memory.
  """
  tag = zlib.decompressobj().decompress(content[:_START], 8)
  if len(tag) < 8:
    raise ValueError("a compressed element is damaged")
  code, size = struct.unpack(f"{order}2I", tag)
  most = 8 if code >> 16 else 8 + size + -size % 8
  budget.take(most)
  stream = zlib.decompressobj()
  inflated = stream.decompress(content, most)
  # The last bytes can be out before zlib has read the stream's own end.
  more = stream.decompress(stream.unconsumed_tail, 1)
  if more or not stream.eof or stream.unused_data:
    raise ValueError("a compressed element is damaged")
  return memoryview(inflated)


def _values(element: _Element, order: str) -> np.ndarray:
  if element.code not in _STORED:
    raise ValueError(f"type code {element.code} is not numeric")
  dtype = np.dtype(order + _STORED[element.code])
  if len(element.content) % dtype.itemsize:
    raise ValueError(f"{len(element.content)} bytes are no whole numbers")
  return np.frombuffer(element.content, dtype)


def _array(
  title: str,
  bits: int,
  shape: tuple[int, ...],
  stored: _Element,
  order: str,
  budget: size_limits.Budget,
) -> np.ndarray:
  kind = bits & 0xFF
  if kind not in _CLASSES or bits & _COMPLEX:
    raise ValueError(f"{title} must be real numbers; its class is {kind}")
  values = _values(stored, order)
  if values.size != math.prod(shape):
    raise ValueError(f"{title} must have {shape} values; it has {values.size}")
  budget.take(values.size * np.dtype(_CLASSES[kind]).itemsize)
  array = values.astype(_CLASSES[kind], copy=False)
  if array is not values and not np.array_equal(array, values):
    raise ValueError(f"the values of {title} do not fit its class")
  return array.reshape(shape, order="F")


def _fields(title: str, parts: Iterator[_Element], order: str) -> list[str]:
  """The names of a structure's fields, which come before their values."""
  size, texts = (next(parts, _Element(0, memoryview(b""))) for _ in range(2))
  if (size.code, texts.code) != (_INT32, _INT8):
    raise ValueError(f"the structure {title} does not name its fields")
  lengths = _values(size, order)
  length = int(lengths[0]) if len(lengths) == 1 else 0
  if length < 1 or len(texts.content) % length:
    raise ValueError(f"the structure {title} does not name its fields")
  padded = bytes(texts.content).decode("latin-1")
  return [
    padded[at : at + length].partition("\0")[0]
    for at in range(0, len(padded), length)
  ]


def _matrix(
  content: memoryview,
  names: Collection[str],
  order: str,
  budget: size_limits.Budget,
  title: str = "",
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields the arrays among `names`: this matrix, or fields of a structure.

  Args:
    content: of the matrix.
    names: which to read, fields as "structure.field".
    order: of the bytes.
    budget: of the file.
    title: what a structure calls it; its own name if empty.
  """
  parts = _elements(content, order)
  flags, lengths, name = (next(parts, _Element(0, content)) for _ in range(3))
  if (flags.code, lengths.code, name.code) != (_UINT32, _INT32, _INT8):
    raise ValueError("a matrix does not begin with flags, sizes and name")
  title = title or bytes(name.content).decode("latin-1")
  inside = any(name_wanted.startswith(f"{title}.") for name_wanted in names)
  if title not in names and not inside:
    return
  numbers = _values(flags, order)
  bits = int(numbers[0]) if len(numbers) else 0
  shape = tuple(int(length) for length in _values(lengths, order))
  if len(shape) < 2 or min(shape) < 0:
    raise ValueError(f"{title} has no shape")
  if bits & 0xFF == _STRUCTURE and inside:
    if shape != (1, 1):
      raise ValueError(f"the structure {title} must be one; it is {shape}")
    for field in _fields(title, parts, order):
      value = next(parts, None)
      if value is None or value.code != _MATRIX:
        raise ValueError(f"the structure {title} lacks its field {field}")
      yield from _matrix(
        value.content, names, order, budget, f"{title}.{field}"
      )
    return
  stored = next(parts, None)
  if stored is None:
    raise ValueError(f"{title} has no values")
  yield title, _array(title, bits, shape, stored, order, budget)


def read(
  path: str | pathlib.Path, names: Collection[str]
) -> dict[str, np.ndarray]:
  """Reads arrays out of a MATLAB 5.0 file.

  Args:
    path: the file, of either byte order, compressed or not.
    names: which variables to read, "x", or fields of structures, "x.y.z";
      others are passed over.

  Returns:
    Those that are there, in the shapes MATLAB has.

  Raises:
    ValueError: if it is no such file, is damaged or truncated, unpacks to far
      more than its size, or a wanted variable is no array of real numbers.
    FileNotFoundError: if there is no such file.
  """
  path = pathlib.Path(path)
  content = memoryview(path.read_bytes())
  orders = {b"IM": "<", b"MI": ">"}
  order = orders.get(bytes(content[_HEADER - 2 : _HEADER]))
  if bytes(content[: len(_MAGIC)]) != _MAGIC or order is None:
    raise ValueError(
      f"{path} must be a MATLAB 5.0 file; it starts with "
      f"{bytes(content[: len(_MAGIC)])!r}"
    )
  arrays: dict[str, np.ndarray] = {}
  budget = size_limits.Budget(path, len(content))
  try:
    for element in _elements(content[_HEADER:], order):
      inner = [element]
      if element.code == _COMPRESSED:
        inflated = _inflate(element.content, order, budget)
        inner = list(_elements(inflated, order))
      for code, matrix in inner:
        if code != _MATRIX:
          raise ValueError(f"type code {code} is no variable")
        arrays.update(_matrix(matrix, names, order, budget))
  except size_limits.TooLargeError:
    raise
  except (ValueError, zlib.error) as error:
    raise ValueError(
      f"{path} must be a whole MATLAB 5.0 file; it is damaged or truncated: "
      f"{error}"
    ) from error
  return arrays
