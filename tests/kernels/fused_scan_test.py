"""The fused kernels, in the interpreter, are the scan; where none runs it says.

No GPU has run them. What stands here instead: the interpreter's values and
gradients, and the text that is lowered for CUDA.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import backward, encoders, models, neurons, readouts, surrogates
from snnjax.backward import pdsg
from snnjax.derivatives import replace_derivative
from snnjax.kernels import scan
from snnjax.kernels.gpu import devices, triton
from snnjax.kernels.gpu.fused import fused_scan
from snnjax.kernels.scan import neuron_scan_reference

WIDTH = 5
# A neuron of constants, and the constants, which are differentiated too.
NEURONS = {
  "lif": (lambda _: neurons.lif(), {}),
  "soft": (lambda _: neurons.lif(reset=neurons.soft_reset, strict=True), {}),
  "if": (lambda _: neurons.integrate_and_fire(reset=neurons.no_reset), {}),
  "lif of channels": (
    lambda c: neurons.lif(c["leak"], c["threshold"]),
    {"leak": np.linspace(0.2, 0.9, WIDTH), "threshold": np.float64(0.8)},
  ),
  "convex": (lambda _: neurons.convex_lif(), {}),
  "plif": (neurons.plif().build, {"rate_logit": np.linspace(-1, 1, WIDTH)}),
  "adaptive": (lambda _: neurons.adaptive_lif(), {}),
  "hire": (
    neurons.hire().build,
    {"leak": np.float64(0.9), "threshold": np.float64(1.1)},
  ),
  "integrator": (lambda _: neurons.integrator(0.9), {}),
}
SURROGATES = {
  "triangle": surrogates.triangle(),
  "gaussian": surrogates.gaussian(),
}


def interpreted(charge, fire, state, inputs):
  return fused_scan(charge, fire, state, inputs, interpret=True)


def run(form, build, surrogate, constants, state, currents):
  neuron = build(constants)

  def fire(charged, _):
    drive = neuron.drive(charged)
    spikes = surrogates.spike(drive, surrogate, neuron.strict)
    return neuron.reset(charged, spikes), (spikes, drive)

  return form(neuron.integrate, fire, state, currents)


def loss(form, build, surrogate):
  """Of everything that a scan returns, and that."""

  def total(*operands):
    last, (spikes, drive) = run(form, build, surrogate, *operands)
    weights = jnp.cos(jnp.arange(spikes.size, dtype=spikes.dtype))
    ends = sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(last))
    smooth = jnp.sum(jnp.sin(drive[:, ::2]))
    return (
      jnp.sum(spikes * weights.reshape(spikes.shape)) + ends + smooth,
      (last, spikes, drive),
    )

  return total


def operands(name, steps, dtype="float32", shape=(3, WIDTH)):
  build, constants = NEURONS[name]
  constants = {key: jnp.asarray(c, dtype) for key, c in constants.items()}
  currents = 2 * jax.random.normal(jax.random.key(1), (steps, *shape))
  currents = currents.astype(dtype)
  state = build(constants).init(currents[0])
  return constants, jax.tree.map(lambda v: v + 0.1, state), currents


# Bounds, as shares of the largest value. A product and a sum may be rounded once
# or twice, and a bfloat16 after every operation or not.
BOUNDS = {"float32": (5e-7, 2e-6), "bfloat16": (2e-2, 3e-2)}


def assert_same(name, surrogate, *arguments, **options):
  """Spikes to the bit, potentials and gradients within bounds."""
  given = operands(name, *arguments, **options)
  build = NEURONS[name][0]
  values, gradients = [], []
  for form in (interpreted, neuron_scan_reference):
    total = loss(form, build, surrogate)
    whole = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))
    (_, value), gradient = whole(*given)
    values.append(jax.tree.leaves(value))
    gradients.append(jax.tree.leaves(gradient))
  spikes, plain = values[0][-2], values[1][-2]
  np.testing.assert_array_equal(spikes, plain)
  assert 0 < float(jnp.mean(spikes.astype(float))) < 1
  bounds = BOUNDS[given[2].dtype.name]
  for pair, bound in zip((values, gradients), bounds, strict=True):
    for ours, plain in zip(*pair, strict=True):
      assert (ours.shape, ours.dtype) == (plain.shape, plain.dtype)
      ours, plain = np.asarray(ours, float), np.asarray(plain, float)
      size = np.max(np.abs(plain))
      assert size > 0
      np.testing.assert_allclose(ours, plain, rtol=0, atol=bound * size)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", NEURONS)
def test_equals_the_scan(name, steps, surrogate, monkeypatch):
  # One surrogate in a loop, one with the steps spelled out.
  monkeypatch.setattr(triton, "MOST_SPELLED_OUT", 8 * (surrogate == "gaussian"))
  assert_same(name, SURROGATES[surrogate], steps)
