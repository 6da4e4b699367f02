"""Each masked network raises its own alarm, and its mask does not hold.

All sentinels hide the same small network. The worst case over losses and
attacks without a gradient must break it behind every mask.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, checks, losses, random
from snnjax.checks import Examples, Subject, measuring
from snnjax.derivatives import with_gradient_of

SIZE, WIDTH, CLASSES = 16, 6, 3
RADIUS = 0.25
RNG = np.random.default_rng(5)
FIRST = jnp.asarray(RNG.normal(size=(WIDTH, 10)), jnp.float32)
SECOND = jnp.asarray(RNG.normal(size=(10, CLASSES)), jnp.float32)
INPUTS = jnp.asarray(RNG.random((SIZE, WIDTH)), jnp.float32)
KEY = jax.random.key(0)


def plain(key, inputs):
  del key
  return jnp.tanh((inputs - 0.5) @ FIRST) @ SECOND


LABELS = jnp.argmax(plain(KEY, INPUTS), 1)
EXAMPLES = Examples(KEY, INPUTS, LABELS)


def dead(key, inputs):
  """No gradient at all."""
  return jax.lax.stop_gradient(plain(key, inputs))


def quantised(key, inputs):
  """A staircase whose treads slope the wrong way."""
  steps = jnp.round(inputs * 12) / 12
  return plain(key, with_gradient_of(steps, -inputs))


def noisy(key, inputs):
  """Another network in every forward pass."""
  keys = random.example_keys(key, len(inputs))
  noise = jax.vmap(lambda k: jax.random.normal(k, (WIDTH,)))(keys)
  return plain(key, inputs + 0.1 * noise)


def saturated(key, inputs):
  """Probabilities in place of logits, as certain as floats allow."""
  return jax.nn.softmax(100 * plain(key, inputs))


def loud(key, inputs):
  """Logits times ten thousand."""
  return 1e4 * plain(key, inputs)


def tied(key, inputs):
  """All rivals tie: the DLR loss is -1 whatever the input."""
  logits = plain(key, inputs)
  own = logits == jnp.max(logits, 1, keepdims=True)
  return jnp.where(own, logits, jnp.sort(logits, 1)[:, 1:2])


def mixing(key, inputs):
  """Normalises by the batch it is in."""
  return plain(key, inputs - jnp.mean(inputs, 0, keepdims=True) + 0.5)


def subject(logits_fn, loss=losses.cross_entropy):
  return Subject(
    logits_fn, {"own": logits_fn}, attacks.linf, RADIUS, loss=loss, steps=5
  )


def fired(measurements):
  return {alarm.name for alarm in checks.check(measurements) if alarm.fired}


gradient = functools.partial(measuring.measure_gradient, directions=16)
free = functools.partial(measuring.measure_gradient_free, pairs=16)
ZERO = "Gradients are exactly zero"
ELSEWHERE = "The gradient points elsewhere"
FREE = "A gradient-free attack beats the white box"
LOSSES = "Losses disagree"
SENTINELS = {
  "zero": (dead, losses.cross_entropy, (gradient, free), {ZERO, FREE}),
  "quantised": (
    quantised,
    losses.cross_entropy,
    (gradient, free),
    {ELSEWHERE, FREE},
  ),
  "random": (
    noisy,
    losses.cross_entropy,
    (measuring.measure_randomness,),
    {"Two forward passes differ"},
  ),
  "probabilities": (saturated, losses.cross_entropy, (gradient,), {ZERO}),
  "loud": (
    loud,
    losses.cross_entropy,
    (gradient, measuring.measure_losses),
    {ZERO, LOSSES},
  ),
  "tied": (tied, losses.dlr, (measuring.measure_losses,), {LOSSES}),
  "mixing": (
    mixing,
    losses.cross_entropy,
    (measuring.measure_batch,),
    {"The batch matters"},
  ),
}


@pytest.mark.parametrize("name", SENTINELS)
def test_a_masked_network_raises_its_own_alarm(name):
  logits_fn, loss, measures, alarms = SENTINELS[name]
  masked = subject(logits_fn, loss)
  found = checks.merged(*(each(masked, EXAMPLES) for each in measures))
  assert alarms <= fired(found)


@pytest.mark.parametrize("name", SENTINELS)
def test_the_worst_case_breaks_the_masked_network(name):
  logits_fn, *_ = SENTINELS[name]
  threat = attacks.linf(RADIUS)
  margin = losses.scored(logits_fn, losses.margin_loss)
  # What the mask hides from the gradient, differences of the margin show.
  attack = attacks.worst_of(
    [
      attacks.bim(
        attacks.spsa(margin, draws=24, width=0.1),
        threat,
        step_size=0.06,
        steps=6,
      ),
      attacks.random_noise(margin, threat, draws=300),
    ]
  )
  labels = jnp.argmax(logits_fn(KEY, INPUTS), 1)
  fast = {"xla_backend_optimization_level": 0}
  run = jax.jit(attack, compiler_options=fast)
  result = run(jax.random.key(1), INPUTS, labels)
  assert np.mean(result.success) >= 0.75


def test_searches_see_through_masks_and_modalities():
  """Where one modality may not change, Square and the walk use the other."""

  def fused(key, inputs):
    return dead(key, jnp.concatenate([inputs["left"], inputs["right"]], 1))

  def threat(radius):
    return attacks.per_modality(
      {name: attacks.linf(each) for name, each in radius.items()}
    )

  masked = Subject(
    fused, {"own": fused}, threat, {"left": 0.0, "right": 2 * RADIUS}
  )
  split = Examples(KEY, {"left": INPUTS[:, :2], "right": INPUTS[:, 2:]}, LABELS)
  found = measuring.measure_search(masked, split, queries=150)
  assert set(found.gradient_free_accuracies) == {"square", "hop_skip_jump"}
  assert found.white_box_accuracy == 1
  assert max(found.gradient_free_accuracies.values()) < 0.7
  assert FREE in fired(found)


def test_all_measurements_of_an_honest_network_are_silent():
  found = checks.measure(
    subject(plain)._replace(rules=dict.fromkeys(("a", "b", "c", "d"), plain)),
    EXAMPLES,
    checks.Effort(
      restarts=3, pairs=16, directions=16, noise=50, queries=50, alone=1
    ),
  )
  alarms = checks.check(found)
  missing = {name for alarm in alarms for name in alarm.missing}
  assert missing == {
    "statistics_change",
    "tuning_indices",
    "reported_indices",
    "ten_draws_accuracy",
    "twenty_draws_accuracy",
  }
  assert not [alarm for alarm in alarms if alarm.fired]
  (draws,) = [a for a in alarms if a.name == "Too few draws"]
  assert draws.state is checks.State.NOT_APPLICABLE
  assert "forward passes are equal" in draws.reason
  assert found.own_rule_accuracy == found.all_rules_accuracy
  assert found.rules == 4


def test_an_attack_in_train_mode_changes_statistics():
  before = {"norm": {"mean": np.zeros(3), "var": np.ones(3)}}
  after = {"norm": {"mean": np.array([0, 0.5, 0]), "var": np.ones(3)}}
  assert checks.statistics_change(before, before) == 0
  assert checks.statistics_change(before, after) == 0.5
  assert checks.statistics_change({}, {}) == 0
