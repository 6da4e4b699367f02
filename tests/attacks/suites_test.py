"""AutoAttack's suites, and their evaluation on the survivors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, evaluation, losses
from tests import smooth_network

KEY = jax.random.key(0)
ROWS = 12
EFFORT = attacks.Effort(steps=6, queries=20, targets=2)


@pytest.mark.parametrize(
  ("suite", "names"),
  [
    (attacks.autoattack_standard, ["apgd_ce", "apgd_t", "fab_t", "square"]),
    (
      attacks.autoattack_plus,
      ["apgd_ce", "apgd_dlr", "fab", "square", "apgd_t", "fab_t"],
    ),
    (attacks.autoattack_rand, ["apgd_ce", "apgd_dlr"]),
  ],
)
def test_the_authors_attacks_in_their_order(suite, names):
  for norm in (attacks.linf, attacks.l2, attacks.l1):
    assert list(suite(smooth_network.logits, norm, 0.1)) == names


def test_each_attack_meets_the_survivors_only():
  inputs, labels = smooth_network.batch(ROWS)
  suite = functools.partial(attacks.autoattack_standard, effort=EFFORT)
  result = evaluation.autoattack(
    smooth_network.logits,
    attacks.l2,
    inputs,
    labels,
    key=KEY,
    epsilon=0.35,
    suite=suite,
    microbatch=6,
  )
  left = np.ones(ROWS, bool)
  for outcome in result.attacks.values():
    np.testing.assert_array_equal(outcome.attempted, left)
    left &= ~outcome.success
    tried = outcome.attempted
    assert np.all(outcome.contained[tried])
    assert np.all(outcome.distance[tried] <= 0.35 * (1 + 1e-5))
    np.testing.assert_array_equal(
      outcome.claimed[tried], outcome.success[tried]
    )
  assert 0 < left.sum() < ROWS
  np.testing.assert_array_equal(evaluation.worst(result).robust, left)


def test_an_interrupted_run_goes_on():
  inputs, labels = smooth_network.batch(ROWS)
  effort = attacks.Effort(steps=3, draws=2)
  suite = functools.partial(attacks.autoattack_rand, effort=effort)
  cases = evaluation.cases(suite, smooth_network.logits, attacks.linf, 0.05)
  rest = {"key": KEY, "microbatch": 6}
  chunks = list(
    evaluation.stream(cases, smooth_network.logits, inputs, labels, **rest)
  )
  again = evaluation.evaluate(
    cases, smooth_network.logits, inputs, labels, finished=chunks[:3], **rest
  )
  whole = evaluation.collect(
    np.arange(ROWS), np.asarray(labels), tuple(cases), chunks
  )
  for name in cases:
    np.testing.assert_array_equal(
      again.attacks[name].loss, whole.attacks[name].loss
    )


def test_few_classes_need_the_margin():
  def two(key, inputs):
    return smooth_network.logits(key, inputs)[:, :2]

  inputs, _ = smooth_network.batch(4)
  labels = jnp.argmax(two(None, inputs), 1)
  suite = attacks.autoattack_standard(two, attacks.linf, 0.1, effort=EFFORT)
  with pytest.raises(ValueError, match="at least 4"):
    suite["apgd_t"](KEY, inputs, labels)
  gentle = EFFORT._replace(loss=losses.targeted_margin_loss)
  margin = attacks.autoattack_standard(two, attacks.linf, 0.1, effort=gentle)
  result = jax.jit(margin["apgd_t"])(KEY, inputs, labels)
  assert np.all(np.isfinite(result.loss))


def test_a_ready_threat_or_a_norm_and_its_radius():
  ready = attacks.linf(0.1)
  suite = attacks.autoattack_standard(smooth_network.logits, ready)
  assert list(suite) == ["apgd_ce", "apgd_t", "fab_t", "square"]
  with pytest.raises(ValueError, match="epsilon must be None"):
    attacks.autoattack_standard(smooth_network.logits, ready, 0.1)
  with pytest.raises(ValueError, match="epsilon must be given"):
    attacks.autoattack_standard(smooth_network.logits, attacks.linf)
  with pytest.raises(ValueError, match="one norm ball"):
    attacks.autoattack_standard(smooth_network.logits, attacks.l0, 3)
