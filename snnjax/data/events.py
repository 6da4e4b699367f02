"""Lists of camera events and their frames, by bins, by time and by count.

Time bins are half-open, and the last one holds what is left, so that the
frames' sum is the number of events. Counts stay integers until `saturate` or
`binarize`. `recordings` reads files of events.
"""

import math
from typing import NamedTuple

import numpy as np

from snnjax.arguments import check_array
from snnjax.data.dataset import AnyArray
from snnjax.interfaces import Array

_MOST_CELLS = 1 << 31  # of all frames together, 8 GB


class Events(NamedTuple):
  """One recording as a list of M events, in order of time.

  Attributes:
    t: [M] int64 microseconds, never falling.
    x: [M] int32 columns in [0, width).
    y: [M] int32 rows in [0, height).
    p: [M] int32, 1 for ON (brighter), 0 for OFF.
    height: sensor rows.
    width: sensor columns.
  """

  t: np.ndarray
  x: np.ndarray
  y: np.ndarray
  p: np.ndarray
  height: int
  width: int


class Fault(NamedTuple):
  """The first event that is not sound.

  Attributes:
    number: its place among the events, from 0.
    reason: which field must be what, and what came.
  """

  number: int
  reason: str


def first_fault(events: Events) -> Fault | None:
  """Returns the first event outside the sensor, or earlier than the last one.

  Args:
    events: M events whose columns have one length.
  """
  faults = []
  for name, values, limit in (
    ("x", events.x, events.width),
    ("y", events.y, events.height),
    ("p", events.p, 2),
  ):
    wrong = (values < 0) | (values >= limit)
    if wrong.any():
      index = int(wrong.argmax())
      reason = f"{name} must be in [0, {limit}); got {values[index]}"
      faults.append(Fault(index, reason))
  falls = events.t[1:] < events.t[:-1]
  if falls.any():
    index = int(falls.argmax()) + 1
    before, after = events.t[index - 1 : index + 1]
    faults.append(Fault(index, f"t must not fall; got {after} after {before}"))
  return min(faults, default=None)


def check_events(events: Events, source: str = "events") -> Events:
  """Returns the events if they are sound.

  Args:
    events: what to check.
    source: what the message calls them, e.g. a file name.

  Raises:
    ValueError: naming the field, what came and what is allowed.
  """
  shapes = {events.t.shape, events.x.shape, events.y.shape, events.p.shape}
  if len(shapes) != 1 or events.t.ndim != 1:
    raise ValueError(
      f"{source}: t, x, y and p must share one shape [M]; got {shapes}"
    )
  fault = first_fault(events)
  if fault is not None:
    raise ValueError(f"{source}: {fault.reason} at event {fault.number}")
  return events


