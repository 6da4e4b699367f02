"""Encoders, metrics, losses and networks in every number type.

Each is right in each type, against NumPy in double precision on the very
numbers that it was given, or refused in one sentence.
"""

import functools
import inspect
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from snnjax import (
  backward,
  encoders,
  input_gradients,
  losses,
  methods,
  models,
  neurons,
  readouts,
  sparsity,
  surrogates,
  training,
  vulnerability,
)
from snnjax.interfaces import Batch
from snnjax.models.layers import BatchNorm
from snnjax.models.vgg_networks import Style
from tests.losses_test import LOSSES

DTYPES = ["float16", "bfloat16", "float32", "float64"]
RNG = np.random.default_rng(0)
RULE = backward.Bptt(surrogates.triangle())
LABELS = jnp.array([0, 2, 1])


@pytest.fixture(params=DTYPES)
def dtype(request):
  """A number type; double precision only where JAX is told to have it."""
  jax.config.update("jax_enable_x64", request.param == "float64")
  yield jnp.dtype(request.param)
  jax.config.update("jax_enable_x64", False)


def exact(array):
  return np.asarray(array).astype(np.float64)


def eps(dtype):
  return float(jnp.finfo(dtype).eps)


def public(module, wanted):
  """The module's own public functions that return `wanted`."""
  return {
    name
    for name, value in vars(module).items()
    if isinstance(value, types.FunctionType)
    and not name.startswith("_")
    and value.__module__ == module.__name__
    and inspect.signature(value).return_annotation is wanted
  }


# Encoders.

IMAGES = RNG.uniform(size=(3, 4, 4, 1))
ENCODERS = {
  "direct": (encoders.direct(600), IMAGES),
  "poisson": (encoders.poisson(600), IMAGES),
  "latency": (encoders.latency(600), IMAGES),
  "frames": (encoders.frames(6), RNG.uniform(size=(3, 6, 4, 4, 2))),
}


def test_every_encoder_is_in_the_table():
  assert set(ENCODERS) == public(encoders, encoders.Encoder)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(name, dtype):
  encoder, values = ENCODERS[name]
  data = jnp.asarray(values, dtype)
  key = jax.random.key(0)
  sequence = jax.jit(encoder.encode)(jax.random.clone(key), data)
  assert sequence.dtype == dtype
  want = {
    "direct": lambda x: x[None],
    "frames": lambda x: np.moveaxis(x, 1, 0),
    # The step of the spike, of 600: more than a half can count.
    "latency": lambda x: (
      np.arange(600).reshape(-1, 1, 1, 1, 1)
      == np.round((1 - x).astype(np.float32) * np.float32(599))
    ),
  }
  if name in want:
    np.testing.assert_array_equal(exact(sequence), want[name](exact(data)))
  gradient = jax.jit(
    jax.grad(lambda x: jnp.sum(encoder.encode(key, x).astype(jnp.float32)))
  )(data)
  assert gradient.dtype == dtype
  assert np.all(np.isfinite(exact(gradient)))
  assert np.all(exact(gradient) >= 1)


def test_poisson_draws_have_the_bits_that_rare_spikes_need(dtype):
  """A uniform of 8 bits is below 1e-3 once in 256 times, or never."""
  rate = jnp.asarray(1e-3, dtype)
  size = 1 << 19
  data = jnp.full((1, size), rate)
  spikes = encoders.poisson(1).encode(jax.random.key(0), data)
  share = float(np.mean(exact(spikes)))
  assert abs(share - float(rate)) < 6 * np.sqrt(float(rate) / size)
  near = jnp.full((1, size), jnp.asarray(1 - 4 * eps(dtype), dtype))
  silent = float(
    np.mean(1 - exact(encoders.poisson(1).encode(jax.random.key(1), near)))
  )
  expected = 1 - float(near[0, 0])
  assert abs(silent - expected) < 6 * np.sqrt(expected / size) + 1e-7


# Metrics.

GRADIENTS = RNG.normal(size=(5, 40)) * (RNG.uniform(size=(5, 40)) < 0.6)


def sorted_gini(c):
  c = np.sort(c, 1)
  d = c.shape[1]
  ranks = (d - np.arange(1, d + 1) + 0.5) / d
  return 1 - 2 * np.sum(c / c.sum(1, keepdims=True) * ranks, 1)


METRICS = {
  "l0_exact": lambda c: np.sum(c != 0, 1),
  "l0_relative": lambda c: np.sum(c > 0.01 * c.max(1, keepdims=True), 1),
  "l1": lambda c: c.sum(1),
  "l2": lambda c: np.sqrt((c**2).sum(1)),
  "linf": lambda c: c.max(1),
  "hoyer": lambda c: (
    (np.sqrt(40) - c.sum(1) / np.sqrt((c**2).sum(1))) / (np.sqrt(40) - 1)
  ),
  "participation_ratio": lambda c: c.sum(1) ** 2 / (40 * (c**2).sum(1)),
  "gini": sorted_gini,
}


