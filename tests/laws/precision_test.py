"""Laws of precision: what is measured is measured exactly, on any platform.

A CPU computes TF32 and HIGHEST alike, and there may be no other device: the
programs are lowered for CUDA and TPU, and read.

Bounds of bfloat16. Let u = 2^-8, the largest relative error of rounding to 8
bits. A product rounds both factors and its result, and adds in float32: it is
off by at most ((1 + u)^3 - 1) of the same product of absolute values. A
derivative through L products multiplies these factors. So where the forward
pass is exact (weights and spikes of few bits), and with it every surrogate's
derivative, a gradient is off by at most ((1 + u)^(3 L) - 1) of the gradient in
which every weight, surrogate and cotangent has its absolute value.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from snnjax import (
  attacks,
  backward,
  certify,
  checks,
  encoders,
  evaluation,
  input_gradients,
  losses,
  methods,
  models,
  neurons,
  precision,
  regularizers,
  surrogates,
  training,
  vulnerability,
)
from snnjax.interfaces import Batch
from snnjax.kernels.convolution import convolve

RULE = backward.Bptt(surrogates.triangle())
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.random((4, 8, 8, 1)), jnp.float32)
LABELS = jnp.arange(4) % 3
U = 2.0**-8
NETWORK = models.cnn(
  (4,),
  neuron=neurons.lif(0.5, 0.5),
  encoder=encoders.direct(2),
  hidden=(8,),
  classes=3,
)


def key():
  """A new one each time: none may be used twice."""
  return jax.random.key(0)


PLATFORMS = ("cuda", "tpu")
PRODUCT = re.compile(r"stablehlo\.(?:convolution|dot_general)")


@functools.cache
def variables():
  return NETWORK.init(key(), IMAGES)


def products(text):
  """The lines of a program that multiply."""
  lines = [line for line in text.splitlines() if PRODUCT.search(line)]
  assert lines
  return lines


def lowered(function, *arguments, platform):
  traced = jax.jit(function).trace(*arguments)
  return traced.lower(lowering_platforms=(platform,)).as_text()


def own_function(inputs):
  """A caller's, which says nothing of precision."""
  return jnp.tanh(inputs.reshape(len(inputs), -1) @ jnp.ones((64, 3)))


def trained(name):
  """A training step, its state and its batch."""
  network = models.at_precision(NETWORK, name)
  objective, tx = (
    methods.vanilla(network, rule=RULE),
    optax.sgd(0.1, momentum=0.9),
  )
  batch = Batch(IMAGES, LABELS, jnp.ones(4, bool))
  state = training.init_state(key(), network, objective, tx, batch)
  return training.make_train_step(objective, tx), state, batch


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("source", ["network", "function"])
def test_attacks_are_exact_on_every_platform(platform, source):
  logits_fn = own_function
  if source == "network":
    logits_fn = models.classifier(NETWORK, variables(), rule=RULE)
  attack = attacks.pgd(logits_fn, attacks.linf(0.1), steps=2, step_size=0.05)
  text = lowered(attack, key(), IMAGES, LABELS, platform=platform)
  for line in products(text):
    assert line.count("HIGHEST") == 2, line


@pytest.mark.parametrize("platform", PLATFORMS)
def test_bfloat16_trains_in_float32_but_for_its_products(platform):
  step, state, batch = trained("bfloat16")
  text = lowered(step, state, batch, platform=platform)
  for line in products(text):
    kinds = re.findall(r"x(b?f\d+)>", line.rpartition(" : ")[2])
    assert kinds == ["bf16"] * 3, line
  # Nothing but moves and conversions is of that type beside them.
  plain = r"stablehlo\.(?:convert|transpose|reshape|reverse|broadcast_in_dim)"
  others = [
    line
    for line in text.splitlines()
    if "bf16" in line
    and not PRODUCT.search(line)
    and not re.search(plain, line)
  ]
  assert not [line for line in others if "stablehlo." in line]
  after, metrics = jax.eval_shape(step, state, batch)
  floats = [
    leaf.dtype
    for leaf in jax.tree.leaves((after, metrics))
    if jnp.issubdtype(leaf.dtype, jnp.floating)
  ]
  assert floats
  assert set(floats) == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["tf32", "float32"])
