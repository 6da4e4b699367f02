"""Values whose derivative is replaced, at any order and in both modes.

One primitive serves surrogate spikes, straight-through estimators and rate
rules: its value is one operand, its tangent is a slope times the tangent of
another. `jax.custom_jvp` would do the same almost everywhere, but partial
evaluation of a `lax.scan` drops such rules from the part that is already
known: the parameter gradient of a loss that went through an inner `jax.vjp`
with respect to the inputs, as in gradient penalties, would silently be that of
the raw step, zero. `snnjax.lost_derivatives` finds such rules and refuses them.
"""

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from snnjax.interfaces import Array


def replace_derivative(value: Array, slope: Array, carrier: Array) -> Array:
  """Returns `value` with d value = slope * d carrier.

  Higher derivatives are those of `slope` and `carrier`; the true derivative of
  `value` never appears.

  Args:
    value: any shape.
    slope: of the same shape.
    carrier: of the same shape.

  Raises:
    ValueError: if shapes or types differ.
  """
  kinds = {(jnp.shape(x), jnp.result_type(x)) for x in (value, slope, carrier)}
  if len(kinds) != 1:
    raise ValueError(
      "value, slope and carrier must have one shape and type; got "
      f"{sorted(kinds, key=str)}"
    )
  return _replaced.bind(value, slope, carrier)


def with_gradient_of(value: Array, carrier: Array) -> Array:
  """Returns `value`, differentiated as if it were `carrier`.

  Args:
    value: any shape; its own derivative is dropped.
    carrier: of the same shape and type; its value is dropped.
  """
  return replace_derivative(value, jnp.ones_like(value), carrier)


def average_gradient(values: Array) -> Array:
  """Returns `values`, whose gradient is averaged over the leading axis."""
  mean = jnp.mean(values, axis=0, keepdims=True)
  return with_gradient_of(values, jnp.broadcast_to(mean, values.shape))


_replaced = Primitive("replace_derivative")
_replaced.def_impl(lambda value, slope, carrier: value)
_replaced.def_abstract_eval(lambda value, slope, carrier: value)
mlir.register_lowering(
  _replaced, lambda context, value, slope, carrier: [value]
)


def _jvp(primals: tuple, tangents: tuple) -> tuple:
  _, slope, _ = primals
  # Only the carrier's tangent counts. `slope` stays differentiable, so that a
  # second derivative is that of the surrogate.
  moved = tangents[2]
  result = _replaced.bind(*primals)
  if isinstance(moved, ad.Zero):
    return result, jnp.zeros_like(result)
  return result, slope * moved


def _batch(operands: tuple, axes: tuple) -> tuple[Array, int]:
  """Gives every operand the batch axis, in front; the value is elementwise."""
  size = next(
    operand.shape[axis]
    for operand, axis in zip(operands, axes, strict=True)
    if axis is not None
  )
  fronted = [
    jnp.broadcast_to(operand, (size, *operand.shape))
    if axis is None
    else jnp.moveaxis(operand, axis, 0)
    for operand, axis in zip(operands, axes, strict=True)
  ]
  return _replaced.bind(*fronted), 0


ad.primitive_jvps[_replaced] = _jvp
batching.primitive_batchers[_replaced] = _batch
