"""Pytrees of inputs as one matrix [B, D], and values given per modality."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from snnjax.random import batch_size
from snnjax.types import Array, Inputs

# One amount, or one for each modality.
Amounts: TypeAlias = float | Array | Mapping[str, float | Array]


def flatten(inputs: Inputs) -> tuple[Array, Callable[[Array], Inputs]]:
  """Lays all leaves of each example side by side.

  Args:
    inputs: an array [B, ...] or a mapping of such arrays.

  Returns:
    The matrix [B, D] and the function that turns such a matrix back into a
    tree of the original shapes.
  """
  size = batch_size(inputs)
  leaves, structure = jax.tree.flatten(inputs)
  rows = [jnp.reshape(leaf, (size, -1)) for leaf in leaves]
  ends = [0]
  for row in rows:
    ends.append(ends[-1] + row.shape[1])

  def restore(matrix: Array) -> Inputs:
    parts = [
      matrix[:, start:end].reshape(leaf.shape)
      for start, end, leaf in zip(ends, ends[1:], leaves, strict=False)
    ]
    return jax.tree.unflatten(structure, parts)

  return rows[0] if len(rows) == 1 else jnp.concatenate(rows, 1), restore


def matched(name: str, value: Any, inputs: Inputs) -> Any:
  """Returns `value` once for the array, or once for every modality.

  Args:
    name: what to call `value` in the error message.
    value: one value for all, or a mapping with the modalities of `inputs`.
    inputs: an array, or a mapping of arrays.

  Raises:
    ValueError: if `value` is a mapping and its names are not those of
      `inputs`.
  """
  if not isinstance(value, Mapping):
    if isinstance(inputs, Mapping):
      return dict.fromkeys(inputs, value)
    return value
  if not isinstance(inputs, Mapping):
    raise ValueError(
      f"{name} is given for the modalities {sorted(value)}, but the inputs "
      "are a single array; give one value"
    )
  if set(value) != set(inputs):
    raise ValueError(
      f"{name} is given for the modalities {sorted(value)}; the inputs have "
      f"{sorted(inputs)}"
    )
  return {modality: value[modality] for modality in inputs}


def map_modalities(
  function: Callable[..., Any], inputs: Inputs, *values: Any
) -> Any:
  """Applies ``function(array, *values)`` to the array or to each modality."""
  if isinstance(inputs, Mapping):
    return {
      name: function(inputs[name], *(value[name] for value in values))
      for name in inputs
    }
  return function(inputs, *values)


def row(bound: Amounts, inputs: Inputs) -> Array:
  """Returns a bound as a matrix that broadcasts against [B, D].

  Args:
    bound: a scalar, or an array of one example's shape, for the array or for
      each modality.
    inputs: the inputs that `bound` is about.
  """
  if not isinstance(bound, Mapping) and jnp.ndim(bound) == 0:
    return jnp.reshape(jnp.asarray(bound), (1, 1))
  each = matched("box", bound, inputs)
  rows = map_modalities(
    lambda leaf, b: jnp.broadcast_to(b, (1, *leaf.shape[1:])), inputs, each
  )
  return flatten(rows)[0]


def choose(take: Array, new: Any, old: Any) -> Any:
  """Returns the examples of `new` where `take` [B] is true, of `old` else."""

  def one(fresh: Array, held: Array) -> Array:
    return jnp.where(
      jnp.reshape(take, (-1, *[1] * (held.ndim - 1))), fresh, held
    )

  return jax.tree.map(one, new, old)
