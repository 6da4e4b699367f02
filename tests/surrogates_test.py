import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax import surrogates
from snnjax.surrogates import spike

FAMILIES = {
  "triangle": surrogates.triangle,
  "atan": surrogates.atan,
  "sigmoid": surrogates.sigmoid,
  "fast_sigmoid": surrogates.fast_sigmoid,
  "gaussian": surrogates.gaussian,
  "rectangle": surrogates.rectangle,
  "exponential": lambda value=1.0: surrogates.exponential(rate=value),
  "scaled_triangle": surrogates.scaled_triangle,
}
ALL = {**FAMILIES, "straight_through": surrogates.straight_through}
DRIVE = np.linspace(-2, 2, 41)[1:] - 0.013  # off the kinks

# Each family's formula once more, in NumPy, at its default parameters.
FORMULAS = {
  "triangle": lambda u: np.maximum(0, 1 - abs(u)),
  "atan": lambda u: 1 / (1 + (np.pi * u) ** 2),
  "sigmoid": lambda u: 4 * np.exp(-4 * u) / (1 + np.exp(-4 * u)) ** 2,
  "fast_sigmoid": lambda u: (1 + 10 * abs(u)) ** -2.0,
  "gaussian": lambda u: np.exp(-2 * u**2) / (0.5 * np.sqrt(2 * np.pi)),
  "rectangle": lambda u: (abs(u) < 0.5) / 1.0,
  "exponential": lambda u: np.exp(-abs(u)),
  "scaled_triangle": lambda u: 0.3 * np.maximum(0, 1 - abs(u)),
  "straight_through": lambda u: np.ones_like(u),
}
# Families whose derivative integrates to one spike.
UNIT_AREA = ("triangle", "atan", "sigmoid", "gaussian", "rectangle")


@pytest.mark.parametrize("name", ALL)
def test_value_is_the_formula(name, x64):
  got = ALL[name]()(jnp.asarray(DRIVE))
  np.testing.assert_allclose(got, FORMULAS[name](DRIVE), rtol=1e-12)


@pytest.mark.parametrize("name", UNIT_AREA)
@pytest.mark.parametrize("value", [0.5, 2.0])
def test_area_is_one(name, value, x64):
  drive = jnp.linspace(-1000, 1000, 2_000_001)
  area = jnp.trapezoid(FAMILIES[name](value)(drive), drive)
  assert abs(float(area) - 1) < 2e-3


@pytest.mark.parametrize("strict", [False, True])
def test_spike_is_the_step(strict):
  drive = jnp.array([-1.0, -0.0, 0.0, 1e-30, 2.0])
  spikes = spike(drive, surrogates.atan(), strict)
  want = [0, not strict, not strict, 1, 1]
  np.testing.assert_array_equal(spikes, np.asarray(want, np.float32))
  assert spikes.dtype == drive.dtype


