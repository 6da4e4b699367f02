"""Convolutions, attacks and training over a mesh, in each of its forms.

Every test runs on the simulated devices, on the installed JAX; `.ci/versions
floor` and `newest` run them on the oldest and the newest.
"""

import ast
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from snnjax import (
  attacks,
  backward,
  encoders,
  input_gradients,
  losses,
  lost_derivatives,
  methods,
  models,
  neurons,
  sharding,
  surrogates,
  training,
)
from snnjax.interfaces import Batch
from snnjax.kernels.convolution import convolve

RNG = np.random.default_rng(0)
RULE = backward.Bptt(surrogates.triangle())
# jax 0.7.2 itself cannot draw for keys that a mesh of explicit axes spreads:
# its lowering of `random_bits` loses the mesh. What draws nothing runs there.
OLD = jax.__version_info__ < (0, 8)
NETWORK = models.cnn(
  (4, 4),
  neuron=neurons.lif(0.5, 0.5),
  encoder=encoders.direct(3) if OLD else encoders.poisson(3),
)
INPUTS = jnp.asarray(RNG.uniform(size=(4, 8, 8, 1)), jnp.float32)
LABELS = jnp.array([0, 1, 2, 3])
KINDS = {"explicit": AxisType.Explicit, "auto": AxisType.Auto}


def mesh_of(kind):
  """Two devices; "default" is what `jax.make_mesh` makes unasked."""
  if kind == "default":
    return jax.make_mesh((2,), ("data",))
  return jax.make_mesh((2,), ("data",), axis_types=(KINDS[kind],))


def spread(mesh, tree):
  return jax.device_put(tree, NamedSharding(mesh, P("data")))


def held(mesh, tree):
  return jax.device_put(tree, NamedSharding(mesh, P()))


@pytest.fixture(autouse=True)
def no_false_reuse():
  """The oldest JAX finds a key used twice in its own `uniform`, over a mesh."""
  with jax.debug_key_reuse(not OLD):
    yield


@functools.cache
def variables():
  """Called where nothing is traced."""
  return NETWORK.init(jax.random.key(0), INPUTS)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_a_convolution_under_shard_map(stride):
  mesh = mesh_of("auto")
  kernel = jnp.asarray(RNG.normal(size=(3, 3, 1, 4)), jnp.float32)

  def total(x, k):
    return jnp.sum(convolve(x, k, strides=(stride, stride)) ** 2)

  @functools.partial(
    jax.shard_map, mesh=mesh, in_specs=(P("data"), P()), out_specs=P("data")
  )
  def of_inputs(x, k):
    return jax.grad(total)(x, k)

  @functools.partial(
    jax.shard_map, mesh=mesh, in_specs=(P("data"), P()), out_specs=P()
  )
  def of_kernel(x, k):
    # The sum over devices: the kernel is the same on all of them.
    return jax.grad(total, 1)(x, k)

  want = jax.grad(total, (0, 1))(INPUTS, kernel)
  for got, plain in ((of_inputs, want[0]), (of_kernel, want[1])):
    for run in (got, jax.jit(got)):
      np.testing.assert_allclose(run(INPUTS, kernel), plain, rtol=1e-4)


def test_a_network_under_shard_map():
  mesh, weights = mesh_of("auto"), variables()

  def gradient(key, x, y):
    logits = models.classifier(NETWORK, weights, rule=RULE)
    loss = losses.composed(logits, losses.cross_entropy)
    return input_gradients.summed(loss)(key, x, y)

  keys = jax.random.split(jax.random.key(1), 4)
  over = jax.shard_map(
    gradient, mesh=mesh, in_specs=(P("data"),) * 3, out_specs=P("data")
  )
  np.testing.assert_allclose(
    jax.jit(over)(jax.random.clone(keys), INPUTS, LABELS),
    jax.jit(gradient)(keys, INPUTS, LABELS),
    rtol=1e-4,
    atol=1e-6,
  )