def test_every_metric_is_in_the_table():
  assert set(METRICS) == set(sparsity.Metrics._fields) - {"is_zero"}


def test_metrics(dtype):
  data = jnp.asarray(GRADIENTS, dtype)
  found = sparsity.measure(data)
  for name, reference in METRICS.items():
    value = getattr(found, name)
    assert value.dtype.itemsize >= 4, name
    np.testing.assert_allclose(
      exact(value), reference(np.abs(exact(data))), rtol=2e-6, err_msg=name
    )
    np.testing.assert_array_equal(getattr(sparsity, name)(data), value)
  # Numbers whose squares no half has.
  tiny = data * jnp.asarray(2.0**-12, dtype)
  np.testing.assert_allclose(
    sparsity.l2(tiny), METRICS["l2"](np.abs(exact(tiny))), rtol=2e-6
  )


@pytest.mark.parametrize("order", [np.inf, 2, 1])
def test_vulnerability(order, dtype):
  data = jnp.asarray(GRADIENTS, dtype)
  found = vulnerability.first_order(data, order)
  assert np.all(exact(found.ratio) >= exact(found.lower) * (1 - 1e-6))
  assert np.all(exact(found.ratio) <= exact(found.upper) * (1 + 1e-6))
  moved = vulnerability.uniform(order, 0.5)(jax.random.key(0), 0 * data)
  assert moved.dtype == dtype
  # What is shown is of the ball up to the rounding of its type.
  length = np.linalg.norm(exact(moved), order, 1)
  assert np.all(length <= 0.5 * (1 + eps(dtype)))


# Losses.


