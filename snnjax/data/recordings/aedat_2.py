"""AEDAT 2.0, jAER's format: CIFAR10-DVS and recordings of DVS128 and DAVIS.

After lines of text come 8 bytes a record, big-endian: an address and
microseconds. What an address means is the camera's: of a DVS128, bit 0 is the
polarity (0 is ON), bits 1 to 7 the column and 8 to 14 the row; of a DAVIS, bit
31 tells samples of images from events, bits 22 to 30 are the row, 12 to 21 the
column, 11 the polarity (1 is ON), 10 marks an external signal. Columns are
counted from the right and rows from below; here, as in an image, from the left
and from above. The clock has 32 bits and begins anew.

References:
  iniVation, "AEDAT 2.0", https://docs.inivation.com.
  T. Delbruck and others, jAER, the classes DVS128 and DavisEventExtractor.
  H. Li, H. Liu, X. Ji, G. Li, L. Shi, "CIFAR10-DVS: An Event-Stream Dataset
  for Object Classification", 2017.
"""

from typing import NamedTuple

import numpy as np

from snnjax.data import events
from snnjax.data.recordings import aedat_header, records

MAGIC = b"#!AER-DAT2.0"
RECORD = 8
_WRAP = 1 << 32
_DVS128_SPECIAL = 0x8000_8000  # external signals
_DVS128_UNUSED = 0x7FFF_0000
_DAVIS_OTHERS = 0x8000_0400  # samples of images and of motion, signals


class Header(NamedTuple):
  """What a file says of itself.

  Attributes:
    camera: the chip's name, e.g. "DVS128"; empty if it is not told.
    start_ms: when the recording began, in milliseconds since 1970; None if it
      is not told.
    begin: the byte at which the data begin.
  """

  camera: str
  start_ms: int | None
  begin: int


def header(content: bytes, source: str) -> Header:
  """Reads the lines of text.

  Args:
    content: of the file.
    source: its name.

  Raises:
    RecordingError: if it is no AEDAT 2.0 file.
  """
  read = aedat_header.parse(content, source, "2.0")
  chip = read.field(r"# ?AEChip: *(\S+)") or ""
  start = read.field(r"#.*System\.currentTimeMillis\(\) (\d{1,15})\b")
  return Header(
    chip.rpartition(".")[2], None if start is None else int(start), read.begin
  )


def decode(
  content: bytes,
  source: str,
  *,
  camera: str | None = None,
  sensor: tuple[int, int] | None = None,
  strict: bool = True,
) -> records.Recording:
  """Decodes one recording.

  Args:
    content: of the file.
    source: what messages call it, e.g. the file's name.
    camera: such as "DVS128" or "DAVIS346"; by default as the header says.
    sensor: its rows and columns; by default the camera's.
    strict: see `records.checked`.

  Returns:
    The recording; samples of images and external signals are skipped.

  Raises:
    RecordingError: if it is no AEDAT 2.0 file, or the camera is not known; if
      `strict`, and a record is cut, an event lies outside the sensor, an
      address has bits that its camera never sets, or time falls by less than
      half of the clock's range.
  """
  told = header(content, source)
  name = told.camera if camera is None else camera
  known = aedat_header.sensor_of(name)
  if known is None:
    raise records.RecordingError(
      source,
      told.begin,
      f"the camera must be one of {', '.join(aedat_header.CAMERAS)}, as the "
      f"header or the argument camera says; got {name!r}",
    )
  height, width = records.check_sensor(sensor or known)
  is_dvs128 = name.lower().startswith("dvs128")
  number, fault = records.whole_records(content, told.begin, RECORD)
  words = np.frombuffer(content, ">u4", 2 * number, told.begin).reshape(-1, 2)
  address = words[:, 0].astype(np.uint32)
  if is_dvs128:
    wrong = (address & _DVS128_UNUSED) != 0
    if wrong.any():
      number = int(wrong.argmax())
      fault = records.Fault(
        told.begin + number * RECORD,
        "bits 16 to 30 of a DVS128's address must be 0; got "
        f"{address[number]:#010x}",
      )
      words, address = words[:number], address[:number]
    kept = (address & _DVS128_SPECIAL) == 0
  else:
    kept = (address & _DAVIS_OTHERS) == 0
  address = address[kept]
  column, row, polarity = (
    _fields(address, (1, 7), (8, 7), 0)
    if is_dvs128
    else _fields(address, (12, 10), (22, 9), 11)
  )
  listed = events.Events(
    t=unwrapped(words[kept, 1]),
    x=width - 1 - column,
    y=height - 1 - row,
    p=1 - polarity if is_dvs128 else polarity,
    height=height,
    width=width,
  )
  draft = records.Draft(
    listed,
    lambda record: told.begin + record * RECORD,
    len(content),
    RECORD,
    kept=kept,
    fault=fault,
  )
  return records.checked(draft, source, strict=strict)


def _fields(
  address: np.ndarray,
  column: tuple[int, int],
  row: tuple[int, int],
  polarity: int,
) -> tuple[np.ndarray, ...]:
  """Cuts addresses at (first bit, number of bits)."""
  return tuple(
    (address >> np.uint32(shift) & np.uint32((1 << bits) - 1)).astype(np.int32)
    for shift, bits in (column, row, (polarity, 1))
  )


def unwrapped(ticks: np.ndarray) -> np.ndarray:
  """Returns the times of a clock that begins anew after 2^32, as int64.

  Only a fall by more than half of its range is a new beginning.
  """
  t = ticks.astype(np.int64)
  if len(t):
    t[1:] += np.cumsum(t[1:] - t[:-1] < -_WRAP // 2) * _WRAP
  return t
