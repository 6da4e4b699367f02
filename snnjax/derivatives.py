"""Identities whose derivative is replaced, in forward and reverse mode."""

import jax
import jax.numpy as jnp

from snnjax.types import Array


@jax.custom_jvp
def with_gradient_of(value: Array, carrier: Array) -> Array:
  """Returns `value`, differentiated as if it were `carrier`.

  Args:
    value: any shape; its own derivative is dropped.
    carrier: of the same shape and dtype; its value is dropped.
  """
  del carrier
  return value


@with_gradient_of.defjvp
def _with_gradient_of_jvp(
  primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
  value, carrier = primals
  return with_gradient_of(value, carrier), tangents[1]


@jax.custom_jvp
def average_gradient(values: Array) -> Array:
  """Returns `values`, whose gradient is averaged over the leading axis."""
  return values


@average_gradient.defjvp
def _average_gradient_jvp(
  primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
  (values,) = primals
  mean = jnp.mean(tangents[0], axis=0, keepdims=True)
  return average_gradient(values), jnp.broadcast_to(mean, values.shape)
