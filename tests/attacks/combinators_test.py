"""Mixtures, transfer, estimated gradients, labels only, perception."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from snnjax import attacks, losses
from snnjax.attacks import black_box, perceptual
from snnjax.attacks.gradient import schedule, slide
from snnjax.interfaces import Scored

KEY = jax.random.key(0)
LABELS = jnp.zeros(3, int)
compiled = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
RNG = np.random.default_rng(3)
HIDDEN = jnp.asarray(RNG.normal(size=(8, 6)), jnp.float32)
OUT = jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32)
INPUTS = jnp.asarray(RNG.random((3, 8)), jnp.float32)


def logits_fn(key, inputs):
  del key
  return jnp.tanh((inputs - 0.5) @ HIDDEN) @ OUT + jnp.array([[1.0, 0, 0]])


def image_logits(key, inputs):
  return logits_fn(key, inputs.reshape(inputs.shape[0], -1))


MARGIN = losses.scored(logits_fn, losses.margin_loss)


def constant(points, loss, success):
  def attack(key, inputs, labels):
    del key, labels
    return attacks.candidate(
      jnp.full_like(inputs, points), jnp.array(loss), jnp.array(success)
    )

  return attack


def test_worst_of_takes_each_examples_worst():
  first = constant(0.1, [1.0, 5.0, 1.0], [False, False, True])
  second = constant(0.2, [2.0, 0.0, 3.0], [False, True, False])
  result = attacks.worst_of([first, second])(KEY, INPUTS, LABELS)
  np.testing.assert_allclose(result.inputs[:, 0], [0.2, 0.2, 0.1])
  assert result.success.tolist() == [False, True, True]
  assert result.loss.tolist() == [2.0, 0.0, 1.0]
  highest = attacks.worst_of([first, second], keep=attacks.best_loss)
  result = highest(KEY, INPUTS, LABELS)
  assert result.success.tolist() == [False, False, False]
  assert result.loss.tolist() == [2.0, 5.0, 3.0]
  with pytest.raises(ValueError, match="keep must be a rule"):
    attacks.worst_of([first, second], keep=max)


def test_a_recorded_ascent_can_follow_slide():
  threat = attacks.l1(0.8)
  spread = slide.sparse_steps(threat, 0.25)
  recorded = attacks.ascend_recorded(
    logits_fn,
    optax.chain(
      attacks.steppers.steepest(spread), attacks.steppers.scale_steps(0.3)
    ),
    spread,
    steps=3,
    record=lambda inputs, probe: inputs,
  )
  result, points = compiled(recorded)(KEY, INPUTS, LABELS)
  own = attacks.slide(
    logits_fn, threat, steps=3, step_size=0.3, quantile=0.75, random_start=False
  )
  np.testing.assert_array_equal(
    result.inputs, compiled(own)(KEY, INPUTS, LABELS).inputs
  )
  assert np.all(np.sum(points[1] != points[0], 1) == 2)
  with pytest.raises(ValueError, match=r"fraction must lie in \[0"):
    slide.sparse_steps(threat, 1.5)
  with pytest.raises(ValueError, match="threat must be of order 1 for SLIDE"):
    slide.sparse_steps(attacks.l2(0.8), 0.25)


def test_gradient_mean_weighs_every_gradient_alike():
  def scaled(direction, size):
    def loss(key, inputs, labels):
      del key, labels
      value = size * jnp.sum(inputs * direction, 1)
      return Scored(value, jnp.stack([value * 0 + 1, value * 0], 1))

    return attacks.white_box(loss)

  a = jnp.eye(8)[:1]
  b = jnp.ones((1, 8))
  oracle = attacks.gradient_mean(
    [scaled(a, 1e-20), scaled(b, 1e20), scaled(b, 0.0)]
  )
  probe, state = oracle.grad(KEY, oracle.init(INPUTS), INPUTS, LABELS)
  assert len(state) == 3
  expected = (a + b / np.sqrt(8)) / 3
  np.testing.assert_allclose(probe.gradient[0], expected[0], rtol=1e-5)
  assert np.all(probe.correct)


def test_transfer_is_judged_on_the_target():
  threat = attacks.linf(0.4)
  attack = attacks.bim(
    lambda x: logits_fn(None, x) * 0.5 + 0.01,
    threat,
    loss=losses.margin_loss,
    step_size=0.1,
    steps=8,
  )
  moved = compiled(attacks.transfer([attack], logits_fn))(KEY, INPUTS, LABELS)
  judged = MARGIN(KEY, moved.inputs, LABELS)
  np.testing.assert_allclose(moved.loss, judged.loss, atol=1e-5)
  assert np.any(moved.success)
  useless = constant(0.5, [9.0, 9.0, 9.0], [True, True, True])
  kept = attacks.transfer([useless], logits_fn)(KEY, INPUTS, LABELS)
  assert np.all(kept.loss >= MARGIN(KEY, INPUTS, LABELS).loss - 1e-6)


def test_sharpness_is_chosen_on_the_tuning_examples_alone():
  traces = []

  def build(sharpness):
    traces.append(1)

    def attack(key, inputs, labels):
      del key
      success = jnp.abs(sharpness - 2) < jnp.arange(1, 4)
      return attacks.candidate(inputs, -sharpness + labels, success)

    return attack

  chosen = attacks.choose_sharpness(
    build, (0.5, 2.0, 4.5), KEY, INPUTS, LABELS, tuning_indices=(7, 8, 9)
  )
  assert chosen.value == 2.0
  assert chosen.successes == pytest.approx({0.5: 2 / 3, 2.0: 1.0, 4.5: 1 / 3})
  assert chosen.tuning_indices == {7, 8, 9}
  assert len(traces) == 1
  with pytest.raises(ValueError, match="1 are, the first 8"):
    attacks.choose_sharpness(
      build,
      (1.0,),
      KEY,
      INPUTS,
      LABELS,
      tuning_indices=(7, 8, 9),
      reported_indices=(8, 100),
    )
  with pytest.raises(ValueError, match="tuning_indices must name the 3"):
    attacks.choose_sharpness(
      build, (1.0,), KEY, INPUTS, LABELS, tuning_indices=(7,)
    )


@pytest.mark.parametrize("estimate", [attacks.nes, attacks.spsa])
def test_estimates_point_along_the_gradient(estimate):
  exact, _ = attacks.white_box(MARGIN).grad(KEY, (), INPUTS, LABELS)
  oracle = estimate(logits_fn, loss=losses.margin_loss, draws=400, width=1e-2)
  probe, _ = compiled(oracle.grad)(KEY, (), INPUTS, LABELS)
  np.testing.assert_allclose(probe.loss, exact.loss, atol=1e-5)
  np.testing.assert_array_equal(probe.correct, exact.correct)
  cosine = np.sum(probe.gradient * exact.gradient, 1) / (
    np.linalg.norm(probe.gradient, axis=1)
    * np.linalg.norm(exact.gradient, axis=1)
  )
  assert np.all(cosine > 0.95)
  # Not only the direction: the estimate is unbiased up to curvature.
  sizes = np.linalg.norm(probe.gradient, axis=1)
  np.testing.assert_allclose(
    sizes, np.linalg.norm(exact.gradient, axis=1), rtol=0.15
  )


def test_estimates_see_no_gradient():
  """A network whose derivative is wrong gives the same estimate."""

  def masked(key, inputs):
    return logits_fn(key, jax.lax.stop_gradient(inputs))

  plain, hidden = (
    compiled(black_box.nes(network, draws=5).grad)(KEY, (), INPUTS, LABELS)[
      0
    ].gradient
    for network in (logits_fn, masked)
  )
  np.testing.assert_allclose(plain, hidden, atol=1e-6)
  assert np.any(hidden != 0)


def test_boundary_search_comes_near_by_labels_alone():
  @attacks.white_box
  def labels_only(key, inputs, labels):
    logits = logits_fn(key, jax.lax.stop_gradient(inputs))
    return Scored(jnp.zeros(len(labels)), logits)

  labels = jnp.argmax(logits_fn(KEY, INPUTS), 1)
  for make in (attacks.l2, attacks.linf):
    threat = make(1.0)
    run = attacks.hop_skip_jump(
      labels_only, threat, rounds=12, starts=40, halvings=8, draws=16
    )
    result = compiled(run)(KEY, INPUTS, labels)
    assert np.all(result.success)
    after = logits_fn(KEY, result.inputs)
    assert np.all(np.argmax(after, 1) != labels)
    assert np.all((result.inputs >= 0) & (result.inputs <= 1))
    found = threat.distance(result.inputs, INPUTS)

    @compiled
    def broken(share, found=found, make=make):
      bound = make(share * found)
      strong = attacks.bim(
        logits_fn, bound, loss=losses.margin_loss, step_size=0.02, steps=60
      )
      return strong(KEY, INPUTS, labels).success

    # It needs little more than the smallest change the gradient finds.
    assert np.all(broken(1.05))
    assert not np.any(broken(0.6))


def test_many_random_draws_in_one_program():
  attack = attacks.random_noise(logits_fn, attacks.linf(0.4), draws=10_000)
  result = compiled(attack)(KEY, INPUTS, LABELS)
  one = attacks.random_noise(logits_fn, attacks.linf(0.4), draws=1)
  assert np.all(result.loss >= compiled(one)(KEY, INPUTS, LABELS).loss)
  assert np.any(result.success)


def test_stable_steps_halve_at_shrinking_periods():
  # 20 steps: periods 4, 3, 2, 1, 1, ... as Auto-PGD's checkpoints.
  assert schedule.halvings(20).tolist() == [
    *([0] * 4 + [1] * 3 + [2] * 2),
    *range(3, 14),
  ]
  assert schedule.halvings(100)[[21, 22, 40, 41]].tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(
  ("attack", "make"),
  [
    (attacks.sa_pgd, attacks.linf),
    (attacks.sa_pgd_steepest, attacks.linf),
    (attacks.sa_pgd_steepest, attacks.l2),
    (attacks.sa_pgd_steepest, attacks.l1),
  ],
)
def test_no_gradient_no_step_no_nan(attack, make):
  @attacks.white_box
  def flat_loss(key, inputs, labels):
    scored = MARGIN(key, inputs, labels)
    # The second example has no gradient at all, the third a tiny one.
    size = jnp.array([1.0, 0.0, 1e-30])
    return Scored(scored.loss * size, scored.logits)

  run = attack(flat_loss, make(0.3), steps=4, random_start=False)
  result = compiled(run)(KEY, INPUTS, LABELS)
  assert np.all(np.isfinite(result.inputs))
  np.testing.assert_array_equal(result.inputs[1], INPUTS[1])
  assert np.any(result.inputs[2] != INPUTS[2])


def test_sensitivity_is_one_over_the_local_deviation():
  images = jnp.asarray(RNG.random((2, 5, 6, 2)), jnp.float32)
  found = np.asarray(perceptual.sensitivity(images))
  inner = np.asarray(images)[1, 1:4, 2:5, 1]
  np.testing.assert_allclose(found[1, 2, 3, 1], 1 / inner.std(), rtol=1e-4)
  corner = np.asarray(images)[0, :2, :2, 0]
  np.testing.assert_allclose(found[0, 0, 0, 0], 1 / corner.std(), rtol=1e-4)
  smooth = perceptual.sensitivity(jnp.ones((1, 4, 4, 1)))
  np.testing.assert_allclose(smooth, 255, rtol=1e-5)
  moved = images.at[1, 2, 3, 1].add(-0.1)
  distance = attacks.perceptual_distance(moved, images)
  np.testing.assert_allclose(distance, [0, 0.1 / inner.std()], rtol=1e-4)


def test_noise_tolerance_is_the_gap_to_the_next_class():
  logits = jnp.array([[1.0, 4.0, 3.5], [2.0, 1.0, 0.0], [0.0, 1.0, -2.0]])
  gap = attacks.noise_tolerance(logits, jnp.zeros(3, int))
  np.testing.assert_allclose(gap, [0.5, -1.0, 1.0])


def test_the_imperceptible_attack_spends_where_it_is_not_seen():
  images = INPUTS.reshape(3, 2, 4, 1)
  budget = 4.0
  attack = attacks.imperceptible(
    image_logits, budget=budget, steps=40, step_size=0.05, pixels=2
  )
  result = compiled(attack)(KEY, images, LABELS)
  distance = attacks.perceptual_distance(result.inputs, images)
  assert np.all(distance <= budget * (1 + 1e-5))
  assert np.all((result.inputs >= 0) & (result.inputs <= 1))
  gap = attacks.noise_tolerance(image_logits(KEY, result.inputs), LABELS)
  np.testing.assert_allclose(result.loss, gap, atol=1e-5)
  clean = attacks.noise_tolerance(image_logits(KEY, images), LABELS)
  assert np.all(gap > clean)
  # Random changes of the same perceptual distance gain less.
  noise = jnp.asarray(RNG.normal(size=images.shape), jnp.float32)
  size = attacks.perceptual_distance(images + noise, images)
  scale = (distance / size).reshape(-1, 1, 1, 1)
  other = jnp.clip(images + noise * scale, 0, 1)
  assert np.all(gap > attacks.noise_tolerance(image_logits(KEY, other), LABELS))
  none = attacks.imperceptible(
    image_logits, budget=0.0, steps=3, step_size=0.05
  )
  same = compiled(none)(KEY, images, LABELS)
  np.testing.assert_array_equal(same.inputs, images)
