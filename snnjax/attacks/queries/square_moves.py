"""What the Square attack does to one example, under linf, l2 and l1.

Every function here is about one example's perturbation, a list with one array
per modality; a `Patch` is the part of an array that one query changes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.attacks.queries import patches
from snnjax.attacks.threats.norms import Blocks
from snnjax.interfaces import Array, Key

Deltas = list[Array]

# How fast the rings of a pyramid fall, by p of the norm, as the authors chose.
_DECAY: Mapping[float, int] = {1: 4, 2: 2}


class Patch(NamedTuple):
  """The size of a patch in one modality; its place is drawn.

  Attributes:
    sites: lengths of the axes that it may lie on.
    sides: [axes], its own lengths.
  """

  sites: tuple[int, ...]
  sides: Array


def first_deltas(
  blocks: Blocks, key: Key, radii: Sequence[Array], deltas: Deltas
) -> Deltas:
  """Returns the first perturbation, on the surface of every ball.

  Args:
    blocks: the norm, in the order of the arrays.
    key: one key.
    radii: of the blocks' balls, scalars.
    deltas: for their shapes.
  """
  result: Deltas = []
  for number, (block, radius) in enumerate(zip(blocks, radii, strict=True)):
    old = deltas[len(result) : len(result) + block.arrays]
    start = jax.random.fold_in(key, number)
    if block.order == np.inf:
      result += stripes(start, radius, old)
    else:
      result += tiles(start, radius, old, block.order)
  return result


def change_patch(
  blocks: Blocks,
  key: Key,
  radii: Sequence[Array],
  deltas: Deltas,
  places: Sequence[Patch],
) -> Deltas:
  """Changes one array in one patch, as its ball's norm asks.

  Under l1 the result may be outside the ball: project it.

  Args:
    blocks: the norm, in the order of the arrays.
    key: one key.
    radii: of the blocks' balls, scalars; where one is 0, nothing is changed.
    deltas: the perturbation.
    places: the patch in each array.
  """
  which, how = jax.random.split(key)
  limits = [
    radius
    for block, radius in zip(blocks, radii, strict=True)
    for _ in range(block.arrays)
  ]
  # A uniform choice among the arrays that may change, also for traced radii.
  draw = jax.random.uniform(which, (len(limits),))
  drawn = jnp.argmax(jnp.where(jnp.stack(limits) > 0, draw, -1))
  result: Deltas = []
  for block, radius in zip(blocks, radii, strict=True):
    # This block's arrays; with a number per array, so that its draws do not
    # depend on how arrays are grouped into blocks.
    at = slice(len(result), len(result) + block.arrays)
    turns = [drawn == index for index in range(at.start, at.stop)]
    old, patches_here = deltas[at], places[at]
    keys = [jax.random.fold_in(how, at.start + i) for i in range(block.arrays)]
    if block.order == np.inf:
      new = [
        flip_patch(k, radius, delta, patch)
        for k, delta, patch in zip(keys, old, patches_here, strict=True)
      ]
      result += _where(turns, new, old)
    else:
      result += _move_in_one(
        keys, radius, old, patches_here, turns, block.order
      )
  return result


def stripes(key: Key, radius: Array, deltas: Deltas) -> Deltas:
  """Returns +-radius at random, the same along each input's first axis.

  Args:
    key: one key.
    radius: a scalar.
    deltas: for their shapes.
  """

  def stripe(index: int, delta: Array) -> Array:
    signs = _signs(jax.random.fold_in(key, index), (1, *delta.shape[1:]), delta)
    return jnp.broadcast_to(radius * signs, delta.shape)

  return [stripe(index, delta) for index, delta in enumerate(deltas)]


def flip_patch(key: Key, radius: Array, delta: Array, patch: Patch) -> Array:
  """Moves one patch by 2 radius times a random sign per channel.

  A value goes from one wall of the linf ball to the other, or beyond the one
  where it is: the loop projects it back.

  Args:
    key: one key.
    radius: a scalar.
    delta: the perturbation of one modality.
    patch: its size in this modality.
  """
  where, sign = jax.random.split(key)
  shaped = patches.with_channels(delta)
  at = patches.place(where, patch.sites, patch.sides)
  step = 2 * radius * _signs(sign, _per_channel(shaped), delta)
  mask = patches.inside(at, patch.sides)
  return jnp.where(mask, shaped + step, shaped).reshape(delta.shape)


def tiles(key: Key, radius: Array, deltas: Deltas, order: float) -> Deltas:
  """Returns dipoles of random signs side by side, of norm `radius`.

  Args:
    key: one key.
    radius: a scalar.
    deltas: for their shapes.
    order: p of the norm, 2 or 1.
  """

  def tile(index: int, delta: Array) -> Array:
    turn, sign = jax.random.split(jax.random.fold_in(key, index))
    shaped = patches.with_channels(delta)
    lengths = shaped.shape[:-1]
    # A fifth of each axis, as in the authors' code; the last tiles are cut.
    sides = tuple(max(length // 5, 1) for length in lengths)
    # All tiles have one shape, split along the same random axis; their signs,
    # per tile and channel, differ.
    split = jax.random.randint(turn, (), 0, len(lengths))
    shape = patches.dipole(
      patches.place_in_tile(lengths, sides),
      jnp.asarray(sides),
      split,
      _DECAY[order],
    )
    shape = _balance(shape, shape[tuple(map(slice, sides))], order)
    numbers = [-(-a // b) for a, b in zip(lengths, sides, strict=True)]
    signs = _signs(sign, (*numbers, shaped.shape[-1]), delta)
    shape = shape.astype(delta.dtype)
    return (shape * patches.per_tile(signs, sides, lengths)).reshape(
      delta.shape
    )

  shapes = [tile(index, delta) for index, delta in enumerate(deltas)]
  return _scale(shapes, radius, order)


def move_mass(
  key: Key, left: Array, delta: Array, patch: Patch, order: float
) -> Array:
  """Moves the mass of one patch into another, as a dipole.

  In each channel the new patch is the dipole plus what was there, with the
  mass ``sum |delta|^p`` of both patches and of what was left of the budget; for
  l1 as many times as there are channels, more than the budget, which the
  projection then takes from the smallest entries everywhere.

  Args:
    key: one key.
    left: the mass that the perturbation may still gain, a scalar.
    delta: the perturbation of one modality.
    patch: its size in this modality.
    order: p of the norm, 2 or 1.
  """
  power = int(order)
  to, source, turn, sign = jax.random.split(key, 4)
  shaped = patches.with_channels(delta)
  axes = tuple(range(shaped.ndim - 1))
  # Odd, so that a pyramid has a centre; at least 3, as in the authors' code.
  sides = jnp.minimum(jnp.maximum(patch.sides, 3) | 1, jnp.asarray(patch.sites))

  def unit(values: Array) -> Array:
    mass = jnp.sum(jnp.abs(values) ** power, axes, keepdims=True)
    return values / jnp.where(mass > 0, mass, 1) ** (1 / power)

  at = patches.place(to, patch.sites, sides)
  mask = patches.inside(at, sides)
  emptied = patches.inside(patches.place(source, patch.sites, sides), sides)
  split = jax.random.randint(turn, (), 0, len(patch.sites))
  shape = jnp.where(mask, patches.dipole(at, sides, split, _DECAY[order]), 0)
  shape = _balance(shape, shape, order)
  fresh = unit(shape.astype(delta.dtype)) * _signs(
    sign, _per_channel(shaped), delta
  )
  # Shapes of mass one each: the old content and the dipole count alike.
  new = unit(fresh + unit(jnp.where(mask, shaped, 0)))
  both = jnp.where(mask | emptied, jnp.abs(shaped) ** power, 0)
  channels = shaped.shape[-1]
  # What the budget still allows is shared out among the channels.
  mass = left / channels + jnp.sum(both, axes, keepdims=True)
  mass = mass * channels if order == 1 else mass
  # The second patch loses all that it had.
  rest = jnp.where(mask | emptied, 0, shaped)
  return (rest + new * mass ** (1 / power)).reshape(delta.shape)


def _balance(shape: Array, patch: Array, order: float) -> Array:
  """Scales the two halves of a dipole to the same norm.

  With an odd side one half is larger, and would dominate.

  Args:
    shape: dipoles, all of one size.
    patch: a whole one of them.
    order: p of the norm, 2 or 1.
  """
  power = int(order)

  def norm(half: Array) -> Array:
    mass = jnp.sum(jnp.maximum(half, 0) ** power)
    return jnp.where(mass > 0, mass, 1) ** (1 / power)

  return shape / jnp.where(shape > 0, norm(patch), norm(-patch))


def _move_in_one(
  keys: Sequence[Key],
  radius: Array,
  deltas: Deltas,
  places: Sequence[Patch],
  turns: Sequence[Array],
  order: float,
) -> Deltas:
  """Moves mass in the array whose turn it is.

  Under l2 all arrays of the ball are then scaled to its surface; under l1 the
  result may be outside, see `move_mass`.
  """
  power = int(order)
  left = jnp.maximum(radius**power - _mass(deltas, power), 0)
  new = [
    move_mass(key, left, delta, patch, order)
    for key, delta, patch in zip(keys, deltas, places, strict=True)
  ]
  moved = _where(turns, new, deltas)
  if order == 1:
    return moved
  scaled = _scale(moved, radius, order)
  anyone = jnp.any(jnp.stack(turns))
  return _where([anyone] * len(deltas), scaled, deltas)


def _where(turns: Sequence[Array], new: Deltas, old: Deltas) -> Deltas:
  return [
    jnp.where(turn, fresh, kept)
    for turn, fresh, kept in zip(turns, new, old, strict=True)
  ]


def _scale(deltas: Deltas, radius: Array, order: float) -> Deltas:
  power = int(order)
  norm = _mass(deltas, power) ** (1 / power)
  return [delta * radius / jnp.where(norm > 0, norm, 1) for delta in deltas]


def _mass(deltas: Deltas, power: int) -> Array:
  none = jnp.zeros((), deltas[0].dtype)
  return sum((jnp.sum(jnp.abs(delta) ** power) for delta in deltas), start=none)


def _per_channel(shaped: Array) -> tuple[int, ...]:
  return (*np.ones(shaped.ndim - 1, int).tolist(), shaped.shape[-1])


def _signs(key: Key, shape: tuple[int, ...], like: Array) -> Array:
  return jax.random.rademacher(key, shape, like.dtype)
