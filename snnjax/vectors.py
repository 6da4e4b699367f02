"""One vector per example: its length, its direction, and draws in a ball.

p of a norm is an order here: infinity, 2 or 1.
"""

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.interfaces import Array, Key

_DUAL = {np.inf: 1, 2: 2, 1: np.inf}


def column(values: float | Array, like: Array) -> Array:
  """Returns one value per example, shaped to broadcast against [B, ...].

  Args:
    values: [] or [B].
    like: [B, ...].
  """
  return jnp.reshape(values, (-1, *[1] * (like.ndim - 1)))


def over_largest(vectors: Array) -> tuple[Array, Array]:
  """Returns x / max|x|, whose squares neither vanish nor overflow, and max|x|.

  Args:
    vectors: [B, ...].

  Returns:
    Like the vectors, 0 where a vector is 0; and [B].
  """
  largest = jnp.max(jnp.abs(vectors), tuple(range(1, vectors.ndim)))
  scale = column(jnp.where(largest > 0, largest, 1), vectors)
  return vectors / scale, largest


def l2_norm(vectors: Array) -> Array:
  """Returns ||x||_2, [B], without under- or overflow.

  Args:
    vectors: [B, ...].
  """
  scaled, largest = over_largest(vectors)
  norm = largest * _root_of_squares(scaled)
  # As it is: zero, infinite or not a number.
  return jnp.where((largest > 0) & jnp.isfinite(largest), norm, largest)


def unit(vectors: Array) -> Array:
  """Returns x / ||x||_2 however small or large x is, and 0 where it is 0.

  Args:
    vectors: [B, ...].
  """
  # Never by the norm itself, which may be too small to divide by.
  scaled, _ = over_largest(vectors)
  norm = _root_of_squares(scaled)
  return scaled / column(jnp.where(norm > 0, norm, 1), scaled)


def norm(vectors: Array, order: float) -> Array:
  """Returns ||x||_p, [B].

  Args:
    vectors: [B, ...].
    order: p.

  Raises:
    ValueError: if `order` is not infinity, 2 or 1.
  """
  check_order(order)
  if order == 2:
    return l2_norm(vectors)
  magnitude = jnp.abs(_flat(vectors))
  return jnp.max(magnitude, 1) if order == np.inf else jnp.sum(magnitude, 1)


def dual_norm(slopes: Array, order: float) -> Array:
  """Returns the largest ``slope . x`` over ||x||_p <= 1, [B].

  Args:
    slopes: [B, ...].
    order: p, of the norm of x.

  Raises:
    ValueError: as `norm`.
  """
  check_order(order)
  return norm(slopes, _DUAL[order])


def uniform_in_ball(
  key: Key, size: int, order: float, dtype: jnp.dtype | type = float
) -> Array:
  """Returns a point drawn uniformly from the unit ball, [size].

  Args:
    key: one key.
    size: the dimension.
    order: p.
    dtype: of the point.

  Raises:
    ValueError: if `order` is not infinity, 2 or 1.
  """
  check_order(order)
  if order == np.inf:
    return jax.random.uniform(key, (size,), dtype, -1.0, 1.0)
  if order == 2:
    # All but two coordinates of a point uniform on a sphere are uniform in
    # the ball that they span.
    normal = jax.random.normal(key, (size + 2,), dtype)
    return normal[:size] / jnp.linalg.norm(normal)
  # size + 1 exponentials over their sum are uniform on the simplex, and
  # leaving one out makes them uniform in its interior; Laplace adds signs.
  spread = jax.random.laplace(key, (size + 1,), dtype)
  return spread[:size] / jnp.sum(jnp.abs(spread))


def check_order(order: float) -> None:
  """Raises ValueError unless p is infinity, 2 or 1."""
  if order not in _DUAL:
    raise ValueError(f"order must be infinity, 2 or 1; got {order}")


def _flat(vectors: Array) -> Array:
  return vectors.reshape(vectors.shape[0], -1)


def _root_of_squares(vectors: Array) -> Array:
  return jnp.sqrt(jnp.sum(jnp.square(_flat(vectors)), 1))
