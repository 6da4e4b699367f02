"""N-MNIST and N-Caltech101: `.bin` files of 40-bit events.

Five bytes an event: x, y, then one bit of polarity and 23 bits of
microseconds, big-endian. y = 240 is no event: from there on, 2^13 us more are
added to the time.

References:
  G. Orchard, A. Jayawant, G. Cohen, N. Thakor, "Converting Static Image
  Datasets to Spiking Neuromorphic Datasets Using Saccades", 2015,
  arXiv:1507.07629.
"""

import numpy as np

from snnjax.data import events
from snnjax.data.recordings import records

SENSOR = (34, 34)  # of N-MNIST
RECORD = 5  # bytes of an event
_OVERFLOW_ROW = 240
_OVERFLOW_US = 1 << 13
_CLOCK_US = 1 << 23
_LONGEST_US = 1 << 40  # of what is encoded: 12 days


def decode(
  content: bytes,
  source: str,
  *,
  sensor: tuple[int, int] = SENSOR,
  strict: bool = True,
) -> records.Recording:
  """Decodes one recording.

  Args:
    content: of a `.bin` file.
    source: what messages call it, e.g. the file's name.
    sensor: its rows and columns.
    strict: see `records.checked`.

  Returns:
    The recording; marks of the clock are counted as skipped.

  Raises:
    RecordingError: if `strict`, and the length is no multiple of five bytes,
      an event lies outside the sensor, or time falls.
  """
  height, width = records.check_sensor(sensor)
  number, fault = records.whole_records(content, 0, RECORD)
  raw = np.frombuffer(content, np.uint8, number * RECORD).reshape(-1, RECORD)
  overflow = raw[:, 1] == _OVERFLOW_ROW
  t = np.cumsum(overflow, dtype=np.int64)
  t *= _OVERFLOW_US
  for column, bits, shift in ((2, 0x7F, 16), (3, 0xFF, 8), (4, 0xFF, 0)):
    t += (raw[:, column] & np.uint8(bits)).astype(np.int64) << shift
  kept = ~overflow
  listed = events.Events(
    t=t[kept],
    x=raw[kept, 0].astype(np.int32),
    y=raw[kept, 1].astype(np.int32),
    p=(raw[kept, 2] >> 7).astype(np.int32),
    height=height,
    width=width,
  )
  draft = records.Draft(
    listed,
    lambda row: row * RECORD,
    len(content),
    RECORD,
    kept=kept,
    fault=fault,
  )
  return records.checked(draft, source, strict=strict)


def encode(listed: events.Events, source: str) -> np.ndarray:
  """Writes events as N-MNIST's, their times from the first event on.

  Args:
    listed: M events of a sensor of at most 240 rows and 256 columns.
    source: what messages call them.

  Returns:
    Words [M', 5] uint8, `M'` - M of which are marks of the clock; `decode` of
    their bytes gives the events.

  Raises:
    ValueError: if the sensor is larger, the events are not sound, all of one
      time, or span more than 12 days.
  """
  events.check_events(listed, source)
  if listed.height > _OVERFLOW_ROW or listed.width > 256:
    raise ValueError(
      f"{source} must have at most {_OVERFLOW_ROW} rows and 256 columns; it "
      f"has {listed.height} and {listed.width}"
    )
  number = len(listed.t)
  duration = int(listed.t[-1] - listed.t[0]) if number else 0
  if not 0 < duration < _LONGEST_US:
    raise ValueError(
      f"{source} must hold events at two times or more, within 12 days; it has "
      f"{number} events over {duration} us"
    )
  t = listed.t - listed.t[0]
  # As many marks before each event as leave it 23 bits, and no more.
  marks = np.maximum(t - _CLOCK_US + _OVERFLOW_US, 0) // _OVERFLOW_US
  low = t - marks * _OVERFLOW_US
  words = np.zeros((number + int(marks[-1]), RECORD), np.uint8)
  words[:, 1] = _OVERFLOW_ROW
  words[np.arange(number) + marks] = np.stack(
    [
      listed.x,
      listed.y,
      listed.p << 7 | low >> 16,
      low >> 8 & 0xFF,
      low & 0xFF,
    ],
    1,
  )
  return words