def test_a_training_step_says_how_exact_it_is(name):
  step, state, batch = trained(name)
  word = {"tf32": "HIGH", "float32": "HIGHEST"}[name]
  for line in products(lowered(step, state, batch, platform="cuda")):
    assert re.findall(r"HIGH\w*|DEFAULT", line) == [word] * 2


def test_exactness_changes_no_bit_on_a_cpu():
  """The programs before it said nothing, which is DEFAULT."""
  step, state, batch = trained(None)
  logits_fn = models.classifier(NETWORK, variables(), rule=RULE)
  attack = attacks.pgd(logits_fn, attacks.linf(0.1), steps=2, step_size=0.05)
  for function, arguments in (
    (step, (state, batch)),
    (attack, (key(), IMAGES, LABELS)),
  ):
    exact = jax.jit(function).lower(*arguments)
    with jax.default_matmul_precision("default"):
      # Another function, as jit knows functions.
      before = jax.jit(lambda *given, f=function: f(*given)).lower(*arguments)
    assert "HIGHEST" in exact.as_text()
    assert "HIGHEST" not in before.as_text()
    same = jax.tree.map(
      np.array_equal,
      jax.tree.map(_plain, exact.compile()(*arguments)),
      jax.tree.map(_plain, before.compile()(*arguments)),
    )
    assert all(jax.tree.leaves(same))


def _plain(leaf):
  keys = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(leaf) if keys else leaf)


def asked(key, inputs):
  """A caller's network that refuses to be asked inexactly."""
  del key
  assert jax.config.jax_default_matmul_precision == "highest"
  return own_function(inputs)


def margins(key, inputs, labels):
  return losses.margin_loss(asked(key, inputs), labels)


THREAT = attacks.linf(0.1)
ATTACK = attacks.fgsm(asked, THREAT)
DIRECTION = jnp.ones_like(IMAGES)
FRAMES = jnp.zeros((2, 8, 8))
# Attacks are asked by `tests.laws.attacks_test`.
MEASURES = {
  "per_example": input_gradients.per_example(margins),
  "summed": input_gradients.summed(asked, losses.margin_loss),
  "directional": lambda key, x, y: input_gradients.directional_derivative(
    margins
  )(key, x, y, DIRECTION),
  "difference": lambda key, x, y: input_gradients.finite_difference(
    margins, 0.01
  )(key, x, y, DIRECTION),
  "penalty": lambda key, x, y: tuple(
    regularizers.gradient_penalty(asked)(key, x, y)
  )[:4],
  "random": vulnerability.random_vulnerability(margins, THREAT.sample, draws=2),
  "adversarial": vulnerability.adversarial_vulnerability(margins, ATTACK),
  "votes": lambda key, x, y: certify.votes(
    lambda key, frames: asked(key, frames[:, 0]), key, x, 2, steps=1
  ),
  "latent": attacks.latent_attack(
    lambda latent, x: x + 0 * own_exactly(latent),
    asked,
    THREAT,
    start=lambda key, x: jnp.zeros_like(x),
    search=lambda oracle: attacks.fgsm(oracle, attacks.linf(1.0)),
  ),
}


def own_exactly(latent):
  """A generator, which is asked exactly too."""
  assert jax.config.jax_default_matmul_precision == "highest"
  return latent


@pytest.mark.parametrize("name", MEASURES)
def test_measures_ask_exactly(name):
  assert jax.config.jax_default_matmul_precision is None
  jax.eval_shape(MEASURES[name], key(), IMAGES, LABELS)


def test_evaluations_ask_exactly():
  assert evaluation.robust_accuracy(asked, ATTACK, IMAGES, LABELS)


def test_what_a_user_sets_is_obeyed():
  logits_fn = models.classifier(NETWORK, variables(), rule=RULE)
  for function in (own_function, lambda x: logits_fn(key(), x)):
    attack = attacks.fgsm(function, THREAT)
    bits = functools.partial(
      precision.fewest_bits, attack, key(), IMAGES, LABELS, platform="gpu"
    )
    assert bits() == 24
    with jax.default_matmul_precision("tensorfloat32"):
      assert bits() == 11
  exact = models.at_precision(NETWORK, "float32")
  with jax.default_matmul_precision("tensorfloat32"):
    assert _bits_of(exact) == 24


def _bits_of(network, platform="gpu"):
  def run(inputs):
    return network.apply(variables(), inputs, rule=RULE).logits

  return precision.fewest_bits(run, IMAGES, platform=platform)


