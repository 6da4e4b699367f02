r"""Norms of inputs as rows of a matrix, and what attacks in their balls need.

A norm is ||d||_p of all numbers of an example, or the mixed norm
``max_m ||d_m||_p / r_m`` of modalities with a budget r_m each: the largest
share of a budget that is spent. Its dual is ``sum_m r_m ||g_m||_q``. Where a
budget is 0, which may be known only when the program runs, the slope is taken
to be 0, so that nothing moves there.

`Norm` says how inputs become rows; the functions here are about rows [B, D]
and know neither trees nor where a box comes from.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import prng, vectors
from snnjax.attacks.threats import ravel
from snnjax.interfaces import Array, Inputs, Key
from snnjax.kernels import order_statistics as orders


class Room(NamedTuple):
  """The box as each coordinate sees it.

  Attributes:
    lower: smallest allowed values, broadcasting against [B, D].
    upper: largest allowed values, broadcasting against [B, D].
  """

  lower: Array
  upper: Array


class Block(NamedTuple):
  """Neighbouring columns with one norm.

  Attributes:
    order: p of the norm: infinity, 2 or 1.
    width: how many columns.
    arrays: how many arrays of the inputs they hold.
    unit: which length counts as 1, [] or [B]; 0 where nothing may change.
  """

  order: float
  width: int
  arrays: int = 1
  unit: float | Array = 1.0


Blocks = tuple[Block, ...]


class Norm(NamedTuple):
  """How inputs become rows of a matrix on which a norm is taken.

  Attributes:
    orders: p of each block.
    rows: ``inputs -> (matrix [B, D], restore)``; `restore` turns such a
      matrix back into inputs.
    slopes: ``gradient -> matrix [B, D]``, with respect to the rows; 0 where
      nothing may change, even where the gradient is not finite.
    room: ``inputs -> Room``, the box of the rows.
    blocks: ``inputs -> Blocks``, the columns of the rows; one block, or one
      for each modality.
  """

  orders: tuple[float, ...]
  rows: Callable[[Inputs], tuple[Array, Callable[[Array], Inputs]]]
  slopes: Callable[[Inputs], Array]
  room: Callable[[Inputs], Room]
  blocks: Callable[[Inputs], Blocks]


def mixed(
  parts: Mapping[str, Norm], radii: Mapping[str, float | Array]
) -> Norm:
  """Returns the mixed norm of modalities, in the order of their names.

  Args:
    parts: the norm of each, of one block.
    radii: the budget of each, [] or [B]; may be traced.

  Raises:
    ValueError: from its functions, if the names are not those of the inputs.
  """
  names = sorted(parts)

  # By sorted names, so that a mapping's own order never matters.
  def leaves(inputs: Inputs) -> list[Array]:
    ravel.broadcast_modalities("the threat", parts, inputs)
    return [inputs[name] for name in names]

  def blocks(inputs: Inputs) -> Blocks:
    return tuple(
      parts[name].blocks(leaf)[0]._replace(unit=radii[name])
      for name, leaf in zip(names, leaves(inputs), strict=True)
    )

  def rows(inputs: Inputs) -> tuple[Array, Callable[[Array], Inputs]]:
    pairs = [
      parts[name].rows(leaf)
      for name, leaf in zip(names, leaves(inputs), strict=True)
    ]

    def restore(matrix: Array) -> Any:
      pieces = split(matrix, blocks(inputs))
      return {
        name: back(piece)
        for name, (_, back), piece in zip(names, pairs, pieces, strict=True)
      }

    return jnp.concatenate([matrix for matrix, _ in pairs], 1), restore

  def slopes(gradient: Inputs) -> Array:
    columns = []
    for name, leaf in zip(names, leaves(gradient), strict=True):
      slope = parts[name].slopes(leaf)
      # Not a product: infinity times a budget of 0 would be NaN.
      radius = vectors.column(jnp.asarray(radii[name], slope.dtype), slope)
      columns.append(jnp.where(radius > 0, slope, 0))
    return jnp.concatenate(columns, 1)

  def room(inputs: Inputs) -> Room:
    lowers, uppers = [], []
    for name, leaf in zip(names, leaves(inputs), strict=True):
      lower, upper = parts[name].room(leaf)
      lowers.append(lower)
      uppers.append(upper)
    return Room(jnp.concatenate(lowers, 1), jnp.concatenate(uppers, 1))

  return Norm(
    tuple(order for name in names for order in parts[name].orders),
    rows,
    slopes,
    room,
    blocks,
  )


def split(matrix: Array, blocks: Blocks) -> list[Array]:
  """Returns the columns [B, width] of each block of a matrix [B, D]."""
  widths = [block.width for block in blocks]
  return jnp.split(matrix, np.cumsum(widths)[:-1], axis=1)


def units(blocks: Blocks, like: Array) -> Array:
  """Returns which change of each column counts as 1, like a matrix [B, D]."""
  return jnp.concatenate(
    [
      jnp.zeros_like(columns) + _unit(block, columns)  # over a mesh like them
      for block, columns in zip(blocks, split(like, blocks), strict=True)
    ],
    1,
  )


def size(delta: Array, blocks: Blocks) -> Array:
  """Returns the norm of each row, [B].

  Args:
    delta: [B, D].
    blocks: of the columns.
  """
  shares = [
    share(vectors.norm(columns, block.order), block.unit)
    for columns, block in zip(split(delta, blocks), blocks, strict=True)
  ]
  return jnp.max(jnp.stack(shares), 0)


def dual_size(slope: Array, blocks: Blocks) -> Array:
  """Returns the largest ``slope . delta`` over deltas of norm 1, [B].

  Args:
    slope: [B, D].
    blocks: of the columns.
  """
  steepest = [
    vectors.dual_norm(columns, block.order) * _unit(block, columns)[:, 0]
    for columns, block in zip(split(slope, blocks), blocks, strict=True)
  ]
  return jnp.sum(jnp.stack(steepest), 0)


def share(spent: Array, budget: float | Array) -> Array:
  """Returns spent / budget, [B]; of an empty budget 0, or infinity if spent.

  Args:
    spent: [B].
    budget: [] or [B].
  """
  budget = jnp.broadcast_to(jnp.asarray(budget, spent.dtype), spent.shape)
  part = spent / jnp.where(budget > 0, budget, 1)
  return jnp.where((budget > 0) | (spent == 0), part, jnp.inf)


def _unit(block: Block, columns: Array) -> Array:
  """Returns a block's unit, [1, 1] or [B, 1]."""
  return vectors.column(jnp.asarray(block.unit, columns.dtype), columns)


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


