"""Auto-PGD's schedule, its progress and its targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, losses
from snnjax.attacks.gradient import auto_pgd_steppers, schedule
from snnjax.interfaces import Scored
from tests import smooth_network

KEY = jax.random.key(0)


def test_checkpoints_are_the_papers():
  ends = schedule.checkpoints(100)
  assert np.flatnonzero(ends).tolist() == [22, 41, 57, 70, 80, 87, 93, 99]
  assert ends[[22, 41, 99]].tolist() == [22, 19, 6]
  assert np.flatnonzero(schedule.checkpoints(3)).tolist() == [1, 2, 3]


def test_counts_of_moving_coordinates():
  counts = auto_pgd_steppers.moving_counts(8)
  assert counts.tolist() == [1, 1, 2, 2, 3, 4, 4, 5, 6]


def two_logits(loss):
  return Scored(loss, jnp.stack([jnp.zeros_like(loss), loss], 1))


def test_the_step_size_finds_a_narrow_peak():
  @attacks.white_box
  def peak(key, inputs, labels):
    del key, labels
    return two_logits(-jnp.sum(jnp.abs(inputs - 0.531), 1))

  inputs = jnp.array([[0.5, 0.1], [0.7, 0.9]])
  labels = jnp.zeros(2, int)
  attack = attacks.auto_pgd(peak, attacks.linf(0.5), steps=60)
  assert np.all(jax.jit(attack)(KEY, inputs, labels).loss > -0.05)
  fixed = attacks.pgd(peak, attacks.linf(0.5), step_size=0.2, steps=60)
  assert np.all(jax.jit(fixed)(KEY, inputs, labels).loss < -0.1)


def test_l1_solves_a_linear_problem():
  """The best point goes to the wall in the coordinates of largest slope."""
  slope = np.linspace(0.1, 1, 16, dtype=np.float32)

  @attacks.white_box
  def linear(key, inputs, labels):
    del key, labels
    return two_logits(jnp.sum(inputs * slope.reshape(1, -1), 1) - 100)

  inputs = jnp.full((2, 16), 0.5)
  labels = jnp.zeros(2, int)
  threat = attacks.l1(1.75)
  best = inputs[0] @ slope + 0.5 * slope[-3:].sum() + 0.25 * slope[-4] - 100
  attack = attacks.auto_pgd(linear, threat, steps=50)
  result = jax.jit(attack)(KEY, inputs, labels)
  assert np.all(threat.contains(result.inputs, inputs))
  np.testing.assert_allclose(result.loss, best, atol=0.05)


def test_no_weaker_than_pgd():
  inputs, labels = smooth_network.batch(16)
  logits, threat = smooth_network.logits, attacks.l2(0.4)
  auto, plain = (
    jax.jit(attack)(KEY, inputs, labels)
    for attack in (
      attacks.auto_pgd(logits, threat, steps=30),
      attacks.pgd(logits, threat, step_size=0.1, steps=30),
    )
  )
  assert np.mean(auto.loss) >= np.mean(plain.loss) - 1e-4
  assert np.mean(auto.success) >= np.mean(plain.success)


def test_towards_each_rival_at_least_the_untargeted_successes():
  inputs, labels = smooth_network.batch(16)
  threat = attacks.linf(0.08)
  attack = attacks.targeted_auto_pgd(
    smooth_network.logits, threat, steps=20, targets=9
  )
  result = jax.jit(attack)(KEY, inputs, labels)
  assert np.all(threat.contains(result.inputs, inputs))
  wrong = jnp.argmax(smooth_network.logits(KEY, result.inputs), 1) != labels
  np.testing.assert_array_equal(result.success, wrong)
  plain = attacks.auto_pgd(
    smooth_network.logits, threat, loss=losses.dlr, steps=20
  )
  untargeted = jax.jit(plain)(KEY, inputs, labels)
  assert 0 < np.sum(untargeted.success) <= np.sum(result.success)


def test_bad_arguments():
  logits = smooth_network.logits
  with pytest.raises(ValueError, match="steps"):
    attacks.auto_pgd(logits, attacks.linf(0.1), steps=0)
  with pytest.raises(ValueError, match="rho"):
    attacks.auto_pgd(logits, attacks.linf(0.1), rho=1.5)
  with pytest.raises(ValueError, match="factors"):
    attacks.shrinking_auto_pgd(logits, attacks.l1(1.0), factors=(3.0, 2.0))
  with pytest.raises(ValueError, match="targets"):
    attacks.targeted_auto_pgd(
      smooth_network.logits, attacks.linf(0.1), targets=0
    )
