"""Pooling over disjoint rectangles of height and width."""

import jax.numpy as jnp
from jax import lax

from snnjax.arguments import check_array
from snnjax.interfaces import Array


def average_pool(inputs: Array, pool: tuple[int, int]) -> Array:
  """Averages over disjoint pools; rows and columns left over are dropped.

    y[n, i, j, c] = mean_ab x[n, i kh + a, j kw + b, c]

  A reshape and a mean: in training a little faster than the sliding
  reduction, and a third faster than a sum of strided slices, whose gradients
  are scattered. It also keeps its type under strict promotion, which flax's
  does not.

  Args:
    inputs: [N, H, W, C], of a floating type.
    pool: (kh, kw), also the stride.

  Returns:
    [N, H // kh, W // kw, C].

  Raises:
    ValueError: if the inputs are not images of at least one pool.
  """
  rows, columns = _counts(inputs, pool)
  # A reshape needs whole pools: what is left at the edges goes first.
  trimmed = inputs[:, : rows * pool[0], : columns * pool[1]]
  # One axis at a time: where mesh axes are part of types (`jax.make_mesh`), a
  # reshape that merges two pairs of axes, as the gradient's would, is refused.
  batch, _, width, channels = trimmed.shape
  strips = trimmed.reshape(batch, rows, pool[0], width, channels)
  blocks = strips.reshape(*strips.shape[:3], columns, pool[1], channels)
  return jnp.mean(blocks, axis=(2, 4))


def average_pool_reference(inputs: Array, pool: tuple[int, int]) -> Array:
  """Does what `average_pool` does, as a sliding reduction."""
  size = (1, *pool, 1)
  zero = jnp.zeros((), inputs.dtype)
  total = lax.reduce_window(inputs, zero, lax.add, size, size, "VALID")
  return total / (pool[0] * pool[1])


def max_pool(inputs: Array, pool: tuple[int, int]) -> Array:
  """Takes the largest value of disjoint pools; the rest is dropped.

  Args:
    inputs: [N, H, W, C], of a floating type.
    pool: (kh, kw), also the stride.

  Returns:
    [N, H // kh, W // kw, C].

  Raises:
    ValueError: if the inputs are not images of at least one pool.
  """
  _counts(inputs, pool)
  # -infinity, not the type's smallest number: no value may lose against it.
  size = (1, *pool, 1)
  lowest = jnp.array(-jnp.inf, inputs.dtype)
  return lax.reduce_window(inputs, lowest, lax.max, size, size, "VALID")


def _counts(inputs: Array, pool: tuple[int, int]) -> tuple[int, int]:
  """The number of pools along height and width."""
  check_array("inputs", inputs, "[N, H, W, C]")
  if len(pool) != 2 or min(pool) < 1:
    raise ValueError(f"pool must be two positive integers; got {pool}")
  rows, columns = inputs.shape[1] // pool[0], inputs.shape[2] // pool[1]
  if min(rows, columns) < 1:
    raise ValueError(
      f"pool {pool} is larger than the inputs {inputs.shape[1:3]}"
    )
  return rows, columns