@pytest.mark.parametrize(
  ("name", "bits"),
  [("float32", (24, 24, 24)), ("tf32", (24, 11, 16)), ("bfloat16", (8, 8, 8))],
)
def test_the_coarsest_product_is_told(name, bits):
  network = models.at_precision(NETWORK, name)
  assert bits == tuple(_bits_of(network, p) for p in ("cpu", "gpu", "tpu"))


def test_half_precision_and_no_product_are_told():
  half = IMAGES.astype(jnp.float16)
  assert precision.fewest_bits(own_function, half, platform="gpu") == 11
  assert precision.fewest_bits(jnp.tanh, half) == 24
  assert precision.fewest_bits(own_function, IMAGES, platform="gpu") == 11
  assert precision.fewest_bits(own_function, IMAGES, platform="cpu") == 24


def test_a_coarse_evaluation_is_measured():
  logits_fn = models.classifier(
    models.at_precision(NETWORK, "bfloat16"), variables(), rule=RULE
  )
  examples = checks.Examples(key(), IMAGES, LABELS)
  for function, fires in ((logits_fn, True), (own_function, False)):
    subject = checks.Subject(function, {"own": function}, attacks.linf, 0.1)
    measure = checks.parts(subject, examples, checks.Effort())["products"]
    alarms = {alarm.name: alarm for alarm in checks.check(measure())}
    assert alarms["Evaluated below float32"].fired == fires


def test_names_and_networks_are_checked():
  with pytest.raises(ValueError, match="one of float32, tf32, bfloat16"):
    models.at_precision(NETWORK, "float16")
  other = NETWORK._replace(apply=lambda variables, inputs, *, rule: None)
  with pytest.raises(ValueError, match="apply that takes precision"):
    models.at_precision(other, "float32")


@pytest.mark.parametrize("name", ["tf32", "bfloat16"])
def test_the_forward_law_holds_at_every_precision(name):
  """Bit-identical logits under every rule."""
  network = models.at_precision(NETWORK, name)
  want = None
  for rule in (RULE, backward.Hart(surrogates.atan())):
    run = jax.jit(lambda x, r=rule: network.apply(variables(), x, rule=r))
    logits = run(IMAGES).logits
    assert logits.dtype == jnp.float32
    want = logits if want is None else want
    np.testing.assert_array_equal(logits, want)


STEPS = 4
HIDDEN = 16


def grid(shape, unit):
  """Numbers of few bits, at most 1."""
  return jnp.asarray(
    RNG.integers(-(2**unit), 2**unit + 1, shape) * 2.0**-unit, jnp.float32
  )


@functools.cache
def coarse():
  """A network whose products are exact in bfloat16, its variables and data.

  Its potentials are not: their leak is no binary fraction.
  """
  network = models.mlp(
    (HIDDEN, HIDDEN),
    neuron=neurons.lif(0.9, 0.7, reset=neurons.no_reset),
    encoder=encoders.direct(STEPS),
    classes=3,
  )
  spikes = jnp.asarray(RNG.integers(0, 2, (5, 12)), jnp.float32)
  drawn = network.init(key(), spikes)
  units = {"kernel": 3, "bias": 3}

  def rounded(path, leaf):
    head = "head" in jax.tree_util.keystr(path)
    return grid(leaf.shape, 2 if head else units[path[-1].key])

  return (
    network,
    {
      "params": jax.tree_util.tree_map_with_path(rounded, drawn["params"]),
      "batch_stats": {},
    },
    spikes,
  )


def test_potentials_of_a_bfloat16_network_are_float32():
  """Where products are exact nothing else is rounded; elsewhere they are."""
  network, weights, spikes = coarse()

  @functools.partial(jax.jit, static_argnums=0)
  def run(name, inputs):
    return models.at_precision(network, name).apply(weights, inputs, rule=RULE)

  want, got = run("float32", spikes), run("bfloat16", spikes)
  for name, trace in want.traces.items():
    np.testing.assert_array_equal(got.traces[name].spikes, trace.spikes)
    # Two programs: a sum may be fused with its product. Half precision would be
    # off by a thousand times as much.
    np.testing.assert_allclose(
      got.traces[name].drive, trace.drive, rtol=2e-6, atol=2e-6
    )
  np.testing.assert_array_equal(got.logits, want.logits)
  drives = want.traces["body/dense_spike1"].drive
  assert not np.array_equal(drives, drives.astype(jnp.bfloat16))
  moved = spikes * 0.7123
  layer = "body/dense_spike1"
  exact, rough = (
    run(n, moved).traces[layer].drive for n in ("float32", "bfloat16")
  )
  assert not np.array_equal(exact, rough)


