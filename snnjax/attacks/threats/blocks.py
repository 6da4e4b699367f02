r"""Norms of rows whose blocks of columns have norms of their own.

The norm is the largest of the blocks' norms, ``max_m ||delta_m||_{p_m}``. With
one block it is that block's. For linf blocks it is the linf norm of the row.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from snnjax.attacks.threats import hyperplane
from snnjax.attacks.threats.balls import Room
from snnjax.interfaces import Array
from snnjax.kernels import order_statistics


class Block(NamedTuple):
  """Neighbouring columns with one norm.

  Attributes:
    order: p of the norm: infinity, 2 or 1.
    width: how many columns.
  """

  order: float
  width: int


Blocks = tuple[Block, ...]


def split(matrix: Array, blocks: Blocks) -> list[Array]:
  """Returns the columns [B, width] of each block of a matrix [B, D]."""
  widths = [block.width for block in blocks]
  return jnp.split(matrix, np.cumsum(widths)[:-1], axis=1)


def norm(delta: Array, blocks: Blocks) -> Array:
  """Returns the largest of the blocks' norms, [B].

  Args:
    delta: [B, D].
    blocks: of the columns.
  """
  return jnp.max(_each(hyperplane.norm, delta, blocks), 0)


def dual_norm(slope: Array, blocks: Blocks) -> Array:
  """Returns the largest ``slope . delta`` over deltas of norm 1, [B].

  Args:
    slope: [B, D].
    blocks: of the columns.
  """
  return jnp.sum(_each(hyperplane.dual_norm, slope, blocks), 0)


def straight_onto_plane(slope: Array, gap: Array, blocks: Blocks) -> Array:
  """Returns the smallest step that closes a linear gap, without a box.

  Every block moves equally far, ``gap / ||slope||_*``.

  Args:
    slope: [B, D].
    gap: [B], of either sign.
    blocks: of the columns, none of order 1.

  Returns:
    The steps, [B, D]; zero for a zero slope.

  Raises:
    ValueError: if a block has order 1.
  """
  steep = dual_norm(slope, blocks)
  share = gap / jnp.where(steep > 0, steep, 1)
  steps = []
  for columns, block in zip(split(slope, blocks), blocks, strict=True):
    own = hyperplane.dual_norm(columns, block.order) * share
    steps.append(hyperplane.straight_onto_plane(columns, own, block.order))
  return jnp.concatenate(steps, 1)


def onto_plane(
  point: Array, slope: Array, gap: Array, room: Room, blocks: Blocks
) -> Array:
  r"""Returns the smallest step that closes a linear gap inside the box.

  ``argmin max_m ||d_m||  subject to  slope . d = gap, point + d in the box``.
  One block, or linf blocks alone, are solved in closed form. Else every block
  gains as much as it can within the length t, and t is the first float at
  which they close the gap together: what each block gains is known exactly
  for every t.

  Args:
    point: [B, D], inside the box.
    slope: [B, D].
    gap: [B], of either sign.
    room: the box.
    blocks: of the columns.

  Returns:
    The steps, [B, D], as `hyperplane.onto_plane`.
  """
  orders = {block.order for block in blocks}
  if len(blocks) == 1 or orders == {np.inf}:
    return hyperplane.project_onto_hyperplane(
      point, slope, gap, room, orders.pop()
    )
  heading, wall = hyperplane.sign_and_room(point, slope, gap, room)
  size, need = jnp.abs(slope), jnp.abs(gap)[:, None]
  spend = [
    hyperplane.most_within(sizes, walls, block.order)
    for sizes, walls, block in zip(
      split(size, blocks), split(wall, blocks), blocks, strict=True
    )
  ]

  def steps(length: Array) -> Array:
    return jnp.concatenate([within(length) for within in spend], 1)

  def short(length: Array) -> Array:
    return jnp.sum(size * steps(length), 1, keepdims=True) < need

  length = order_statistics.next_above(order_statistics.last_true(short, need))
  full = jnp.sum(jnp.where(size > 0, size * wall, 0), 1, keepdims=True)
  return heading * jnp.where(full >= need, steps(length), wall)


def _each(
  measure: Callable[[Array, float], Array], matrix: Array, blocks: Blocks
) -> Array:
  """Returns what is measured of each block, [blocks, B]."""
  return jnp.stack(
    [
      measure(columns, block.order)
      for columns, block in zip(split(matrix, blocks), blocks, strict=True)
    ]
  )
