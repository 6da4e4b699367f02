"""What could not be judged is refused, and never counts as robust."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import (
  attacks,
  certify,
  checks,
  evaluation,
  losses,
  vulnerability,
)
from snnjax.attacks.minimum_norm import minimum_norm
from snnjax.checks import measurements
from snnjax.evaluation import Trial, UnjudgedError
from snnjax.interfaces import Batch
from snnjax.methods.method import accuracy

KEY = jax.random.key(0)
WEIGHTS = jax.random.normal(jax.random.key(1), (12, 5))
ROWS, EPSILON = 8, 0.1


def net(key, inputs):
  del key
  return inputs @ WEIGHTS


def batch():
  """Inputs of the unit box with the classes that the network gives them."""
  inputs = jax.random.uniform(jax.random.key(2), (ROWS, 12))
  return inputs, jnp.argmax(net(None, inputs), 1)


INPUTS, LABELS = batch()
STANDARDISED = (INPUTS - 0.13) / 0.31
THREAT = attacks.linf(EPSILON)
# Every way by which inputs enter an attack.
ENTRIES = {
  "fgsm": lambda: attacks.fgsm(net, THREAT),
  "pgd": lambda: attacks.pgd(net, THREAT, step_size=0.1, steps=1, restarts=2),
  "square": lambda: attacks.square(net, THREAT, queries=2),
  "hop_skip_jump": lambda: attacks.hop_skip_jump(
    net, THREAT, rounds=1, starts=1
  ),
  "deepfool": lambda: attacks.deepfool(net, THREAT, steps=1),
  "fab": lambda: attacks.fab(net, THREAT, steps=1),
  "targeted_fab": lambda: attacks.targeted_fab(net, THREAT, steps=1),
  "targeted_auto_pgd": lambda: attacks.targeted_auto_pgd(net, THREAT, steps=1),
  "carlini_wagner": lambda: attacks.carlini_wagner(
    net, attacks.l2(1.0), steps=1, searches=1
  ),
  "ead": lambda: attacks.ead(net, attacks.l1(1.0), steps=1, searches=1),
  "sigma_zero": lambda: attacks.sigma_zero(net, steps=1, site_axes=0),
  "jsma": lambda: attacks.jsma(
    net, attacks.l0(2, site_axes=0), steps=1, site_axes=0
  ),
  "worst_of": lambda: attacks.worst_of([attacks.fgsm(net, THREAT)]),
  "within": lambda: attacks.within(
    attacks.as_attack(attacks.deepfool(net, THREAT, steps=1)), net, THREAT
  ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_inputs_outside_the_box_are_refused_where_they_are_known(name):
  attack = ENTRIES[name]()
  with pytest.raises(ValueError, match=r"must lie in the box \(0.0, 1.0\)"):
    attack(KEY, STANDARDISED, LABELS)
  # As constants of a program, too.
  with pytest.raises(ValueError, match="normalisation inside the model"):
    jax.eval_shape(lambda key: attack(key, STANDARDISED, LABELS), KEY)


@pytest.mark.parametrize("name", ["pgd", "deepfool", "square"])
def test_traced_inputs_outside_the_box_are_no_success(name):
  attack = jax.jit(ENTRIES[name]())
  wrong = (LABELS + 1) % 5  # misclassified from the start: an easy success
  result = attack(KEY, STANDARDISED, wrong)
  assert not np.any(result.success)
  assert np.all(np.isnan(result.loss))
  assert np.all(attack(KEY, INPUTS, wrong).success)
  if isinstance(result, minimum_norm.MinimalResult):
    # Infinity would say that no adversarial example is near.
    assert np.all(np.isnan(result.distance))


@pytest.mark.parametrize("label", [5, -1])
@pytest.mark.parametrize("name", ["pgd", "deepfool", "square"])
def test_labels_that_name_no_class_are_no_success(name, label):
  attack = jax.jit(ENTRIES[name]())
  result = attack(KEY, INPUTS, jnp.full(ROWS, label))
  assert not np.any(result.success)
  assert np.all(np.isnan(result.loss))


def test_losses_of_labels_that_name_no_class_are_nan():
  # Under jit, where the range is not known.
  for label in (5, -1):
    labels = jnp.full(ROWS, label)
    for loss in (losses.cross_entropy, losses.margin_loss, losses.dlr):
      assert np.all(np.isnan(jax.jit(loss)(net(None, INPUTS), labels)))


def test_logits_that_are_not_finite_are_wrong_everywhere():
  logits = jnp.full((1, 3), jnp.nan)
  zero = jnp.zeros(1, int)  # what argmax says of NaN
  assert not np.any(losses.predicts(logits, zero))
  assert float(accuracy(logits, Batch(None, zero, jnp.ones(1, bool)))) == 0

  def broken(key, inputs):
    return net(key, inputs) * jnp.nan

  subject = checks.Subject(broken, {"own": broken}, attacks.linf, EPSILON)
  examples = checks.Examples(KEY, INPUTS, jnp.zeros(ROWS, int))
  found = measurements.measure_noise(subject, examples, draws=1)
  assert not found.white_box_robust.any()
  assert list(found.gradient_free_robust) == ["random"]
  assert not found.gradient_free_robust["random"].any()


def test_checks_refuse_inputs_outside_the_box():
  subject = checks.Subject(net, {"own": net}, attacks.linf, EPSILON, steps=1)
  examples = checks.Examples(KEY, STANDARDISED, LABELS)
  with pytest.raises(ValueError, match="must lie in the box"):
    measurements.measure_noise(subject, examples)


def test_evaluations_refuse_inputs_outside_the_box():
  def judge(key, inputs):
    return net(key, 0.31 * inputs + 0.13)

  with pytest.raises(ValueError, match=r"inputs must lie in the box \(0.0"):
    evaluation.autoattack(
      judge, attacks.linf, STANDARDISED, LABELS, key=KEY, epsilon=EPSILON
    )
  cases = {"pgd": lambda: Trial(ENTRIES["pgd"](), THREAT)}
  says = r"box of the attack 'pgd' \(box \(0, 1\), radius 0.1\); 100%"
  with pytest.raises(ValueError, match=says):
    evaluation.evaluate(cases, judge, STANDARDISED, LABELS, key=KEY)


def test_a_bare_minimal_attack_is_not_a_defence():
  bare = attacks.as_attack(attacks.deepfool(net, attacks.linf(1e-4)))
  cases = {"deepfool": lambda: Trial(bare, attacks.linf(1e-4))}
  got = evaluation.evaluate(cases, net, INPUTS, LABELS, key=KEY)
  with pytest.raises(UnjudgedError, match=r"'deepfool'.*`attacks.within`"):
    evaluation.summarize(got)


def test_what_no_attack_met_is_not_robust():
  cases = {"fgsm": lambda: Trial(ENTRIES["fgsm"](), THREAT)}
  whole = list(
    evaluation.stream(cases, net, INPUTS, LABELS, key=KEY, microbatch=4)
  )
  ids, labels = np.arange(ROWS), np.asarray(LABELS)
  got = evaluation.collect(ids, labels, ["fgsm"], whole)
  weak = got.attacks["fgsm"]._replace(success=np.zeros(ROWS, bool))
  full = got._replace(attacks={"fgsm": weak})
  assert evaluation.summarize(full).robust.estimate == 1
  part = weak._replace(attempted=np.arange(ROWS) < 3)
  for attacks_ in ({}, {"fgsm": part}):
    summary = evaluation.summarize(got._replace(attacks=attacks_))
    assert summary.clean.estimate == 1
    assert np.isnan(summary.robust.estimate)
    assert np.isnan(summary.success.estimate)
    with pytest.raises(UnjudgedError, match=r"no attack|'fgsm' without 5"):
      evaluation.worst(got._replace(attacks=attacks_))
  # Without examples nothing is known either.
  none = evaluation.evaluate(cases, net, INPUTS[:0], LABELS[:0], key=KEY)
  assert np.isnan(evaluation.summarize(none).robust.estimate)


def test_vulnerability_and_certificates_ask_for_the_box():
  wrong = jnp.full((1, 3), 2.0)
  with pytest.raises(ValueError, match="must lie in the box"):
    vulnerability.first_order_l0(wrong, wrong, 1, site_axes=0)
  with pytest.raises(ValueError, match=r"rates, must lie in the box"):
    certify.certify(net, KEY, wrong, steps=1)
  measure = vulnerability.adversarial_vulnerability(
    lambda k, x, y: net(k, x)[:, 0], ENTRIES["fgsm"]()
  )
  assert np.all(np.isnan(jax.jit(measure)(KEY, STANDARDISED, LABELS)))


def test_a_box_that_was_rounded_otherwise_is_the_box():
  lower, upper = (0 - 0.1307) / 0.3081, (1 - 0.1307) / 0.3081
  inputs = (jnp.array([[0.0, 1.0, 0.5]]) - 0.1307) / 0.3081
  nudged = jnp.nextafter(inputs, inputs * jnp.inf)
  threat = attacks.linf(0.0, box=(lower, upper))
  attacks.check_inputs(threat, nudged)
  np.testing.assert_array_equal(threat.project(nudged + 1, nudged), nudged)
  assert np.all(threat.contains(nudged, nudged))


def test_many_small_changes_of_ones_stay_in_the_l1_ball():
  ones = jnp.ones((16, 9248))
  down = jax.random.uniform(jax.random.key(3), ones.shape) / 100
  threat = attacks.l1(1.0)
  moved = threat.project(ones - down, ones)
  length = np.abs(np.asarray(moved, np.float64) - 1).sum(1)
  # Rounded to nearest, half of them were longer, by up to 4e-5.
  assert np.all(length <= 1)
  assert np.all(length > 0.9999)
  assert np.all(threat.contains(moved, ones))
  further = jnp.ones_like(ones).at[:, 0].set(0.0).at[:, 1].set(0.999)
  assert not np.any(threat.contains(further, ones))


def test_the_l0_projection_is_the_nearest_point():
  threat = attacks.l0(1, site_axes=0)
  origin, far = jnp.array([[0.1, 0.9, 0.1]]), jnp.array([[0.9, 5.0, 0.1]])
  # Two sites to choose from: 0.64 + 16 is less than 0.01 + 16.81.
  np.testing.assert_allclose(threat.project(far, origin), [[0.1, 1.0, 0.1]])
  rng = np.random.default_rng(0)
  origin = rng.random((20, 4)).astype(np.float32)
  far = origin + 3 * rng.normal(size=origin.shape).astype(np.float32)
  nearest = np.asarray(attacks.l0(2, site_axes=0).project(far, origin))
  for row, point in enumerate(nearest):
    choices = [
      np.where(
        np.isin(np.arange(4), kept), np.clip(far[row], 0, 1), origin[row]
      )
      for kept in ([i, j] for i in range(4) for j in range(i))
    ]
    best = min(np.sum((far[row] - choice) ** 2) for choice in choices)
    np.testing.assert_allclose(np.sum((far[row] - point) ** 2), best, rtol=1e-5)


SUITES = {
  name: functools.partial(
    getattr(attacks, f"autoattack_{name}"),
    effort=attacks.Effort(steps=8, queries=10, targets=2, draws=1),
  )
  for name in ("standard", "plus", "rand")
}
SKIPPED = {
  ("standard", 2): {"apgd_t"},
  ("standard", 3): {"apgd_t"},
  ("plus", 2): {"apgd_dlr", "apgd_t"},
  ("plus", 3): {"apgd_t"},
  ("rand", 2): {"apgd_dlr"},
  ("rand", 3): set(),
}


@pytest.mark.parametrize(("suite", "classes"), SKIPPED)
def test_attacks_without_classes_for_their_loss_are_named(suite, classes):
  def few(key, inputs):
    return net(key, inputs)[:, :classes]

  cases = evaluation.cases(SUITES[suite], few, THREAT)
  skipped = evaluation.find_undefined(cases, few, INPUTS)
  assert set(skipped) == SKIPPED[suite, classes]
  least = {"apgd_t": "at least 4 classes", "apgd_dlr": "at least 3 classes"}
  for name, reason in skipped.items():
    assert least[name] in reason
    assert f"got {classes}" in reason
  assert not evaluation.find_undefined(cases, net, INPUTS)


def test_autoattack_is_exact_on_a_linear_network_of_two_classes():
  """The margin |w.x| / ||w||_1 tells the smallest linf change."""

  def two(key, inputs):
    return net(key, inputs - 0.5)[:, :2]

  inputs = 0.3 + 0.4 * jax.random.uniform(jax.random.key(4), (24, 12))
  logits = two(None, inputs)
  labels = jnp.argmax(logits, 1)
  slope = np.asarray(WEIGHTS[:, 0] - WEIGHTS[:, 1], np.float64)
  margin = np.abs(np.asarray(logits[:, 0] - logits[:, 1], np.float64))
  radius = float(np.median(margin / np.abs(slope).sum())) + 1e-4
  assert radius < 0.3  # the box does not bind
  exact = np.mean(margin / np.abs(slope).sum() > radius)
  got = evaluation.autoattack(
    two,
    attacks.linf,
    inputs,
    labels,
    key=KEY,
    epsilon=radius,
    suite=SUITES["standard"],
    microbatch=24,
  )
  summary = evaluation.summarize(got)
  assert summary.robust.estimate == exact
  assert list(summary.skipped) == ["apgd_t"]
  assert list(summary.attacks) == ["apgd_ce", "fab_t", "square"]


def test_a_single_logit_is_refused_with_advice():
  def one(key, inputs):
    return net(key, inputs)[:, :1]

  zeros = jnp.zeros(ROWS, int)
  with pytest.raises(ValueError, match=r"jnp.pad\(z, \(\(0, 0\), \(1, 0\)\)\)"):
    losses.cross_entropy(one(None, INPUTS), zeros)
  with pytest.raises(ValueError, match="at least two classes"):
    evaluation.evaluate({}, one, INPUTS, zeros, key=KEY)
  with pytest.raises(ValueError, match="at least 2 classes"):
    evaluation.autoattack(one, THREAT, INPUTS, zeros, key=KEY)

  def padded(key, inputs):
    return jnp.pad(one(key, inputs), ((0, 0), (1, 0)))

  labels = (one(None, INPUTS)[:, 0] > 0).astype(int)
  assert not np.any(
    attacks.fgsm(padded, attacks.linf(0.0))(KEY, INPUTS, labels).success
  )


def test_checks_have_no_losses_that_two_classes_lack():
  def two(key, inputs):
    return net(key, inputs)[:, :2]

  labels = jnp.argmax(two(None, INPUTS), 1)
  subject = checks.Subject(two, {"own": two}, attacks.linf, EPSILON, steps=1)
  found = measurements.measure_losses(
    subject, checks.Examples(KEY, INPUTS, labels)
  )
  assert set(found.loss_robust) == {"cross_entropy", "margin"}
