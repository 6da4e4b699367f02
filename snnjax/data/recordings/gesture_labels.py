"""The label spans of DVS128 Gesture: `userNN_LIGHT_labels.csv`.

A line of titles, then `class,startTime_usec,endTime_usec` of each gesture; the
classes are 1 to 11. A recording is minutes long; its gestures are the parts
that the spans name.

References:
  A. Amir and others, "A Low Power, Fully Event-Based Gesture Recognition
  System", 2017.
"""

import pathlib
import re
from typing import NamedTuple

from snnjax.data import events
from snnjax.data.recordings.records import RecordingError

CLASSES = (
  "hand clapping",
  "right hand wave",
  "left hand wave",
  "right arm clockwise",
  "right arm counter clockwise",
  "left arm clockwise",
  "left arm counter clockwise",
  "arm roll",
  "air drums",
  "air guitar",
  "other gestures",
)
_TITLES = "class,startTime_usec,endTime_usec"
_LINE = re.compile(r"(\d{1,2}),(\d{1,18}),(\d{1,18})")
_MOST = 1 << 20  # bytes


class Span(NamedTuple):
  """One gesture.

  Attributes:
    label: index into `CLASSES`, from 0; the file counts from 1.
    start: its first microsecond, on the recording's clock.
    end: the one behind its last.
  """

  label: int
  start: int
  end: int


def decode(content: bytes, source: str) -> tuple[Span, ...]:
  """Returns a file's spans in its order.

  Spans may overlap by little, as the published ones do; they must begin one
  after another.

  Args:
    content: of the csv file.
    source: what messages call it, e.g. the file's name.

  Raises:
    RecordingError: if a line is no class from 1 to 11 with a start before its
      end, begins before the last one, or the titles are missing; the offset is
      the line's first byte.
  """
  if len(content) > _MOST:
    raise RecordingError(source, _MOST, f"must have at most {_MOST:,} bytes")
  spans: list[Span] = []
  begin = 0
  for number, raw in enumerate(content.split(b"\n")):
    line = raw.decode("ascii", "replace").strip()
    if number == 0:
      if line != _TITLES:
        raise RecordingError(
          source, 0, f"the first line must be {_TITLES}; got {line[:80]!r}"
        )
    elif line:
      spans.append(_span(line, source, begin, spans))
    begin += len(raw) + 1
  if not spans:
    raise RecordingError(source, len(content), "must have a span; it has none")
  return tuple(spans)


def _span(line: str, source: str, begin: int, spans: list[Span]) -> Span:
  match = _LINE.fullmatch(line)
  if match is not None:
    label, start, end = map(int, match.groups())
    last = spans[-1].start if spans else 0
    if 1 <= label <= len(CLASSES) and last <= start < end:
      return Span(label - 1, start, end)
  raise RecordingError(
    source,
    begin,
    f"a line must be a class from 1 to {len(CLASSES)}, a start not before the "
    f"last one's and a later end; got {line[:80]!r}",
  )


def read(path: str | pathlib.Path) -> tuple[Span, ...]:
  """Reads the spans of one recording, see `decode`.

  Raises:
    RecordingError: if it is no such file.
    FileNotFoundError: if there is none.
  """
  return decode(pathlib.Path(path).read_bytes(), str(path))


def parts(
  recording: events.Events, spans: tuple[Span, ...], source: str
) -> tuple[events.Events, ...]:
  """Returns the events of each span, times as in the recording.

  Args:
    recording: of the file beside the spans.
    spans: from `read`.
    source: the recording's name.

  Raises:
    RecordingError: if a span has no events: the two files are not of one
      recording, or it is cut. The offset is the span's number.
  """
  listed = tuple(
    events.between(recording, start, end) for _, start, end in spans
  )
  for number, (part, span) in enumerate(zip(listed, spans, strict=True)):
    if not len(part.t):
      raise RecordingError(
        source,
        number,
        f"must have events from {span.start} to {span.end} us, as its labels "
        "say; it has none",
      )
  return listed
