"""Checks, from headers alone, how far an array_record file would unpack.

Such a file is a Riegeli file: blocks of 64 KiB, each with a header of its
own, and chunks laid across the blocks, each a header and compressed records.
The reader unpacks a whole chunk at once, to the size in the chunk's header.
So these sizes are checked here before the reader sees the file.

References:
  "Riegeli/records file format specification",
  https://github.com/google/riegeli/blob/master/doc/riegeli_records_file_format.md.
"""

import mmap
import pathlib
import struct

from snnjax.data import size_limits

_BLOCK = 1 << 16
_BLOCK_HEADER = 24
# Of a chunk: hash, size of the data, their hash, kind and number of records,
# size of the records.
_HEADER = struct.Struct("<8xQ8xQQ")


def check(path: pathlib.Path) -> None:
  """Raises unless every chunk's records fit a budget of the whole file's.

  Args:
    path: of an array_record file.

  Raises:
    TooLargeError: a chunk says that it unpacks to far more than the file.
    ValueError: a chunk lies beyond the file's end.
    OSError: it cannot be read.
  """
  size = path.stat().st_size
  budget = size_limits.Budget(path, size)
  if not size:
    return
  with (
    path.open("rb") as stream,
    mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
  ):
    begin = 0
    while begin < size:
      data, records, decoded = _HEADER.unpack(_header(path, content, begin))
      budget.check(decoded)
      end = _after(begin, _HEADER.size + data)
      # An empty record takes no data; a chunk takes a byte for it even so.
      begin = max(end, _boundary(begin + (records >> 8)))
  if begin > size:
    raise ValueError(f"{path} is damaged: it ends inside a chunk")


def _header(path: pathlib.Path, content: mmap.mmap, begin: int) -> bytes:
  """The 40 bytes of a chunk's header; a block's header inside is skipped."""
  start = begin + _BLOCK_HEADER if not begin % _BLOCK else begin
  room = _BLOCK - start % _BLOCK
  header = content[start : start + min(room, _HEADER.size)]
  if room < _HEADER.size:
    start += room + _BLOCK_HEADER
    header += content[start : start + _HEADER.size - room]
  if len(header) < _HEADER.size:
    raise ValueError(f"{path} is damaged: it ends inside a chunk's header")
  return header


def _after(begin: int, size: int) -> int:
  """The position after `size` bytes of chunk, block headers on the way added.

  A block has room for `_BLOCK - _BLOCK_HEADER` bytes of chunks; the first one
  for what is left behind `begin`.
  """
  if not begin % _BLOCK:
    begin += _BLOCK_HEADER
  room = _BLOCK - begin % _BLOCK
  if size < room:
    return begin + size
  blocks, rest = divmod(size - room, _BLOCK - _BLOCK_HEADER)
  return begin + room + blocks * _BLOCK + (_BLOCK_HEADER + rest if rest else 0)


def _boundary(position: int) -> int:
  """The next place that is not inside a block's header."""
  inside = position % _BLOCK
  if 0 < inside < _BLOCK_HEADER:
    return position - inside + _BLOCK_HEADER
  return position
