"""Losses against formulas worked out by hand and against their invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax import losses

LOGITS = jnp.array([[2.0, 1.0, -1.0, 0.5], [0.0, 3.0, 2.5, -4.0]])
LABELS = jnp.array([0, 2])

LOSSES = {
  "cross_entropy": losses.cross_entropy,
  "margin_loss": losses.margin_loss,
  "dlr": losses.dlr,
  "targeted": losses.targeted(losses.cross_entropy),
  "targeted_dlr": lambda z, y: losses.targeted_dlr(z, y, (y + 1) % 4),
  "targeted_margin": lambda z, y: losses.targeted_margin_loss(
    z, y, (y + 1) % 4
  ),
  "margin": losses.against_rival(losses.margin),
  "rival_probability": losses.against_rival(losses.rival_probability),
  "softmax_probability": losses.against_rival(losses.softmax_probability),
  "surprisal": losses.against_rival(losses.surprisal),
}


def test_hand_computed_values():
  rival = losses.rival(LOGITS, LABELS)
  np.testing.assert_array_equal(rival, [1, 1])
  np.testing.assert_allclose(losses.margin(LOGITS, LABELS, rival), [1.0, -0.5])
  np.testing.assert_allclose(losses.margin_loss(LOGITS, LABELS), [-1.0, 0.5])
  np.testing.assert_allclose(
    losses.dlr(LOGITS, LABELS), [-1 / 1.5, 0.5 / 3], rtol=1e-6
  )
  targets = jnp.array([3, 0])
  np.testing.assert_allclose(
    losses.targeted_dlr(LOGITS, LABELS, targets),
    [-1.5 / (2 - (0.5 - 1) / 2), -2.5 / (3 - (0 - 4) / 2)],
    rtol=1e-6,
  )
  np.testing.assert_allclose(
    losses.targeted_margin_loss(LOGITS, LABELS, targets), [-1.5, -2.5]
  )
  z = np.asarray(LOGITS, np.float64)
  p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
  own = p[[0, 1], [0, 2]]
  np.testing.assert_allclose(
    losses.cross_entropy(LOGITS, LABELS), -np.log(own), rtol=1e-6
  )
  np.testing.assert_allclose(
    losses.softmax_probability(LOGITS, LABELS, rival), own, rtol=1e-6
  )
  np.testing.assert_allclose(
    losses.rival_probability(LOGITS, LABELS, rival),
    own / (own + p[[0, 1], [1, 1]]),
    rtol=1e-6,
  )


def test_temporal_loss_by_hand():
  outputs = jnp.stack([LOGITS, LOGITS + 1, 2 * LOGITS])
  entropy = np.mean([losses.cross_entropy(z, LABELS) for z in outputs], axis=0)
  spread = np.mean((np.asarray(outputs) - 1) ** 2, axis=(0, 2))
  np.testing.assert_allclose(
    losses.temporal(outputs, LABELS, 0.05), entropy + 0.05 * spread, rtol=1e-5
  )
  np.testing.assert_allclose(
    losses.temporal(outputs, LABELS), entropy, rtol=1e-5
  )


def test_kl_by_hand_and_its_temperature():
  p = np.array([[0.7, 0.2, 0.1]])
  q = np.array([[0.2, 0.5, 0.3]])
  expected = np.sum(p * np.log(p / q), axis=1)
  log_p, log_q = jnp.log(jnp.asarray(p)), jnp.log(jnp.asarray(q))
  np.testing.assert_allclose(losses.kl(log_p, log_q), expected, rtol=1e-5)
  np.testing.assert_allclose(
    losses.kl(2 * log_p, 2 * log_q, 2.0), expected, rtol=1e-5
  )
  np.testing.assert_allclose(losses.kl(log_p, log_p + 3), [0.0], atol=1e-6)


def test_huge_logits_stay_finite():
  logits = jnp.array([[1e4, -1e4, 0.0, 5.0], [-1e4, 1e4, 0.0, 5.0]])
  labels = jnp.array([0, 0])
  for name, loss in LOSSES.items():
    value, grad = jax.jit(
      jax.value_and_grad(lambda z, f=loss: f(z, labels).sum())
    )(logits)
    assert jnp.isfinite(value), name
    assert jnp.isfinite(grad).all(), name


def test_tied_logits_give_dlr_zero_not_nan():
  np.testing.assert_array_equal(losses.dlr(jnp.ones((2, 5)), LABELS), [0, 0])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_per_example_and_survives_jit_vmap_and_jvp(name):
  loss = LOSSES[name]
  whole = loss(LOGITS, LABELS)
  assert whole.shape == (2,)
  # Eagerly once; the rest compiled, as every operation would be on its own.
  fast = jax.jit(loss)
  alone = [fast(LOGITS[i : i + 1], LABELS[i : i + 1])[0] for i in range(2)]
  np.testing.assert_allclose(whole, alone, rtol=1e-6)
  np.testing.assert_allclose(fast(LOGITS, LABELS), whole, rtol=1e-6)
  stacked = jax.jit(jax.vmap(loss, (0, None)))(
    np.stack([LOGITS, 2 * np.asarray(LOGITS)]), LABELS
  )
  np.testing.assert_allclose(stacked[0], whole, rtol=1e-6)
  direction = np.ones(LOGITS.shape, np.float32)
  direction[:, 0] = 3.0

  @jax.jit
  def slopes(z):
    forward = jax.jvp(lambda z: loss(z, LABELS), (z,), (direction,))[1]
    return forward, jax.grad(lambda z: loss(z, LABELS).sum())(z)

  slope, gradient = map(np.asarray, slopes(LOGITS))
  np.testing.assert_allclose(
    slope, (gradient * direction).sum(1), rtol=1e-5, atol=1e-6
  )


COMPILED = {
  name: jax.jit(LOSSES[name])
  for name in ("cross_entropy", "margin_loss", "dlr")
}


@settings(max_examples=12, deadline=None)
@given(
  shift=st.floats(-5, 5), scale=st.floats(0.1, 10), seed=st.integers(0, 1000)
)
def test_shift_and_scale_invariances(shift, scale, seed):
  logits = jax.random.normal(jax.random.key(seed), (3, 5))
  labels = jnp.array([0, 3, 4])
  for loss in COMPILED.values():
    np.testing.assert_allclose(
      loss(logits + shift, labels), loss(logits, labels), rtol=1e-3, atol=1e-4
    )
  np.testing.assert_allclose(
    COMPILED["dlr"](scale * logits, labels),
    COMPILED["dlr"](logits, labels),
    rtol=1e-3,
    atol=1e-4,
  )
  wrong = jnp.argmax(logits, axis=1) != labels
  margins = COMPILED["margin_loss"](logits, labels)
  np.testing.assert_array_equal(margins > 0, wrong)


def test_composition_with_a_network():
  def double(key, inputs):
    del key
    return 2 * inputs

  key = jax.random.key(0)
  result = losses.scored(double, losses.margin_loss)(key, LOGITS, LABELS)
  np.testing.assert_allclose(result.logits, 2 * LOGITS)
  np.testing.assert_allclose(result.loss, [-2.0, 1.0])
  np.testing.assert_allclose(
    losses.composed(double, losses.margin_loss)(key, LOGITS, LABELS),
    result.loss,
  )


@pytest.mark.parametrize(
  ("labels", "message"),
  [
    (jnp.array([0, 4]), r"\[0, 4\).*\[0, 4\]"),
    (jnp.array([-1, 2]), r"\[0, 4\).*\[-1, 2\]"),
    (jnp.array([0.0, 1.0]), "integer.*float32"),
    (jnp.array([0, 1, 2]), r"integers \[2\]; got int32 of shape \(3,\)"),
    (jnp.array(1), r"integers \[2\]; got int32 of shape \(\)"),
  ],
)
def test_bad_labels_are_named(labels, message):
  with pytest.raises(ValueError, match=message):
    losses.cross_entropy(LOGITS, labels)
  with pytest.raises(ValueError, match=message):
    losses.rival(LOGITS, labels)


def test_bad_logits_are_named():
  with pytest.raises(ValueError, match="logits must be"):
    losses.cross_entropy(LOGITS[0], LABELS)
  with pytest.raises(ValueError, match=r"\[T, B, C\]"):
    losses.temporal(LOGITS, LABELS)
  with pytest.raises(ValueError, match="at least 3"):
    losses.dlr(LOGITS[:, :2], jnp.array([0, 1]))
  with pytest.raises(ValueError, match="at least 4"):
    losses.targeted_dlr(LOGITS[:, :3], jnp.array([0, 1]), jnp.array([1, 2]))
  with pytest.raises(ValueError, match="at least 2"):
    losses.rival(LOGITS[:, :1], jnp.array([0, 0]))
  with pytest.raises(ValueError, match=r"logits_q must be \[2, 4\]; got"):
    losses.kl(LOGITS, LOGITS[:1])
  with pytest.raises(ValueError, match="temperature"):
    losses.kl(LOGITS, LOGITS, 0.0)


def test_the_rival_argument_is_checked_by_its_own_name():
  with pytest.raises(ValueError, match="rival must lie"):
    losses.margin(LOGITS, LABELS, jnp.array([0, 7]))


MARGINS = np.concatenate([np.arange(-80, 81, 8), [-17.0, -16.6, 16.6, 17.0]])
DLRS = ("dlr", "targeted_dlr")
REFERENCE = jnp.array([[3.0, 0.5, -2.0, 1.0]])
WIDE = LOSSES | {
  "temporal": lambda z, y: losses.temporal(jnp.stack([z, z / 2]), y, 0.05),
  "kl": lambda z, y: losses.kl(
    jnp.broadcast_to(REFERENCE, z.shape).astype(z.dtype), z
  ),
  "kl_of_the_first": lambda z, y: losses.kl(
    z, jnp.broadcast_to(REFERENCE, z.shape).astype(z.dtype)
  ),
}


def logits_of_margins():
  """The label leads by each margin; the others differ little or a lot."""
  rows = []
  for others in ([0.0, -0.25, -1.5], [0.0, -12.0, -30.0], [0.0, 0.0, 0.0]):
    for margin in MARGINS:
      rows.append([margin, *others])
  logits = np.asarray(rows, np.float32)
  return np.concatenate([logits, logits[:, ::-1]]), np.repeat([0, 3], len(rows))


@pytest.mark.parametrize("name", WIDE)
def test_gradients_keep_their_digits_in_both_tails(name, x64):
  """Against double precision: 1e-5, and 0 only where float32 has no number.

  s (1 - s) is exactly 0 from a margin of 16.6 on.
  """
  logits, labels = logits_of_margins()

  @jax.jit
  def value_and_slope(z):
    return jax.value_and_grad(
      lambda z: jnp.sum(WIDE[name](z, jnp.asarray(labels)))
    )(z)

  got = np.asarray(value_and_slope(jnp.asarray(logits))[1], np.float64)
  want = np.asarray(value_and_slope(jnp.asarray(logits, jnp.float64))[1])
  assert got.shape == want.shape
  held = np.abs(want) >= np.finfo(np.float32).tiny
  assert held.any()
  # Some entries are differences of two probabilities or two quotients, which
  # may be equal: these are right to rounding of the row's largest.
  loose = 0.0 if name not in ("kl", "kl_of_the_first", *DLRS) else 2e-7
  slack = loose * (np.abs(want).max(1, keepdims=True) + 1e-6)
  wrong = np.abs(got - want) > 1e-5 * np.abs(want) + slack
  rows = np.flatnonzero(np.any(wrong & held, 1))
  assert not rows.size, (logits[rows[0]], got[rows[0]], want[rows[0]])
  assert np.all(
    np.abs(got - want)[~held]
    <= np.finfo(np.float32).tiny + (np.broadcast_to(slack, got.shape)[~held])
  )


@pytest.mark.parametrize(
  "name", ["rival_probability", "softmax_probability", "surprisal"]
)
def test_values_keep_their_digits_in_both_tails(name, x64):
  logits, labels = logits_of_margins()
  got, want = (
    np.asarray(
      jax.jit(WIDE[name])(jnp.asarray(logits, kind), jnp.asarray(labels))
    )
    for kind in (jnp.float32, jnp.float64)
  )
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-37)


def test_a_doubled_network_still_has_input_gradients():
  """What sparsity means and SR's penalty are over: 21 % of them vanished."""
  weights = 20 * jax.random.normal(jax.random.key(0), (12, 10))
  inputs = jax.random.uniform(jax.random.key(1), (64, 12))
  labels = jnp.argmax(inputs @ weights, 1)
  margins = losses.margin_loss(inputs @ weights, labels)
  assert float(jnp.mean(margins < -17)) > 0.25  # beyond where s (1 - s) is 0
  for confidence in (
    losses.rival_probability,
    losses.softmax_probability,
    losses.surprisal,
  ):
    loss = losses.against_rival(confidence)
    slopes = jax.jit(
      jax.grad(lambda x, f=loss: jnp.sum(f(x @ weights, labels)))
    )(inputs)
    held = margins > -75  # float32 has no number below exp(-87)
    assert np.all(np.any(np.asarray(slopes)[held] != 0, 1)), confidence
