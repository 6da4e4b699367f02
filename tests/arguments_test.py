"""Wrong arguments are told what to pass, by every public attack."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from snnjax import (
  arguments,
  attacks,
  backward,
  checks,
  encoders,
  evaluation,
  input_gradients,
  losses,
  methods,
  models,
  neurons,
  prng,
  readouts,
  regularizers,
  sparsity,
  surrogates,
  training,
)
from snnjax.checks import measurements
from snnjax.evaluation import Trial
from snnjax.interfaces import Batch
from tests.laws import attack_table
from tests.laws.attack_table import ATTACKS, THREATS

KEY = jax.random.key(0)
INPUTS, LABELS = attack_table.batch(False, 4)
MODALITIES, _ = attack_table.batch(True, 4)
EPSILON = 0.1
RIVALS = 2
THREAT = attacks.linf(EPSILON)


def logits(key, inputs):
  return attack_table.image_logits(key, inputs)


LOSS = losses.scored(logits, losses.cross_entropy)


# What takes a logits function and no oracle.
OF_LOGITS = {
  "targeted_auto_pgd": lambda f, threat: attacks.targeted_auto_pgd(f, threat),
  "fab": lambda f, threat: attacks.fab(f, threat),
  "targeted_fab": lambda f, threat: attacks.targeted_fab(f, threat),
  "deepfool": lambda f, threat: attacks.deepfool(f, threat),
  "carlini_wagner": lambda f, threat: attacks.carlini_wagner(f, threat),
  "ead": lambda f, threat: attacks.ead(f, threat),
  "imperceptible": lambda f, threat: attacks.imperceptible(
    f, budget=1.0, steps=2, step_size=0.1
  ),
  "autoattack_standard": lambda f, threat: attacks.autoattack_standard(
    f, threat
  ),
  "autoattack_plus": lambda f, threat: attacks.autoattack_plus(f, threat),
  "autoattack_rand": lambda f, threat: attacks.autoattack_rand(f, threat),
}
# The table's entries that take either.
OF_SOURCES = set(ATTACKS) - set(OF_LOGITS) - {"targeted", "jsma"}
NO_THREAT = {
  "sigma_zero",
  "imperceptible",
  "transfer",
  "worst_of",
  "gradient_mean",
}


def built(name, function, threat):
  """The attack of the table, or of the one above, with these arguments."""
  if name in OF_LOGITS:
    return OF_LOGITS[name](function, threat)
  step = THREATS[ATTACKS[name].threats[0]].step
  return ATTACKS[name].build(function, threat, step)


@pytest.mark.parametrize(
  ("threat", "says"),
  [
    (0.1, "threat must be a .*got 0\\.1"),
    ("linf", "threat must be a .*got 'linf'"),
    (attacks.linf, r"the function linf: give it its radius, attacks\.linf\("),
    (None, "threat must be a.* got None"),
  ],
)
@pytest.mark.parametrize(
  "name", sorted((set(ATTACKS) | set(OF_LOGITS)) - NO_THREAT)
)
def test_what_is_no_threat_is_told(name, threat, says):
  suite = name.startswith("autoattack")
  if suite and threat is attacks.linf:
    says = "epsilon must be given"
  with pytest.raises(ValueError, match=says) as error:
    built(name, logits, threat)
  assert "\n" not in str(error.value)
  assert "attacks.linf" in str(error.value) or suite


def without_key(inputs):
  return logits(None, inputs)


def of_either(inputs, scale=1.0):
  return scale * logits(None, inputs)


def forward(key, inputs):
  return LOSS(key, inputs, jnp.zeros(len(inputs), int))


ORACLE = attacks.white_box(LOSS)
EITHER = r"a function of \(key, inputs\), or of \(inputs\) alone; got "
WRONG_FUNCTIONS = {
  "no function": (0.5, EITHER + r"0\.5"),
  "logits themselves": (
    logits(None, INPUTS),
    EITHER + r"an array float32\[4, 3",
  ),
  "a loss": (LOSS, r"which takes \(key, inputs, labels\)"),
  "losses": (
    lambda key, x, y: LOSS(key, x, y).loss,
    EITHER + r"the function <lambda>, which takes \(key, x, y\)",
  ),
  "a threat": (attacks.linf(0.1), EITHER + "a Threat"),
  "either": (
    of_either,
    r"of_either, which takes \(inputs, scale\)\. It may be either: write "
    r"lambda key, inputs: f\(key, inputs\) or lambda inputs: f\(inputs\)",
  ),
  "anything": (
    lambda *values: logits(*values),
    r"which takes \(values\)\. It may be either",
  ),
  "a class": (attacks.Probe, EITHER + "the class Probe"),
}


@pytest.mark.parametrize("wrong", WRONG_FUNCTIONS)
@pytest.mark.parametrize("name", sorted(OF_SOURCES | {"jsma"}))
def test_what_is_no_source_is_told_before_anything_runs(name, wrong):
  function, says = WRONG_FUNCTIONS[wrong]
  threat = THREATS[ATTACKS[name].threats[0]].threat(1.0)
  make = {"jsma": lambda: attacks.jsma(function, threat, steps=1)}.get(
    name, lambda: built(name, function, threat)
  )
  with pytest.raises(ValueError, match=says) as error:
    make()
  assert "\n" not in str(error.value)


WRONG_LOSSES = {
  "no function": (0.5, r"loss must be a function of .*logits.*; got 0\.5"),
  "a loss of inputs": (
    LOSS,
    r"loss must be a function of \(logits, labels\); .*\(key, inputs, labels",
  ),
  "a factory": (
    losses.targeted,
    r"the function targeted, which takes \(loss\). losses.cross_entropy",
  ),
  "a logits function": (without_key, r"which takes \(inputs\)"),
}


@pytest.mark.parametrize("wrong", WRONG_LOSSES)
def test_what_is_no_loss_of_logits_is_told(wrong):
  loss, says = WRONG_LOSSES[wrong]
  threat = attacks.linf(EPSILON)
  for make in (
    lambda: attacks.pgd(logits, threat, loss=loss, steps=1),
    lambda: attacks.square(logits, threat, loss=loss),
    lambda: attacks.eot(logits, 2, loss=loss),
    lambda: attacks.transfer([attacks.fgsm(logits, threat)], logits, loss=loss),
    lambda: losses.scored(logits, loss),
    lambda: losses.composed(logits, loss),
  ):
    with pytest.raises(ValueError, match=says) as error:
      make()
    assert "\n" not in str(error.value)


def test_an_oracle_comes_with_a_loss_of_its_own():
  says = r"loss must be None beside an oracle.*got the function dlr"
  ball = attacks.linf(EPSILON)
  for make, threat in (
    (attacks.pgd, ball),
    (attacks.auto_pgd, ball),
    (attacks.spgd, attacks.l0(1)),
  ):
    with pytest.raises(ValueError, match=says):
      make(ORACLE, threat, loss=losses.dlr, steps=1)


GRADIENTS = {
  "per_example": input_gradients.per_example,
  "summed": input_gradients.summed,
  "directional_derivative": input_gradients.directional_derivative,
  "finite_difference": lambda fn, loss=None: input_gradients.finite_difference(
    fn, 0.1, loss
  ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_input_gradients_take_a_loss_or_a_logits_function(name):
  make = GRADIENTS[name]
  along = [INPUTS] if "_" in name.replace("per_example", "") else []
  whole = make(losses.composed(logits, losses.dlr))
  parts = make(without_key, losses.dlr)
  programs = {
    str(jax.make_jaxpr(one)(KEY, INPUTS, LABELS, *along))
    for one in (whole, parts)
  }
  assert len(programs) == 1
  with pytest.raises(ValueError, match=r"fn must .* say what: per_example"):
    make(logits)
  with pytest.raises(ValueError, match=r"loss must be a function of \(logits"):
    make(logits, LOSS)
  with pytest.raises(ValueError, match=r"logits_fn must .*\(key, inputs, la"):
    make(LOSS, losses.dlr)
  mean = make(logits, lambda z, y: jnp.mean(losses.dlr(z, y)))
  with pytest.raises(ValueError, match=r"loss must return one number per ex"):
    jax.eval_shape(mean, KEY, INPUTS, LABELS, *along)
  with pytest.raises(ValueError, match=r"fn must return .*; got a Scored"):
    jax.eval_shape(make(LOSS), KEY, INPUTS, LABELS, *along)


def test_penalties_take_a_logits_function_with_or_without_more():
  programs = set()
  for function in (logits, without_key, lambda key, x: (logits(key, x), None)):
    penalize = regularizers.gradient_penalty(function)
    programs.add(str(jax.make_jaxpr(penalize)(KEY, INPUTS, LABELS)))
  assert len(programs) == 1
  with pytest.raises(ValueError, match="forward must be a function of"):
    regularizers.gradient_penalty(LOSS)
  for wrong, says in (
    (forward, "a Scored; return its attribute logits"),
    (lambda x: (logits(None, x), 0, 0), "forward must return .* or a pair"),
    (lambda x: logits(None, x)[:, 0], r"got shape \(4,\)"),
  ):
    with pytest.raises(ValueError, match=says):
      jax.eval_shape(regularizers.gradient_penalty(wrong), KEY, INPUTS, LABELS)


WRONG_SCORED = {
  "logits": (logits, r"loss must be .*which takes \(key, inputs\).*scored"),
  "loss of logits": (
    losses.cross_entropy,
    r"the function cross_entropy, which takes \(logits, labels\)",
  ),
  "an oracle": (ORACLE, "loss must be a function of .* an Oracle"),
}


@pytest.mark.parametrize("wrong", WRONG_SCORED)
def test_what_is_no_scored_loss_is_told(wrong):
  loss, says = WRONG_SCORED[wrong]
  with pytest.raises(ValueError, match=says) as error:
    attacks.white_box(loss)
  assert "\n" not in str(error.value)


ANSWERS = {
  "losses": (
    lambda key, x, y: LOSS(key, x, y).loss,
    r"loss must return Scored\(loss \[B\], logits \[B, C\]\).*float32",
  ),
  "a mean": (
    lambda key, x, y: LOSS(key, x, y)._replace(
      loss=jnp.mean(LOSS(key, x, y).loss)
    ),
    r"one number per example, \(4,\); got shape \(\)\. Leave out the mean",
  ),
  "a loss that is no array": (
    lambda key, x, y: LOSS(key, x, y)._replace(loss=LOSS(key, x, y)),
    r"loss must return one number per example, \(4,\); got a Scored",
  ),
  "probabilities of the label": (
    lambda key, x, y: LOSS(key, x, y)._replace(logits=LOSS(key, x, y).loss),
    r"loss must return logits \[B, C\]; got shape \(4,\)",
  ),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_a_scored_loss_must_return_is_told(answer):
  loss, says = ANSWERS[answer]
  attack = attacks.fgsm(attacks.white_box(loss), attacks.linf(EPSILON))
  with pytest.raises(ValueError, match=says) as error:
    jax.eval_shape(attack, KEY, INPUTS, LABELS)
  assert "\n" not in str(error.value)


SPECIAL = {
  "carlini_wagner": lambda: attacks.l2(1.0),
  "ead": lambda: attacks.l1(1.0),
}


def special(name):
  return SPECIAL.get(name, lambda: attacks.linf(EPSILON))()


@pytest.mark.parametrize("wrong", WRONG_FUNCTIONS)
@pytest.mark.parametrize("name", [*OF_LOGITS, "scored", "composed"])
def test_what_is_no_logits_function_is_told(name, wrong):
  function, says = WRONG_FUNCTIONS[wrong]
  makers = {
    "scored": lambda: losses.scored(function, losses.cross_entropy),
    "composed": lambda: losses.composed(function, losses.cross_entropy),
  }
  make = makers.get(name, lambda: OF_LOGITS[name](function, special(name)))
  with pytest.raises(ValueError, match="logits_fn must be .*" + says) as error:
    make()
  assert "\n" not in str(error.value)


def small(name, function):
  """The attack on a function, with little to trace."""
  if name in OF_LOGITS:
    return OF_LOGITS[name](function, special(name))
  if name == "corner_search":
    return attacks.corner_search(function, attacks.l0(4), sites=16, draws=1)
  if name in ("slide", "shrinking_auto_pgd"):
    return ATTACKS[name].build(function, attacks.l1(1.0), 0.1)
  sparse = THREATS[ATTACKS[name].threats[0]] is THREATS["l0"]
  threat = attacks.l0(4.0) if sparse else attacks.linf(EPSILON)
  return ATTACKS[name].build(function, threat, 4.0 if sparse else 0.1)


@pytest.mark.parametrize(
  ("function", "says"),
  [
    (forward, "must return logits .*got a Scored; return its attribute logits"),
    (lambda key, x: logits(key, x)[:, 0], r"got shape \(4,\)\. A single logit"),
    (lambda x: None, "got None"),
  ],
)
@pytest.mark.parametrize(
  "name",
  [
    name
    for name in sorted(OF_SOURCES | set(OF_LOGITS))
    if not name.startswith("autoattack")
  ],
)
def test_what_a_logits_function_must_return_is_told(name, function, says):
  attack = small(name, function)
  with pytest.raises(ValueError, match=says) as error:
    jax.eval_shape(attack, KEY, INPUTS, LABELS)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["pgd", "square", "deepfool", "nes"])
def test_a_function_of_inputs_alone_is_the_same_program(name):
  programs = set()
  for function in (logits, without_key):
    attack = (
      attacks.nes(function, draws=2).grad
      if name == "nes"
      else small(name, function)
    )
    state = [()] if name == "nes" else []
    traced = jax.make_jaxpr(attack)(KEY, *state, INPUTS, LABELS)
    programs.add(str(traced))
  assert len(programs) == 1


def test_which_kind_a_function_is():
  def of_both(key, inputs, scale=1.0):
    return scale * logits(key, inputs)

  class Called:
    def __call__(self, inputs):
      return logits(None, inputs)

  assert arguments.with_key(of_both) is of_both
  expected = logits(None, INPUTS)
  for plain in (
    without_key,
    jax.jit(without_key),
    Called(),
    functools.partial(logits, None),
    jax.tree_util.Partial(logits, None),
    lambda x, *, scale=1.0: scale * logits(None, x),
  ):
    function = arguments.with_key(plain)
    np.testing.assert_allclose(function(KEY, INPUTS), expected, rtol=1e-5)
    # Twice is once: what came back is of a key and inputs.
    assert arguments.with_key(function) is function
    checked = arguments.logits_function(plain)
    np.testing.assert_allclose(checked(KEY, INPUTS), expected, rtol=1e-5)
  # The same function is one argument of a program, compiled once.
  traces = []

  def traced(x):
    traces.append(1)
    return logits(None, x)

  run = jax.jit(lambda f, x: f(None, x))
  for _ in range(2):
    run(arguments.with_key(traced), INPUTS)
  assert len(traces) == 1


@pytest.mark.parametrize(
  "make",
  [
    lambda: attacks.worst_of([attacks.pgd]),
    lambda: attacks.worst_of(attacks.fgsm(logits, attacks.linf(0.1))),
    lambda: attacks.transfer([attacks.linf(0.1)], logits),
    lambda: attacks.within(attacks.deepfool, logits, attacks.linf(0.1)),
    lambda: attacks.as_attack(attacks.fab),
    lambda: attacks.per_modality(attacks.linf(0.1)),
    lambda: attacks.per_modality({"image": 0.1}),
    lambda: attacks.per_modality({"image": attacks.linf}),
    lambda: attacks.joint(attacks.linf(0.1), 0.1, {"image": 1.0}),
    lambda: attacks.joint(attacks.linf, 0.1, {"image": "1"}),
    lambda: attacks.gradient_mean([LOSS]),
    lambda: attacks.threat_of("linf", 0.1),
    lambda: attacks.threat_of(0.1),
    lambda: attacks.autoattack(logits, attacks.linf),
    lambda: attacks.eot(LOSS, 3),
    lambda: attacks.nes(attacks.linf(0.1), draws=2),
  ],
)
def test_factories_and_what_they_make_are_told_apart(make):
  with pytest.raises(ValueError, match="must be") as error:
    make()
  assert "\n" not in str(error.value)


def test_autoattack_is_found_where_it_is():
  says = r"snnjax\.evaluation\.autoattack"
  for kind in (ValueError, AttributeError):
    with pytest.raises(kind, match=says):
      attacks.autoattack  # noqa: B018
  assert not hasattr(attacks, "autoattack")
  with pytest.raises(AttributeError, match="no attribute 'boundary'"):
    attacks.boundary  # noqa: B018


@pytest.mark.parametrize(
  "make",
  [
    lambda text: attacks.linf(text),
    lambda text: attacks.l2(text),
    lambda text: attacks.l1(text),
    lambda text: attacks.l1(1.0, fraction=text),
    lambda text: attacks.l0(text),
    lambda text: attacks.linf(0.1, (0.0, text)),
    lambda text: attacks.joint(attacks.linf, text, {"image": 1.0}),
    lambda text: attacks.pgd(
      logits, THREAT, step_size={"image": text}, steps=1
    ),
    lambda text: attacks.nes(logits, draws=1, width=text),
    lambda text: attacks.imperceptible(
      logits, budget=text, steps=1, step_size=0.1
    ),
    lambda text: surrogates.atan(text),
  ],
)
def test_numbers_are_not_texts(make):
  with pytest.raises(ValueError, match=r"must be a number.* leave out the quo"):
    make("8/255")
  with pytest.raises(ValueError, match=r"must (be a number|have)"):
    make(None)


# sigma_zero's own threat has no radius, but `within` gives it one.
@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"imperceptible"}))
def test_radii_are_one_for_all_or_one_per_example(name):
  entry = ATTACKS[name]
  case = THREATS[entry.threats[0]]
  inputs = MODALITIES if case.modalities else INPUTS
  network = attack_table.fused_logits if case.modalities else logits
  for length in (3, 1):
    attack = entry.build(network, case.threat(jnp.ones(length)), case.step)
    with pytest.raises(ValueError, match=r"one per example, \(\) or \(4,\)"):
      jax.eval_shape(attack, KEY, inputs, LABELS)


NETWORK = models.mlp(
  (4,), neuron=neurons.lif(), encoder=encoders.direct(2), classes=3
)


@pytest.mark.parametrize(
  ("rule", "says"),
  [
    (surrogates.atan(), r"got a Surrogate, which takes \(drive\).*Bptt\("),
    (surrogates.atan, r"got the function atan, which takes \(sharpness\)"),
    (backward.Bptt, r"got the class Bptt\. backward\.Bptt\(surrogates\.atan"),
    (backward.Rga, "got the class Rga"),
    ("bptt", "got 'bptt'"),
    (None, "got None"),
  ],
)
def test_what_is_no_rule_is_told(rule, says):
  variables = NETWORK.init(jax.random.key(0), INPUTS)
  for use in (
    lambda: NETWORK.apply(variables, INPUTS, rule=rule),
    lambda: models.classifier(NETWORK, variables, rule=rule),
    lambda: NETWORK.apply(
      variables, INPUTS, rule=backward.PerLayer({}, default=rule)
    ),
  ):
    with pytest.raises(ValueError, match=says) as error:
      use()
    assert "\n" not in str(error.value)


RULE = backward.Bptt(surrogates.atan())
CURRENTS = jnp.ones((2, 3, 4))
STEEPEST = attacks.steppers.steepest(THREAT)


def variables():
  return NETWORK.init(jax.random.key(0), INPUTS)


def body(**changed):
  given = {"neuron": neurons.lif(), "encoder": encoders.direct(2)} | changed
  return models.mlp((4,), **given)


# What is easily mistaken for another thing, and what is said of it.
MISTAKES = {
  "losses as source": (
    lambda: attacks.pgd(
      lambda key, x, y: losses.cross_entropy(logits(key, x), y), THREAT, steps=1
    ),
    r"source must be .*\(key, x, y\)\..*attacks\.white_box\(loss\)",
  ),
  "logits as a scored loss": (
    lambda: attacks.white_box(logits),
    r"which takes \(key, inputs\)\. losses\.scored\(logits_fn, losses",
  ),
  "a radius as threat": (
    lambda: attacks.pgd(logits, 0.1, steps=1),
    r"threat must be a threat; got 0\.1: a threat is attacks\.linf\(8 / 255\)",
  ),
  "a name as threat": (
    lambda: attacks.pgd(logits, "linf", steps=1),
    r"got 'linf': a threat is attacks\.linf\(8 / 255\)",
  ),
  "a surrogate as rule": (
    lambda: NETWORK.apply(variables(), INPUTS, rule=surrogates.atan()),
    r"got a Surrogate, .*backward\.Bptt\(surrogates\.atan\(\)\) is a rule",
  ),
  "a neuron's factory": (
    lambda: body(neuron=neurons.lif),
    r"got the function lif: call it, neurons\.lif\(\)",
  ),
  "a neuron's factory under a rule": (
    lambda: RULE(neurons.lif, CURRENTS),
    r"got the function lif: call it, neurons\.lif\(\)",
  ),
  "inputs outside the box": (
    lambda: attacks.fgsm(logits, THREAT)(KEY, INPUTS * 4 - 2, LABELS),
    r"inputs must lie in the box \(0\.0, 1\.0\).*normalisation inside",
  ),
  "a network as source": (
    lambda: attacks.fgsm(NETWORK, THREAT),
    "source must be a function of .*got a Network",
  ),
  "an encoder's factory": (
    lambda: body(encoder=encoders.direct),
    r"encoder must be an Encoder; got the function direct\. encoders\.direct",
  ),
  "steps as encoder": (lambda: body(encoder=8), "an Encoder; got 8"),
  "a readout's factory": (
    lambda: body(readout=readouts.membrane),
    r"a Readout; got the function membrane\. readouts\.mean\(\) is one",
  ),
  "apply as network": (
    lambda: models.classifier(NETWORK.apply, variables(), rule=RULE),
    r"network must be a Network; got the function apply\. models\.mlp",
  ),
  "weights as network": (
    lambda: methods.vanilla(variables(), rule=RULE),
    "network must be a Network; got a dict",
  ),
  "a surrogate as a method's rule": (
    lambda: methods.sr(NETWORK, rule=surrogates.atan()),
    "rule must be a function of .*got a Surrogate",
  ),
  "an attack to craft": (
    lambda: methods.adversarial(
      methods.vanilla(NETWORK, rule=RULE),
      NETWORK,
      attacks.fgsm(logits, THREAT),
      rule=RULE,
    ),
    r"craft must be a function of \(logits_fn\).*functools\.partial",
  ),
  "a rate as optimiser": (
    lambda: training.make_train_step(methods.vanilla(NETWORK, rule=RULE), 0.1),
    r"tx must be an optax transformation; got 0\.1\. optax\.adam",
  ),
  "a stepper's factory": (
    lambda: attacks.ascend(logits, attacks.steppers.steepest, THREAT, steps=1),
    r"stepper must be .*the function steepest\. attacks\.steppers\.steepest",
  ),
  "stepper and threat exchanged": (
    lambda: attacks.ascend(logits, THREAT, STEEPEST, steps=1),
    "stepper must be an optax transformation; got a Threat",
  ),
  "a radius to a stepper": (
    lambda: attacks.steppers.steepest(0.1),
    r"threat must be a threat; got 0\.1",
  ),
  "a loss as confidence": (
    lambda: regularizers.gradient_penalty(
      logits, confidence=losses.cross_entropy
    ),
    r"confidence must be .*rival\).*losses\.margin is one",
  ),
  "a name as direction": (
    lambda: regularizers.gradient_penalty(logits, direction="sign"),
    r"direction must be .*got 'sign'\. regularizers\.sign_direction is one",
  ),
  "modalities as one array": (
    lambda: sparsity.gini({"image": INPUTS}),
    r"gradients must be an array \[B, D, \.\.\.\]; got a dict",
  ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_what_to_pass(mistake):
  make, says = MISTAKES[mistake]
  with pytest.raises(ValueError, match=says) as error:
    make()
  assert "\n" not in str(error.value)


def test_what_is_no_surrogate_is_told():
  says = r"surrogate must be a Surrogate.*the function atan: call it"
  variables = NETWORK.init(jax.random.key(0), INPUTS)
  for rule in (backward.Bptt(surrogates.atan), backward.Hart(surrogates.atan)):
    with pytest.raises(ValueError, match=says):
      NETWORK.apply(variables, INPUTS, rule=rule)
  with pytest.raises(ValueError, match=r"adaptive rule.*got a Bptt"):
    attacks.assg(
      NETWORK,
      variables,
      losses.cross_entropy,
      rule=backward.Bptt(surrogates.atan()),
    )


CASE = Trial(attacks.random_noise(logits, THREAT, draws=1), THREAT)


@pytest.mark.parametrize(
  ("cases", "classify", "says"),
  [
    (
      {"a": CASE},
      logits,
      r"cases\['a'\] .* got a Trial: put it behind lambda:",
    ),
    ({"a": lambda: CASE.attack}, logits, "Trial.attack, threat.; one returned"),
    (
      {"a": lambda: Trial(attacks.fgsm, THREAT)},
      logits,
      r"a case's attack .* the function fgsm, which takes \(source, threat",
    ),
    (
      {"a": lambda: Trial(CASE.attack, attacks.linf)},
      logits,
      "a case's threat must be a threat; got the function linf",
    ),
    (
      {"a": lambda: Trial(lambda key, x, y: x, THREAT)},
      logits,
      "must return an AttackResult; got an array",
    ),
    ({"a": lambda: CASE}, of_either, r"classify must be .* may be either"),
    ({"a": lambda: CASE}, forward, "classify must return .* a Scored; return"),
    ({"a": lambda: CASE}, logits(KEY, INPUTS), "classify must .* an array"),
  ],
)
def test_what_an_evaluation_takes_is_told(cases, classify, says):
  with pytest.raises(ValueError, match=says):
    evaluation.evaluate(cases, classify, INPUTS, LABELS, key=KEY)


@pytest.mark.parametrize(
  ("changed", "says"),
  [
    ({"threat": 0.1}, "threat must be a norm, such as attacks.linf.*got 0.1"),
    ({"threat": "linf"}, "threat must be a norm.*got 'linf'"),
    ({"epsilon": "8/255"}, "epsilon must be a number.*leave out the quotes"),
    ({"epsilon": None}, "epsilon must be given"),
    ({"epsilon": np.ones(4)}, r"epsilon must be one number for all .*\(4,\)"),
    ({"threat": attacks.linf(0.1)}, "epsilon must be None with a ready threat"),
    ({"logits_fn": of_either}, "logits_fn must be a function of"),
    ({"logits_fn": LOSS}, r"which takes \(key, inputs, labels\)"),
    ({"suite": attacks.pgd}, "suite must|unexpected|missing"),
    ({"suite": "standard"}, "suite must be a function.*got 'standard'"),
    ({"key": 0}, r"key must be a typed jax\.random\.key\(seed\).*got 0"),
    ({"microbatch": 0.5}, "microbatch must be a whole number"),
    ({"labels": [0.5] * 4}, "labels must be integers"),
    ({"labels": [0, 1]}, r"labels must be \[4\]; got shape \(2,\)"),
    ({"inputs": INPUTS.tolist()}, "inputs must be an array.*got a list"),
  ],
)
def test_what_autoattack_takes_is_told(changed, says):
  given = {
    "logits_fn": logits,
    "threat": attacks.linf,
    "inputs": INPUTS,
    "labels": LABELS,
    "epsilon": EPSILON,
    "key": KEY,
  }
  with pytest.raises(ValueError, match=says) as error:
    evaluation.autoattack(**(given | changed))
  assert "\n" not in str(error.value)


def test_labels_may_be_a_list():
  listed = [int(label) for label in LABELS]
  attack = attacks.fgsm(logits, THREAT)
  whole = attacks.worst_of([attack])
  for one in (attack, whole, attacks.transfer([attack], logits)):
    found, again = (one(KEY, INPUTS, given) for given in (listed, LABELS))
    chex.assert_trees_all_equal(found, again)
  cases = {"noise": lambda: CASE}
  found, again = (
    evaluation.evaluate(cases, logits, INPUTS, given, key=KEY)
    for given in (listed, LABELS)
  )
  chex.assert_trees_all_equal(found.clean, again.clean)


@pytest.mark.parametrize(
  ("labels", "says"),
  [
    ([0.0, 1.0, 0.0, 1.0], "labels must be integer classes; got float"),
    (["0", "1", "2", "0"], "labels must be integer classes; got <U1"),
    ([0, 1], r"labels must have one class per example, \(4,\); got \(2,\)"),
    ([[0], [1, 2], [0], [1]], "labels must be integer classes.*a list"),
    (np.eye(4, dtype=int), r"got \(4, 4\); of one-hot rows jnp\.argmax"),
    (0, r"\(4,\); got \(\)"),
    (None, r"labels must have one class per example, \(4,\); got \(\)"),
  ],
)
def test_what_is_no_labels_is_told(labels, says):
  attack = attacks.fgsm(logits, THREAT)
  for one in (
    attack,
    attacks.worst_of([attack]),
    attacks.transfer([attack], logits),
    attacks.square(logits, THREAT, queries=1),
    attacks.targeted_auto_pgd(logits, THREAT, steps=1),
    attacks.deepfool(logits, THREAT),
  ):
    with pytest.raises(ValueError, match=says):
      one(KEY, INPUTS, labels)


@pytest.mark.parametrize(
  "loss", ["cross_entropy", "margin_loss", "dlr", "rival", "predicts"]
)
def test_losses_refuse_a_list_in_one_sentence(loss):
  function = getattr(losses, loss)
  with pytest.raises(ValueError, match=r"must be an array .* got a list: jnp"):
    function(jnp.zeros((2, 4)), [0, 1])


def test_gradients_checks_and_training_take_a_list():
  listed = [int(label) for label in LABELS]
  loss = losses.composed(logits, losses.cross_entropy)
  key = jax.random.key(0)
  slopes = input_gradients.per_example(loss)
  jax.tree.map(
    np.testing.assert_array_equal,
    slopes(key, INPUTS, listed),
    slopes(jax.random.clone(key), INPUTS, LABELS),
  )
  examples = checks.Examples(key, INPUTS, listed)
  np.testing.assert_array_equal(examples.take([1, 0]).labels, LABELS[:2][::-1])
  subject = checks.Subject(logits, {"own": logits}, attacks.linf, 0.1, steps=1)
  assert measurements.measure_noise(subject, examples, draws=1)

  rule = backward.Bptt(surrogates.atan())
  method = methods.vanilla(NETWORK, rule=rule)
  tx = optax.sgd(0.1)
  step = training.make_train_step(method, tx)
  metrics = []
  for batch in (
    Batch(INPUTS, LABELS, jnp.ones(4, bool)),
    Batch(INPUTS, listed, [True] * 4),
  ):
    state = training.init_state(jax.random.key(1), NETWORK, method, tx, batch)
    metrics.append(jax.jit(step)(state, batch)[1]["loss"])
  assert metrics[0] == metrics[1]
  with pytest.raises(ValueError, match=r"one class per example, \(4,\)"):
    step(state, Batch(INPUTS, listed[:2], [True] * 4))


@pytest.mark.parametrize("make", [attacks.linf, attacks.l2, attacks.l1])
def test_a_step_of_the_radius_is_each_examples_own(make):
  """As many features as examples: a radius could pass for a feature's."""
  weights = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
  inputs = jnp.full((4, 4), 0.5)
  radii = jnp.array([0.0, 0.1, 0.2, 0.4])
  measured = []
  for build in (attacks.fgsm, attacks.r_fgsm):
    found = build(lambda x: x @ weights, make(radii), keep=attacks.last)(
      KEY, inputs, LABELS
    )
    measured.append(make(1.0).distance(found.inputs, inputs))
  np.testing.assert_allclose(measured[0], radii, rtol=1e-5)
  # Its two steps need not be in line.
  assert np.all(measured[1] <= radii * (1 + 1e-5))
  assert np.all(measured[1][1:] > radii[1:] / 4)


