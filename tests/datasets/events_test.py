"""Event lists and their frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax.data import events
from tests.datasets import event_files

SIDE = 34


@settings(deadline=None, max_examples=100)
@given(
  event_files.lists(), st.integers(1, 13), st.integers(0, 3), st.integers(1, 9)
)
def test_frames_are_half_open_bins_the_last_closed(
  recording, frames, before, after
):
  start = -before
  last = int(recording.t[-1]) if len(recording.t) else 0
  end = last + (after if before else 0) or 1
  counts = events.to_frames(recording, frames, window=(start, end))
  assert counts.sum() == len(recording.t)
  expected = np.zeros_like(counts)
  for t, x, y, p in zip(*recording[:4], strict=True):
    inside = [
      i * (end - start) <= (t - start) * frames < (i + 1) * (end - start)
      for i in range(frames)
    ]
    index = inside.index(True) if any(inside) else frames - 1
    expected[index, y, x, 1 - p] += 1
  np.testing.assert_array_equal(counts, expected)


def test_the_event_at_the_end_is_in_the_last_frame():
  column = np.zeros(3, np.int32)
  recording = events.Events(
    np.array([0, 5, 10]), column, column, column, SIDE, SIDE
  )
  counts = events.to_frames(recording, 2)
  assert counts.sum(axis=(1, 2, 3)).tolist() == [1, 2]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(10, 40))
def test_counts_listed_and_framed_again_are_the_same(seed, frames, duration):
  counts = np.random.default_rng(seed).poisson(0.3, (frames, 4, 3, 2))
  listed = events.check_events(events.from_counts(counts, duration))
  assert len(listed.t) == counts.sum()
  np.testing.assert_array_equal(
    events.to_frames(listed, frames, window=(0, duration)), counts
  )


@settings(deadline=None, max_examples=40)
@given(event_files.lists(min_size=1), st.integers(0, 60_000))
def test_between_parts_a_recording(recording, cut):
  end = int(recording.t[-1]) + 1
  first = events.between(recording, 0, cut)
  second = events.between(recording, cut, max(end, cut))
  assert np.all(first.t < cut)
  assert np.all(second.t >= cut)
  assert len(first.t) + len(second.t) == len(recording.t)


def counted(recording, frames, size):
  """Counts one by one; `frames` has each event's frame."""
  expected = np.zeros((size, SIDE, SIDE, 2), np.int32)
  columns = (frames, recording.y, recording.x, 1 - recording.p)
  for place in zip(*columns, strict=True):
    expected[place] += 1
  return expected