def project(
  candidate: Array, origin: Array, room: Room, radius: Array, order: float
) -> Array:
  """Returns points inside both the ball around their origins and the box.

  For linf and l1 they are the nearest such points; for l2 the perturbation is
  scaled, then clipped.

  Args:
    candidate: [B, D] points, finite.
    origin: [B, D] centres, inside the box.
    room: the box.
    radius: [B, 1] or [1, 1] radii.
    order: p of the norm: infinity, 2 or 1.
  """
  if order == 1:
    return l1_box_project(candidate, origin, room, radius)
  if order == 2:
    return _l2_project(candidate, origin, room, radius)
  lower = jnp.maximum(origin - radius, room.lower)
  upper = jnp.minimum(origin + radius, room.upper)
  return jnp.clip(candidate, lower, upper)


def _shrink(delta: Array, norm: Array, radius: Array) -> Array:
  """Returns `delta` scaled to the radius where its `norm` [B, 1] exceeds it."""
  outside = norm > radius
  return delta * jnp.where(outside, radius / jnp.where(outside, norm, 1), 1)


def _l2_project(
  candidate: Array, origin: Array, room: Room, radius: Array
) -> Array:
  delta = candidate - origin
  norm = vectors.l2_norm(delta)[:, None]
  # Clipping after scaling only shortens: the origin lies inside the box.
  scaled = jnp.where(
    norm > radius, origin + _shrink(delta, norm, radius), candidate
  )
  return jnp.clip(scaled, room.lower, room.upper)


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
  # The room of each coordinate the way it goes: no change can be longer.
  wall = jnp.where(delta > 0, room.upper - origin, origin - room.lower)

  def lengths_over(threshold: Array) -> Array:
    return jnp.clip(magnitude - threshold, 0, wall)

  def is_too_long(threshold: Array) -> Array:
    return jnp.sum(lengths_over(threshold), 1, keepdims=True) > radius

  inside = ~is_too_long(jnp.zeros_like(delta[:, :1]))
  # `last_true` is the largest threshold that leaves too much.
  enough = orders.next_above(orders.last_true(is_too_long, delta[:, :1]))
  threshold = jnp.where(inside, 0, enough)
  length = lengths_over(threshold)
  # The same sum, compiled in another order, may be over by a rounding error.
  length = _shrink(length, jnp.sum(length, 1, keepdims=True), radius)
  moved = origin + jnp.sign(delta) * length
  # Adding a change to its origin rounds too, and must not lengthen it.
  moved = ravel.step_back(moved, origin, jnp.abs(moved - origin) > length)
  # What needs no projection keeps its bits.
  unchanged = inside & (magnitude <= wall)
  return jnp.clip(
    jnp.where(unchanged, candidate, moved), room.lower, room.upper
  )


def sparse_direction(
  gradient: Array, candidate: Array, room: Room, fraction: float
) -> Array:
  """Returns the step of l1 norm 1 spread over the largest gradients, [B, D].

  Args:
    gradient: [B, D].
    candidate: [B, D], where the step starts.
    room: the box; a coordinate at the wall it would move to is left out.
    fraction: the share of coordinates that move, never fewer than one: 0 is
      the exact steepest direction.
  """
  # At a wall no step that way is possible: its share would be lost.
  blocked = ((gradient > 0) & (candidate >= room.upper)) | (
    (gradient < 0) & (candidate <= room.lower)
  )
  magnitude = jnp.where(blocked, 0, jnp.abs(gradient))
  width = magnitude.shape[1]
  count = min(width, max(1, round(fraction * width)))
  # Equals of the smallest that moves move with it: more than `count`, evenly.
  smallest = orders.kth_largest(magnitude, count)
  chosen = (magnitude >= smallest) & (magnitude > 0)
  total = jnp.sum(chosen, 1, keepdims=True).astype(gradient.dtype)
  return jnp.where(chosen, jnp.sign(gradient), 0) / jnp.maximum(total, 1)


def uniform_rows(keys: Key, lower: Array, upper: Array) -> Array:
  """Returns values drawn uniformly between the bounds [B, D]."""
  unit = prng.per_example(
    lambda k: jax.random.uniform(k, lower.shape[1:], lower.dtype), keys
  )
  return lower + (upper - lower) * unit