@functools.cache
def sum_slope_and_each(name):
  """A loss compiled: hundreds of operations would be, each on its own."""

  def total(z):
    each = LOSSES[name](z, LABELS)
    return jnp.sum(each), each

  def of(z):
    (got, each), slope = jax.value_and_grad(total, has_aux=True)(z)
    return got, slope, each

  return jax.jit(of)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, dtype):
  values = RNG.normal(size=(3, 4)) * 4
  logits = jnp.asarray(values, dtype)
  got, slope, each = sum_slope_and_each(name)(logits)
  assert each.dtype == jnp.promote_types(dtype, jnp.float32)
  assert slope.dtype == dtype
  before = jax.config.jax_enable_x64
  jax.config.update("jax_enable_x64", True)
  wide = jnp.asarray(exact(logits))
  _, gradient, want = sum_slope_and_each(name)(wide)
  jax.config.update("jax_enable_x64", before)
  np.testing.assert_allclose(exact(each), want, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(exact(got), np.sum(want), rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(
    exact(slope), gradient, rtol=1e-5 + eps(dtype), atol=1e-6
  )


def test_tied_logits_divide_nothing_by_zero(dtype):
  """1e-12 is 0 in half precision."""
  tied = jnp.ones((3, 5), dtype)
  assert np.all(exact(losses.dlr(tied, LABELS)) == 0)
  np.testing.assert_array_equal(
    exact(losses.targeted_dlr(tied, LABELS, (LABELS + 1) % 5)), 0
  )


# Surrogates.


@pytest.mark.parametrize(
  "make",
  [
    *(surrogates.triangle, surrogates.atan, surrogates.sigmoid),
    *(surrogates.fast_sigmoid, surrogates.gaussian, surrogates.rectangle),
    *(surrogates.exponential, surrogates.scaled_triangle),
    surrogates.straight_through,
  ],
)
def test_surrogates(make, dtype):
  drive = jnp.asarray(np.linspace(-3, 3, 61) + 0.01, dtype)
  surrogate = make()
  gradient = jax.grad(lambda u: jnp.sum(surrogates.spike(u, surrogate)))(drive)
  assert gradient.dtype == dtype
  np.testing.assert_allclose(
    exact(gradient),
    exact(surrogate(jnp.asarray(exact(drive)))),
    rtol=30 * eps(dtype),
    atol=4 * eps(dtype),
  )


# Networks.

CNN = {"neuron": neurons.lif(0.5, 0.5)}
NETWORKS = {
  "mlp": (
    models.mlp(
      (8,),
      neuron=neurons.adaptive_lif(),
      encoder=encoders.direct(3),
      readout=readouts.membrane(0.9),
    ),
    (3, 8, 8, 1),
  ),
  "cnn": (
    models.cnn(
      (4,),
      neuron=neurons.plif(),
      encoder=encoders.poisson(3),
      norm=BatchNorm,
      standardize=((0.1,), (0.3,)),
    ),
    (3, 8, 8, 1),
  ),
  "vgg": (
    models.vgg(
      "tiny",
      neuron=neurons.hire(threshold=0.1),
      encoder=encoders.latency(2),
      hidden=(8,),
      style=Style({"tiny": (4, 0, 4)}, None, False, 0.2),
    ),
    (3, 8, 8, 1),
  ),
  "fusion": (
    models.fusion(
      {"image": encoders.direct(3), "events": encoders.frames(3)},
      {"image": (2,), "events": (2,)},
      neuron=neurons.convex_lif(),
      hidden=(4,),
    ),
    {"image": (3, 8, 8, 1), "events": (3, 3, 8, 8, 2)},
  ),
}


def inputs_of(shapes, dtype):
  draw = np.random.default_rng(1)
  if isinstance(shapes, dict):
    return {
      k: jnp.asarray(draw.uniform(size=s), dtype) for k, s in shapes.items()
    }
  return jnp.asarray(draw.uniform(size=shapes), dtype)


def test_every_network_is_in_the_table():
  built = {
    name
    for name in models.__all__
    if inspect.isfunction(getattr(models, name))
    and "Network"
    in str(inspect.signature(getattr(models, name)).return_annotation)
  }
  assert set(NETWORKS) == built - {"build", "at_precision", "with_kernel"}


# Single precision is that of the tests of models and methods.
@pytest.mark.parametrize(
  "dtype", sorted({*DTYPES} - {"float32"}), indirect=True
)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_in_the_type_of_their_inputs(name, dtype):
  network, shapes = NETWORKS[name]
  inputs = inputs_of(shapes, dtype)
  batch = Batch(inputs, LABELS, jnp.ones(3, bool))
  method = methods.vanilla(network, rule=RULE)
  tx = optax.sgd(0.1)
  state = training.init_state(jax.random.key(0), network, method, tx, batch)
  assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {dtype}
  train = jax.jit(training.make_train_step(method, tx))
  new, metrics = train(state, batch)
  kinds = jax.tree.map(lambda leaf: jnp.asarray(leaf).dtype, (state, new))
  assert kinds[0] == kinds[1]
  assert np.isfinite(float(metrics["loss"]))
  assert float(metrics["gradient_norm"]) > 0
  variables = {"params": new.params, "batch_stats": new.batch_stats}

  def total(key, x, y):
    logits = network.apply(variables, x, rule=RULE, key=key).logits
    return losses.cross_entropy(logits, y)

  gradients = jax.jit(input_gradients.summed(total))(
    jax.random.key(1), inputs, LABELS
  )
  for leaf in jax.tree.leaves(gradients):
    assert leaf.dtype == dtype
    assert np.all(np.isfinite(exact(leaf)))
  assert any(np.any(exact(leaf)) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("kind", ["uint8", "int32", "bool", "complex64"])
def test_inputs_that_are_no_floats_are_refused(kind):
  network, shape = NETWORKS["cnn"]
  wrong = jnp.ones(shape, kind)
  says = rf"inputs must be of one of the types float16.*got {kind}: divide"
  with pytest.raises(ValueError, match=says):
    network.init(jax.random.key(0), wrong)
  variables = network.init(jax.random.key(0), jnp.ones(shape))
  with pytest.raises(ValueError, match=says):
    network.apply(variables, wrong, rule=RULE, key=jax.random.key(1))
  both, shapes = NETWORKS["fusion"]
  inputs = inputs_of(shapes, jnp.float32)
  with pytest.raises(ValueError, match=r"inputs\['events'\] must be of one"):
    both.init(
      jax.random.key(0), inputs | {"events": inputs["events"].astype(kind)}
    )


def test_types_that_do_not_match_are_refused():
  network, shape = NETWORKS["mlp"]
  variables = network.init(jax.random.key(0), jnp.ones(shape))
  with pytest.raises(ValueError, match="weights' type, float32; got bfloat16"):
    network.apply(variables, jnp.ones(shape, jnp.bfloat16), rule=RULE)
  both, shapes = NETWORKS["fusion"]
  inputs = inputs_of(shapes, jnp.float32)
  inputs["image"] = inputs["image"].astype(jnp.float16)
  with pytest.raises(ValueError, match="inputs must be of one type; got"):
    both.init(jax.random.key(0), inputs)
  # NumPy's doubles are JAX's singles.
  logits = network.apply(variables, np.ones(shape), rule=RULE).logits
  assert logits.dtype == jnp.float32


@pytest.mark.parametrize("name", ["cnn", "vgg"])
@pytest.mark.parametrize(
  ("shape", "says"),
  [
    ((3, 1, 28, 28), r"channels last, \[B, H, W, C\]; 1 rows of 28"),
    ((3, 3, 32, 32), r"channels last.*look like \[B, C, H, W\]"),
    ((3, 28, 28), r"inputs must be \[B, H, W, C\].*images"),
    ((28, 28), r"inputs must be \[B, H, W, C\].*images"),
  ],
)
def test_images_in_another_order_are_refused(name, shape, says):
  network, right = NETWORKS[name]
  with pytest.raises(ValueError, match=says):
    network.init(jax.random.key(0), jnp.ones(shape))
  variables = network.init(jax.random.key(0), jnp.ones(right))
  with pytest.raises(ValueError, match=says):
    network.apply(variables, jnp.ones(shape), rule=RULE, key=jax.random.key(1))


def test_inputs_of_other_sizes_than_the_weights_are_refused():
  for name, shape, says in (
    ("mlp", (3, 8, 8, 2), "layer body/dense1 takes 64 features.*gets 128"),
    ("cnn", (3, 8, 8, 3), "layer body/conv1 takes 1 features.*gets 3"),
    ("cnn", (3, 12, 12, 1), "layer head takes 64 features.*gets 144"),
  ):
    network, right = NETWORKS[name]
    variables = network.init(jax.random.key(0), jnp.ones(right))
    with pytest.raises(ValueError, match="do not fit the weights: " + says):
      network.apply(
        variables, jnp.ones(shape), rule=RULE, key=jax.random.key(1)
      )


# JAX's switches.

SWITCHED = {
  "vanilla": methods.vanilla,
  "sr": methods.sr,
  "hire": lambda network, rule: methods.hire(
    network, rule=rule, steps=3, periods=3, step_size=0.1, radius=0.1
  ),
}
RULES = {
  "bptt": RULE,
  "bptr": backward.Bptr(),
  "rga": backward.Rga(),
  "hart": backward.Hart(surrogates.atan()),
  "straight_through": backward.StraightThrough(),
}


def one_step(name, network, inputs, rule=RULE, compiled=True):
  batch = Batch(inputs, LABELS, jnp.ones(3, bool))
  method, tx = SWITCHED[name](network, rule=rule), optax.sgd(0.1)
  state = training.init_state(jax.random.key(0), network, method, tx, batch)
  train = training.make_train_step(method, tx)
  new, metrics = (jax.jit(train) if compiled else train)(state, batch)
  assert np.isfinite(float(metrics["loss"]))
  same = jax.tree.map(lambda a, b: a.dtype == b.dtype, state.params, new.params)
  assert all(jax.tree.leaves(same))
  return new


@pytest.mark.parametrize("name", SWITCHED)
def test_strict_promotion(name):
  network, shape = NETWORKS["cnn"]
  # flax's own batch norm mixes types for halves: rules are tested without.
  with jax.numpy_dtype_promotion("strict"):
    one_step(name, network, inputs_of(shape, jnp.float32))


@pytest.mark.parametrize("rule", RULES)
def test_strict_promotion_of_rules(rule):
  network, shape = NETWORKS["mlp"]
  with jax.numpy_dtype_promotion("strict"):
    one_step("vanilla", network, inputs_of(shape, jnp.bfloat16), RULES[rule])


def measures(data):
  orders = (np.inf, 2, 1)
  return {
    "sparsity": sparsity.summarize(sparsity.measure(data)),
    "first order": [vulnerability.first_order(data, p) for p in orders],
    "uniform": [
      vulnerability.uniform(order, 0.1)(jax.random.key(0), data)
      for order in orders
    ],
    "losses": {
      name: loss(data[:, :4], LABELS) for name, loss in LOSSES.items()
    },
  }


def test_strict_promotion_of_measures():
  data = jnp.asarray(GRADIENTS[:3], jnp.bfloat16)
  want = measures(data)
  with jax.numpy_dtype_promotion("strict"):
    got = measures(data)
  chex.assert_trees_all_equal(got, want)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SWITCHED)
def test_single_precision_trains_under_x64(name):
  """Poisson and convolutions: what could not even be initialised."""
  network, shape = NETWORKS["cnn"]
  one_step(name, network, inputs_of(shape, jnp.float32))


def test_weights_are_the_same_with_and_without_x64(x64):
  network, shape = NETWORKS["cnn"]
  under = network.init(jax.random.key(0), inputs_of(shape, jnp.float32))
  jax.config.update("jax_enable_x64", False)
  alone = network.init(jax.random.key(0), inputs_of(shape, jnp.float32))
  chex.assert_trees_all_equal(under, alone)


def test_disable_jit_runs_convolutions():
  """The switch that everybody is told to debug with."""
  network, shape = NETWORKS["cnn"]
  inputs = inputs_of(shape, jnp.float32)
  want = one_step("vanilla", network, inputs)
  with jax.disable_jit():
    got = one_step("vanilla", network, inputs, compiled=False)
  for a, b in zip(
    *map(jax.tree.leaves, (got.params, want.params)), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