@pytest.mark.parametrize("make", [attacks.linf, attacks.l2, attacks.l0])
def test_threats_name_a_radius_of_a_wrong_length(make):
  threat = make(jnp.ones(3))
  for use in (
    lambda: threat.project(INPUTS, INPUTS),
    lambda: threat.sample(jax.random.key(0), INPUTS),
    lambda: threat.contains(INPUTS, INPUTS),
  ):
    with pytest.raises(ValueError, match=r"\(\) or \(4,\); got shape \(3,\)"):
      use()


@pytest.mark.parametrize("channels", [(2,) * 5, (2,) * 4])
def test_blocks_that_an_image_is_too_small_for_are_named(channels):
  network = models.cnn(
    channels, neuron=neurons.lif(), encoder=encoders.direct(2)
  )
  says = "layer 'pool4' averages squares of 2x2, but its images are 1x1.*fewer"
  with pytest.raises(ValueError, match=says):
    network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


def test_what_a_value_is_is_said_in_few_words():
  assert arguments.describe(np.ones((2, 3))) == "an array float64[2, 3]"
  assert arguments.describe(functools.partial(print)) == "a partial"
  assert arguments.describe(len) == "the function len"
  with pytest.raises(ValueError, match="got a list"):
    prng.batch_size([[0.0]])