# A stack of transformations under which the derivative must survive.
STACKS = {
  "grad": lambda f: jax.grad(f),
  "grad_of_jit": lambda f: jax.grad(jax.jit(f)),
  "jit_of_grad": lambda f: jax.jit(jax.grad(f)),
  "grad_of_checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
  "vmap_of_grad": lambda f: (
    lambda u, s: jax.vmap(jax.grad(f), (0, None))(u[None], s)[0]
  ),
  "jvp": lambda f: (
    lambda u, s: jax.vmap(lambda e: jax.jvp(lambda v: f(v, s), (u,), (e,))[1])(
      jnp.eye(u.size, dtype=u.dtype)
    )
  ),
  "grad_of_scan": lambda f: jax.grad(
    lambda u, s: jax.lax.scan(lambda c, v: (c + f(v[None], s), None), 0.0, u)[0]
  ),
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("name", ALL)
def test_derivative_survives(name, stack):
  surrogate = ALL[name]()
  drive = jnp.asarray(DRIVE, jnp.float32)

  def total(drive, surrogate):
    return jnp.sum(spike(drive, surrogate))

  got = STACKS[stack](total)(drive, surrogate)
  np.testing.assert_allclose(got, FORMULAS[name](DRIVE), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["atan", "sigmoid", "gaussian"])
def test_second_derivative_is_that_of_the_surrogate(name, x64):
  surrogate = ALL[name]()
  drive = jnp.asarray(DRIVE)

  def slope(drive):
    return jnp.sum(jax.grad(lambda u: jnp.sum(spike(u, surrogate)))(drive))

  step = 1e-6
  want = (surrogate(drive + step) - surrogate(drive - step)) / (2 * step)
  np.testing.assert_allclose(jax.grad(slope)(drive), want, rtol=1e-4, atol=1e-6)


def test_a_sweep_costs_one_compilation():
  traces = []

  @jax.jit
  def gradient(drive, surrogate):
    traces.append(1)
    return jax.grad(lambda u: jnp.sum(spike(u, surrogate)))(drive)

  results = [
    gradient(jnp.ones(3), surrogates.atan(jnp.asarray(a))) for a in (1.0, 2.0)
  ]
  assert len(traces) == 1
  assert not np.allclose(results[0], results[1])


def test_parameters_may_differ_per_neuron():
  sharpness = jnp.array([1.0, 2.0, 4.0])
  got = jax.grad(lambda u: jnp.sum(spike(u, surrogates.sigmoid(sharpness))))(
    jnp.full(3, 0.1)
  )
  want = [float(surrogates.sigmoid(a)(jnp.array(0.1))) for a in (1.0, 2.0, 4.0)]
  np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_parameters_must_be_positive(name, value):
  with pytest.raises(ValueError, match="must be positive; got"):
    FAMILIES[name](value)


@functools.cache
def derivatives(name, dtype):
  """Values, first and second derivatives, at [N] drives; compiled once."""
  surrogate = ALL[name]()

  def first(u):
    return jax.grad(lambda u: jnp.sum(spike(u, surrogate)))(u)

  def all_of(u):
    second = jax.jvp(first, (u,), (jnp.ones_like(u),))[1]
    return spike(u, surrogate), surrogate(u), first(u), second

  return jax.jit(all_of)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=20, deadline=None)
@given(
  drives=st.lists(
    st.floats(-1e4, 1e4, width=32)
    | st.sampled_from([-1e4, 1e4, -0.0, 0.0, 1e-40, -1e-40]),
    min_size=8,
    max_size=8,
  )
)
def test_any_drive_in_any_type(name, dtype, drives):
  """Finite at any order, of the drive's type, and the formula's value."""
  drive = jnp.asarray(drives, dtype)
  spikes, value, first, second = derivatives(name, dtype)(drive)
  for each in (spikes, value, first, second):
    assert each.dtype == drive.dtype
    assert np.all(np.isfinite(np.asarray(each, np.float64)))
  seen = np.asarray(drive).astype(np.float64)
  # XLA takes numbers below the smallest normal one for 0.
  sure = (seen == 0) | (np.abs(seen) >= np.finfo(np.float32).tiny)
  fires = np.asarray(spikes, np.float64)
  np.testing.assert_array_equal(fires[sure], (seen >= 0)[sure])
  np.testing.assert_array_equal(np.asarray(first), np.asarray(value))
  with np.errstate(over="ignore", invalid="ignore"):
    want = FORMULAS[name](np.abs(seen))  # all are even
  eps = float(jnp.finfo(dtype).eps)
  tiny = float(jnp.finfo(dtype).smallest_normal)
  # |u| is rounded in units of the type's, which an exponent magnifies.
  error = eps * (8 + 4 * np.minimum(np.abs(seen), 200)) * want + 4 * tiny
  # Next to a kink a rounding of u decides the piece.
  error = error + 4 * eps * (np.abs(np.abs(seen) - 1) < 8 * eps)
  edge = np.isclose(np.abs(seen), 0.5, rtol=8 * eps)
  wrong = np.abs(np.asarray(value, np.float64) - want) > error
  assert not np.any(wrong & ~edge), (seen[wrong], np.asarray(value)[wrong])
