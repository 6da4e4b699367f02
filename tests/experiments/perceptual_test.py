"""How visible attacks are: of the image alone, whatever fills a microbatch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.evaluation import perceptual_study
from snnjax import attacks
from snnjax.evaluation import CLEAN, Chunk, Clean, Outcome
from snnjax.interfaces import Batch

RNG = np.random.default_rng(3)
IMAGES = RNG.random((5, 6, 6, 1)).astype(np.float32)
EVENTS = RNG.random((5, 2, 4, 4, 2)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1])
INDICES = np.array([4, 0, 2])
LOGITS = RNG.normal(size=(3, 3)).astype(np.float32)


def attacked(inputs):
  """A chunk of an attack that adds 0.1 to everything."""
  moved = jax.tree.map(lambda leaf: leaf[INDICES] + np.float32(0.1), inputs)
  none = np.zeros(3)
  return Chunk("both/0/pgd", INDICES, Outcome(*[none] * 10), moved, LOGITS)


def perceived(inputs, chunk):
  batch = Batch(inputs, LABELS, np.ones(5, bool))
  return perceptual_study.measure(batch, 4)(chunk)


@pytest.mark.parametrize("both", [False, True])
def test_distances_are_of_the_image_and_tolerances_of_the_logits(both):
  inputs = {"image": IMAGES} | ({"events": EVENTS} if both else {})
  found = perceived(inputs, attacked(inputs))
  clean = jnp.asarray(IMAGES[INDICES])
  distance = attacks.perceptual_distance(clean + 0.1, clean)
  np.testing.assert_allclose(found.distance, distance, rtol=1e-5)
  labels = jnp.asarray(LABELS[INDICES])
  tolerance = attacks.noise_tolerance(jnp.asarray(LOGITS), labels)
  np.testing.assert_allclose(found.tolerance, tolerance, rtol=1e-6)


def test_events_have_no_perceptual_distance():
  inputs = {"events": EVENTS}
  found = perceived(inputs, attacked(inputs))
  assert np.isnan(found.distance).all()
  assert np.isfinite(found.tolerance).all()


def test_what_was_measured_is_put_together_by_example():
  rows = perceptual_study.Perceived(
    np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.5, 0.25])
  )
  clean = Chunk(CLEAN, INDICES, Clean(*[np.zeros(3)] * 5))
  back = perceptual_study.collect(
    [(clean, None), (attacked({"image": IMAGES}), rows)], np.arange(5)
  )
  (found,) = back.values()
  np.testing.assert_array_equal(found.distance, [2, np.nan, 3, np.nan, 1])
  success = np.array([True, False, True, False, False])
  assert perceptual_study.summarize(found, success) == {
    "distance": 2.5,
    "tolerance": 0.375,
  }
  assert perceptual_study.summarize(found, ~success)["distance"] == 1
  nobody = np.zeros(5, bool)
  assert perceptual_study.summarize(found, nobody) == {
    "distance": None,
    "tolerance": None,
  }
