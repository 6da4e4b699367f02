"""Pytrees of inputs as one matrix [B, D], and values given per modality.

Attacks compute in float32 at least, whatever the inputs' type: `ravel_examples`
and `widen` return such arrays. Before a point is tried, `store_like` puts it
into the inputs' own type, so that the network sees exactly what is returned.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from snnjax import vectors
from snnjax.interfaces import Array, Inputs
from snnjax.prng import batch_size

# One amount, or one for each modality.
Amounts: TypeAlias = float | Array | Mapping[str, float | Array]


def wide_dtype(*arrays: Any) -> jnp.dtype:
  """Returns the type to compute in: float64 if an array has it, or float32."""
  double = any(jnp.result_type(array) == jnp.float64 for array in arrays)
  return jnp.dtype(jnp.float64 if double else jnp.float32)


def widen(tree: Any) -> Any:
  """Returns arrays in float32, or in float64 if they are of it."""
  return jax.tree.map(lambda leaf: jnp.asarray(leaf, wide_dtype(leaf)), tree)


def coarsest_dtype(inputs: Inputs) -> jnp.dtype:
  """Returns the type of least precision among the arrays'."""
  kinds = [jnp.result_type(leaf) for leaf in jax.tree.leaves(inputs)]
  return max(kinds, key=lambda kind: float(jnp.finfo(kind).eps))


def step_back(moved: Array, origin: Array, too_far: Array) -> Array:
  """Returns points one float nearer to their origin where they are too far.

  An addition rounds to the nearest float, half of the time away from the
  origin; summed up over thousands of small changes that may leave the ball.

  Args:
    moved: of any shape.
    origin: like `moved`.
    too_far: booleans like `moved`.
  """
  # The derivative is that of `moved`; nextafter has none.
  here = lax.stop_gradient(moved)
  back = jnp.nextafter(here, lax.stop_gradient(origin)) - here
  return moved + jnp.where(too_far, back, 0)


def store_like(points: Any, origin: Any) -> Any:
  """Returns points in the types of their origins, rounded towards the origins.

  A point inside a ball around its origin stays inside; so does one in a box
  that holds the origin.

  Args:
    points: a tree of arrays.
    origin: a tree like it.
  """

  def store(point: Array, home: Array) -> Array:
    kind = jnp.result_type(home)
    point = jnp.asarray(point)
    if point.dtype == kind:
      return point
    limits = jnp.finfo(kind)
    # A float32 beyond float16's range would become infinite.
    point = jnp.clip(point, float(limits.min), float(limits.max))
    # XLA may drop a conversion there and back, but not this.
    near = lax.reduce_precision(point, limits.nexp, limits.nmant)
    start = jnp.asarray(home, point.dtype)
    too_far = jnp.abs(near - start) > jnp.abs(point - start)
    return step_back(near.astype(kind), jnp.asarray(home), too_far)

  return jax.tree.map(store, points, origin)


def ravel_examples(inputs: Inputs) -> tuple[Array, Callable[[Array], Inputs]]:
  """Lays all leaves of each example side by side.

  Args:
    inputs: an array [B, ...] or a mapping of such arrays.

  Returns:
    The matrix [B, D], in float32 or, if an array is of it, float64; and the
    function that turns such a matrix back into a tree of the original shapes,
    of the matrix's own type.
  """
  size = batch_size(inputs)
  leaves, structure = jax.tree.flatten(inputs)
  kind = wide_dtype(*leaves)
  rows = [jnp.reshape(jnp.asarray(leaf, kind), (size, -1)) for leaf in leaves]
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


def broadcast_modalities(name: str, value: Any, inputs: Inputs) -> Any:
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
  bounds = broadcast_modalities("box", bound, inputs)
  rows = map_modalities(
    lambda leaf, b: jnp.broadcast_to(jnp.asarray(b), (1, *leaf.shape[1:])),
    inputs,
    bounds,
  )
  return ravel_examples(rows)[0]


def select_examples(take: Array, new: Any, old: Any) -> Any:
  """Returns the examples of `new` where `take` [B] is true, of `old` else."""

  def choose(fresh: Array, stale: Array) -> Array:
    return jnp.where(vectors.column(take, stale), fresh, stale)

  return jax.tree.map(choose, new, old)
