"""Steppers: optax transformations that turn gradients into ascent steps.

`snnjax.attacks.ascend` calls ``update(gradient, state, inputs, value=loss,
correct=correct, origin=clean)`` and adds what it returns, so any optax
transformation is a stepper; one that adapts to an example's progress takes the
keywords as extra arguments. Everything here treats every example on its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnjax import vectors
from snnjax.arguments import check_per_example
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.interfaces import Array, Inputs
from snnjax.prng import batch_size
from snnjax.validation import check_range


def steepest(threat: Threat) -> optax.GradientTransformation:
  """Returns the stepper along the threat's steepest unit direction.

  Args:
    threat: whose `ascent` to follow.

  Raises:
    ValueError: if it is none.
  """
  check_threat(threat)

  def update(
    gradient: Inputs, state: optax.OptState, params: Inputs | None = None
  ) -> tuple[Inputs, optax.OptState]:
    if params is None:
      raise ValueError("params must be the current inputs; got None")
    return threat.ascent(gradient, params), state

  return optax.GradientTransformation(_no_state, update)


def adam() -> optax.GradientTransformation:
  """Returns optax's Adam without a step size, under every JAX switch."""
  inner = optax.scale_by_adam()

  def update(
    gradient: Inputs, state: optax.OptState, params: Inputs | None = None
  ) -> tuple[Inputs, optax.OptState]:
    # Optax mixes numbers of several types, which "strict" would refuse.
    with jax.numpy_dtype_promotion("standard"):
      return inner.update(gradient, state, params)

  return optax.GradientTransformation(inner.init, update)


def divide_by_mean() -> optax.GradientTransformation:
  """Returns the stepper g / mean |g|, per example and modality.

  A gradient of 0 stays 0.
  """

  def divide(gradient: Array) -> Array:
    axes = tuple(range(1, gradient.ndim))
    size = jnp.mean(jnp.abs(gradient), axes, keepdims=True)
    return gradient / jnp.where(size > 0, size, 1)

  return optax.stateless(
    lambda gradient, params: jax.tree.map(divide, gradient)
  )


def scale_steps(
  step_size: ravel.Amounts,
) -> optax.GradientTransformation:
  """Returns the stepper that multiplies directions by a step size.

  Args:
    step_size: one for all, or one for each modality; a scalar, or [B], one
      for each example; may be traced.

  Raises:
    ValueError: if a concrete step size is negative or not finite, or the
      modalities do not match the inputs'.
  """
  for path, size in jax.tree_util.tree_leaves_with_path(step_size):
    name = f"step_size{jax.tree_util.keystr(path)}"
    check_range(name, size, 0.0, np.finfo(np.float64).max)

  def update(direction: Inputs, params: Inputs | None = None) -> Inputs:
    del params
    check_per_example("step_size", step_size, batch_size(direction))
    sizes = ravel.broadcast_modalities("step_size", step_size, direction)

    def multiply(leaf: Array, size: float | Array) -> Array:
      return leaf * vectors.column(jnp.asarray(size, leaf.dtype), leaf)

    return ravel.map_modalities(multiply, direction, sizes)

  return optax.stateless(update)


def _no_state(params: Inputs) -> optax.OptState:
  del params
  return optax.EmptyState()