def to_frames(
  events: Events, frames: int, *, window: tuple[int, int] | None = None
) -> np.ndarray:
  """Counts events per pixel, polarity and time bin.

  Bin i is [start + i D, start + (i + 1) D), D = (end - start) / frames; the
  last bin also holds t = end. Bins are found in integers, without rounding.

  Args:
    events: M events.
    frames: number T of bins.
    window: start and end in microseconds; by default from the first event to
      the last.

  Returns:
    Counts [T, height, width, 2] int32, channel 0 ON, 1 OFF; their sum is M.

  Raises:
    ValueError: if the events are not sound, `frames` < 1, the window is empty,
      an event lies outside it (`between` selects), or the frames would be more
      than 2^31 numbers.
  """
  check_events(events)
  if frames < 1:
    raise ValueError(f"frames must be at least 1; got {frames}")
  if window is None:
    if not len(events.t):
      raise ValueError("window must be given for a recording without events")
    window = (int(events.t[0]), int(events.t[-1]))
  start, end = window
  if start >= end:
    raise ValueError(f"window must have start < end; got {window}")
  if np.any((events.t < start) | (events.t > end)):
    raise ValueError(
      f"window must hold every event; got {window} for events from "
      f"{events.t[0]} to {events.t[-1]} us"
    )
  elapsed = events.t.astype(np.int64) - start
  bins = np.minimum(elapsed * frames // (end - start), frames - 1)
  return _count(events, bins, frames)


def frames_by_time(
  events: Events, duration_us: int, *, start: int | None = None
) -> np.ndarray:
  """Counts events per pixel, polarity and time bin of a fixed length.

  Bin i is [start + i D, start + (i + 1) D), D = `duration_us`; there are as
  many as it takes to hold the last event.

  Args:
    events: M events.
    duration_us: length D of a bin in microseconds.
    start: of the first bin; by default the first event's time.

  Returns:
    Counts [T, height, width, 2] int32, channel 0 ON, 1 OFF; their sum is M.
    T is 0 without events.

  Raises:
    ValueError: if the events are not sound, `duration_us` < 1, an event comes
      before `start`, or the frames would be more than 2^31 numbers.
  """
  check_events(events)
  if duration_us < 1:
    raise ValueError(f"duration_us must be at least 1; got {duration_us}")
  if not len(events.t):
    return _count(events, np.zeros(0, np.int64), 0)
  start = int(events.t[0]) if start is None else start
  if events.t[0] < start:
    raise ValueError(
      f"start must not be after the first event, {events.t[0]} us; got {start}"
    )
  bins = (events.t.astype(np.int64) - start) // duration_us
  return _count(events, bins, int(bins[-1]) + 1)


def frames_by_count(events: Events, count: int) -> np.ndarray:
  """Counts events per pixel and polarity in frames of a fixed number of events.

  Frame i holds the events i N to (i + 1) N - 1, N = `count`; the last frame
  holds the rest. Which of several events of one time come first is the list's
  order.

  Args:
    events: M events.
    count: number N of events in a frame.

  Returns:
    Counts [T, height, width, 2] int32, channel 0 ON, 1 OFF, T = M / N rounded
    up; their sum is M.

  Raises:
    ValueError: if the events are not sound, `count` < 1, or the frames would
      be more than 2^31 numbers.
  """
  check_events(events)
  if count < 1:
    raise ValueError(f"count must be at least 1; got {count}")
  bins = np.arange(len(events.t)) // count
  return _count(events, bins, -(-len(events.t) // count))


def _count(events: Events, bins: np.ndarray, frames: int) -> np.ndarray:
  """Counts sound events whose frames are known."""
  shape = (frames, events.height, events.width, 2)
  if math.prod(shape) > _MOST_CELLS:
    raise ValueError(
      f"frames must have at most {_MOST_CELLS:,} numbers; they would be "
      f"{shape}: take longer bins, or part of the recording (`between`)"
    )
  # Three times as fast as adding at each place: a data set has 10^8 events.
  places = np.ravel_multi_index(
    (bins, events.y, events.x, 1 - events.p), (max(frames, 1), *shape[1:])
  )
  counts = np.bincount(places, minlength=math.prod(shape))
  return counts.reshape(shape).astype(np.int32)


def between(events: Events, start: int, end: int) -> Events:
  """Returns the events with start <= t < end (microseconds)."""
  first, last = np.searchsorted(events.t, (start, end))
  part = slice(first, last)
  return events._replace(
    t=events.t[part], x=events.x[part], y=events.y[part], p=events.p[part]
  )


def from_counts(counts: np.ndarray, duration_us: int) -> Events:
  """Lists the counted events, each in the middle of its time bin.

  Events of one bin are ordered by row, column, then ON before OFF. It undoes
  `to_frames` with the window (0, `duration_us`) and as many frames.

  Args:
    counts: [T, height, width, 2] integers, channel 0 ON, 1 OFF.
    duration_us: length of the T bins together; at least 2 T, so that the
      middle of every bin is a whole microsecond inside it.

  Returns:
    As many events as the counts' sum.

  Raises:
    ValueError: if the counts are not such an array, or the bins too short.
  """
  counts = np.asarray(counts)
  check_array("counts", counts, "integers [T, height, width, 2]")
  if np.any(counts < 0):
    raise ValueError(f"counts must be none negative; got {counts.min()}")
  frames, height, width, _ = counts.shape
  if duration_us < 2 * frames:
    raise ValueError(
      f"duration_us must be at least 2 us a bin, {2 * frames}; got "
      f"{duration_us}"
    )
  where = np.nonzero(counts)
  frame, y, x, channel = (
    np.repeat(index, counts[where]).astype(np.int64) for index in where
  )
  return Events(
    t=(2 * frame + 1) * duration_us // (2 * frames),
    x=x.astype(np.int32),
    y=y.astype(np.int32),
    p=(1 - channel).astype(np.int32),
    height=height,
    width=width,
  )


def _check_counts(counts: np.ndarray | Array) -> None:
  if not np.issubdtype(counts.dtype, np.integer):
    raise ValueError(f"counts must be integers; got {counts.dtype}")


def saturate(counts: AnyArray, cap: int) -> AnyArray:
  """Returns min(counts, cap) / cap: integers [...] -> float32 in [0, 1].

  Works on the host and, under `jit`, on the device.

  Raises:
    ValueError: if the counts are no integers or `cap` < 1.
  """
  _check_counts(counts)
  if cap < 1:
    raise ValueError(f"cap must be at least 1; got {cap}")
  # Float before the minimum: a cap need not fit the counts' own type.
  return counts.astype(np.float32).clip(0, cap) / np.float32(cap)


def binarize(counts: AnyArray) -> AnyArray:
  """Returns 1 where there is any event, else 0: integers -> float32.

  Raises:
    ValueError: if the counts are no integers.
  """
  _check_counts(counts)
  return (counts > 0).astype(np.float32)
