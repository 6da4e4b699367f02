"""Pooling over windows of height and width."""

import jax.numpy as jnp

from snnjax.types import Array


def average_pool(inputs: Array, window: tuple[int, int]) -> Array:
  """Averages [N, H, W, C] over disjoint windows; a remainder is dropped."""
  n, height, width, channels = inputs.shape
  rows, columns = height // window[0], width // window[1]
  trimmed = inputs[:, : rows * window[0], : columns * window[1]]
  blocks = trimmed.reshape(
    n, rows, window[0], columns, window[1], channels
  )
  return jnp.mean(blocks, axis=(2, 4))
