"""The loop, its oracles and its steppers, against hand-made answers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from snnjax import attacks
from snnjax.attacks import steppers
from snnjax.interfaces import Scored

KEY = jax.random.key(0)
LABELS = jnp.zeros(2, int)


def two_logits(loss):
  """Class 1 wins exactly where the loss is positive."""
  return Scored(loss, jnp.stack([jnp.zeros_like(loss), loss], 1))


@attacks.white_box
def linear(key, inputs, labels):
  """Loss sum_i (i + 1) x_i - 4."""
  del key, labels
  slope = jnp.arange(1.0, inputs.shape[1] + 1).reshape(1, -1)
  return two_logits(jnp.sum(slope * inputs, 1) - 4)


@attacks.white_box
def tent(key, inputs, labels):
  """Rises to 1 at x = 0.6 and falls steeply behind it."""
  del key, labels
  x = inputs[:, 0]
  return two_logits(jnp.where(x <= 0.6, x / 0.6, 1 - 10 * (x - 0.6)) - 2)


def test_pgd_solves_a_linear_problem():
  inputs = jnp.array([[0.5, 0.5, 0.95], [0.1, 0.2, 0.3]])
  attack = attacks.bim(linear, attacks.linf(0.1), step_size=0.1, steps=2)
  result = jax.jit(attack)(KEY, inputs, LABELS)
  expected = np.minimum(inputs + 0.1, 1)
  np.testing.assert_allclose(result.inputs, expected, atol=1e-6)
  loss = expected @ np.array([1, 2, 3]) - 4
  np.testing.assert_allclose(result.loss, loss, atol=1e-5)
  np.testing.assert_array_equal(result.success, loss > 0)


def test_the_best_iterate_is_kept_and_last_is_the_last():
  inputs = jnp.array([[0.5], [0.55]])

  def run(keep):
    attack = attacks.bim(
      tent, attacks.linf(0.4), step_size=0.04, steps=4, keep=keep
    )
    return attack(KEY, inputs, LABELS)

  best, last = run(attacks.best_loss), run(attacks.last)
  np.testing.assert_allclose(best.inputs[:, 0], [0.58, 0.59], atol=1e-6)
  # 0.5, 0.54, 0.58, 0.62, 0.58 and 0.55, 0.59, 0.63, 0.59, 0.63.
  np.testing.assert_allclose(last.inputs[:, 0], [0.58, 0.63], atol=1e-6)
  np.testing.assert_allclose(last.loss, [0.58 / 0.6 - 2, -1.3], atol=1e-5)


def test_a_useless_attack_returns_the_clean_input():
  inputs = jnp.array([[0.6], [0.6]])
  for attack in (
    attacks.fgsm(tent, attacks.linf(0.2)),
    attacks.random_noise(tent, attacks.linf(0.2), draws=4),
    attacks.r_fgsm(tent, attacks.linf(0.2)),
  ):
    result = attack(KEY, inputs, LABELS)
    np.testing.assert_array_equal(result.inputs, inputs)


def candidate(loss, success):
  loss = jnp.asarray(loss)
  success = jnp.asarray(success)
  return attacks.candidate(jnp.zeros((len(loss), 1)), loss, success)


def test_choices_between_candidates():
  nan = np.nan
  held = candidate([1.0, 1.0, 1.0, nan, 1.0], [False, True, False, False, True])
  new = candidate([0.5, 9.0, 2.0, 0.0, nan], [True, False, False, False, True])

  def took(keep):
    return np.asarray(keep.replaces(held, new)).tolist()

  assert took(attacks.success_then_loss) == [True, False, True, True, False]
  assert took(attacks.best_loss) == [False, True, True, True, False]
  assert took(attacks.last) == [True] * 5


def test_restarts_keep_the_best_run_of_each_example():
  """One start point per run is good, another one for each example."""
  inputs = jnp.full((2, 1), 0.5)
  threat = attacks.linf(0.5, box=(0.0, 1.0))

  @attacks.white_box
  def loss(key, points, labels):
    del key, labels
    # Two hidden spikes, one for each example.
    centre = jnp.array([0.2, 0.9])
    return two_logits(1 - 30 * jnp.abs(points[:, 0] - centre))

  def run(restarts):
    attack = attacks.pgd(
      loss, threat, step_size=1e-6, steps=1, restarts=restarts
    )
    return attack(KEY, inputs, LABELS)

  one, many = run(1), run(60)
  assert np.all(many.loss > one.loss)
  assert np.all(many.loss > 0)
  assert np.all(many.success)


def test_a_step_that_is_not_finite_moves_nothing_else():
  @attacks.white_box
  def broken(key, inputs, labels):
    del key, labels
    # The first pixel's gradient is not finite where it is zero.
    loss = jnp.sum(inputs[:, 1:], 1) + jnp.sqrt(jnp.abs(inputs[:, 0])) - 9
    return two_logits(loss)

  inputs = jnp.array([[0.0, 0.5, 0.5], [0.2, 0.5, 0.5]])
  for make in (attacks.linf, attacks.l2, attacks.l1):
    for attack in (
      attacks.bim(broken, make(0.2), step_size=0.1, steps=2),
      attacks.mi_fgsm(broken, make(0.2), step_size=0.1, steps=2),
    ):
      result = jax.jit(attack)(KEY, inputs, LABELS)
      assert np.all(np.isfinite(result.inputs))
      assert result.inputs[0, 0] == 0
      assert np.all(result.inputs.sum(1) > inputs.sum(1) + 0.05)


def test_a_loss_that_is_not_a_number_never_wins():
  @attacks.white_box
  def broken(key, inputs, labels):
    del key, labels
    x = inputs[:, 0]
    return two_logits(jnp.where(x > 0.55, jnp.nan, x - 1))

  attack = attacks.bim(
    broken, attacks.linf(0.3), step_size=0.1, steps=3, keep=attacks.best_loss
  )
  result = attack(KEY, jnp.full((2, 1), 0.5), LABELS)
  np.testing.assert_allclose(result.loss, -0.5)
  np.testing.assert_allclose(result.inputs, 0.5)


def test_logits_that_are_not_numbers_are_never_right():
  def broken(key, inputs, labels):
    del key, labels
    return Scored(inputs[:, 0], jnp.full((2, 3), jnp.nan))

  for targeted in (False, True):
    oracle = attacks.white_box(broken, targeted)
    probe, _ = oracle.grad(KEY, (), jnp.ones((2, 1)), LABELS)
    np.testing.assert_array_equal(probe.correct, targeted)


def test_records_follow_the_attack():
  threat = attacks.linf(0.1)
  attack = attacks.ascend_recorded(
    linear,
    optax.chain(steppers.steepest(threat), steppers.scale_steps(0.04)),
    threat,
    steps=3,
    record=lambda inputs, probe: {
      "x": inputs,
      "loss": probe.loss,
      "l1": jnp.sum(jnp.abs(probe.gradient), 1),
    },
  )
  inputs = jnp.array([[0.5, 0.5], [0.1, 0.2]])
  result, records = jax.jit(attack)(KEY, inputs, LABELS)
  moves = np.array([0.0, 0.04, 0.08, 0.1]).reshape(-1, 1, 1)
  np.testing.assert_allclose(records["x"], inputs[None] + moves, atol=1e-6)
  np.testing.assert_allclose(records["l1"], np.full((4, 2), 3.0))
  np.testing.assert_allclose(records["loss"][-1], result.loss)
  same = attacks.bim(linear, threat, step_size=0.04, steps=3)
  np.testing.assert_array_equal(
    result.inputs, jax.jit(same)(KEY, inputs, LABELS).inputs
  )


def test_records_leave_out_a_clean_input_where_no_run_starts():
  threat = attacks.linf(0.1)
  attack = attacks.ascend_recorded(
    linear,
    optax.chain(steppers.steepest(threat), optax.scale(-0.04)),
    threat,
    steps=2,
    start=lambda key, clean: clean - 0.06,
    record=lambda inputs, probe: inputs,
  )
  inputs = jnp.array([[0.5, 0.5], [0.3, 0.2]])
  result, points = attack(KEY, inputs, LABELS)
  moves = np.array([-0.06, -0.1, -0.1]).reshape(-1, 1, 1)
  np.testing.assert_allclose(points, inputs[None] + moves, atol=1e-6)
  # It competes, nevertheless: every step led downhill.
  np.testing.assert_array_equal(result.inputs, inputs)


def test_steppers_see_value_correct_and_origin():
  seen = []

  def update(gradient, state, params=None, *, value, correct, origin):
    seen.append((value.shape, correct.shape, origin.shape))
    # Halves each example's step once it has succeeded.
    size = jnp.where(correct, 1.0, 0.5).reshape(-1, 1)
    return size * (gradient + 0 * params), state

  stepper = optax.chain(
    optax.GradientTransformationExtraArgs(lambda params: (), update),
    optax.scale(0.01),
  )
  threat = attacks.linf(1.0)
  attack = attacks.ascend(linear, stepper, threat, steps=1, keep=attacks.last)
  inputs = jnp.array([[0.1, 0.1, 0.1], [0.9, 0.9, 0.9]])
  result = attack(KEY, inputs, LABELS)
  np.testing.assert_allclose(
    result.inputs - inputs, [[0.01, 0.02, 0.03], [0.005, 0.01, 0.015]], 1e-4
  )
  assert seen[0] == ((2,), (2,), (2, 3))


def test_the_oracle_carries_its_state_through_the_run():
  """An oracle that reverses its gradient on every other call."""
  plain = linear

  def grad(key, state, inputs, labels):
    probe, _ = plain.grad(key, (), inputs, labels)
    sign = jnp.where(state % 2 == 0, 1.0, -1.0)
    return probe._replace(gradient=sign * probe.gradient), state + 1

  oracle = attacks.Oracle(lambda inputs: jnp.zeros((), int), grad)
  inputs = jnp.full((2, 3), 0.5)
  result = attacks.bim(
    oracle,
    attacks.linf(0.4),
    step_size=0.1,
    steps=3,
    keep=attacks.last,
  )(KEY, inputs, LABELS)
  np.testing.assert_allclose(result.inputs, 0.6, rtol=1e-6)


def test_targeted_ascends_towards_the_target():
  oracle = attacks.white_box(
    lambda key, inputs, labels: Scored(
      jnp.square(inputs[:, 0] - 0.7), jnp.stack([inputs[:, 0]] * 2, 1)
    ),
    targeted=True,
  )
  inputs = jnp.array([[0.5], [0.9]])
  probe, _ = oracle.grad(KEY, (), inputs, jnp.array([0, 1]))
  np.testing.assert_allclose(probe.gradient[:, 0], [0.4, -0.4], rtol=1e-5)
  np.testing.assert_allclose(probe.loss, [-0.04, -0.04], rtol=1e-5)
  # Ties predict class 0: the first target is hit, the second is not.
  np.testing.assert_array_equal(probe.correct, [False, True])


@attacks.white_box
def noisy(key, inputs, labels):
  """Loss w x with a weight w drawn anew for each key."""
  del labels
  draw = jax.vmap(lambda k: jax.random.normal(k, ()))(key)
  return two_logits(draw * inputs[:, 0])


def test_eot_averages_over_all_draws():
  keys = jax.random.split(KEY, 2)
  inputs = jnp.array([[0.5], [0.25]])
  probe, _ = jax.jit(attacks.eot(noisy, 5).grad)(keys, (), inputs, LABELS)
  one = noisy
  draws = [
    one.grad(
      jax.vmap(jax.random.fold_in, (0, None))(keys, i), (), inputs, LABELS
    )[0]
    for i in range(5)
  ]

  def mean(get):
    return np.mean([np.asarray(get(draw)) for draw in draws], 0)

  np.testing.assert_allclose(
    probe.gradient, mean(lambda d: d.gradient), rtol=1e-5
  )
  np.testing.assert_allclose(probe.loss, mean(lambda d: d.loss), rtol=1e-5)
  np.testing.assert_array_equal(probe.correct, mean(lambda d: d.correct) >= 0.5)
  assert not np.allclose(probe.gradient, draws[-1].gradient)


def test_eot_keeps_the_state_of_the_first_draw():
  plain = linear

  def adaptive(amount):
    def grad(key, state, inputs, labels):
      probe, _ = plain.grad(key, (), inputs, labels)
      return probe._replace(loss=probe.loss * 0 + state), state + amount

    return attacks.Oracle(lambda inputs: jnp.zeros(()), grad)

  inputs = jnp.full((2, 3), 0.5)
  probe, state = attacks.eot(adaptive(1.0), 4).grad(KEY, 1.0, inputs, LABELS)
  assert state == 2
  np.testing.assert_allclose(probe.loss, (1 + 2 + 2 + 2) / 4)
  other = attacks.eot(adaptive(1.0), 2, later=adaptive(5.0))
  assert other.grad(KEY, 1.0, inputs, LABELS)[1] == 2


def test_normalized_divides_by_the_mean_of_each_modality():
  gradient = {
    "image": jnp.array([[1.0, -3.0], [0.0, 0.0]]),
    "events": jnp.array([[10.0], [2.0]]),
  }
  stepper = steppers.divide_by_mean()
  out, _ = stepper.update(gradient, stepper.init(gradient))
  np.testing.assert_allclose(out["image"], [[0.5, -1.5], [0, 0]])
  np.testing.assert_allclose(out["events"], [[1], [1]])


def test_step_sizes_by_modality():
  direction = {"image": jnp.ones((2, 2)), "events": jnp.ones((2, 3))}
  stepper = steppers.scale_steps({"image": 0.1, "events": 2.0})
  out, _ = stepper.update(direction, stepper.init(direction))
  np.testing.assert_allclose(out["image"], 0.1)
  np.testing.assert_allclose(out["events"], 2)


LINF = attacks.linf(0.1)
FACTOR = {"step_size": 0.1, "steps": 1}


@pytest.mark.parametrize(
  ("build", "says"),
  [
    (lambda: attacks.pgd(linear, LINF, step_size=0.1, steps=0), "steps must"),
    (lambda: attacks.pgd(linear, LINF, step_size=0.1, steps=2.5), "got 2.5"),
    (
      lambda: attacks.pgd(linear, LINF, **FACTOR, restarts=0),
      "restarts must be a whole number of at least 1",
    ),
    (
      lambda: attacks.pgd(
        linear, LINF, **FACTOR, restarts=2, random_start=False
      ),
      "restarts must be 1 without a random start",
    ),
    (
      lambda: attacks.bim(linear, LINF, step_size=0.0, steps=1),
      "step_size must be positive; got 0.0",
    ),
    (
      lambda: attacks.mi_fgsm(linear, LINF, step_size=-1, steps=1),
      "step_size must",
    ),
    (
      lambda: attacks.mi_fgsm(linear, LINF, **FACTOR, decay=-1),
      "decay must lie",
    ),
    (lambda: attacks.r_fgsm(linear, LINF, share=1.0), "share must lie"),
    (lambda: attacks.random_noise(linear, LINF, draws=0), "draws must"),
    (lambda: attacks.eot(linear, 0), "draws must"),
    (lambda: steppers.scale_steps(float("nan")), "step_size must"),
  ],
)
def test_bad_arguments_are_named(build, says):
  with pytest.raises(ValueError, match=says):
    build()


def test_a_function_is_no_rule_of_what_to_keep():
  with pytest.raises(ValueError, match=r"attacks\.Keep\(replaces\) makes one"):
    attacks.fgsm(linear, LINF, keep=lambda best, new: new.success)


@pytest.mark.parametrize(
  ("inputs", "labels", "says"),
  [
    (jnp.zeros((2, 3), int), LABELS, "inputs must be floating point"),
    (jnp.zeros((2, 3)), jnp.zeros(3, int), r"one class per example, \(2,\)"),
    (
      {"image": jnp.zeros((2, 3)), "events": jnp.zeros((3, 3))},
      LABELS,
      "one common leading batch axis",
    ),
  ],
)
def test_bad_batches_are_named(inputs, labels, says):
  attack = attacks.fgsm(linear, LINF)
  with pytest.raises(ValueError, match=says):
    attack(KEY, inputs, labels)


def test_step_sizes_for_unknown_modalities_are_named():
  attack = attacks.bim(linear, LINF, step_size={"sound": 0.1}, steps=1)
  with pytest.raises(ValueError, match=r"modalities \['sound'\]"):
    attack(KEY, jnp.zeros((2, 3)), LABELS)
