"""Lists of camera events, their frames, and the N-MNIST file format.

Time bins are half-open, the last one closed, so that the frames' sum is the
number of events. Counts stay integers until `saturate` or `binarize`.
"""

import math
import pathlib
from typing import NamedTuple

import numpy as np

from snnjax.arguments import check_array
from snnjax.data.dataset import AnyArray
from snnjax.interfaces import Array

_OVERFLOW_ROW = 240  # N-MNIST: no event, the clock advanced by 2^13 us
_OVERFLOW_US = 1 << 13


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
  for name, values, limit in (
    ("x", events.x, events.width),
    ("y", events.y, events.height),
    ("p", events.p, 2),
  ):
    wrong = (values < 0) | (values >= limit)
    if np.any(wrong):
      raise ValueError(
        f"{source}: {name} must be in [0, {limit}); got {values[wrong][0]} at "
        f"event {np.argmax(wrong)}"
      )
  falls = np.diff(events.t) < 0
  if np.any(falls):
    raise ValueError(
      f"{source}: t must not fall; it does after event {np.argmax(falls)}"
    )
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
    ValueError: if the events are not sound, `frames` < 1, the window is empty
      or an event lies outside it (`between` selects).
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
  shape = (frames, events.height, events.width, 2)
  # Three times as fast as adding at each place: a data set has 10^8 events.
  places = np.ravel_multi_index((bins, events.y, events.x, 1 - events.p), shape)
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


def read_nmnist(path: str | pathlib.Path, *, side: int = 34) -> Events:
  """Reads one recording of N-MNIST or N-Caltech101, see `decode_nmnist`.

  Args:
    path: a `.bin` file.
    side: sensor rows and columns; 34 for N-MNIST.

  Returns:
    The recording's events.

  Raises:
    ValueError: if it is damaged, naming the file.
    FileNotFoundError: if there is no such file.
  """
  path = pathlib.Path(path)
  return decode_nmnist(path.read_bytes(), str(path), height=side, width=side)


def decode_nmnist(
  content: bytes, source: str, *, height: int = 34, width: int = 34
) -> Events:
  """Decodes one recording of N-MNIST or N-Caltech101 (40-bit events).

  Five bytes an event: x, y, then one bit of polarity and 23 bits of
  microseconds, big-endian. y = 240 is no event: from there on, 2^13 us more
  are added to the time.

  Args:
    content: of a `.bin` file.
    source: what the message calls it, e.g. the file's name.
    height: sensor rows; 34 for N-MNIST.
    width: sensor columns, likewise.

  Returns:
    The recording's events.

  Raises:
    ValueError: if the length is no multiple of five bytes, an event lies
      outside the sensor, or time falls.

  References:
    G. Orchard, A. Jayawant, G. Cohen, N. Thakor, "Converting Static Image
    Datasets to Spiking Neuromorphic Datasets Using Saccades", 2015,
    arXiv:1507.07629.
  """
  if len(content) % 5:
    raise ValueError(
      f"{source} must hold a whole number of 5-byte events; got {len(content)} "
      "bytes: it is truncated or no N-MNIST file"
    )
  raw = np.frombuffer(content, np.uint8).reshape(-1, 5)
  overflow = raw[:, 1] == _OVERFLOW_ROW
  t = np.cumsum(overflow, dtype=np.int64)
  t *= _OVERFLOW_US
  for column, bits, shift in ((2, 0x7F, 16), (3, 0xFF, 8), (4, 0xFF, 0)):
    t += (raw[:, column] & np.uint8(bits)).astype(np.int64) << shift
  keep = ~overflow
  events = Events(
    t=t[keep],
    x=raw[keep, 0].astype(np.int32),
    y=raw[keep, 1].astype(np.int32),
    p=(raw[keep, 2] >> 7).astype(np.int32),
    height=height,
    width=width,
  )
  return check_events(events, source)


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
