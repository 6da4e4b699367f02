"""What every decoder returns or raises, and the check they all end in.

A decoder takes records out of a file as far as its form goes (`Draft`).
`checked` then looks at the events themselves. The first fault of either kind
is an error; without `strict` it is the end of the recording.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from snnjax.data import events


class RecordingError(ValueError):
  """A file of events is damaged, cut, or of another format.

  Attributes:
    path: of the file.
    offset: the byte at which it goes wrong; in HDF5 and MATLAB files, whose
      arrays lie anywhere, the number of the event.
    reason: what must be there, and what is.
  """

  def __init__(self, path: str, offset: int, reason: str) -> None:
    """Describes the fault."""
    super().__init__(path, offset, reason)
    self.path = path
    self.offset = offset
    self.reason = reason

  def __str__(self) -> str:
    return f"{self.path}: {self.reason} (at offset {self.offset:,})"


class Recording(NamedTuple):
  """The events of one file.

  Attributes:
    events: M events, checked, with the sensor's height and width.
    skipped: records that are no events, as the format has them beside events:
      samples of images, marks of the clock, events that a filter took out.
    dropped: records that were left out because of a fault, as many as the
      file's rest would hold; 0 for a whole file.
    offset: of the fault, see `RecordingError`; -1 for a whole file.
    reason: of the fault; empty for a whole file.
  """

  events: events.Events
  skipped: int = 0
  dropped: int = 0
  offset: int = -1
  reason: str = ""


class Fault(NamedTuple):
  """Where a file's form breaks, and why."""

  offset: int
  reason: str


class Draft(NamedTuple):
  """What a decoder took out of a file: records in order, up to a fault.

  Attributes:
    events: of the records that are events, not checked yet.
    kept: [R] bool, which of the R records are events; None if all are.
    place: number of a record -> its offset in the file.
    size: of the file, in the units of offsets.
    record: of one record, likewise.
    fault: where decoding ended before the file did; behind all R records.
    beside: offset and number of records that were passed over together.
  """

  events: events.Events
  place: Callable[[int], int]
  size: int
  record: int
  kept: np.ndarray | None = None
  fault: Fault | None = None
  beside: Sequence[tuple[int, int]] = ()


def checked(draft: Draft, source: str, *, strict: bool) -> Recording:
  """Returns a recording of the draft's events, all of them checked.

  Args:
    draft: what was decoded.
    source: the file's name.
    strict: whether a fault is an error; if not, what comes before the first
      one is returned, and what was left out is counted.

  Raises:
    RecordingError: if there is a fault, and `strict`.
  """
  listed, kept, fault = draft.events, draft.kept, draft.fault
  unsound = events.first_fault(listed)
  if len(listed.t) and listed.t[0] < 0:  # before any that falls
    reason = f"t must not be negative; got {listed.t[0]}"
    unsound = events.Fault(0, reason)
  if unsound is not None:
    row = unsound.number
    if kept is not None:
      row = int(np.flatnonzero(kept)[row])
      kept = kept[:row]
    fault = Fault(draft.place(row), unsound.reason)
    listed = first(listed, unsound.number)
  skipped = 0 if kept is None else int(np.count_nonzero(~kept))
  if fault is None:
    skipped += sum(number for _, number in draft.beside)
    return Recording(listed, skipped)
  if strict:
    raise RecordingError(source, *fault)
  skipped += sum(n for offset, n in draft.beside if offset < fault.offset)
  dropped = -(-(draft.size - fault.offset) // draft.record)
  return Recording(listed, skipped, dropped, *fault)


def first(listed: events.Events, number: int) -> events.Events:
  """Returns the first events of a list."""
  return listed._replace(
    t=listed.t[:number],
    x=listed.x[:number],
    y=listed.y[:number],
    p=listed.p[:number],
  )


def whole_records(
  content: bytes, begin: int, record: int
) -> tuple[int, Fault | None]:
  """Returns the number of whole records from a byte on, and how they end.

  Args:
    content: of the file.
    begin: where the records begin.
    record: bytes of one.

  Returns:
    The number, and a fault where the last one is cut.
  """
  number, rest = divmod(len(content) - begin, record)
  if not rest:
    return number, None
  return number, Fault(
    len(content) - rest,
    f"events must be whole, of {record} bytes; {rest} bytes are left: the file "
    "is cut, or of another format",
  )


def check_sensor(sensor: tuple[int, int]) -> tuple[int, int]:
  """Returns a sensor's rows and columns.

  Raises:
    ValueError: if they are no two numbers from 1 to 2^15.
  """
  if len(sensor) != 2 or not all(0 < side <= 1 << 15 for side in sensor):
    raise ValueError(
      f"sensor must be (rows, columns), each from 1 to {1 << 15}; got {sensor}"
    )
  return sensor
