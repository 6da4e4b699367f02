"""Hyperplanes in a box, and FAB along them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from snnjax import attacks
from snnjax.attacks.threats import hyperplane
from snnjax.attacks.threats.norms import Block, Room
from tests import smooth_network

KEY = jax.random.key(0)
UNIT = Room(jnp.zeros((1, 1)), jnp.ones((1, 1)))
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}


def shortest(slope, gap, lower, upper, order):
  """The least norm that closes the gap, by another solver; None if none."""
  size = len(slope)
  if np.maximum(slope * lower, slope * upper).sum() < gap:
    return None
  if order == 2:
    found = scipy.optimize.minimize(
      lambda d: d @ d,
      np.zeros(size),
      jac=lambda d: 2 * d,
      bounds=list(zip(lower, upper, strict=True)),
      constraints={"type": "eq", "fun": lambda d: slope @ d - gap},
      options={"ftol": 1e-14},
    )
    return np.sqrt(found.fun)
  # linf: minimise t >= |d|; l1: minimise the sum of d's two parts.
  if order == np.inf:
    eye, one = np.eye(size), np.ones((2 * size, 1))
    found = scipy.optimize.linprog(
      [0] * size + [1],
      A_ub=np.hstack([np.vstack([eye, -eye]), -one]),
      b_ub=np.zeros(2 * size),
      A_eq=[[*slope, 0]],
      b_eq=[gap],
      bounds=[*zip(lower, upper, strict=True), (0, None)],
    )
  else:
    found = scipy.optimize.linprog(
      np.ones(2 * size),
      A_eq=[[*slope, *-slope]],
      b_eq=[gap],
      bounds=[(0, high) for high in [*upper, *-lower]],
    )
  return found.fun


@pytest.mark.parametrize("order", ORDERS.values())
def test_onto_plane_is_the_shortest_way(x64, order):
  rng = np.random.default_rng(0)
  point = rng.random((12, 5))
  slope = rng.normal(size=(12, 5))
  slope[0, 2], slope[1] = 0, 0
  gap = rng.normal(size=12)
  steps = np.asarray(
    hyperplane.project_onto_hyperplane(
      *map(jnp.asarray, (point, slope, gap)),
      UNIT,
      (Block(order, point.shape[1]),),
    )
  )
  assert np.all((point + steps >= -1e-12) & (point + steps <= 1 + 1e-12))
  reachable = 0
  for x, w, need, step in zip(point, slope, gap, steps, strict=True):
    sign = np.sign(need)
    best = shortest(sign * w, abs(need), -x, 1 - x, order)
    if best is None:
      np.testing.assert_array_less(sign * (w @ step), abs(need) + 1e-9)
      wall = np.where(sign * w > 0, 1 - x, -x)
      np.testing.assert_allclose(step, np.where(w == 0, 0, wall), atol=1e-12)
    else:
      reachable += 1
      np.testing.assert_allclose(w @ step, need, atol=1e-9)
      np.testing.assert_allclose(np.linalg.norm(step, order), best, rtol=1e-5)
  assert 4 <= reachable < 12


def linear(key, inputs):
  """Two classes with the boundary x . (1, 2, 3) = 2."""
  del key
  flat = inputs.reshape(inputs.shape[0], -1)
  score = flat @ jnp.array([1.0, 2.0, 3.0]) - 2
  return jnp.stack([jnp.zeros_like(score), score], 1)


@pytest.mark.parametrize(
  ("norm", "distance"),
  [("linf", 1.4 / 6), ("l2", 1.4 / 14**0.5), ("l1", 1.4 / 3)],
)
def test_fab_finds_the_boundary_of_a_linear_network(norm, distance):
  inputs = jnp.full((2, 3), 0.1)
  labels = jnp.array([0, 1])  # the second is misclassified as it is
  attack = attacks.fab(linear, getattr(attacks, norm)(1.0), steps=40)
  result = jax.jit(attack)(KEY, inputs, labels)
  assert np.all(result.success)
  np.testing.assert_allclose(result.distance, [distance, 0], rtol=6e-3)
  # Drawn back to 0.9 and 5 % too far from there.
  assert result.distance[0] >= distance * (1 - 1e-5)
  assert np.all(result.loss > 0)
  np.testing.assert_array_equal(result.inputs[1], inputs[1])


def test_fab_is_about_as_near_as_pgd_needs():
  inputs, labels = smooth_network.batch(24)
  threat = attacks.l2(0.35)
  pgd = jax.jit(
    attacks.pgd(smooth_network.logits, threat, step_size=0.07, steps=30)
  )
  fab = jax.jit(
    attacks.targeted_fab(smooth_network.logits, threat, steps=30, targets=4)
  )
  broken = np.mean(pgd(KEY, inputs, labels).success)
  result = fab(KEY, inputs, labels)
  assert 0 < broken < 1
  assert np.mean(result.distance <= 1.02 * 0.35) >= broken
  wrong = jnp.argmax(smooth_network.logits(KEY, result.inputs), 1) != labels
  np.testing.assert_array_equal(result.success, wrong)
  np.testing.assert_allclose(
    result.distance, threat.distance(result.inputs, inputs), rtol=1e-5
  )


def test_fab_towards_targets():
  inputs, labels = smooth_network.batch(6)
  targets = (labels + 1) % smooth_network.CLASSES
  attack = attacks.fab(
    smooth_network.logits, attacks.linf(1.0), steps=40, targeted=True
  )
  result = jax.jit(attack)(KEY, inputs, targets)
  hit = jnp.argmax(smooth_network.logits(KEY, result.inputs), 1) == targets
  np.testing.assert_array_equal(result.success, hit)
  assert np.mean(hit) > 0.5
  assert np.all(np.isinf(result.distance) == ~np.asarray(hit))


def test_bad_arguments():
  separate = attacks.per_modality({"image": attacks.l0(3)})
  with pytest.raises(ValueError, match="one norm ball"):
    attacks.fab(linear, separate)
  with pytest.raises(ValueError, match="steps"):
    attacks.fab(linear, attacks.l2(1.0), steps=0)
  with pytest.raises(ValueError, match="backward"):
    attacks.fab(linear, attacks.l2(1.0), backward=1.5)
