"""Event lists, their frames and the N-MNIST decoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax.data import events

SIDE = 34


@st.composite
def recordings(draw, min_size=0):
  """Events with times that repeat, rest and jump."""
  size = draw(st.integers(min_size, 40))

  def column(limit):
    values = st.integers(0, limit - 1)
    return np.array(
      draw(st.lists(values, min_size=size, max_size=size)), np.int32
    )

  gaps = draw(
    st.lists(
      st.sampled_from([0, 1, 2, 999, 8191, 8192, 50_000]),
      min_size=size,
      max_size=size,
    )
  )
  return events.Events(
    t=np.cumsum(np.array(gaps, np.int64)),
    x=column(SIDE),
    y=column(SIDE),
    p=column(2),
    height=SIDE,
    width=SIDE,
  )


def encode(recording):
  """Writes 40-bit events, with an overflow mark wherever time needs one.

  Some cameras mark overflows early: the clock here has 13 bits.
  """
  lines, base = [], 0
  for t, x, y, p in zip(*recording[:4], strict=True):
    while t - base >= 1 << 13:
      lines.append(bytes([7, 240, 0, 0, 0]))
      base += 1 << 13
    low = int(t) - base
    lines.append(
      bytes([x, y, int(p) << 7 | low >> 16, low >> 8 & 0xFF, low & 0xFF])
    )
  return b"".join(lines)


def assert_equal(one, other):
  for left, right in zip(one, other, strict=True):
    np.testing.assert_array_equal(left, right)


@settings(deadline=None, max_examples=60)
@given(recordings())
def test_nmnist_files_read_back(tmp_path_factory, recording):
  path = tmp_path_factory.getbasetemp() / "written.bin"
  path.write_bytes(encode(recording))
  assert_equal(events.read_nmnist(path), recording)


def test_nmnist_times_use_all_23_bits(tmp_path):
  path = tmp_path / "late.bin"
  path.write_bytes(bytes([1, 2, 0xFF, 0xFF, 0xFF]))
  read = events.read_nmnist(path)
  assert (read.t[0], read.x[0], read.y[0], read.p[0]) == (
    (1 << 23) - 1,
    1,
    2,
    1,
  )


def test_the_recorded_nmnist_sample(shared):
  read = events.read_nmnist(shared / "data" / "events" / "sample_nmnist.bin")
  assert len(read.t) == 4325
  assert (read.t[0], read.t[-1]) == (654, 311_175)
  assert (read.height, read.width) == (34, 34)
  frames = events.to_frames(read, 10)
  assert frames.sum() == 4325
  assert frames[..., 0].sum() == read.p.sum()


@pytest.mark.parametrize("length", [1, 4, 6, 9])
def test_truncated_nmnist_files_are_refused(tmp_path, length):
  path = tmp_path / "cut.bin"
  path.write_bytes(bytes(length))
  with pytest.raises(ValueError, match=rf"cut\.bin.*5-byte.*{length} bytes"):
    events.read_nmnist(path)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (bytes([34, 0, 0, 0, 0]), r"x must be in \[0, 34\); got 34 at event 0"),
    (bytes([0, 77, 0, 0, 0]), "y must be.*77"),
    (bytes([0, 0, 0, 0, 9, 0, 0, 0, 0, 3]), "t must not fall.*event 0"),
  ],
)
def test_impossible_nmnist_events_are_refused(tmp_path, content, message):
  path = tmp_path / "odd.bin"
  path.write_bytes(content)
  with pytest.raises(ValueError, match=message):
    events.read_nmnist(path)


@settings(deadline=None, max_examples=100)
@given(recordings(), st.integers(1, 13), st.integers(0, 3), st.integers(1, 9))
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
@given(recordings(min_size=1), st.integers(0, 60_000))
def test_between_parts_a_recording(recording, cut):
  end = int(recording.t[-1]) + 1
  first = events.between(recording, 0, cut)
  second = events.between(recording, cut, max(end, cut))
  assert np.all(first.t < cut)
  assert np.all(second.t >= cut)
  assert len(first.t) + len(second.t) == len(recording.t)


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
