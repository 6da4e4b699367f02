"""Random crops, flips and cutout: one example, one key, on the device.

A transform maps (key, example) to an example of the same shape,
[..., H, W, C]; leading axes such as time share one draw. `batched` maps it
over a batch with one key per example, so that an example's augmentation does
not depend on the batch it is in.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from snnjax import prng
from snnjax.arguments import check_array
from snnjax.interfaces import Array, Key

Transform = Callable[[Key, Array], Array]


def _check(example: Array) -> tuple[int, int]:
  check_array("example", example, "[..., H, W, C]")
  return example.shape[-3], example.shape[-2]


def random_crop(padding: int) -> Transform:
  """Returns a transform that shifts by up to `padding` pixels each way.

  The example is padded with zeros on all sides and a part of its old size is
  cut out, uniformly among (2 padding + 1)^2 places.

  Args:
    padding: pixels on each side, at least 0.

  Raises:
    ValueError: if `padding` is negative.

  References:
    C.-Y. Lee, S. Xie, P. Gallagher, Z. Zhang, Z. Tu, "Deeply-Supervised
    Nets", 2014, arXiv:1409.5185.
  """
  if padding < 0:
    raise ValueError(f"padding must be at least 0; got {padding}")

  def transform(key: Key, example: Array) -> Array:
    height, width = _check(example)
    border = [(padding, padding), (padding, padding), (0, 0)]
    lead = [(0, 0)] * (example.ndim - 3)
    padded = jnp.pad(example, lead + border)
    down, right = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    cut = lax.dynamic_slice_in_dim(padded, down, height, axis=-3)
    return lax.dynamic_slice_in_dim(cut, right, width, axis=-2)

  return transform


def horizontal_flip(probability: float = 0.5) -> Transform:
  """Returns a transform that mirrors left and right with `probability`.

  Raises:
    ValueError: if `probability` is outside [0, 1].
  """
  if not 0 <= probability <= 1:
    raise ValueError(f"probability must be in [0, 1]; got {probability}")

  def transform(key: Key, example: Array) -> Array:
    _check(example)
    flip = jax.random.bernoulli(key, probability)
    return jnp.where(flip, jnp.flip(example, axis=-2), example)

  return transform


def cutout(side: int) -> Transform:
  """Returns a transform that blanks one square, at a uniform centre.

  The centre is any pixel, so that the square may reach over the border.

  Args:
    side: length of the square in pixels, at least 1.

  Raises:
    ValueError: if `side` < 1.

  References:
    T. DeVries, G. Taylor, "Improved Regularization of Convolutional Neural
    Networks with Cutout", 2017, arXiv:1708.04552.

  Differs from:
    The paper's code blanks normalised images, to their mean; here the inputs
    are unnormalised and the square is 0, a point of the data box.
  """
  if side < 1:
    raise ValueError(f"side must be at least 1; got {side}")

  def transform(key: Key, example: Array) -> Array:
    height, width = _check(example)
    row_key, column_key = jax.random.split(key)
    top = jax.random.randint(row_key, (), 0, height) - side // 2
    left = jax.random.randint(column_key, (), 0, width) - side // 2
    rows, columns = jnp.arange(height), jnp.arange(width)
    in_rows = (rows >= top) & (rows < top + side)
    in_columns = (columns >= left) & (columns < left + side)
    hole = (in_rows[:, None] & in_columns[None, :])[..., None]
    hole = hole.reshape((1,) * (example.ndim - 3) + hole.shape)
    return jnp.where(hole, jnp.zeros((), example.dtype), example)

  return transform


def compose(*transforms: Transform) -> Transform:
  """Returns a transform that applies `transforms` in order, a key each."""

  def transform(key: Key, example: Array) -> Array:
    for index, step in enumerate(transforms):
      example = step(jax.random.fold_in(key, index), example)
    return example

  return transform


def batched(transform: Transform) -> Transform:
  """Returns the transform of a batch.

  Args:
    transform: of one example.

  Returns:
    ``(key, examples [B, ..., H, W, C]) -> examples``; `key` is scalar, or one
    per example, [B].
  """

  def apply(key: Key, examples: Array) -> Array:
    keys = prng.example_keys(key, prng.batch_size(examples))
    return prng.per_example(transform, keys, examples)

  return apply