def summed_back(slopes, leak):
  """Gradient of a leaky potential's currents, [T, ...], from its own."""
  total = np.zeros_like(slopes)
  carried = 0.0
  for step in reversed(range(len(slopes))):
    carried = slopes[step] + leak * carried
    total[step] = carried
  return total


def test_gradients_in_bfloat16_stay_within_their_bound():
  network, weights, spikes = coarse()
  rule = backward.Bptt(surrogates.atan())
  pull = jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)

  def gradients(name):
    def value(x, params):
      forward = models.at_precision(network, name).apply(
        {**weights, "params": params}, x, rule=rule
      )
      return jnp.sum(forward.logits * pull), forward.traces

    run = jax.jit(jax.grad(value, argnums=(0, 1), has_aux=True))
    return run(spikes, weights["params"])

  (want, want_weights), traces = gradients("float32")
  (got, got_weights), _ = gradients("bfloat16")
  size = {
    name: np.abs(np.asarray(layer["kernel"], np.float64))
    for name, layer in (
      ("first", weights["params"]["body"]["dense1"]),
      ("second", weights["params"]["body"]["dense2"]),
      ("head", weights["params"]["head"]),
    )
  }

  def through(name, ahead):
    # The surrogate's derivative, sharpness 2: 1 / (1 + (pi u)^2).
    drive = np.asarray(traces[f"body/dense_spike{name}"].drive, np.float64)
    return summed_back(ahead / (1 + (np.pi * drive) ** 2), 0.9)

  ahead = np.abs(np.asarray(pull, np.float64)) @ size["head"].T / STEPS
  second = through(2, np.broadcast_to(ahead, (STEPS, *ahead.shape)))
  first = through(1, second @ size["second"].T)
  bounds = {
    "inputs": first.sum(0) @ size["first"].T,
    "kernel": np.asarray(spikes, np.float64).T @ first.sum(0),
  }
  kernels = (g["body"]["dense1"]["kernel"] for g in (got_weights, want_weights))
  share = (1 + U) ** (3 * 3) - 1 + 1e-5
  for name, (rough, exact) in {
    "inputs": (got, want),
    "kernel": tuple(kernels),
  }.items():
    error = np.abs(np.asarray(rough, np.float64) - np.asarray(exact))
    assert np.all(np.abs(exact) <= bounds[name] * (1 + 1e-5)), name
    assert np.all(error <= share * bounds[name]), name
    # Rounded indeed: a sixteenth of the bound would not hold.
    assert np.any(error > share / 16 * bounds[name]), name


@pytest.mark.parametrize("kind", ["convolution", "dense"])
def test_one_product_in_bfloat16_stays_within_its_bound(kind):
  """Forward and both derivatives, off by ((1 + u)^3 - 1) of absolute ones."""
  if kind == "dense":
    shapes, run = ((6, 40), (40, 7)), jnp.matmul
  else:
    shapes = ((2, 6, 6, 3), (3, 3, 3, 5))

    def run(images, filters, precision):
      return convolve(images, filters, precision=precision)

  def product(inputs, weights, exactness):
    return run(inputs, weights, precision=exactness)

  inputs, weights = (
    jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in shapes
  )

  def all_of(name, inputs, weights, pull):
    value, back = jax.vjp(
      lambda x, k: precision.multiply(product, x, k, name), inputs, weights
    )
    return value, *back(pull)

  shape = jax.eval_shape(
    lambda x, k: precision.multiply(product, x, k, None), inputs, weights
  ).shape
  pull = jnp.asarray(RNG.normal(size=shape), jnp.float32)
  exact = all_of("float32", inputs, weights, pull)
  rough = all_of("bfloat16", inputs, weights, pull)
  sizes = all_of("float32", *map(jnp.abs, (inputs, weights, pull)))
  share = (1 + U) ** 3 - 1 + 1e-5
  for one, other, size in zip(exact, rough, sizes, strict=True):
    assert other.dtype == jnp.float32
    error = np.abs(np.asarray(one) - np.asarray(other))
    assert np.all(error <= share * np.asarray(size))
    assert np.any(error > share / 64 * np.asarray(size))
