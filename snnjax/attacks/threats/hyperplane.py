r"""Shortest ways onto a hyperplane inside a box, in one norm or a mixed one.

Everything is about rows [B, D] in units of length: along its sign each
coordinate goes some length of at least 0, at most its *wall* (the room to the
box), and gains its *size* (its absolute slope) per length; the gains must add
up to what the hyperplane *needs*.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from snnjax import vectors
from snnjax.attacks.threats.norms import Blocks, Room, dual_size, split, units
from snnjax.interfaces import Array
from snnjax.kernels import order_statistics as orders


def project_onto_hyperplane(
  point: Array, slope: Array, gap: Array, room: Room, blocks: Blocks
) -> Array:
  r"""Returns the smallest step that closes a linear gap inside the box.

  ``argmin ||d||  subject to  slope . d = gap, point + d in the box``. Where no
  point of the box closes the gap, every coordinate with a slope goes to its
  wall, which comes as near as the box allows.

  With a = |slope| and w the room towards the wall each coordinate heads for,
  the solution for linf and l2 moves coordinate i by ``min(t s_i, w_i)``, where
  s_i is 1 for linf and a_i for l2, and t is the first float that closes the
  gap. For l1 it fills coordinates up to their walls, the largest slopes first.
  A mixed norm of linf blocks alone is one weighted linf norm. In any other
  mixed norm every block gains as much as it can within the length t, which is
  known for every t, and t is the first float at which the blocks together
  close the gap.

  Args:
    point: [B, D], inside the box.
    slope: [B, D].
    gap: [B], of either sign.
    room: the box.
    blocks: the norm of the columns.

  Returns:
    The steps, [B, D]; zero for a zero slope.

  Raises:
    ValueError: if an order is none of infinity, 2 and 1.

  References:
    Francesco Croce, Matthias Hein, 2020, "Minimally distorted adversarial
    examples with a fast adaptive boundary attack", arXiv 1907.02044.
  """
  for block in blocks:
    vectors.check_order(block.order)
  heading, wall = sign_and_room(point, slope, gap, room)
  # In units of each block's budget the norm is that of the longest block.
  unit = units(blocks, point)
  wall = wall / jnp.where(unit > 0, unit, 1)
  size, need = jnp.abs(slope) * unit, jnp.abs(gap)[:, None]
  kinds = {block.order for block in blocks}
  if kinds == {np.inf}:
    length = _fill_evenly(size, 1, wall, need)
  elif len(blocks) > 1:
    length = _fill_blocks(size, wall, need, blocks)
  elif kinds == {2}:
    length = _fill_evenly(size, size, wall, need)
  else:
    length = _fill_largest(size, wall, need)
  return heading * length * unit


def sign_and_room(
  point: Array, slope: Array, gap: Array, room: Room
) -> tuple[Array, Array]:
  """Returns each coordinate's sign of motion and its room that way, [B, D].

  Args:
    point: [B, D], inside the box.
    slope: [B, D].
    gap: [B], to be closed along the slope.
    room: the box.
  """
  heading = jnp.sign(slope) * jnp.sign(gap)[:, None]
  wall = jnp.where(heading > 0, room.upper - point, point - room.lower)
  return heading, jnp.where(heading == 0, 0, jnp.maximum(wall, 0))


def step_without_box(slope: Array, gap: Array, blocks: Blocks) -> Array:
  """Returns the smallest step that closes a linear gap, without a box.

  Every block moves equally far, ``gap / ||slope||_*``, along its steepest
  direction.

  Args:
    slope: [B, D].
    gap: [B], of either sign.
    blocks: the norm of the columns, of order infinity or 2. (For 1, all of
      the step goes into one coordinate.)

  Returns:
    The steps, [B, D]; zero for a zero slope.

  Raises:
    ValueError: if a block has another order.
  """
  steep = dual_size(slope, blocks)
  # Along the steepest direction of norm 1 the plane rises by the dual norm.
  length = gap / jnp.where(steep > 0, steep, 1)
  directions = []
  for columns, block in zip(split(slope, blocks), blocks, strict=True):
    if block.order not in (np.inf, 2):
      raise ValueError(f"order must be infinity or 2; got {block.order}")
    directions.append(
      vectors.unit(columns) if block.order == 2 else jnp.sign(columns)
    )
  unit = units(blocks, slope)
  return jnp.concatenate(directions, 1) * length[:, None] * unit


def most_gain_in_ball(
  size: Array, wall: Array, order: float
) -> Callable[[Array], Array]:
  """Returns the steps that gain most in a ball, as a function of its radius.

  What does not depend on the radius, a sort above all, is done once.

  ``argmax size . d  subject to  ||d||_p <= radius, 0 <= d <= wall``.

  Args:
    size: [B, D], at least 0.
    wall: [B, D], at least 0, and 0 where the size is.
    order: p: infinity, 2 or 1.

  Returns:
    ``radius [B, 1] -> d [B, D]``.

  Raises:
    ValueError: if `order` is another.
  """
  vectors.check_order(order)
  if order == np.inf:
    return lambda radius: jnp.minimum(radius, wall)
  if order == 2:
    # d_i = min(s a_i, w_i) with norm r. In squares, d_i^2 = min(s^2 a_i^2,
    # w_i^2) with sum r^2, that is `_even_fill` for the time s^2.
    peak = jnp.max(size, 1, keepdims=True)
    unit = size / jnp.where(peak > 0, peak, 1)
    fill = _even_fill(jnp.ones_like(size), jnp.square(unit), jnp.square(wall))
    return lambda radius: jnp.sqrt(fill(jnp.square(radius)))
  # l1: the radius is spent where a unit of length gains most, wall after wall.
  places = jnp.argsort(-size, 1)
  walls, back = jnp.take_along_axis(wall, places, 1), jnp.argsort(places, 1)
  before = _total_before(walls)

  def spend(radius: Array) -> Array:
    steps = jnp.clip(radius - before, 0, walls)
    return jnp.take_along_axis(steps, back, 1)

  return spend


def _total_before(values: Array) -> Array:
  """Returns the sum of all values left of each, even beside infinite ones.

  The sum up to each value less that value would be infinity minus infinity.
  """
  sums = jnp.cumsum(values, 1)[:, :-1]
  return jnp.concatenate([jnp.zeros_like(values[:, :1]), sums], 1)


def _even_fill(
  size: Array, speed: Array, wall: Array
) -> Callable[[Array], Array]:
  """Returns ``need [B, 1] -> min(t speed, wall)``, t so that it gains the need.

  All coordinates start at once and stop at their walls, so that the gain
  ``size . min(t speed, wall)`` is piecewise linear in the time t: with the
  times of the stops sorted, t is found by a look-up. Where no t is enough,
  it is the wall.
  """
  movable = (size > 0) & (speed > 0)
  stops = jnp.where(movable, wall / jnp.where(movable, speed, 1), jnp.inf)
  order = jnp.argsort(stops, 1)
  stops, full, rate = (
    jnp.take_along_axis(values, order, 1)
    for values in (
      stops,
      jnp.where(movable, size * wall, 0),
      jnp.where(movable, size * speed, 0),
    )
  )
  # What the k-th to stop and all those after it gain together per unit of t.
  pace = jnp.flip(jnp.cumsum(jnp.flip(rate, 1), 1), 1)
  before = _total_before(full)
  # The gain at each stop. Without a wall there is no stop: the gain is endless
  # if such a coordinate gains at all.
  finite = jnp.isfinite(stops)
  gain_without_wall = jnp.where(pace > 0, jnp.inf, before)
  gained = jnp.where(finite, before + jnp.where(finite, stops, 0) * pace, 0)
  gained = jnp.where(finite, gained, gain_without_wall)

  def fill(need: Array) -> Array:
    reached = gained >= need
    first = jnp.argmax(reached, 1)[:, None]
    # On this piece the gain is ``before + t pace``.
    rest = need - jnp.take_along_axis(before, first, 1)
    rate_here = jnp.take_along_axis(pace, first, 1)
    time = jnp.maximum(rest, 0) / jnp.where(rate_here > 0, rate_here, 1)
    possible = jnp.any(reached, 1, keepdims=True)
    moved = jnp.minimum(time * speed, wall)
    return jnp.where(movable, jnp.where(possible, moved, wall), 0)

  return fill


def _fill_evenly(
  size: Array, speed: Array | int, wall: Array, need: Array
) -> Array:
  """Returns ``min(t speed, wall)`` for the least t at which it gains enough.

  What `_even_fill` gives, but for one need alone: a bisection over all floats,
  which asks for no sort.
  """

  def steps(time: Array) -> Array:
    return jnp.where(size > 0, jnp.minimum(time * speed, wall), 0)

  def short(time: Array) -> Array:
    return jnp.sum(size * steps(time), 1, keepdims=True) < need

  # The last time that is too short, and the first float behind it.
  time = jnp.maximum(orders.next_above(orders.last_true(short, need)), 0)
  return jnp.where(short(jnp.full_like(need, jnp.inf)), wall, steps(time))


def _fill_blocks(
  size: Array, wall: Array, need: Array, blocks: Blocks
) -> Array:
  """Returns the steps of least length at which the blocks gain enough."""
  gains = [
    most_gain_in_ball(sizes, walls, block.order)
    for sizes, walls, block in zip(
      split(size, blocks), split(wall, blocks), blocks, strict=True
    )
  ]

  def steps(length: Array) -> Array:
    return jnp.concatenate([within(length) for within in gains], 1)

  def short(length: Array) -> Array:
    return jnp.sum(size * steps(length), 1, keepdims=True) < need

  # One length for all blocks: a shorter block could gain at no cost, since the
  # mixed norm is the longest one's.
  length = orders.next_above(orders.last_true(short, need))
  full = jnp.sum(jnp.where(size > 0, size * wall, 0), 1, keepdims=True)
  return jnp.where(full >= need, steps(length), wall)


def _fill_largest(size: Array, wall: Array, need: Array) -> Array:
  """Returns the steps that fill coordinates of the largest `size` first.

  Without a sort: the size of the coordinate in which the gap closes is found
  by bisection.
  """
  gain = jnp.where(size > 0, size * wall, 0)

  def enough(least: Array) -> Array:
    gained = jnp.where(size >= least, gain, 0)
    return jnp.sum(gained, 1, keepdims=True) >= need

  # All of larger size are full, and the gap closes among those of this size;
  # of equals the first are filled first.
  last = jnp.maximum(orders.last_true(enough, need), 0)
  above, among = size > last, (size == last) & (size > 0)
  missing = need - jnp.sum(jnp.where(above, gain, 0), 1, keepdims=True)
  share = missing / jnp.where(last > 0, last, 1)
  before = _total_before(jnp.where(among, wall, 0))
  steps = jnp.where(among, jnp.clip(share - before, 0, wall), 0)
  return jnp.where(above, wall, steps)
