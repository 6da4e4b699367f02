"""Prophesee's DAT: N-CARS and other recordings of ATIS and EVK cameras.

After lines of text that begin with '%' come a byte of type and one of size,
then 8 bytes an event, little-endian: 32 bits of microseconds, 14 of column, 14
of row, 4 of polarity. Rows are counted from above.

References:
  Prophesee, "DAT File Format", https://docs.prophesee.ai.
"""

import re

import numpy as np

from snnjax.data import events
from snnjax.data.recordings import records

MAGIC = b"% "
RECORD = 8
_KINDS = (0, 12)  # Event2d, EventCD
_MOST = 1 << 16  # bytes of text
_SIDE = re.compile(r"\d{1,5}")


def _header(content: bytes, source: str) -> tuple[dict[str, str], int]:
  """The header's keywords and values, and the byte behind it."""
  begin, fields = 0, {}
  while content[begin : begin + 1] == b"%":
    after = content.find(b"\n", begin, _MOST)
    if after < 0:
      raise records.RecordingError(
        source, begin, f"a header of at most {_MOST:,} bytes must have an end"
      )
    line = content[begin + 1 : after].decode("ascii", "replace")
    keyword, _, value = line.strip().partition(" ")
    fields[keyword] = value.strip()
    begin = after + 1
  if fields.get("Version") != "2":
    raise records.RecordingError(
      source,
      0,
      f"the header must have % Version 2; got {fields.get('Version')!r}",
    )
  kind = tuple(content[begin : begin + 2])
  if len(kind) < 2 or kind[0] not in _KINDS or kind[1] != RECORD:
    raise records.RecordingError(
      source,
      begin,
      f"events must be of type 0 or 12 and {RECORD} bytes; got {kind}",
    )
  return fields, begin + 2


def _sensor(
  fields: dict[str, str], source: str, sensor: tuple[int, int] | None
) -> tuple[int, int]:
  if sensor is not None:
    return records.check_sensor(sensor)
  told = [fields.get(name, "") for name in ("Height", "Width")]
  sides = [int(side) if _SIDE.fullmatch(side) else 0 for side in told]
  if not all(0 < side <= 1 << 14 for side in sides):
    raise records.RecordingError(
      source,
      0,
      "the header must have % Height and % Width, each from 1 to "
      f"{1 << 14}, or sensor be given as (rows, columns); got {told}",
    )
  return sides[0], sides[1]


def decode(
  content: bytes,
  source: str,
  *,
  sensor: tuple[int, int] | None = None,
  strict: bool = True,
) -> records.Recording:
  """Decodes one recording.

  Args:
    content: of a `.dat` file.
    source: what messages call it, e.g. the file's name.
    sensor: its rows and columns; by default as the header says. N-CARS' files
      do not: they are cut out of (240, 304).
    strict: see `records.checked`.

  Raises:
    RecordingError: if it is no DAT file of version 2 with events of brightness,
      or its sensor is not known; if `strict`, and an event is cut or lies
      outside the sensor, its polarity is neither 0 nor 1, or time falls.
  """
  fields, begin = _header(content, source)
  height, width = _sensor(fields, source, sensor)
  number, fault = records.whole_records(content, begin, RECORD)
  words = np.frombuffer(content, "<u4", 2 * number, begin).reshape(-1, 2)
  data = words[:, 1]
  listed = events.Events(
    t=words[:, 0].astype(np.int64),
    x=(data & 0x3FFF).astype(np.int32),
    y=(data >> 14 & 0x3FFF).astype(np.int32),
    p=(data >> 28).astype(np.int32),
    height=height,
    width=width,
  )
  draft = records.Draft(
    listed,
    lambda row: begin + row * RECORD,
    len(content),
    RECORD,
    fault=fault,
  )
  return records.checked(draft, source, strict=strict)
