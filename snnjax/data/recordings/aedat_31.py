"""AEDAT 3.1, cAER's format: DVS128 Gesture.

After lines of text come packets, little-endian: a header of 28 bytes, then
records of one kind and size. A record of a polarity packet has 8 bytes: 15 bits
of column, 15 of row, one of polarity, one that says whether a filter left the
event in; then 31 bits of microseconds, whose upper bits stand in the packet's
header. Rows are counted from above.

References:
  iniVation, "AEDAT 3.1", https://docs.inivation.com.
  A. Amir and others, "A Low Power, Fully Event-Based Gesture Recognition
  System", 2017.
"""

import struct
from typing import NamedTuple

import numpy as np

from snnjax.data import events
from snnjax.data.recordings import aedat_header, records
from snnjax.data.recordings.records import Fault

MAGIC = b"#!AER-DAT3.1"
RECORD = 8
PACKET = struct.Struct("<2H6I")
_END = "#!END-HEADER"
_POLARITY = 1
_KINDS = 13  # special, polarity, frame, ..., spike
_CLOCK = 31  # bits of a record's time
_TIME = 4  # where it stands in a record


class Packets(NamedTuple):
  """What the headers of packets say, up to a fault.

  Attributes:
    begins: bytes at which the records of polarity packets begin.
    numbers: of their records.
    valid: how many of these a filter left in.
    overflows: upper bits of their times.
    beside: offset and number of records of each other packet.
    fault: where the packets break, if they do.
  """

  begins: list[int]
  numbers: list[int]
  valid: list[int]
  overflows: list[int]
  beside: list[tuple[int, int]]
  fault: Fault | None


def _reason(fields: tuple[int, ...], left: int) -> str:
  """Why a packet's header cannot be right; empty if it can."""
  kind, _, size, time, overflow, capacity, number, valid = fields
  if kind >= _KINDS:
    return f"a packet's type must be in [0, {_KINDS}), uncompressed; got {kind}"
  if kind == _POLARITY and (size, time) != (RECORD, _TIME):
    return (
      f"events must have {RECORD} bytes and their time at {_TIME}; got {size} "
      f"and {time}"
    )
  if not valid <= number <= capacity:
    return (
      "a packet must have valid <= number <= capacity; got "
      f"{valid}, {number}, {capacity}"
    )
  if capacity * size > left or (capacity and not size):
    return (
      f"{capacity} records of {size} bytes must fit into the file; "
      f"{left} bytes are left"
    )
  if overflow >> _CLOCK:
    return f"a packet's overflow must be below 2^{_CLOCK}; got {overflow}"
  return ""


def _walk(content: bytes, begin: int) -> Packets:
  """Reads the headers of all packets; lengths are compared before any use."""
  packets = Packets([], [], [], [], [], None)
  cameras: set[int] = set()
  while begin < len(content):
    left = len(content) - begin - PACKET.size
    if left < 0:
      reason = f"a packet's header must have {PACKET.size} bytes; the file ends"
      return packets._replace(fault=Fault(begin, reason))
    fields = PACKET.unpack_from(content, begin)
    kind, camera, size, _, overflow, capacity, number, valid = fields
    reason = _reason(fields, left)
    if kind == _POLARITY and cameras - {camera}:
      reason = f"all events must be of one camera; got {camera} after {cameras}"
    if reason:
      return packets._replace(fault=Fault(begin, reason))
    if kind == _POLARITY:
      cameras.add(camera)
      packets.begins.append(begin + PACKET.size)
      packets.numbers.append(number)
      packets.valid.append(valid)
      packets.overflows.append(overflow)
    else:
      packets.beside.append((begin, number))
    begin += PACKET.size + capacity * size
  return packets


def _sensor(
  content: bytes, source: str, sensor: tuple[int, int] | None
) -> tuple[tuple[int, int], int]:
  """The rows and columns, and the byte at which packets begin."""
  header = aedat_header.parse(content, source, "3.1", _END)
  form = header.field("#Format: *(.*)")
  if form != "RAW":
    raise records.RecordingError(
      source, 0, f"the header must have a line #Format: RAW; got {form!r}"
    )
  if sensor is None:
    camera = header.field(r"#Source \d+: *(.*)")
    sensor = aedat_header.sensor_of(camera or "")
    if sensor is None:
      raise records.RecordingError(
        source,
        0,
        "the header must name a known camera (#Source 1: DVS128), or sensor be "
        f"given as (rows, columns); got {camera!r}",
      )
  return records.check_sensor(sensor), header.begin


def _until_miscounted(
  packets: Packets, kept: np.ndarray
) -> tuple[Packets, int]:
  """Ends packets before the first whose events are not as many as it says.

  Returns:
    The packets, and the number of their records.
  """
  ends = np.cumsum([0, *packets.numbers])
  total = np.concatenate([[0], np.cumsum(kept)])
  counted = total[ends[1:]] - total[ends[:-1]]
  wrong = counted != packets.valid
  if not wrong.any():
    return packets, int(ends[-1])
  at = int(wrong.argmax())
  fault = Fault(
    packets.begins[at] - PACKET.size,
    f"a packet must have the {packets.valid[at]} valid events that its header "
    f"says; it has {counted[at]}",
  )
  begins, numbers = packets.begins[:at], packets.numbers[:at]
  return packets._replace(
    begins=begins,
    numbers=numbers,
    valid=packets.valid[:at],
    overflows=packets.overflows[:at],
    fault=fault,
  ), int(ends[at])


def decode(
  content: bytes,
  source: str,
  *,
  sensor: tuple[int, int] | None = None,
  strict: bool = True,
) -> records.Recording:
  """Decodes one recording.

  Args:
    content: of the file.
    source: what messages call it, e.g. the file's name.
    sensor: its rows and columns; by default of the camera that the header
      names.
    strict: see `records.checked`.

  Returns:
    The recording; events that a filter took out, and records of other kinds
    (frames, motion, signals), are skipped.

  Raises:
    RecordingError: if it is no AEDAT 3.1 file, or its sensor is not known; if
      `strict`, and a packet does not fit into the file or contradicts itself,
      an event lies outside the sensor, or time falls.
  """
  (height, width), begin = _sensor(content, source, sensor)
  packets = _walk(content, begin)
  words = [
    np.frombuffer(content, "<u4", 2 * number, first)
    for first, number in zip(packets.begins, packets.numbers, strict=True)
  ]
  raw = np.concatenate([np.zeros(0, "<u4"), *words]).reshape(-1, 2)
  kept = (raw[:, 0] & 1).astype(bool)
  packets, number = _until_miscounted(packets, kept)
  raw, kept = raw[:number], kept[:number]
  overflow = np.repeat(np.array(packets.overflows, np.int64), packets.numbers)
  data, ticks = raw[kept].T
  listed = events.Events(
    t=(overflow[kept] << _CLOCK) + ticks.astype("<i4"),
    x=(data >> 17).astype(np.int32),
    y=(data >> 2 & 0x7FFF).astype(np.int32),
    p=(data >> 1 & 1).astype(np.int32),
    height=height,
    width=width,
  )
  ends = np.cumsum(packets.numbers)

  def place(row: int) -> int:
    packet = int(np.searchsorted(ends, row, side="right"))
    inside = row - int(ends[packet]) + packets.numbers[packet]
    return packets.begins[packet] + inside * RECORD

  draft = records.Draft(
    listed,
    place,
    len(content),
    RECORD,
    kept=kept,
    fault=packets.fault,
    beside=packets.beside,
  )
  return records.checked(draft, source, strict=strict)
