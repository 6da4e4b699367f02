"""Certificates, proved on a tiny network by enumeration of all its trains."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from snnjax import certify, encoders, models, neurons
from snnjax.backward.rules import StraightThrough

STEPS = 3
WIDTH = 2
TRAINS = np.array(
  list(itertools.product((0.0, 1.0), repeat=STEPS * WIDTH)), np.float32
).reshape(-1, STEPS, WIDTH)


def build(encoder):
  return models.mlp(
    (4,), neuron=neurons.lif(0.5, 1.0), encoder=encoder, classes=2
  )


@pytest.fixture(scope="module")
def tiny():
  """The network on trains, and the class it gives to every spike train."""
  network = build(encoders.poisson(STEPS))
  inputs = jnp.full((1, WIDTH), 0.5)
  variables = network.init(jax.random.key(4), inputs)
  kernel = variables["params"]["head"]["kernel"]
  variables["params"]["head"]["bias"] -= 0.5 * jnp.sum(kernel, 0)
  shown = models.classifier(
    build(encoders.frames(STEPS)), variables, rule=StraightThrough()
  )
  classes = np.argmax(shown(jax.random.key(0), jnp.asarray(TRAINS)), 1)
  return shown, classes


def probability(rates, classes):
  """P(class 1) exactly: the sum over all spike trains."""
  rates = np.asarray(rates, np.float64)
  chance = np.prod(np.where(TRAINS == 1, rates, 1 - rates), (1, 2))
  np.testing.assert_allclose(chance.sum(), 1)
  return chance[classes == 1].sum()


def test_the_network_is_no_constant(tiny):
  _, classes = tiny
  assert 0 < classes.sum() < len(classes)


def test_votes_are_drawn_from_the_exact_distribution(tiny):
  logits_fn, classes = tiny
  rates = jnp.array([[0.2, 0.9], [0.7, 0.4]])
  counts = certify.votes(logits_fn, jax.random.key(1), rates, 4000, steps=STEPS)
  assert counts.sum(1).tolist() == [4000, 4000]
  exact = [probability(row, classes) for row in rates]
  np.testing.assert_allclose(counts[:, 1] / 4000, exact, atol=0.04)


def test_the_probability_moves_by_at_most_steps_times_the_l1_distance(tiny):
  _, classes = tiny
  rng = np.random.default_rng(0)
  for _ in range(300):
    x, y = rng.random((2, WIDTH))
    y = x + (y - x) * rng.random()
    gap = abs(probability(x, classes) - probability(y, classes))
    assert gap <= STEPS * np.abs(x - y).sum() + 1e-12


def test_no_change_within_the_radius_flips_the_majority(tiny):
  logits_fn, classes = tiny
  rates = jnp.array([[0.05, 0.1], [0.9, 0.9], [0.2, 0.9], [0.5, 0.5]])
  found = certify.certify(
    logits_fn,
    jax.random.key(2),
    rates,
    steps=STEPS,
    selection=50,
    estimation=1500,
  )
  assert np.sum(found.radius > 0) >= 2
  rng = np.random.default_rng(1)
  for row, label, radius, bound in zip(rates, *found, strict=True):
    exact = probability(row, classes)
    exact = exact if label == 1 else 1 - exact
    if label == certify.ABSTAINED:
      assert radius == 0
      continue
    assert bound <= exact
    for _ in range(100):
      change = rng.laplace(size=WIDTH)
      change *= radius * 0.999 / np.abs(change).sum()
      moved = np.clip(np.asarray(row, np.float64) + change, 0, 1)
      assert (probability(moved, classes) > 0.5) == (label == 1)


def silent(rates, steps):
  """P(no spike at all): the smoothed class of a detector of any spike."""
  return (1 - rates) ** steps


def test_a_radius_without_the_number_of_steps_is_wrong():
  steps, rate = 4, 0.05
  p = silent(rate, steps)
  right = certify.certified_radius(p, steps)
  assert silent(rate + right, steps) > 0.5
  without = certify.certified_radius(p, 1)
  assert silent(rate + 0.9 * without, steps) < 0.5


def test_the_bound_fails_no_more_often_than_alpha():
  for total, alpha in ((20, 0.05), (100, 0.001), (7, 0.3)):
    counts = np.arange(total + 1)
    bounds = certify.lower_bound(counts, total, alpha)
    for p in (0.01, 0.3, 0.5, 0.9, 0.999):
      chance = scipy.stats.binom.pmf(counts, total, p)
      assert chance[bounds > p].sum() <= alpha * (1 + 1e-9)
  # The plain frequency is too large about every other time.
  chance = scipy.stats.binom.pmf(np.arange(101), 100, 0.6)
  assert chance[np.arange(101) / 100 > 0.6].sum() > 0.4


def test_bounding_the_largest_count_fails_more_often_than_alpha():
  """Of two equal classes, the larger count is not a count of one class."""
  total, alpha = 20, 0.06
  counts = np.arange(total + 1)
  chance = scipy.stats.binom.pmf(counts, total, 0.5)
  larger = certify.lower_bound(np.maximum(counts, total - counts), total, alpha)
  assert chance[larger > 0.5].sum() > alpha
  chosen = certify.lower_bound(counts, total, alpha)
  assert chance[chosen > 0.5].sum() <= alpha


def test_the_second_sample_counts_the_class_of_the_first(monkeypatch):
  samples = {5: [[5, 0], [2, 3]], 50: [[0, 50], [0, 50]]}
  monkeypatch.setattr(
    certify,
    "votes",
    lambda logits_fn, key, inputs, draws, **_: jnp.array(samples[draws]),
  )
  found = certify.certify(
    lambda key, inputs: inputs,
    jax.random.key(0),
    jnp.full((2, 3), 0.5),
    steps=1,
    selection=5,
    estimation=50,
  )
  # The first example's class 0 never came again: class 1 is not its class.
  assert found.prediction.tolist() == [certify.ABSTAINED, 1]
  assert found.probability[0] == 0
  assert found.radius[0] == 0
  assert found.radius[1] == pytest.approx(0.001 ** (1 / 50) - 0.5, abs=1e-8)


def test_an_error_rate_of_one_is_refused():
  # It would bound every probability by one, and be wrong every time.
  for alpha in (1.0, 0.0, 1.5):
    with pytest.raises(ValueError, match="alpha must lie strictly between"):
      certify.lower_bound(np.array([0]), 10, alpha)


def test_bad_arguments():
  with pytest.raises(ValueError, match="steps must be"):
    certify.certified_radius(np.array([0.9]), 0)
  with pytest.raises(ValueError, match=r"successes must lie in \[0, 10\]"):
    certify.lower_bound(np.array([11]), 10, 0.1)
  with pytest.raises(ValueError, match="inputs, as rates, must lie in"):
    certify.certify(
      lambda key, x: x, jax.random.key(0), jnp.array([[1.5]]), steps=1
    )


def test_nothing_is_certain_where_logits_are_not_numbers():
  counts = certify.votes(
    lambda key, x: jnp.full((2, 3), jnp.nan),
    jax.random.key(0),
    jnp.ones((2, 1)),
    4,
    steps=1,
  )
  assert not np.any(counts)


def test_certified_accuracy_needs_the_right_class_and_the_radius():
  found = certify.Certificates(
    np.array([0, 1, -1, 2]), np.array([0.1, 0.2, 0, 0.05]), np.ones(4)
  )
  labels = np.array([0, 0, 2, 2])
  assert certify.certified_accuracy(found, labels, 0.0) == 0.5
  assert certify.certified_accuracy(found, labels, 0.07) == 0.25


def blink(key, frames):
  """Class 1 for any spike: what decides is how fine the draws are."""
  del key
  seen = jnp.any(frames.reshape(len(frames), -1) > 0, 1)
  return jax.nn.one_hot(seen.astype(int), 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_draws_have_their_bits_whatever_the_type_of_the_rates(dtype):
  """A uniform of 8 or 11 bits is never below 1e-3, or often is 0."""
  rate, size = jnp.asarray(1e-3, dtype), 1 << 20
  rates = jnp.full((1, size), rate)
  spikes = certify.trains(jax.random.key(0), rates, 1)
  assert spikes.dtype == jnp.dtype(dtype)
  share = float(jnp.mean(spikes.astype(jnp.float32)))
  spread = np.sqrt(float(rate) / size)
  assert abs(share - float(rate)) < 6 * spread
  certain = certify.trains(jax.random.key(0), jnp.full((1, 99), 1, dtype), 9)
  assert np.all(certain == 1)
  assert not np.any(certify.trains(jax.random.key(0), 0 * rates[:, :99], 9))


def test_a_modality_that_is_no_rate_is_refused_or_fixed():
  """A direct-coded modality has no certificate: one change of it decides."""

  def looks_at_the_image(key, inputs):
    del key
    return jnp.stack(
      [inputs["image"][:, 0] - 0.5, 0.1 * inputs["events"][:, 0, 0]], 1
    )

  rates = {"image": jnp.full((1, 2), 0.51), "events": jnp.full((1, 2), 0.0)}
  options = {"steps": 1, "selection": 20, "estimation": 300}
  drawn = certify.certify(
    looks_at_the_image, jax.random.key(0), rates, fixed=("image",), **options
  )
  # Certified against changes of the events alone.
  assert drawn.prediction.tolist() == [0]
  assert float(drawn.radius[0]) > 0
  for name, wrong, message in (
    ("image", jnp.full((1, 2), 51.0), "box"),
    ("events", jnp.zeros((1, 2), int), r"inputs\['events'\] must be rates"),
    ("events", jnp.full((1, 2), jnp.nan), "box"),
  ):
    with pytest.raises(ValueError, match=message):
      certify.certify(
        lambda key, x: blink(key, x["events"]),
        jax.random.key(0),
        rates | {name: wrong},
        **options,
      )
  for fixed in (("audio",), ("image", "events")):
    with pytest.raises(ValueError, match="fixed must name some, not all"):
      certify.certify(
        looks_at_the_image, jax.random.key(0), rates, fixed=fixed, **options
      )


def test_a_network_that_draws_itself_is_refused():
  """A Poisson network given trains would draw again, and T times as many."""
  network = build(encoders.poisson(STEPS))
  rates = jnp.full((1, WIDTH), 0.5)
  variables = network.init(jax.random.key(4), rates)
  drawing = models.classifier(network, variables, rule=StraightThrough())
  with pytest.raises(ValueError, match="inputs do not fit the weights"):
    certify.certify(
      drawing, jax.random.key(0), rates, steps=STEPS, estimation=20
    )
