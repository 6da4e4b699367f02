import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import backward, neurons, surrogates
from snnjax.derivatives import (
  average_gradient,
  replace_derivative,
  with_gradient_of,
)

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)


def sine_step(x):
  """A step whose derivative is said to be cos(x)."""
  return replace_derivative(jnp.sign(x), jnp.cos(x), x)


def test_value_and_first_derivative():
  np.testing.assert_array_equal(sine_step(X), jnp.sign(X))
  gradient = jax.grad(lambda x: jnp.sum(sine_step(x)))(X)
  np.testing.assert_allclose(gradient, jnp.cos(X), rtol=1e-6)


def test_higher_derivatives_are_those_of_the_slope():
  second = jax.vmap(jax.grad(jax.grad(sine_step)))(X.ravel())
  np.testing.assert_allclose(second, -jnp.sin(X.ravel()), rtol=1e-5)
  third = jax.vmap(jax.jacfwd(jax.grad(jax.grad(sine_step))))(X.ravel())
  np.testing.assert_allclose(third, -jnp.cos(X.ravel()), rtol=1e-5)


@pytest.mark.parametrize("axes", [(0, None, 1), (None, 0, 0), (1, 1, None)])
def test_batching_over_any_operand(axes):
  operands = [X if axis == 0 else X.T if axis == 1 else X[0] for axis in axes]

  def both(value, slope, carrier):
    def total(carrier):
      return jnp.sum(replace_derivative(value, slope, carrier))

    return replace_derivative(value, slope, carrier), jax.grad(total)(carrier)

  got = jax.vmap(both, axes)(*operands)
  for row in range(4):
    one = [
      o if axis is None else jnp.take(o, row, axis)
      for o, axis in zip(operands, axes, strict=True)
    ]
    for all_rows, alone in zip(got, both(*one), strict=True):
      np.testing.assert_array_equal(all_rows[row], alone)


def test_straight_through_and_averaged_gradients():
  weights = jnp.arange(12.0).reshape(4, 3)
  straight = jax.grad(
    lambda x: jnp.sum(weights * with_gradient_of(jnp.round(x), 2 * x))
  )(X)
  np.testing.assert_array_equal(straight, 2 * weights)
  averaged = jax.grad(lambda x: jnp.sum(weights * average_gradient(x)))(X)
  want = np.broadcast_to(weights.mean(0, keepdims=True), (4, 3))
  np.testing.assert_allclose(averaged, want, rtol=1e-6)


def test_shapes_must_agree():
  with pytest.raises(ValueError, match="must have one shape and type"):
    replace_derivative(X, X[0], X)


RULES = {
  "bptt": backward.Bptt(surrogates.atan()),
  "bptr": backward.Bptr(),
  "rga": backward.Rga(),
  "hart": backward.Hart(surrogates.atan()),
  "straight_through": backward.StraightThrough(),
}


@pytest.mark.parametrize("rule", RULES)
def test_weights_gradient_through_an_inner_vjp(rule):
  """grad(w -> vjp(x -> f(w, x))) sees the rule, as grad(w -> f(w, x)) does."""
  inputs = jnp.asarray(
    np.random.default_rng(1).normal(0.5, 0.6, size=(5, 2, 3)), jnp.float32
  )
  neuron = neurons.lif()

  def total(weight, inputs):
    trace = RULES[rule](neuron, weight * inputs)
    return jnp.sum(trace.spikes * jnp.arange(5.0).reshape(5, 1, 1))

  def through_vjp(weight):
    return jax.vjp(lambda x: total(weight, x), inputs)[0]

  def through_aux(weight):
    _, _, aux = jax.vjp(
      lambda x: (total(weight, x), total(weight, x)), inputs, has_aux=True
    )
    return aux

  want = jax.grad(total)(1.5, inputs)
  assert float(jnp.abs(want)) > 0
  for route in (through_vjp, through_aux, jax.jit(through_vjp)):
    np.testing.assert_allclose(jax.grad(route)(1.5), want, rtol=1e-5)
