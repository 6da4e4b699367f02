"""Writes npz files with a digest, and reads them with limits on their size.

An npz file is a zip archive of ``NAME.npy`` members, each a header and the
array's bits. Ours are stored, not compressed, and have one member more,
``__sha256__``: the digest of the names, dtypes, shapes and bits of all the
others. What an array was made from is the member ``__made_from__``, a JSON
text. ``numpy.load`` reads them all.

Nothing here trusts a size that a file claims: it is compared with the bytes
that are there before anything is read. No Python literal is evaluated and
nothing is unpickled.
"""

import io
import json
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from snnjax.storage import identity

SEAL = "__sha256__"
MADE_FROM = "__made_from__"
_MOST = 10_000  # members
_DIRECTORY = 4 << 20  # bytes of the archive's table of contents
_HEADER = 1 << 14  # bytes of an array's header
_UTF8 = 0x800  # the one flag a member may have
_ARRAY = re.compile(
  rb"\{'descr': '([<>|][biufcU]\d{1,9})', "
  rb"'fortran_order': (False|True), "
  rb"'shape': \(((?:\d{1,19}, ?)*\d{0,19})\), \} *\n"
)
# Of the end of the archive: marks, entries, bytes of the table of contents.
_END = struct.Struct("<4s4xHHI4x2x")
_END64 = struct.Struct("<4s20xQQQ8x")
_LOCATOR = struct.Struct("<4s4xQ4x")


class Content(NamedTuple):
  """What an npz file holds.

  Attributes:
    arrays: by name, less the members of this module's own.
    made_from: what they were made from; None where that is not said.
  """

  arrays: dict[str, np.ndarray]
  made_from: Mapping[str, str] | None


class Kind(NamedTuple):
  """The dtype and the shape that an array must have."""

  dtype: np.dtype
  shape: tuple[int, ...]

  def __str__(self) -> str:
    """As in ``float32 [3, 4]``."""
    return f"{self.dtype} {list(self.shape)}"


def write(
  stream: BinaryIO,
  arrays: Mapping[str, np.ndarray],
  made_from: Mapping[str, str] | None = None,
) -> None:
  """Writes arrays as an npz file; equal ones give equal bytes.

  Args:
    stream: an open file.
    arrays: by name; booleans, numbers and texts, no objects.
    made_from: what they were made from, by name a SHA-256.

  Raises:
    OSError: the stream cannot be written.
    ValueError: an array holds objects or is structured, or a name is this
      module's own.
  """
  stored = {}
  for name, value in arrays.items():
    if name in (SEAL, MADE_FROM):
      raise ValueError(f"no array may be named {name!r}")
    stored[name] = array = np.asarray(value, order="C")
    if array.dtype.kind not in "biufcU":
      raise ValueError(
        f"{name} must be an array of numbers or texts; got {array.dtype}, "
        "which is an Object or structured"
      )
  if made_from is not None:
    stored[MADE_FROM] = np.asarray(json.dumps(made_from, sort_keys=True))
  stored[SEAL] = np.asarray(identity.of_arrays(stored))
  with zipfile.ZipFile(stream, "w") as archive:
    for name, array in stored.items():
      # The default date is a constant; `np.savez` takes no name "file".
      entry = zipfile.ZipInfo(f"{name}.npy")
      with archive.open(entry, "w", force_zip64=True) as member:
        np.lib.format.write_array(
          member, array, version=(1, 0), allow_pickle=False
        )


def read(content: bytes) -> Content:
  """Reads an npz file that `write` wrote.

  Args:
    content: the whole file.

  Raises:
    ValueError: it holds anything but what was written; the message says what
      is wrong, not in which file.
  """
  arrays = _arrays(content, None)
  seal = arrays.pop(SEAL, None)
  if seal is None:
    raise ValueError(f"it has no {SEAL}: snnjax did not write it, or it is cut")
  if seal.shape or str(seal) != identity.of_arrays(arrays):
    raise ValueError("the SHA-256 of its arrays differs from what was written")
  noted = arrays.pop(MADE_FROM, None)
  made_from = None
  if noted is not None:
    try:
      made_from = json.loads(str(noted))
    except RecursionError:
      raise ValueError(f"{MADE_FROM} is nested too deep") from None
    if not identity.well_formed(made_from):
      raise ValueError(f"{MADE_FROM} is no mapping of digests")
  return Content(arrays, made_from)


def read_foreign(
  content: bytes, expected: Mapping[str, Kind]
) -> dict[str, np.ndarray]:
  """Reads known arrays of an npz file that something else wrote.

  Members may be compressed: none is unpacked beyond the size that its array
  must have.

  Args:
    content: the whole file.
    expected: what must be in it, and nothing else.

  Raises:
    ValueError: it holds anything else, or is damaged; the message says what
      is wrong, not in which file.
  """
  return _arrays(content, expected)


