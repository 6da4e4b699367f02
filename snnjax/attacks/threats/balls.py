"""Norm balls on matrices [B, D]: one row per example, no trees, no boxes."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.attacks.threats import ravel
from snnjax.interfaces import Array, Key
from snnjax.kernels import order_statistics


class Room(NamedTuple):
  """The box as each coordinate sees it.

  Attributes:
    lower: smallest allowed values, broadcasting against [B, D].
    upper: largest allowed values, broadcasting against [B, D].
  """

  lower: Array
  upper: Array


class Ball(NamedTuple):
  """A norm with what an attack inside its ball needs.

  Attributes:
    norm: ``delta [B, D] -> [B]``.
    project: ``(candidate [B, D], origin [B, D], room, radius) -> [B, D]``, a
      point of the ball around `origin` and of the box, with `radius` [B, 1]
      or [1, 1].
    draw: ``(key, size, dtype) -> [size]``, uniform in the unit ball.
    direction: ``(gradient [B, D], candidate [B, D], room) -> [B, D]`` of unit
      norm, along which the gradient promises most; zero where it is zero.
  """

  norm: Callable[[Array], Array]
  project: Callable[[Array, Array, Room, Array], Array]
  draw: Callable[[Key, int, jnp.dtype], Array]
  direction: Callable[[Array, Array, Room], Array]


def slack(order: float, width: int, dtype: jnp.dtype) -> float:
  """Returns by how much rounding may carry a perturbation out of its ball.

  Relative to the largest of radius and inputs: each of `width` numbers is off
  by half a unit in the last place when the perturbation is added, and the sum
  by as much for each of its terms, which makes ``width^(1/p) eps/2``; the
  radius and a weight add some units of their own. Projections aim at the
  radius itself, so this is what the check of a result allows, and no more.

  Args:
    order: p of the norm.
    width: how many numbers the norm is of.
    dtype: of the inputs.
  """
  return (5 + width ** (1 / order)) * float(jnp.finfo(dtype).eps) / 2


def _linf_project(
  candidate: Array, origin: Array, room: Room, radius: Array
) -> Array:
  lower = jnp.maximum(origin - radius, room.lower)
  upper = jnp.minimum(origin + radius, room.upper)
  return jnp.clip(candidate, lower, upper)


def _shrunk(delta: Array, norm: Array, radius: Array) -> Array:
  """Scales `delta` to `radius` where its `norm` [B, 1] exceeds it."""
  outside = norm > radius
  return delta * jnp.where(outside, radius / jnp.where(outside, norm, 1), 1)


def l2_norm(delta: Array) -> Array:
  """Returns ||delta||_2 of each row, [B], without under- or overflow."""
  largest = jnp.max(jnp.abs(delta), 1, keepdims=True)
  usual = (largest > 0) & jnp.isfinite(largest)
  scale = jnp.where(usual, largest, 1)
  norm = scale[:, 0] * jnp.sqrt(jnp.sum(jnp.square(delta / scale), 1))
  # As it is: zero, infinite or not a number.
  return jnp.where(usual[:, 0], norm, largest[:, 0])


def _l2_project(
  candidate: Array, origin: Array, room: Room, radius: Array
) -> Array:
  delta = candidate - origin
  norm = l2_norm(delta)[:, None]
  # Clipping after scaling only shortens: the origin lies inside the box.
  scaled = jnp.where(
    norm > radius, origin + _shrunk(delta, norm, radius), candidate
  )
  return jnp.clip(scaled, room.lower, room.upper)


def _l2_draw(key: Key, size: int, dtype: jnp.dtype) -> Array:
  # All but two coordinates of a point uniform on a sphere are uniform in the
  # ball that they span.
  normal = jax.random.normal(key, (size + 2,), dtype)
  return normal[:size] / jnp.linalg.norm(normal)


def _l2_direction(gradient: Array, candidate: Array, room: Room) -> Array:
  del candidate, room
  norm = l2_norm(gradient)[:, None]
  largest = jnp.max(jnp.abs(gradient), 1, keepdims=True)
  scale = jnp.where(largest > 0, largest, 1)
  # Two divisions: the norm itself may be too small to divide by.
  return gradient / scale / jnp.where(norm > 0, norm / scale, 1)


def l1_box_project(
  candidate: Array, origin: Array, room: Room, radius: Array
) -> Array:
  r"""Returns the nearest point of the l1 ball *and* the box.

  With d = candidate - origin and w_i the room of coordinate i towards the
  wall it heads for, the solution is
  ``origin + sign(d_i) min(max(|d_i| - t, 0), w_i)``, t >= 0 the smallest
  threshold for which its l1 norm is at most the radius: of all floats, by
  bisection, which on a CPU is much faster than the sort that also gives it.

  Args:
    candidate: [B, D] points, finite.
    origin: [B, D] centres, inside the box.
    room: the box.
    radius: [B, 1] or [1, 1] radii.

  References:
    Francesco Croce, Matthias Hein, 2021, "Mind the box: l1-APGD for sparse
    adversarial attacks on image classifiers", arXiv 2103.01208.
  """
  delta = candidate - origin
  magnitude = jnp.abs(delta)
  wall = jnp.where(delta > 0, room.upper - origin, origin - room.lower)

  def kept(threshold: Array) -> Array:
    return jnp.clip(magnitude - threshold, 0, wall)

  def over(threshold: Array) -> Array:
    return jnp.sum(kept(threshold), 1, keepdims=True) > radius

  inside = ~over(jnp.zeros_like(delta[:, :1]))
  enough = order_statistics.next_above(
    order_statistics.last_true(over, delta[:, :1])
  )
  threshold = jnp.where(inside, 0, enough)
  length = kept(threshold)
  length = _shrunk(length, jnp.sum(length, 1, keepdims=True), radius)
  moved = origin + jnp.sign(delta) * length
  moved = ravel.held_back(moved, origin, jnp.abs(moved - origin) > length)
  unchanged = inside & (magnitude <= wall)
  return jnp.clip(
    jnp.where(unchanged, candidate, moved), room.lower, room.upper
  )


def _l1_draw(key: Key, size: int, dtype: jnp.dtype) -> Array:
  # size + 1 exponentials over their sum are uniform on the simplex, and
  # leaving one out makes them uniform in its interior; Laplace adds signs.
  spread = jax.random.laplace(key, (size + 1,), dtype)
  return spread[:size] / jnp.sum(jnp.abs(spread))


def _l1_direction(
  gradient: Array, candidate: Array, room: Room, fraction: float
) -> Array:
  blocked = ((gradient > 0) & (candidate >= room.upper)) | (
    (gradient < 0) & (candidate <= room.lower)
  )
  magnitude = jnp.where(blocked, 0, jnp.abs(gradient))
  width = magnitude.shape[1]
  count = min(width, max(1, round(fraction * width)))
  smallest = order_statistics.kth_largest(magnitude, count)
  chosen = (magnitude >= smallest) & (magnitude > 0)
  total = jnp.sum(chosen, 1, keepdims=True).astype(gradient.dtype)
  return jnp.where(chosen, jnp.sign(gradient), 0) / jnp.maximum(total, 1)


LINF = Ball(
  norm=lambda delta: jnp.max(jnp.abs(delta), 1),
  project=_linf_project,
  draw=lambda key, size, dtype: jax.random.uniform(
    key, (size,), dtype, -1.0, 1.0
  ),
  direction=lambda gradient, candidate, room: jnp.sign(gradient),
)

L2 = Ball(
  norm=l2_norm,
  project=_l2_project,
  draw=_l2_draw,
  direction=_l2_direction,
)


def l1_ball(fraction: float) -> Ball:
  """Returns the l1 ball whose direction moves a `fraction` of coordinates.

  Args:
    fraction: the share of coordinates, those of largest gradient among the
      ones not already at the wall they would move to; never fewer than one,
      so 0 gives the exact steepest direction.
  """
  return Ball(
    norm=lambda delta: jnp.sum(jnp.abs(delta), 1),
    project=l1_box_project,
    draw=_l1_draw,
    direction=lambda gradient, candidate, room: _l1_direction(
      gradient, candidate, room, fraction
    ),
  )
