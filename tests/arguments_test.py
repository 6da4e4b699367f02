"""Wrong arguments are told what to pass, by every public attack."""

import functools

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
  surrogates,
  training,
)
from snnjax.backward import assg
from snnjax.checks import measurements
from snnjax.evaluation import Trial
from snnjax.interfaces import Batch
from tests.laws import attack_table
from tests.laws.attack_table import ATTACKS, THREATS, logits_of

KEY = jax.random.key(0)
INPUTS, LABELS = attack_table.batch(False, 4)
MODALITIES, _ = attack_table.batch(True, 4)
EPSILON = 0.1
RIVALS = 2


def logits(key, inputs):
  return attack_table.image_logits(key, inputs)


LOSS = losses.scored(logits, losses.cross_entropy)
FUSED = losses.scored(attack_table.fused_logits, losses.cross_entropy)


# What takes a logits function instead of a loss.
OF_LOGITS = {
  "targeted_auto_pgd": lambda f, threat: attacks.targeted_auto_pgd(f, threat),
  "fab": lambda f, threat: attacks.fab(f, threat),
  "targeted_fab": lambda f, threat: attacks.targeted_fab(f, threat),
  "deepfool": lambda f, threat: attacks.deepfool(f, threat),
  "carlini_wagner": lambda f, threat: attacks.carlini_wagner(f, threat),
  "ead": lambda f, threat: attacks.ead(f, threat),
  "jsma": lambda f, threat: attacks.jsma(f, threat, steps=2),
  "imperceptible": lambda f, threat: attacks.imperceptible(
    f, budget=1.0, steps=2, step_size=0.1
  ),
  "autoattack_standard": lambda f, threat: attacks.autoattack_standard(
    f, threat
  ),
  "autoattack_plus": lambda f, threat: attacks.autoattack_plus(f, threat),
  "autoattack_rand": lambda f, threat: attacks.autoattack_rand(f, threat),
}
# The table's entries that take a loss and a threat themselves.
OF_LOSSES = set(ATTACKS) - set(OF_LOGITS)
NO_THREAT = {
  "sigma_zero",
  "imperceptible",
  "transfer",
  "worst_of",
  "gradient_mean",
}


def built(name, loss, threat):
  """The attack of the table, or of the one above, with these arguments."""
  if name in OF_LOGITS:
    return OF_LOGITS[name](logits_of(loss) if loss is FUSED else logits, threat)
  step = THREATS[ATTACKS[name].threats[0]].step
  return ATTACKS[name].build(loss, threat, step)


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
  with pytest.raises((TypeError, ValueError), match=says) as error:
    built(name, LOSS, threat)
  assert "\n" not in str(error.value)
  assert "attacks.linf" in str(error.value) or suite


WRONG_LOSSES = {
  "no function": (
    0.5,
    r"loss must be a function of \(key, inputs, labels\); got 0\.5",
  ),
  "logits": (logits, r"which takes \(key, inputs\).*losses\.scored"),
  "loss of logits": (
    losses.cross_entropy,
    r"the function cross_entropy, which takes \(logits, labels\)",
  ),
  "a threat": (attacks.linf(0.1), "loss must be a function of .* a Threat"),
}
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
  "probabilities of the label": (
    lambda key, x, y: LOSS(key, x, y)._replace(logits=LOSS(key, x, y).loss),
    r"loss must return logits \[B, C\]; got shape \(4,\)",
  ),
}
# The table puts a right loss beside them.
JUDGED_APART = {"imperceptible", "targeted_fab", "fab", "deepfool", "jsma"}


@pytest.mark.parametrize("wrong", WRONG_LOSSES)
@pytest.mark.parametrize("name", sorted(OF_LOSSES))
def test_what_is_no_loss_is_told_before_anything_runs(name, wrong):
  loss, says = WRONG_LOSSES[wrong]
  threat = THREATS[ATTACKS[name].threats[0]].threat(1.0)
  with pytest.raises(TypeError, match=says) as error:
    built(name, loss, threat)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("name", sorted(OF_LOSSES))
