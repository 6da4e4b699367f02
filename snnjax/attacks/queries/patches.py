"""Patches of arrays with any number of axes, as the Square attack moves them.

A patch of one example spans its *sites*, all axes but the channels; from
three axes on the last one is the channels'. Everything here is about one
example, so that `vmap` gives each its own patch.
"""

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.interfaces import Array, Key


def sites(leaf: Array) -> tuple[int, ...]:
  """Returns the lengths of the axes that a patch spans.

  Args:
    leaf: [B, ...]; the last axis is the channels' from [B, H, W, C] on.
  """
  return leaf.shape[1:-1] if leaf.ndim > 3 else leaf.shape[1:]


def with_channels(example: Array) -> Array:
  """Returns one example with a channel axis, [*sites, C]."""
  return example if example.ndim > 2 else example[..., None]


def sides(shares: np.ndarray, lengths: tuple[int, ...]) -> np.ndarray:
  """Returns the patch's lengths for each share of the sites, [N, axes].

  Args:
    shares: [N], in [0, 1].
    lengths: of the axes.
  """
  scale = shares[:, None] ** (1 / len(lengths))
  return np.maximum(np.round(scale * np.array(lengths)), 1).astype(np.int32)


def place(key: Key, lengths: tuple[int, ...], sides: Array) -> list[Array]:
  """Returns each site's place within a randomly placed patch, per axis.

  Args:
    key: one key.
    lengths: of the axes.
    sides: [axes], of the patch.

  Returns:
    One array per axis, shaped to broadcast against the sites; outside the
    patch it is negative or at least the side.
  """
  places = []
  for axis, length in enumerate(lengths):
    start = jax.random.randint(
      jax.random.fold_in(key, axis), (), 0, length - sides[axis] + 1
    )
    places.append(_along(jnp.arange(length) - start, axis, len(lengths)))
  return places


def inside(places: list[Array], sides: Array) -> Array:
  """Returns which sites lie in the patch, [*sites, 1]."""
  mask = jnp.ones((), bool)
  for axis, place_here in enumerate(places):
    mask = mask & (place_here >= 0) & (place_here < sides[axis])
  return mask[..., None]


def dipole(
  places: list[Array], sides: Array, split: Array, decay: int
) -> Array:
  """Returns two pyramids of opposite sign, side by side, [*sites, 1].

  A pyramid is ``sum_k 1/(k + 1)^decay`` over the rings k outside or at a site's
  own, counted from the centre of its half. It is meaningful inside the patch
  only.

  Args:
    places: each site's place within the patch, see `place`.
    sides: [axes], of the patch.
    split: the axis along which the patch is halved, a scalar.
    decay: 2 or 4, how peaked the pyramids are.
  """
  # Rings are squares around the centre of a half: a site's ring is its largest
  # distance from there along any axis.
  ring = jnp.zeros((), int)
  rings = jnp.zeros((), int)
  sign = jnp.ones(())
  for axis, at in enumerate(places):
    # Only the axis along which the patch is split has two halves; the second
    # counts from its own start, and has the other sign.
    half = sides[axis] // 2
    second = at >= half
    halved = split == axis
    length = jnp.where(
      halved, jnp.where(second, sides[axis] - half, half), sides[axis]
    )
    local = jnp.where(halved & second, at - half, at)
    ring = jnp.maximum(ring, jnp.abs(local - length // 2))
    rings = jnp.maximum(rings, length // 2 + 1)
    sign = jnp.where(halved & second, -sign, sign)
  # As a table, since the sides, and so the number of rings, are traced: a
  # site's height is the sum over the rings from its own outwards.
  most = max(max(at.shape) for at in places) + 2
  sums = jnp.asarray(np.cumsum(np.r_[0.0, np.arange(1.0, most) ** -decay]))
  height = sums[rings] - sums[jnp.minimum(ring, rings)]
  return (sign * height)[..., None]


def place_in_tile(
  lengths: tuple[int, ...], sides: tuple[int, ...]
) -> list[Array]:
  """Returns each site's place within its tile, per axis, as `place` does."""
  return [
    _along(jnp.arange(length) % side, axis, len(lengths))
    for axis, (length, side) in enumerate(zip(lengths, sides, strict=True))
  ]


def per_tile(
  values: Array, sides: tuple[int, ...], lengths: tuple[int, ...]
) -> Array:
  """Repeats the value of each tile over its sites, cut to `lengths`."""
  for axis, side in enumerate(sides):
    values = jnp.repeat(values, side, axis)
  return values[tuple(slice(length) for length in lengths)]


def _along(values: Array, axis: int, axes: int) -> Array:
  return jnp.reshape(values, [-1 if a == axis else 1 for a in range(axes)])