def _arrays(
  content: bytes, expected: Mapping[str, Kind] | None
) -> dict[str, np.ndarray]:
  """Every member's array; those of ours where nothing is `expected`."""
  _check_directory(content)
  arrays = {}
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      members = archive.infolist()
      names = [member.filename.removesuffix(".npy") for member in members]
      _check_names(names, members, expected)
      _check_sizes(members, len(content), expected)
      for name, member in zip(names, members, strict=True):
        with archive.open(member) as stream:
          data = stream.read(member.file_size + 1)
        if len(data) != member.file_size:
          raise ValueError(f"{name!r} is not as long as the archive says")
        arrays[name] = _array(name, data)
        if expected is not None and _kind(arrays[name]) != expected[name]:
          raise ValueError(
            f"{name!r} is {_kind(arrays[name])}, not {expected[name]}"
          )
  except MemoryError:
    raise
  except Exception as error:  # zipfile has many, some of other modules
    text = " ".join(str(error).split())[:300]
    raise ValueError(text or type(error).__name__) from None
  return arrays


def _kind(array: np.ndarray) -> Kind:
  return Kind(array.dtype, array.shape)


def _check_directory(content: bytes) -> None:
  """Bounds the table of contents before anything parses it."""
  if len(content) < _END.size:
    raise ValueError(f"it has {len(content)} bytes")
  mark, _, count, size = _END.unpack(content[-_END.size :])
  if mark != b"PK\5\6":
    raise ValueError("it does not end as an npz file does")
  before = len(content) - _END.size - _LOCATOR.size
  if before >= 0 and (count == 0xFFFF or size == 0xFFFFFFFF):
    mark, place = _LOCATOR.unpack(content[before : before + _LOCATOR.size])
    end = content[place : place + _END64.size]
    if mark == b"PK\6\7" and len(end) == _END64.size:
      mark, _, count, size = _END64.unpack(end)
    if mark != b"PK\6\6":
      raise ValueError("its table of contents is not where it says")
  if count > _MOST or size > _DIRECTORY:
    raise ValueError(
      f"it claims {count} arrays in {size} bytes of names; {_MOST} and "
      f"{_DIRECTORY} are the most"
    )


def _check_names(
  names: list[str],
  members: list[zipfile.ZipInfo],
  expected: Mapping[str, Kind] | None,
) -> None:
  for name, member in zip(names, members, strict=True):
    if not member.filename.endswith(".npy"):
      raise ValueError(f"its member {member.filename[:80]!r} is no array")
    if member.flag_bits & ~_UTF8 or member.is_dir():
      raise ValueError(f"{name[:80]!r} is encrypted or no file")
  if len(set(names)) != len(names):
    raise ValueError("two of its arrays have one name")
  if expected is None:
    return
  for label, some in (
    ("lacks", expected.keys() - set(names)),
    ("has besides", set(names) - expected.keys()),
  ):
    if some:
      shown = ", ".join(repr(name[:80]) for name in sorted(some)[:5])
      more = f" and {len(some) - 5} more" if len(some) > 5 else ""
      raise ValueError(f"it {label} {shown}{more}")


def _check_sizes(
  members: list[zipfile.ZipInfo],
  size: int,
  expected: Mapping[str, Kind] | None,
) -> None:
  """Raises if a member claims more bytes than the file or its shape has."""
  if expected is None:
    for member in members:
      stored = member.compress_type == zipfile.ZIP_STORED
      if not stored or member.compress_size != member.file_size:
        raise ValueError(f"{member.filename[:80]!r} is compressed")
    claimed = sum(member.file_size for member in members)
    if claimed > size:
      raise ValueError(f"it claims {claimed} bytes and has {size}")
    return
  for member in members:
    kind = expected[member.filename.removesuffix(".npy")]
    most = math.prod(kind.shape) * kind.dtype.itemsize + _HEADER
    if member.file_size > most:
      raise ValueError(
        f"{member.filename[:80]!r} claims {member.file_size} bytes; {most} "
        "are the most"
      )


def _array(name: str, data: bytes) -> np.ndarray:
  """Reads one member: a header of known form, and exactly its data."""
  end = 10 + int.from_bytes(data[8:10], "little")
  if data[:8] != b"\x93NUMPY\x01\x00" or not 10 < end <= _HEADER:
    raise ValueError(f"{name!r} does not begin as an array does")
  match = _ARRAY.fullmatch(data[10:end])
  if match is None:
    raise ValueError(f"{name!r} has a header that is not an array's")
  dtype = np.dtype(match[1].decode())
  shape = tuple(int(size) for size in match[3].split(b",") if size.strip())
  size_needed = math.prod(shape) * dtype.itemsize
  if len(data) - end != size_needed:
    raise ValueError(
      f"{name!r} has {len(data) - end} bytes of data, and {dtype} "
      f"{list(shape)} takes {size_needed}"
    )
  order: Any = "F" if match[2] == b"True" else "C"
  flat = np.frombuffer(data, dtype, offset=end)
  return flat.reshape(shape, order=order).copy()