def test_what_a_loss_must_return_is_told(name, answer):
  loss, says = ANSWERS[answer]
  first = ATTACKS[name].threats[0]
  threat = attacks.l0(4.0) if first == "l0" else attacks.linf(EPSILON)
  if name in ("slide", "shrinking_auto_pgd"):
    threat = attacks.l1(1.0)
  step = 4.0 if first == "l0" else 0.1
  sites = {"corner_search": 16}.get(name)
  attack = (
    attacks.corner_search(loss, threat, sites=sites, draws=1)
    if sites
    else ATTACKS[name].build(loss, threat, step)
  )
  with pytest.raises((TypeError, ValueError), match=says) as error:
    jax.eval_shape(attack, KEY, INPUTS, LABELS)
  assert "\n" not in str(error.value)


def without_key(inputs):
  return logits(None, inputs)


def forward(key, inputs):
  return LOSS(key, inputs, jnp.zeros(len(inputs), int))


WRONG_LOGITS = {
  "without a key": (
    without_key,
    r"logits_fn must be a function of \(key, inputs\); got the function "
    r"without_key, which takes \(inputs\)\. lambda key, inputs: f\(inputs\)",
  ),
  "a loss": (LOSS, r"which takes \(key, inputs, labels\)"),
  "logits themselves": (logits(None, INPUTS), r"got an array float32\[4, 3\]"),
}
SPECIAL = {
  "carlini_wagner": lambda: attacks.l2(1.0),
  "ead": lambda: attacks.l1(1.0),
  "jsma": lambda: attacks.l0(4),
}


def special(name):
  return SPECIAL.get(name, lambda: attacks.linf(EPSILON))()


@pytest.mark.parametrize("wrong", WRONG_LOGITS)
@pytest.mark.parametrize("name", [*OF_LOGITS, "scored", "composed"])
def test_what_is_no_logits_function_is_told(name, wrong):
  function, says = WRONG_LOGITS[wrong]
  makers = {
    "scored": lambda: losses.scored(function, losses.cross_entropy),
    "composed": lambda: losses.composed(function, losses.cross_entropy),
  }
  make = makers.get(name, lambda: OF_LOGITS[name](function, special(name)))
  with pytest.raises(TypeError, match=says) as error:
    make()
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("function", "says"),
  [
    (forward, "must return logits .*got a Scored; return its attribute logits"),
    (lambda key, x: logits(key, x)[:, 0], r"got shape \(4,\)\. A single logit"),
    (lambda key, x: None, "got None"),
  ],
)
@pytest.mark.parametrize(
  "name", [name for name in OF_LOGITS if not name.startswith("autoattack")]
)
def test_what_a_logits_function_must_return_is_told(name, function, says):
  attack = OF_LOGITS[name](function, special(name))
  with pytest.raises((TypeError, ValueError), match=says):
    jax.eval_shape(attack, KEY, INPUTS, LABELS)


@pytest.mark.parametrize(
  "make",
  [
    lambda: losses.scored(logits, losses.targeted),
    lambda: losses.scored(logits, 0.5),
    lambda: attacks.worst_of([attacks.pgd]),
    lambda: attacks.worst_of(attacks.fgsm(LOSS, attacks.linf(0.1))),
    lambda: attacks.transfer([attacks.linf(0.1)], LOSS),
    lambda: attacks.within(attacks.deepfool, LOSS, attacks.linf(0.1)),
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
    lambda: attacks.eot(logits, 3),
  ],
)
def test_factories_and_what_they_make_are_told_apart(make):
  with pytest.raises(TypeError) as error:
    make()
  assert "must be" in str(error.value)
  assert "\n" not in str(error.value)


def test_autoattack_is_found_where_it_is():
  says = r"snnjax\.evaluation\.autoattack"
  for kind in (TypeError, AttributeError):
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
    lambda text: attacks.pgd(LOSS, attacks.linf(0.1), step_size=text, steps=1),
    lambda text: attacks.slide(LOSS, attacks.l1(0.1), step_size=text, steps=1),
    lambda text: attacks.nes(LOSS, draws=1, width=text),
    lambda text: attacks.imperceptible(
      logits, budget=text, steps=1, step_size=0.1
    ),
    lambda text: surrogates.atan(text),
  ],
)
def test_numbers_are_not_texts(make):
  with pytest.raises(TypeError, match=r"must be a number.* leave out the quo"):
    make("8/255")
  with pytest.raises((TypeError, ValueError), match=r"must (be a number|have)"):
    make(None)


