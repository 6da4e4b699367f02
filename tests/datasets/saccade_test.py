"""Laws of the event simulator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from snnjax.data import dataset, embedded, events, pairing, saccade
from snnjax.data.camera import Camera, positions

COARSE = Camera(step_us=10_000)

# One compilation a camera, not one an operation.
record_one = jax.jit(saccade.simulate, static_argnames=("camera", "frames"))


@pytest.fixture(scope="module")
def digits():
  return dataset.map_inputs(
    dataset.subset(embedded.mnist("train"), np.arange(24)), dataset.to_unit
  )


def images(digits, count):
  return np.asarray(digits.inputs)[:count]


def test_a_still_camera_makes_no_event(digits):
  still = COARSE._replace(side=0.0, mismatch=0.1, rotation=1.0)
  counts = saccade.simulate_batch(
    jax.random.key(0), images(digits, 8), still, frames=3, chunk=8
  )
  assert counts.sum() == 0


def test_a_black_image_makes_no_event():
  blank = np.zeros((1, 28, 28), np.float32)
  counts = saccade.simulate_batch(
    jax.random.key(0), blank, COARSE, frames=4, chunk=8
  )
  assert counts.sum() == 0


def test_the_path_is_a_closed_triangle_of_equal_legs():
  path = positions(Camera())
  np.testing.assert_array_equal(path[0], path[-1])
  np.testing.assert_allclose(path[:-1].mean(axis=0), 0, atol=1e-12)
  steps = np.linalg.norm(np.diff(path, axis=0), axis=-1)
  np.testing.assert_allclose(steps, 4 / 100, rtol=1e-9)
  corners = path[[0, 100, 200, 300]]
  legs = np.linalg.norm(np.diff(corners, axis=0), axis=-1)
  np.testing.assert_allclose(legs, 4.0)


def test_log_intensity_is_an_independent_bilinear_shift(digits):
  image = images(digits, 1)[0, ..., 0]
  for shift in positions(COARSE)[::7]:
    moved = ndimage.shift(np.pad(image, 3), shift, order=1)
    seen = saccade.log_intensity(
      jnp.asarray(image), jnp.asarray(shift, jnp.float32), COARSE
    )
    np.testing.assert_allclose(seen, np.log(moved + 0.1), atol=1e-5)


@pytest.mark.parametrize("step_us", [2_000, 25_000])
def test_on_minus_off_is_the_log_change_within_one_event(digits, step_us):
  camera = Camera(step_us=step_us)
  image = images(digits, 5)[4, ..., 0]
  counts = np.asarray(
    record_one(
      jax.random.key(0), jnp.asarray(image), camera, frames=camera.steps
    )
  )
  net = np.cumsum(counts[..., 0] - counts[..., 1], axis=0)
  path = positions(camera)
  seen = np.log(
    np.stack([ndimage.shift(np.pad(image, 3), p, order=1) for p in path]) + 0.1
  )
  change = (seen[1:] - seen[0]) / camera.threshold
  assert np.abs(change).max() > 3  # something happens
  assert np.abs(net - change).max() < 1 + 1e-4
  assert np.abs(net - change).max() > 0.9


def test_a_coarse_step_emits_several_events_at_once(digits):
  camera = Camera(step_us=100_000)
  counts = record_one(
    jax.random.key(0), jnp.asarray(images(digits, 1)[0]), camera, frames=3
  )
  assert counts.max() > 3


def test_one_digit_makes_as_many_events_as_n_mnist_has(digits):
  counts = saccade.simulate_batch(
    jax.random.key(0), images(digits, 24), Camera(), frames=1, chunk=12
  )
  on, off = counts.sum(axis=(1, 2, 3), dtype=np.int64).mean(axis=0)
  # The path is closed, so each pixel ends where it began: ON = OFF.
  assert on == off
  assert 1_800 < on < 2_400


@pytest.mark.parametrize("frames", [5, 7])
def test_frames_sum_to_the_same_events(digits, frames):
  image = jnp.asarray(images(digits, 3)[2])
  key = jax.random.key(0)
  fine = record_one(key, image, COARSE, frames=COARSE.steps)
  coarse = record_one(jax.random.clone(key), image, COARSE, frames=frames)
  assert coarse.shape == (frames, 34, 34, 2)
  assert coarse.dtype == jnp.int32
  np.testing.assert_array_equal(fine.sum(axis=0), coarse.sum(axis=0))
  listed = events.from_counts(np.asarray(fine), COARSE.duration_us)
  np.testing.assert_array_equal(
    events.to_frames(listed, frames, window=(0, COARSE.duration_us)), coarse
  )


@pytest.mark.parametrize(
  "camera",
  [COARSE._replace(mismatch=0.05), COARSE._replace(rotation=0.5)],
  ids=["mismatch", "rotation"],
)
def test_a_key_fixes_the_recording_and_another_changes_it(digits, camera):
  pictures = images(digits, 4)

  def record(seed):
    return saccade.simulate_batch(
      jax.random.key(seed), pictures, camera, frames=4, chunk=4
    )

  np.testing.assert_array_equal(record(0), record(0))
  assert np.any(record(0) != record(1))
  same = np.repeat(pictures[:1], 2, axis=0)
  twins = saccade.simulate_batch(
    jax.random.key(0), same, camera, frames=4, chunk=4
  )
  assert np.any(twins[0] != twins[1])  # one key per example


def test_an_example_does_not_depend_on_its_batch(digits):
  camera = COARSE._replace(mismatch=0.05)
  pictures = images(digits, 11)
  keys = jax.random.split(jax.random.key(3), 11)
  together = saccade.simulate_batch(
    jax.random.clone(keys), pictures, camera, frames=4, chunk=8
  )
  order = np.array([9, 2, 0])
  apart = saccade.simulate_batch(
    jax.random.clone(keys)[order],
    pictures[order],
    camera,
    frames=4,
    chunk=8,
  )
  np.testing.assert_array_equal(apart, together[order])


def test_progress_reports_every_chunk(digits):
  seen = []
  saccade.simulate_batch(
    jax.random.key(0),
    images(digits, 5),
    Camera(step_us=100_000),
    frames=1,
    chunk=2,
    progress=lambda done, total: seen.append((done, total)),
  )
  assert seen == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
  ("camera", "frames", "message"),
  [
    (Camera(step_us=7_000), 1, "step_us must be positive and divide"),
    (Camera(step_us=0), 1, "step_us"),
    (COARSE, 31, "between 1 and the 30 simulated steps; got 31"),
    (COARSE, 0, "frames"),
    (COARSE._replace(threshold=0.0), 1, "threshold must be positive"),
    (COARSE._replace(offset=-1.0), 1, "offset must be positive"),
    (COARSE._replace(side=-1.0), 1, "side"),
    (COARSE._replace(mismatch=0.5), 1, "mismatch"),
    (COARSE._replace(height=20), 1, "H <= 20"),
  ],
)
def test_impossible_cameras_are_refused(camera, frames, message):
  with pytest.raises(ValueError, match=message):
    saccade.simulate(
      jax.random.key(0), jnp.zeros((28, 28)), camera, frames=frames
    )


@pytest.mark.parametrize(
  ("pictures", "message"),
  [
    (np.zeros((2, 28, 28), np.uint8), "to_unit"),
    (np.full((2, 28, 28), 1.5, np.float32), "0, 1.*1.5"),
    (np.full((2, 28, 28), np.nan, np.float32), "nan"),
    (np.zeros((2, 28, 28, 3), np.float32), "H, W, 1"),
    (np.zeros((28, 28), np.float32), "N, H, W"),
  ],
)
def test_wrong_images_are_refused(pictures, message):
  with pytest.raises(ValueError, match=message):
    saccade.simulate_batch(jax.random.key(0), pictures, COARSE, frames=1)


def test_counts_that_do_not_fit_a_byte_are_refused(digits):
  camera = Camera(step_us=100_000, threshold=1e-3)
  with pytest.raises(ValueError, match="at most 255 events in one frame"):
    saccade.simulate_batch(
      jax.random.key(0), images(digits, 1), camera, frames=1
    )


def test_pairs_hold_the_image_and_its_events():
  stored = dataset.subset(embedded.mnist("test"), np.arange(3))
  paired = pairing.pair(stored, jax.random.key(0), COARSE, frames=5)
  assert paired.inputs["image"].dtype == np.float32
  assert paired.inputs["events"].dtype == np.uint8
  assert paired.inputs["events"].shape == (3, 5, 34, 34, 2)
  np.testing.assert_array_equal(
    paired.inputs["image"] * 255, np.asarray(stored.inputs)
  )
  np.testing.assert_array_equal(paired.labels, stored.labels)
  dataset.validate(paired)
  ready = pairing.network_inputs(paired.inputs, cap=2)
  np.testing.assert_array_equal(
    ready["events"], np.minimum(paired.inputs["events"], 2) / 2
  )
  with pytest.raises(ValueError, match=r"one array.*events: uint8"):
    pairing.pair(paired, jax.random.key(0), COARSE, frames=5)
