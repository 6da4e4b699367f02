"""`neuron_scan` equals the plain scan under every transformation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from snnjax import neurons, surrogates
from snnjax.kernels.gpu.fused import fused_scan
from snnjax.kernels.scan import neuron_scan, neuron_scan_reference

FORMS = [
  functools.partial(neuron_scan, unroll=True),
  functools.partial(neuron_scan, unroll=False),
]
# In the interpreter, and as platforms other than CUDA compute it.
FUSED = [functools.partial(fused_scan, interpret=inside) for inside in (1, 0)]


def charge(state, now):
  """A smooth neuron with two states."""
  potential, trace = state
  return 0.5 * potential + jnp.sin(trace) * now["fast"], trace


def fire(charged, now):
  potential, trace = charged
  drive = potential - 0.3
  output = jax.nn.sigmoid(3 * drive) * now["slow"]
  return (potential * (1 - output), 0.9 * trace + output), (output, drive)


def arrays(steps=3, batch=4):
  key = jax.random.key(0)
  shape = (steps, batch, 3)
  currents = {
    "fast": jax.random.normal(jax.random.fold_in(key, 0), shape),
    "slow": jax.random.normal(jax.random.fold_in(key, 1), shape),
  }
  rest = jax.random.normal(jax.random.fold_in(key, 2), shape[1:])
  return (rest, 0.1 * rest), currents


def loss(scan):
  def total(state, currents):
    last, (output, drive) = scan(charge, fire, state, currents)
    ends = jnp.sum(last[0] * last[1])
    return ends + jnp.sum(jnp.square(output)) + jnp.sum(jnp.sin(drive))

  return total


def value(scan):
  return lambda state, currents: scan(charge, fire, state, currents)


def gradient(scan):
  return jax.grad(loss(scan), (0, 1))


def jvp(scan):
  def run(*primals):
    tangents = jax.tree.map(jnp.cos, primals)
    return jax.jvp(functools.partial(scan, charge, fire), primals, tangents)

  return run


def jvp_of_grad(scan):
  def run(*primals):
    tangents = jax.tree.map(jnp.cos, primals)
    return jax.jvp(gradient(scan), primals, tangents)

  return run


def grad_of_jvp(scan):
  def slope(*primals):
    tangents = jax.tree.map(jnp.cos, primals)
    return jax.jvp(loss(scan), primals, tangents)[1]

  return jax.grad(slope, (0, 1))


def grad_of_grad(scan):
  def penalty(state, currents):
    leaves = jax.tree.leaves(gradient(scan)(state, currents))
    return sum(jnp.sum(jnp.square(leaf)) for leaf in leaves)

  return jax.grad(penalty, (0, 1))


def together(*transforms):
  """One transformation whose result is the results of several."""

  def transform(scan):
    runs = [each(scan) for each in transforms]
    return lambda *operands: [run(*operands) for run in runs]

  return transform


first_order = together(value, gradient, jvp)
second_order = together(jvp_of_grad, grad_of_jvp, grad_of_grad)


def mapped(scan):
  axes = ((0, 0), {"fast": 1, "slow": 1})
  return jax.vmap(gradient(scan), axes)


def rematerialised(scan):
  return jax.grad(jax.checkpoint(loss(scan)), (0, 1))


@pytest.mark.parametrize("form", [*FORMS, *FUSED])
@pytest.mark.parametrize(
  "transform", [first_order, second_order, mapped, rematerialised]
)
def test_equals_the_reference(transform, form, x64):
  operands = arrays()
  results = [
    jax.tree.leaves(jax.jit(transform(scan))(*operands))
    for scan in (form, neuron_scan_reference)
  ]
  for ours, plain in zip(*results, strict=True):
    assert jnp.max(jnp.abs(plain)) > 0
    np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("steps", "loops"), [(1, 0), (32, 0), (33, 1)])
def test_spells_out_short_scans_only(steps, loops):
  lowered = jax.jit(value(neuron_scan)).lower(*arrays(steps))
  assert lowered.compile().as_text().count(" while(") == loops


def test_a_loop_keeps_less_than_the_plain_scan():
  def kept(scan):
    state, currents = arrays(steps=64, batch=50)
    return arrays_of(64 * 50 * 3, jax.vjp(loss(scan), state, currents)[1])

  looped = functools.partial(neuron_scan, unroll=False)
  assert kept(looped) < kept(neuron_scan_reference)


def arrays_of(size, pull):
  return sum(leaf.size >= size for leaf in jax.tree.leaves(pull))


@pytest.mark.parametrize(
  ("neuron", "kept"),
  [
    (neurons.lif(), 1),
    (neurons.lif(reset=neurons.soft_reset), 1),
    (neurons.convex_lif(), 1),
    (neurons.adaptive_lif(), 2),
    (neurons.hire().build({"leak": 0.9, "threshold": 1.0}), 1),
  ],
)
def test_a_loop_keeps_one_array_a_state(neuron, kept):
  """The charged potentials, and the adaptation where there is one."""

  def spikes(currents):
    def fire(charged, _):
      drive = neuron.drive(charged)
      spikes = surrogates.spike(drive, surrogates.triangle(1.0), neuron.strict)
      return neuron.reset(charged, spikes), spikes

    state = neuron.init(currents[0])
    return neuron_scan(neuron.integrate, fire, state, currents, unroll=False)[1]

  currents = jax.random.normal(jax.random.key(5), (40, 30))
  values, pull = jax.vjp(spikes, currents)
  assert 0 < float(jnp.mean(values)) < 1
  assert arrays_of(currents.size, pull) == kept


@pytest.mark.parametrize("form", FORMS)
def test_batch_sharded(form):
  mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
  state, currents = arrays()
  by_batch = NamedSharding(mesh, PartitionSpec("batch"))
  by_time_and_batch = NamedSharding(mesh, PartitionSpec(None, "batch"))
  placed = (
    jax.device_put(state, by_batch),
    jax.device_put(currents, by_time_and_batch),
  )
  run = jax.jit(gradient(form))
  text = run.lower(*placed).compile().as_text()
  for collective in ("all-gather", "all-to-all", "collective-permute"):
    assert collective not in text
  expected = gradient(neuron_scan_reference)(state, currents)
  results = map(jax.tree.leaves, (run(*placed), expected))
  for ours, plain in zip(*results, strict=True):
    np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  "inputs",
  [{}, jnp.ones(()), {"a": jnp.ones((2, 1)), "b": jnp.ones((3, 1))}],
)
def test_bad_inputs(inputs):
  with pytest.raises(ValueError, match="inputs"):
    neuron_scan(charge, fire, None, inputs)