# sigma_zero's own threat has no radius, but `within` gives it one.
@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"imperceptible"}))
def test_radii_are_one_for_all_or_one_per_example(name):
  entry = ATTACKS[name]
  case = THREATS[entry.threats[0]]
  inputs = MODALITIES if case.modalities else INPUTS
  loss = FUSED if case.modalities else LOSS
  for length in (3, 1):
    attack = entry.build(loss, case.threat(jnp.ones(length)), case.step)
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
    with pytest.raises(TypeError, match=says) as error:
      use()
    assert "\n" not in str(error.value)


def test_what_is_no_surrogate_is_told():
  says = r"surrogate must be a Surrogate.*the function atan: call it"
  variables = NETWORK.init(jax.random.key(0), INPUTS)
  for rule in (backward.Bptt(surrogates.atan), backward.Hart(surrogates.atan)):
    with pytest.raises(TypeError, match=says):
      NETWORK.apply(variables, INPUTS, rule=rule)
  with pytest.raises(TypeError, match=r"adaptive rule.*got a Bptt"):
    assg.assg(
      NETWORK,
      variables,
      losses.cross_entropy,
      rule=backward.Bptt(surrogates.atan()),
    )


THREAT = attacks.linf(EPSILON)
CASE = Trial(attacks.random_noise(LOSS, THREAT, draws=1), THREAT)


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
    ({"a": lambda: CASE}, without_key, r"classify must be .* \(inputs\)"),
    ({"a": lambda: CASE}, forward, "classify must return .* a Scored; return"),
    ({"a": lambda: CASE}, logits(KEY, INPUTS), "classify must .* an array"),
  ],
)
def test_what_an_evaluation_takes_is_told(cases, classify, says):
  with pytest.raises(TypeError, match=says):
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
    ({"logits_fn": without_key}, "logits_fn must be a function of"),
    ({"logits_fn": LOSS}, r"which takes \(key, inputs, labels\)"),
    ({"suite": attacks.pgd}, "suite must|unexpected|missing"),
    ({"suite": "standard"}, "suite must be a function.*got 'standard'"),
    ({"key": 0}, r"key must be a typed jax\.random\.key\(seed\).*got 0"),
    ({"microbatch": 0.5}, "microbatch must be a whole number"),
    ({"labels": [0.5] * 4}, "labels must be integers"),
    ({"labels": [0, 1]}, r"labels must have shape \(4,\)"),
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
  with pytest.raises((TypeError, ValueError), match=says) as error:
    evaluation.autoattack(**(given | changed))
  assert "\n" not in str(error.value)


def test_labels_may_be_a_list():
  listed = [int(label) for label in LABELS]
  attack = attacks.fgsm(LOSS, THREAT)
  whole = attacks.worst_of([attack])
  for one in (attack, whole, attacks.transfer([attack], LOSS)):
    found, again = (one(KEY, INPUTS, given) for given in (listed, LABELS))
    jax.tree.map(np.testing.assert_array_equal, found, again)
  cases = {"noise": lambda: CASE}
  found, again = (
    evaluation.evaluate(cases, logits, INPUTS, given, key=KEY)
    for given in (listed, LABELS)
  )
  jax.tree.map(np.testing.assert_array_equal, found.clean, again.clean)


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
  attack = attacks.fgsm(LOSS, THREAT)
  for one in (
    attack,
    attacks.worst_of([attack]),
    attacks.transfer([attack], LOSS),
    attacks.square(LOSS, THREAT, queries=1),
    attacks.targeted_auto_pgd(logits, THREAT, steps=1),
    attacks.deepfool(logits, THREAT),
  ):
    with pytest.raises((TypeError, ValueError), match=says):
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
  np.testing.assert_array_equal(examples.taken([1, 0]).labels, LABELS[:2][::-1])
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
  loss = losses.scored(lambda key, x: x @ weights, losses.cross_entropy)
  radii = jnp.array([0.0, 0.1, 0.2, 0.4])
  measured = []
  for build in (attacks.fgsm, attacks.r_fgsm):
    found = build(loss, make(radii), keep=attacks.last)(KEY, inputs, LABELS)
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
  says = "layer 'pool4' averages windows of 2x2, but its images are 1x1.*fewer"
  with pytest.raises(ValueError, match=says):
    network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


def test_what_a_value_is_is_said_in_few_words():
  assert arguments.described(np.ones((2, 3))) == "an array float64[2, 3]"
  assert arguments.described(functools.partial(print)) == "a partial"
  assert arguments.described(len) == "the function len"
  with pytest.raises(TypeError, match="got a list"):
    prng.batch_size([[0.0]])
