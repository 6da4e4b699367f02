"""What the Square attack does to one example, under linf, l2 and l1.

Every function here is about one example's perturbation, a list with one array
per modality; `Window` says where a modality may be changed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.attacks import windows
from snnjax.types import Array, Key

Deltas = list[Array]


class Window(NamedTuple):
  """The window in one modality.

  Attributes:
    sites: lengths of the axes that it spans.
    sides: [axes], its own lengths.
  """

  sites: tuple[int, ...]
  sides: Array


def stripes(key: Key, radius: Array, deltas: Deltas) -> Deltas:
  """Returns +-radius at random, the same along each input's first axis.

  Args:
    key: one key.
    radius: a scalar.
    deltas: for their shapes.
  """

  def one(index: int, delta: Array) -> Array:
    signs = _signs(jax.random.fold_in(key, index), (1, *delta.shape[1:]), delta)
    return jnp.broadcast_to(radius * signs, delta.shape)

  return [one(index, delta) for index, delta in enumerate(deltas)]


def flipped(
  key: Key, radius: Array, deltas: Deltas, places: Sequence[Window]
) -> Deltas:
  """Moves one window by 2 radius times a random sign per channel.

  Args:
    key: one key.
    radius: a scalar.
    deltas: the perturbation.
    places: the window in each modality.
  """

  def one(key: Key, delta: Array, window: Window) -> Array:
    where, sign = jax.random.split(key)
    shaped = windows.with_channels(delta)
    at = windows.place(where, window.sites, window.sides)
    step = 2 * radius * _signs(sign, _per_channel(shaped), delta)
    mask = windows.inside(at, window.sides)
    return jnp.where(mask, shaped + step, shaped).reshape(delta.shape)

  return _one_of(key, deltas, places, one)


def tiles(key: Key, radius: Array, deltas: Deltas, order: float) -> Deltas:
  """Returns dipoles of random signs side by side, of norm `radius`.

  Args:
    key: one key.
    radius: a scalar.
    deltas: for their shapes.
    order: p of the norm, 2 or 1.
  """

  def one(index: int, delta: Array) -> Array:
    turn, sign = jax.random.split(jax.random.fold_in(key, index))
    shaped = windows.with_channels(delta)
    lengths = shaped.shape[:-1]
    sides = tuple(max(length // 5, 1) for length in lengths)
    split = jax.random.randint(turn, (), 0, len(lengths))
    shape = windows.dipole(
      windows.tiled(lengths, sides), jnp.asarray(sides), split
    )
    numbers = [-(-a // b) for a, b in zip(lengths, sides, strict=True)]
    signs = _signs(sign, (*numbers, shaped.shape[-1]), delta)
    return (shape * windows.per_tile(signs, sides, lengths)).reshape(
      delta.shape
    )

  shapes = [one(index, delta) for index, delta in enumerate(deltas)]
  return _scaled(shapes, radius, order)


def moved(
  key: Key,
  radius: Array,
  deltas: Deltas,
  places: Sequence[Window],
  order: float,
) -> Deltas:
  """Moves the mass of one window into another, as a dipole; norm `radius`.

  In each channel the new window is the dipole plus what was there, with the
  mass ``sum |delta|^p`` of both windows and of what was left of the budget.

  Args:
    key: one key.
    radius: a scalar.
    deltas: the perturbation.
    places: the window in each modality.
    order: p of the norm, 2 or 1.
  """
  power = int(order)
  left = jnp.maximum(radius**power - _mass(deltas, power), 0)

  def one(key: Key, delta: Array, window: Window) -> Array:
    to, source, turn, sign = jax.random.split(key, 4)
    shaped = windows.with_channels(delta)
    axes = tuple(range(shaped.ndim - 1))
    sides = jnp.minimum(
      jnp.maximum(window.sides, 3) | 1, jnp.asarray(window.sites)
    )

    def unit(values: Array) -> Array:
      mass = jnp.sum(jnp.abs(values) ** power, axes, keepdims=True)
      return values / jnp.where(mass > 0, mass, 1) ** (1 / power)

    at = windows.place(to, window.sites, sides)
    mask = windows.inside(at, sides)
    emptied = windows.inside(windows.place(source, window.sites, sides), sides)
    split = jax.random.randint(turn, (), 0, len(window.sites))
    shape = jnp.where(mask, windows.dipole(at, sides, split), 0)
    fresh = unit(shape.astype(delta.dtype)) * _signs(
      sign, _per_channel(shaped), delta
    )
    new = unit(fresh + unit(jnp.where(mask, shaped, 0)))
    both = jnp.where(mask | emptied, jnp.abs(shaped) ** power, 0)
    mass = left / shaped.shape[-1] + jnp.sum(both, axes, keepdims=True)
    rest = jnp.where(mask | emptied, 0, shaped)
    return (rest + new * mass ** (1 / power)).reshape(delta.shape)

  return _scaled(_one_of(key, deltas, places, one), radius, order)


def _one_of(
  key: Key,
  deltas: Deltas,
  places: Sequence[Window],
  change: Callable[[Key, Array, Window], Array],
) -> Deltas:
  """Changes one modality, drawn at random."""
  which, how = jax.random.split(key)
  drawn = jax.random.randint(which, (), 0, len(deltas))
  return [
    jnp.where(
      drawn == index,
      change(jax.random.fold_in(how, index), delta, window),
      delta,
    )
    for index, (delta, window) in enumerate(zip(deltas, places, strict=True))
  ]


def _scaled(deltas: Deltas, radius: Array, order: float) -> Deltas:
  power = int(order)
  norm = _mass(deltas, power) ** (1 / power)
  return [delta * radius / jnp.where(norm > 0, norm, 1) for delta in deltas]


def _mass(deltas: Deltas, power: int) -> Array:
  return sum(
    (jnp.sum(jnp.abs(delta) ** power) for delta in deltas), start=jnp.zeros(())
  )


def _per_channel(shaped: Array) -> tuple[int, ...]:
  return (*np.ones(shaped.ndim - 1, int).tolist(), shaped.shape[-1])


def _signs(key: Key, shape: tuple[int, ...], like: Array) -> Array:
  return jax.random.rademacher(key, shape, like.dtype)
