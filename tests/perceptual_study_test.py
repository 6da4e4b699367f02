"""How visible attacks are: of the image alone, whatever fills a microbatch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import perceptual_study
from snnjax import attacks, workdir
from snnjax.evaluation import CLEAN, Chunk, Clean, Outcome
from snnjax.types import Batch

RNG = np.random.default_rng(3)
IMAGES = RNG.random((5, 6, 6, 1)).astype(np.float32)
EVENTS = RNG.random((5, 2, 4, 4, 2)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1])
WEIGHTS = jnp.asarray(RNG.normal(size=(36, 3)), jnp.float32)
INDICES = np.array([4, 0, 2])
KEY = jax.random.key(0)


def of_image(inputs):
  return inputs["image"] if isinstance(inputs, dict) else inputs


def judged(weights, keys, inputs):
  del keys
  rows = of_image(inputs).reshape(len(of_image(inputs)), -1)
  return rows[:, :36] @ weights[: rows.shape[1]]


def attacked(inputs):
  """A chunk of an attack that adds 0.1 to everything."""
  moved = jax.tree.map(lambda leaf: leaf[INDICES] + np.float32(0.1), inputs)
  none = np.zeros(3)
  return Chunk("both/0/pgd", INDICES, Outcome(*[none] * 10), moved)


def perceived(inputs, modalities, chunk):
  judge = jax.tree_util.Partial(judged, WEIGHTS)
  batch = Batch(inputs, LABELS, np.ones(5, bool))
  return perceptual_study.measure(judge, batch, modalities, 4, KEY)(chunk)


@pytest.mark.parametrize("both", [False, True])
def test_distances_are_of_the_image_and_tolerances_of_the_logits(both):
  inputs = {"image": IMAGES, "events": EVENTS} if both else IMAGES
  chunk = attacked(inputs)
  modalities = ("image", "events") if both else ("image",)
  found = perceived(inputs, modalities, chunk)
  clean = jnp.asarray(IMAGES[INDICES])
  distance = attacks.perceptual_distance(clean + 0.1, clean)
  np.testing.assert_allclose(found.distance, distance, rtol=1e-5)
  logits = judged(WEIGHTS, None, jnp.asarray(of_image(chunk.inputs)))
  tolerance = attacks.noise_tolerance(logits, jnp.asarray(LABELS[INDICES]))
  np.testing.assert_allclose(found.tolerance, tolerance, rtol=1e-4, atol=1e-6)


def test_events_have_no_perceptual_distance():
  found = perceived(EVENTS, ("events",), attacked(EVENTS))
  assert np.isnan(found.distance).all()
  assert np.isfinite(found.tolerance).all()


def test_what_was_saved_comes_back_by_example(tmp_path):
  rows = perceptual_study.Perceived(
    np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.5, 0.25])
  )
  clean = Chunk(CLEAN, INDICES, Clean(*[np.zeros(3)] * 5))
  with workdir.opened(tmp_path / "run", {}) as folder:
    perceptual_study.save(lambda _: rows, folder, 0, clean)
    assert folder.array_names() == ()
    perceptual_study.save(lambda _: rows, folder, 1, attacked(IMAGES))
    back = perceptual_study.load(folder, np.arange(5))
  (found,) = back.values()
  np.testing.assert_array_equal(found.distance, [2, np.nan, 3, np.nan, 1])
  success = np.array([True, False, True, False, False])
  assert perceptual_study.summarized(found, success) == {
    "distance": 2.5,
    "tolerance": 0.375,
  }
  assert perceptual_study.summarized(found, ~success)["distance"] == 1
  nobody = np.zeros(5, bool)
  assert perceptual_study.summarized(found, nobody) == {
    "distance": None,
    "tolerance": None,
  }
