"""AEDAT 4.0, the format of DV, through the package `aedat` where installed.

A line of text, a header (a flatbuffer behind its length), then packets: number
of a stream, length, a compressed flatbuffer. The packets are walked here, so
that no length reaches the package that the file does not hold; it unpacks them.
What one packet unpacks to is only known then, so give it files that you trust.

References:
  iniVation, "AEDAT 4.0", https://docs.inivation.com.
  https://github.com/neuromorphicsystems/aedat
"""

import pathlib
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from snnjax.data import events
from snnjax.data.recordings import records
from snnjax.data.recordings.records import Fault

MAGIC = b"#!AER-DAT4.0\r\n"
_EVENT = 16  # bytes of an event, unpacked
_HEADER = b"IOHE"
_TABLE = 1  # number of the header's field that says where the packets end


class Container(NamedTuple):
  """The packets of a file, up to a fault.

  Attributes:
    offsets: the byte at which each packet begins.
    fault: where the packets break, if they do.
  """

  offsets: list[int]
  fault: Fault | None


def _end(content: bytes, root: int, end: int) -> int | None:
  """Where the header says that packets end: a byte; None if it does not.

  Args:
    content: of the file.
    root: where the header begins, behind its length.
    end: where it ends.

  Raises:
    struct.error: if it points outside itself.
  """
  header = content[root:end]
  (table,) = struct.unpack_from("<I", header, 0)
  (back,) = struct.unpack_from("<i", header, table)
  fields = table - back
  if fields < 0:
    raise struct.error("its table of fields lies before it")
  (size,) = struct.unpack_from("<H", header, fields)
  place = 4 + 2 * _TABLE
  if size < place + 2:
    return None
  (field,) = struct.unpack_from("<H", header, fields + place)
  (told,) = struct.unpack_from("<q", header, table + field) if field else (-1,)
  return None if told == -1 else int(told)


def walk(content: bytes, source: str) -> Container:
  """Finds the packets of a file, and unpacks none.

  Args:
    content: of the file.
    source: its name.

  Raises:
    RecordingError: if it is no AEDAT 4.0 file, or its header is damaged.
  """
  begin = len(MAGIC) + 4
  size = int.from_bytes(content[len(MAGIC) : begin], "little")
  first = begin + size
  if not content.startswith(MAGIC) or content[begin + 4 : begin + 8] != _HEADER:
    raise records.RecordingError(
      source, 0, f"must begin with {MAGIC!r} and a header {_HEADER!r}"
    )
  if first > len(content):
    raise records.RecordingError(
      source, len(MAGIC), f"a header of {size} bytes must fit into the file"
    )
  try:
    end = _end(content, begin, first)
  except struct.error as error:
    raise records.RecordingError(
      source, begin, f"the header must be whole; {error}"
    ) from None
  last = len(content) if end is None else end
  if not first <= last <= len(content):
    return Container(
      *_packets(content, first, len(content), f"the header says {last}")
    )
  return Container(*_packets(content, first, last))


def _packets(
  content: bytes, begin: int, end: int, doubt: str = ""
) -> tuple[list[int], Fault | None]:
  """The packets from a byte on, and where they break.

  Args:
    content: of the file.
    begin: of the first packet.
    end: of the last one.
    doubt: why the end is not the header's; then they break there at last.
  """
  offsets: list[int] = []
  while begin < end:
    left = end - begin - 8
    stream, size = (
      struct.unpack_from("<2i", content, begin) if left >= 0 else (0, 0)
    )
    if left < 0 or stream < 0 or not 0 <= size <= left:
      return offsets, Fault(
        begin,
        "a packet must have a stream, a length and as many bytes; got stream "
        f"{stream} and {size} bytes of the {left} that are left",
      )
    offsets.append(begin)
    begin += 8 + size
  if doubt:
    return offsets, Fault(
      begin, f"packets must end inside the file, of {end} bytes; {doubt}"
    )
  return offsets, None


def _package() -> Any:
  try:
    import aedat
  except ModuleNotFoundError:
    raise ModuleNotFoundError(
      "AEDAT 4 files need a package: pip install aedat"
    ) from None
  return aedat


def _unpacked(decoder: Any) -> Iterator[dict[str, Any] | Exception]:
  """Yields the packets, and as the last one the error that ended them."""
  try:
    yield from decoder
  except Exception as error:
    yield error
  except BaseException as error:
    # A panic of the package's Rust code is none of Python's exceptions.
    if type(error).__name__ != "PanicException":
      raise
    yield RuntimeError(str(error))


def _sensor(decoder: Any, source: str) -> tuple[int, tuple[int, int]]:
  """The number of the one stream of events, and its rows and columns."""
  streams = {
    number: stream
    for number, stream in decoder.id_to_stream().items()
    if stream["type"] == "events"
  }
  if len(streams) != 1:
    raise records.RecordingError(
      source, 0, f"must have one stream of events; it has {len(streams)}"
    )
  ((number, stream),) = streams.items()
  return number, records.check_sensor((stream["height"], stream["width"]))


def read(path: str | pathlib.Path, *, strict: bool = True) -> records.Recording:
  """Reads one recording.

  Args:
    path: of an `.aedat4` file.
    strict: see `records.checked`; an event's offset is its packet's.

  Returns:
    The recording; frames, samples of motion and triggers are skipped.

  Raises:
    RecordingError: if it is no AEDAT 4.0 file, its header is damaged, or it has
      not one stream of events; if `strict`, and a packet is damaged, an event
      lies outside the sensor, or time falls.
    ModuleNotFoundError: if the package `aedat` is not installed.
    FileNotFoundError: if there is no such file.
  """
  source = str(path)
  content = pathlib.Path(path).read_bytes()
  container = walk(content, source)
  if container.fault is not None and strict:
    raise records.RecordingError(source, *container.fault)
  package = _package()
  try:
    decoder = package.Decoder(source)
    stream, (height, width) = _sensor(decoder, source)
  except records.RecordingError:
    raise
  except Exception as error:
    raise records.RecordingError(source, 0, f"aedat: {error}") from error
  fault, columns, numbers, beside = container.fault, [], [], []
  offsets = container.offsets
  for offset, packet in zip(offsets, _unpacked(decoder), strict=False):
    if isinstance(packet, Exception):
      fault = Fault(offset, f"a packet must be whole; aedat: {packet}")
      break
    if packet["stream_id"] == stream:
      columns.append(packet["events"])
      numbers.append((offset, len(packet["events"])))
    else:
      (inside,) = set(packet) - {"stream_id"}
      beside.append((offset, 1 if inside == "frame" else len(packet[inside])))
  listed = {
    name: np.concatenate([np.zeros(0, kind), *(c[name] for c in columns)])
    for name, kind in (("t", "u8"), ("x", "u2"), ("y", "u2"), ("on", "?"))
  }
  ends = np.cumsum([number for _, number in numbers])
  draft = records.Draft(
    events.Events(
      t=listed["t"].astype(np.int64),
      x=listed["x"].astype(np.int32),
      y=listed["y"].astype(np.int32),
      p=listed["on"].astype(np.int32),
      height=height,
      width=width,
    ),
    lambda row: numbers[int(np.searchsorted(ends, row, side="right"))][0],
    len(content),
    _EVENT,
    fault=fault,
    beside=beside,
  )
  return records.checked(draft, source, strict=strict)
