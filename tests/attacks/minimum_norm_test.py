"""Minimal-norm attacks against foolbox, and what they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, losses
from tests import peers, smooth_network

KEY = jax.random.key(0)
ROWS = 100
MARGIN = losses.scored(smooth_network.logits, losses.margin_loss)
WEIGHING = {"steps": 40, "searches": 4, "step_size": 0.05, "weight": 0.01}


@pytest.fixture(scope="module")
def problem():
  return smooth_network.batch(ROWS)


@pytest.fixture(scope="module")
def theirs(problem):
  """The distances of a foolbox attack, infinite where it fails."""
  foolbox = peers.load("foolbox")
  inputs, labels = problem

  def run(make, order):
    model = foolbox.models.JAXModel(
      lambda x: smooth_network.logits(None, x), bounds=(0, 1)
    )
    with jax.numpy_rank_promotion("allow"):  # Foolbox counts on it.
      points = make(foolbox.attacks).run(
        model, inputs, foolbox.criteria.Misclassification(labels)
      )
    delta = np.asarray(points - inputs).reshape(ROWS, -1)
    right = jnp.argmax(smooth_network.logits(None, points), 1) == labels
    return np.where(right, np.inf, np.linalg.norm(delta, order, 1))

  return run


def check(result, threat, problem):
  """The claims of a result, recomputed."""
  inputs, labels = problem
  assert np.all((result.inputs >= 0) & (result.inputs <= 1))
  after = MARGIN(KEY, result.inputs, labels)
  # Some end on the boundary, where the last digit decides.
  clear = np.abs(after.loss) > 1e-5
  wrong = np.argmax(after.logits, 1) != labels
  np.testing.assert_array_equal(result.success[clear], wrong[clear])
  assert np.mean(clear) > 0.8
  np.testing.assert_allclose(result.loss, after.loss, atol=1e-5)
  np.testing.assert_allclose(
    result.distance,
    np.where(result.success, threat.distance(result.inputs, inputs), np.inf),
    rtol=1e-5,
  )


def no_more_robust(ours, others):
  """At every radius: our robust accuracy at most theirs + 1 point."""
  for radius in np.concatenate([ours, others]) * 1.0001:
    assert np.mean(ours > radius) <= np.mean(others > radius) + 0.01 + 1e-9


@pytest.mark.parametrize(
  ("norm", "order", "name"),
  [("linf", np.inf, "LinfDeepFoolAttack"), ("l2", 2, "L2DeepFoolAttack")],
)
def test_deepfool_is_foolboxs(problem, theirs, norm, order, name):
  threat = getattr(attacks, norm)(1.0)
  attack = attacks.deepfool(smooth_network.logits, threat, steps=20)
  result = jax.jit(attack)(KEY, *problem)
  check(result, threat, problem)
  expected = theirs(lambda module: getattr(module, name)(steps=20), order)
  assert np.all(np.isfinite(expected))
  close = np.isclose(result.distance, expected, rtol=1e-3)
  assert np.mean(close) >= 0.98
  no_more_robust(np.asarray(result.distance), 1.001 * expected)


def test_deepfool_in_l1(problem):
  threat = attacks.l1(1.0)
  attack = attacks.deepfool(smooth_network.logits, threat, steps=20)
  result = jax.jit(attack)(KEY, *problem)
  check(result, threat, problem)
  assert np.all(result.success)
  changed = np.sum(np.abs(result.inputs - problem[0]) > 0, (1, 2, 3))
  assert np.median(changed) <= 4


def test_carlini_wagner_against_foolbox(problem, theirs):
  threat = attacks.l2(1.0)
  attack = attacks.carlini_wagner(smooth_network.logits, threat, **WEIGHING)
  result = jax.jit(attack)(KEY, *problem)
  check(result, threat, problem)
  expected = theirs(
    lambda module: module.L2CarliniWagnerAttack(
      steps=40, binary_search_steps=4, stepsize=0.05, initial_const=0.01
    ),
    2,
  )
  assert np.all(np.isfinite(result.distance) | np.isinf(expected))
  np.testing.assert_allclose(
    np.median(result.distance), np.median(expected), rtol=0.03
  )
  assert np.mean(result.distance <= 1.02 * expected) > 0.9
  no_more_robust(np.asarray(result.distance), expected)


def test_ead_against_foolbox(problem, theirs):
  threat = attacks.l1(1.0)
  attack = attacks.ead(smooth_network.logits, threat, **WEIGHING)
  result = jax.jit(attack)(KEY, *problem)
  check(result, threat, problem)
  expected = theirs(
    lambda module: module.EADAttack(
      steps=40,
      binary_search_steps=4,
      initial_stepsize=0.05,
      initial_const=0.01,
      decision_rule="L1",
    ),
    1,
  )
  no_more_robust(np.asarray(result.distance), expected)


def test_a_confident_success_has_its_margin(problem):
  attack = attacks.carlini_wagner(
    smooth_network.logits, attacks.l2(1.0), confidence=1.0, **WEIGHING
  )
  result = jax.jit(attack)(KEY, *problem)
  assert np.any(result.success)
  assert np.all(result.loss[result.success] >= 1 - 1e-4)


def test_what_is_misclassified_already_is_left_alone(problem):
  inputs, labels = problem
  wrong = (labels + 1) % smooth_network.CLASSES
  attack = attacks.ead(
    smooth_network.logits, attacks.l1(1.0), steps=2, searches=1
  )
  result = jax.jit(attack)(KEY, inputs, wrong)
  np.testing.assert_array_equal(result.inputs, inputs)
  np.testing.assert_array_equal(result.distance, 0)


def test_within_a_budget(problem):
  inputs, labels = problem
  threat = attacks.l2(0.3)
  free = attacks.deepfool(smooth_network.logits, threat, steps=20)
  found = jax.jit(free)(KEY, inputs, labels)
  limited = attacks.within(
    attacks.as_attack(free), smooth_network.logits, threat
  )
  result = jax.jit(limited)(KEY, inputs, labels)
  assert np.all(threat.contains(result.inputs, inputs))
  near = np.asarray(found.distance) <= 0.3
  assert 0 < near.sum() < ROWS
  assert np.all(result.success[near])
  assert np.all(result.loss >= MARGIN(KEY, inputs, labels).loss - 1e-6)


def test_slide_is_pgd_along_its_own_steps(problem):
  inputs, labels = problem
  attack = attacks.slide(
    smooth_network.logits,
    attacks.l1(1.5),
    step_size=0.5,
    steps=5,
    quantile=0.75,
    random_start=False,
  )
  same = attacks.bim(
    smooth_network.logits,
    attacks.l1(1.5, fraction=0.25),
    step_size=0.5,
    steps=5,
  )
  ours, plain = (jax.jit(run)(KEY, inputs, labels) for run in (attack, same))
  np.testing.assert_allclose(ours.inputs, plain.inputs, atol=1e-6)


def test_bad_arguments():
  network = smooth_network.logits
  with pytest.raises(ValueError, match="order 2"):
    attacks.carlini_wagner(network, attacks.linf(0.1))
  with pytest.raises(ValueError, match="finite box"):
    attacks.carlini_wagner(network, attacks.l2(1.0, (-np.inf, np.inf)))
  with pytest.raises(ValueError, match="order 1"):
    attacks.ead(network, attacks.l2(0.1))
  with pytest.raises(ValueError, match="confidence"):
    attacks.ead(network, attacks.l1(0.1), confidence=-1.0)
  with pytest.raises(ValueError, match="order 1"):
    attacks.slide(
      smooth_network.logits, attacks.l2(0.1), step_size=0.1, steps=2
    )
  with pytest.raises(ValueError, match="steps"):
    attacks.deepfool(network, attacks.l2(0.1), steps=0)


def test_a_random_network_gets_a_fresh_key_for_every_query():
  """The key-reuse checker watches; the same key gives the same result."""

  def noisy(key, inputs):
    noise = jax.vmap(
      lambda k: jax.random.normal(k, inputs.shape[1:], inputs.dtype)
    )(key)
    return smooth_network.logits(None, inputs + 0.02 * noise)

  inputs, labels = smooth_network.batch(3)
  attack = attacks.ead(noisy, attacks.l1(1.0), steps=2, searches=2, weight=9.0)
  run = jax.jit(attack)
  first = run(jax.random.key(1), inputs, labels)
  again = run(jax.random.key(1), inputs, labels)
  other = run(jax.random.key(2), inputs, labels)
  np.testing.assert_array_equal(first.loss, again.loss)
  assert np.all(first.loss != other.loss)