# name: (events, first time, length or number) -> frames, frame of each event
FRAMINGS = {
  "bins": lambda listed, start, length: (
    events.to_frames(listed, 3, window=(start, start + 3 * length)),
    np.minimum((listed.t - start) // length, 2),
    3,
  ),
  "time": lambda listed, start, length: (
    events.frames_by_time(listed, length, start=start),
    (listed.t - start) // length,
    (int(listed.t[-1]) - start) // length + 1,
  ),
  "count": lambda listed, start, length: (
    events.frames_by_count(listed, length % 7 + 1),
    np.arange(len(listed.t)) // (length % 7 + 1),
    -(-len(listed.t) // (length % 7 + 1)),
  ),
}


@pytest.mark.parametrize("name", FRAMINGS)
@settings(deadline=None, max_examples=40)
@given(
  event_files.lists(min_size=1, gaps=(0, 1, 5)),
  st.integers(0, 3),
  st.integers(70, 90),
)
def test_every_framing_counts_each_event_once(name, recording, before, length):
  start = int(recording.t[0]) - before
  counts, frames, size = FRAMINGS[name](recording, start, length)
  assert counts.dtype == np.int32
  assert counts.sum() == len(recording.t)
  np.testing.assert_array_equal(counts, counted(recording, frames, size))
  # Of one time and frame, the events' order does not matter.
  order = np.lexsort((recording.x, frames, recording.t))
  columns = [column[order] for column in recording[:4]]
  moved = recording._replace(**dict(zip("txyp", columns, strict=True)))
  np.testing.assert_array_equal(FRAMINGS[name](moved, start, length)[0], counts)


@pytest.mark.parametrize(
  ("framing", "expected"),
  [
    (lambda e: events.frames_by_time(e, 5), [2, 1, 2]),
    (lambda e: events.frames_by_time(e, 5, start=-1), [1, 2, 1, 1]),
    (lambda e: events.frames_by_time(e, 10**9), [5]),
    (lambda e: events.frames_by_count(e, 2), [2, 2, 1]),
    (lambda e: events.frames_by_count(e, 5), [5]),
    (lambda e: events.frames_by_count(e, 9), [5]),
    (lambda e: events.frames_by_time(events.between(e, 0, 0), 5), []),
    (lambda e: events.frames_by_count(events.between(e, 0, 0), 5), []),
  ],
)
def test_the_edges_of_frames(framing, expected):
  column = np.zeros(5, np.int32)
  times = np.array([0, 4, 5, 10, 14])
  recording = events.Events(times, column, column, column, SIDE, SIDE)
  counts = framing(recording)
  assert counts.shape[1:] == (SIDE, SIDE, 2)
  assert counts.sum(axis=(1, 2, 3)).tolist() == expected


@pytest.mark.parametrize(
  ("framing", "message"),
  [
    (lambda e: events.frames_by_time(e, 0), "duration_us must be at least 1"),
    (lambda e: events.frames_by_time(e, 9, start=1), "start must not be after"),
    (lambda e: events.frames_by_time(e, 1), "at most 2,147,483,648 numbers"),
    (lambda e: events.frames_by_count(e, 0), "count must be at least 1"),
    (lambda e: events.to_frames(e, 1 << 40), "at most 2,147,483,648 numbers"),
  ],
)
def test_frames_that_cannot_be_are_refused(framing, message):
  column = np.zeros(2, np.int32)
  recording = events.Events(
    np.array([0, 1 << 60]), column, column, column, SIDE, SIDE
  )
  with pytest.raises(ValueError, match=message):
    framing(recording)


@pytest.mark.parametrize(
  ("frames", "window", "message"),
  [
    (0, None, "frames must be at least 1"),
    (2, (5, 5), "start < end"),
    (2, (1, 10), "hold every event"),
    (2, (0, 9), "hold every event"),
  ],
)
def test_windows_that_lose_events_are_refused(frames, window, message):
  column = np.zeros(2, np.int32)
  recording = events.Events(
    np.array([0, 10]), column, column, column, SIDE, SIDE
  )
  with pytest.raises(ValueError, match=message):
    events.to_frames(recording, frames, window=window)


def test_an_empty_recording_needs_a_window():
  empty = np.zeros(0, np.int32)
  recording = events.Events(empty, empty, empty, empty, SIDE, SIDE)
  with pytest.raises(ValueError, match="window must be given"):
    events.to_frames(recording, 2)
  assert events.to_frames(recording, 2, window=(0, 1)).sum() == 0


@pytest.mark.parametrize(
  ("counts", "duration", "message"),
  [
    (np.zeros((2, 3, 3), int), 10, r"\[T, height, width, 2\]"),
    (np.zeros((2, 3, 3, 2)), 10, "float64"),
    (np.full((2, 3, 3, 2), -1), 10, "none negative"),
    (np.zeros((2, 3, 3, 2), int), 3, "at least 2 us a bin, 4; got 3"),
  ],
)
def test_counts_that_cannot_be_listed_are_refused(counts, duration, message):
  with pytest.raises(ValueError, match=message):
    events.from_counts(counts, duration)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_named_steps_into_the_unit_box(array):
  counts = array(np.array([0, 1, 2, 3, 200], np.uint8))
  saturated = events.saturate(counts, 2)
  assert saturated.dtype == np.float32
  np.testing.assert_array_equal(saturated, [0, 0.5, 1, 1, 1])
  np.testing.assert_array_equal(events.binarize(counts), [0, 1, 1, 1, 1])
  np.testing.assert_array_equal(
    jax.jit(events.saturate, static_argnums=1)(counts, 2), saturated
  )
  with pytest.raises(ValueError, match="cap must be at least 1"):
    events.saturate(counts, 0)
  for step in (events.binarize, lambda c: events.saturate(c, 1)):
    with pytest.raises(ValueError, match="integers; got float32"):
      step(saturated)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_a_cap_above_the_type_is_allowed(array):
  counts = array(np.array([0, 255], np.uint8))
  np.testing.assert_array_equal(
    events.saturate(counts, 510), np.array([0, 0.5], np.float32)
  )