@pytest.mark.parametrize(
  ("shape", "dtype", "wanted", "sizes", "lengths"),
  [
    ((2, 3), "float32", "[B, C]", {}, {"B": 2, "C": 3}),
    ((2, 3), "int8", "integers [B, C]", {"B": 2}, {"B": 2, "C": 3}),
    ((5, 5), "bfloat16", "floats [N, N]", {}, {"N": 5}),
    ((2,), "float16", "[B, ...]", {}, {"B": 2}),
    ((1, 2, 3, 4), "bool", "booleans [T, ..., C]", {}, {"T": 1, "C": 4}),
    ((7, 4, 1), "uint8", "uint8 [N, H] or [N, H, 1]", {}, {"N": 7, "H": 4}),
    ((), "int32", "numbers []", {}, {}),
  ],
)
def test_an_array_of_the_wanted_shape_tells_its_axes(
  shape, dtype, wanted, sizes, lengths
):
  def traced(array):
    assert arguments.check_array("x", array, wanted, **sizes) == lengths
    return array

  jax.eval_shape(traced, jax.ShapeDtypeStruct(shape, dtype))


@pytest.mark.parametrize(
  ("value", "wanted", "sizes", "says"),
  [
    (np.ones(3), "[B, C]", {}, r"^x must be \[B, C\]; got shape \(3,\)\. Do$"),
    (np.ones((2, 3)), "[B, C]", {"C": 4}, r"\[B, 4\]; got shape \(2, 3\)"),
    (np.ones((2, 3)), "[N, N]", {}, r"\[N, N\]; got shape \(2, 3\)"),
    (np.ones(1), "[B, ..., C]", {}, r"got shape \(1,\)"),
    (np.ones(1, np.int8), "uint8 [N]", {}, r"got int8 of shape \(1,\)"),
    (np.ones(1, bool), "numbers [N]", {}, "got bool of"),
    (np.ones((2, 2)), "[N] or [N, 1]", {}, r"\[N\] or \[N, 1\]; got shape"),
    (0.5, "integers []", {}, r"got float.* of shape \(\)"),
  ],
)
def test_an_array_of_another_shape_is_told(value, wanted, sizes, says):
  with pytest.raises(ValueError, match=says):
    arguments.check_array("x", value, wanted, "Do", **sizes)