def pgd():
  logits = models.classifier(NETWORK, variables(), rule=RULE)
  attack = attacks.pgd(
    logits,
    attacks.linf(0.1),
    step_size=0.05,
    steps=2,
    random_start=not OLD,
  )
  return jax.jit(lambda key, x, y: attack(key, x, y).inputs)


@pytest.mark.parametrize("kind", ["default", "explicit", "auto"])
def test_pgd_over_a_mesh(kind):
  mesh = mesh_of(kind)
  want = pgd()(jax.random.key(2), INPUTS, LABELS)
  attack = pgd()
  with jax.set_mesh(mesh):
    got = attack(jax.random.key(2), spread(mesh, INPUTS), spread(mesh, LABELS))
  assert len(got.sharding.device_set) == 2
  np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("kind", ["default", "explicit", "auto"])
@pytest.mark.parametrize("name", ["vanilla", "sr"])
def test_a_training_step_over_a_mesh(name, kind):
  mesh, tx = mesh_of(kind), optax.sgd(0.1)
  method = getattr(methods, name)(NETWORK, rule=RULE)
  batch = Batch(INPUTS, LABELS, jnp.array([True, True, True, False]))
  state = training.init_state(jax.random.key(3), NETWORK, method, tx, batch)
  step = jax.jit(training.make_train_step(method, tx))
  want = step(state, batch)[0].params
  again = training.init_state(jax.random.key(3), NETWORK, method, tx, batch)
  with jax.set_mesh(mesh):
    got = step(held(mesh, again), spread(mesh, batch))[0].params
  for a, b in zip(*map(jax.tree.leaves, (got, want)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


# What a guard reads of JAX must be there: asked for with a default, a name that
# JAX does not know is an answer, and a wrong one.


def test_mesh_axes_are_read_from_types_that_have_them():
  assert sharding.typed_axes(INPUTS) == set()
  seen = []

  def look(x):
    seen.append(sharding.varying_axes(x))
    return x

  mesh = mesh_of("auto")
  jax.jit(
    jax.shard_map(look, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
  )(INPUTS)
  assert seen == [{"data"}]
  explicit = mesh_of("explicit")
  with jax.set_mesh(explicit):
    assert sharding.typed_axes(spread(explicit, INPUTS)) == {"data"}
    assert sharding.spread_like(LABELS, spread(explicit, INPUTS)).sharding.spec


# By the files that know JAX: of its arrays, types and programs; and of Python's
# functions, of orbax and of our own values.
ASKED = {
  *("dtype", "sharding", "is_fully_addressable"),
  *("mat", "debug_info", "func_src_info", "eqns", "jaxpr"),
}
ASKED_OF_OTHERS = {
  *("__name__", "__len__", "init", "update"),
  *("batch_statistics", "success", "iterations", "name"),
}


def asked_with_a_default(path):
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
      short = node.func.id == "hasattr"
      if short or (node.func.id == "getattr" and len(node.args) == 3):
        found.add(ast.unparse(node.args[1]).strip("'"))
  return found


def test_every_default_of_a_missing_attribute_is_known_here():
  root = pathlib.Path(__file__).resolve().parents[1]
  found = set()
  for path in (root / "snnjax").rglob("*.py"):
    if "\nimport jax\n" in path.read_text():
      found |= asked_with_a_default(path)
  assert found == ASKED | ASKED_OF_OTHERS


def test_what_is_asked_for_with_a_default_exists():
  assert INPUTS.is_fully_addressable is True
  assert INPUTS.dtype == jnp.float32
  assert INPUTS.sharding.device_set
  program = jax.make_jaxpr(jax.nn.relu)(INPUTS)
  (call,) = program.jaxpr.eqns
  inner = call.params["call_jaxpr"].jaxpr
  assert "relu" in inner.debug_info.func_src_info
  source = lost_derivatives.describe_source(call.params)
  assert source.startswith("JAX's relu at ")
  # One of the two names of the varying axes; there is no third.
  kind = jax.typeof(INPUTS)
  assert hasattr(kind, "mat") or hasattr(kind, "vma")
