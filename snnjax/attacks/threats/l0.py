"""The l0 threat: how many sites change, all channels of a site at once."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import prng, vectors
from snnjax.arguments import check_per_example
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.norms import uniform_rows
from snnjax.attacks.threats.threat import (
  UNIT_BOX,
  Bounds,
  Threat,
  check_threat,
  walls,
)
from snnjax.interfaces import Array, Inputs, Key
from snnjax.kernels import order_statistics
from snnjax.validation import check_range, in_box, is_concrete


class Sites(NamedTuple):
  """Which columns of the flattened inputs belong to one site.

  Attributes:
    number: S, the number of sites over all modalities.
    total: ``[B, D] -> [B, S]``, the sum over each site's columns.
    spread: ``[B, S] -> [B, D]``, each site's value at all of its columns.
    channel: [D], each column's place within its site.
    widths: how many sites each modality has, in the order of the columns.
  """

  number: int
  total: Callable[[Array], Array]
  spread: Callable[[Array], Array]
  channel: np.ndarray
  widths: tuple[int, ...]


def sites_of(inputs: Inputs, site_axes: ravel.Amounts) -> Sites:
  """Returns how inputs divide into sites.

  Args:
    inputs: arrays [B, ..., channels].
    site_axes: how many trailing axes make one site, for all inputs or for
      each modality: 1 for images [B, H, W, C], 0 for features [B, F].

  Raises:
    ValueError: if an array has fewer axes than that.
  """
  leaves = jax.tree.leaves(inputs)
  axes = jax.tree.leaves(
    ravel.broadcast_modalities("site_axes", site_axes, inputs)
  )
  sizes = []
  for leaf, trailing in zip(leaves, axes, strict=True):
    if not 0 <= trailing < leaf.ndim:
      raise ValueError(
        "site_axes must be at least 0 and less than the axes of the inputs; "
        f"got {trailing} for shape {leaf.shape}"
      )
    split = leaf.ndim - int(trailing)
    sizes.append(
      (math.prod(leaf.shape[1:split]), math.prod(leaf.shape[split:]))
    )

  def parts(matrix: Array, widths: list[int]) -> list[Array]:
    return jnp.split(matrix, np.cumsum(widths)[:-1], axis=1)

  def total(matrix: Array) -> Array:
    pieces = parts(matrix, [count * width for count, width in sizes])
    return jnp.concatenate(
      [
        piece.reshape(-1, *size).sum(2)
        for piece, size in zip(pieces, sizes, strict=True)
      ],
      1,
    )

  def spread(values: Array) -> Array:
    pieces = parts(values, [count for count, _ in sizes])
    return jnp.concatenate(
      [
        jnp.repeat(piece, width, axis=1)
        for piece, (_, width) in zip(pieces, sizes, strict=True)
      ],
      1,
    )

  channel = np.concatenate(
    [np.tile(np.arange(width), count) for count, width in sizes]
  )
  widths = tuple(count for count, _ in sizes)
  return Sites(sum(widths), total, spread, channel, widths)


def largest(scores: Array, count: Array) -> Array:
  """Returns where the `count` largest scores of each row are, exactly so many.

  Args:
    scores: [B, S]; the first of equals wins.
    count: [B, 1] or [1, 1], need not be whole; may be traced.
  """
  # A NaN would compare with nothing, and leave the row without a choice.
  scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
  smallest = order_statistics.kth_largest(
    scores, jnp.maximum(jnp.floor(count), 1)
  )
  above, equal = scores > smallest, scores == smallest
  # Those above the smallest are all taken; of its equals the first, as many as
  # are left to take.
  left = count - jnp.sum(above, 1, keepdims=True).astype(count.dtype)
  return above | (equal & (jnp.cumsum(equal, 1).astype(count.dtype) <= left))


class Budgets(NamedTuple):
  """How many sites of each example may change: of all, or of each modality.

  Attributes:
    counts: [1 or B, G], one number for all sites or one for each modality.
    widths: how many sites there are for each of the G numbers.
  """

  counts: Array
  widths: tuple[int, ...]

  def each(self, function: Callable[[Array], Array], matrix: Array) -> Array:
    """Returns ``function([B, S_g]) -> [B]`` of each budget's sites, [B, G]."""
    return jnp.stack([function(part) for part in self._parts(matrix)], 1)

  def spread(self, values: Array) -> Array:
    """Returns each budget's value [B, G] at its sites, [B, S] or as such."""
    if len(self.widths) == 1:
      return values
    return jnp.repeat(
      values,
      np.array(self.widths),
      axis=1,
      total_repeat_length=sum(self.widths),
    )

  def largest(self, scores: Array, count: Array) -> Array:
    """Returns where the `count` [B, G] largest of each budget's scores are."""
    chosen = [
      largest(part, count[:, place : place + 1])
      for place, part in enumerate(self._parts(scores))
    ]
    return jnp.concatenate(chosen, 1)

  def _parts(self, matrix: Array) -> list[Array]:
    return jnp.split(matrix, np.cumsum(self.widths)[:-1], axis=1)


def budgets_of(
  threat: Threat, inputs: Inputs, site_axes: ravel.Amounts
) -> Budgets:
  """Returns the numbers of sites that a threat lets change.

  Args:
    threat: from `l0`, or one such for each modality.
    inputs: [B, ...], or a mapping of such arrays.
    site_axes: as in `l0`.

  Raises:
    ValueError: if the numbers are for other modalities or examples.
  """
  matrix, sites = ravel.ravel_examples(inputs)[0], sites_of(inputs, site_axes)
  if not isinstance(threat.radius, Mapping):
    return Budgets(budget(threat.radius, matrix), (sites.number,))
  radii = ravel.broadcast_modalities("the threat", threat.radius, inputs)
  # Rows of a mapping are joined in the order of its leaves, by name.
  columns = [budget(radii[name], matrix) for name in sorted(radii)]
  rows = max(len(column) for column in columns)
  count = [jnp.broadcast_to(column, (rows, 1)) for column in columns]
  return Budgets(jnp.concatenate(count, 1), sites.widths)


def check_sites(threat: Threat) -> None:
  """Raises ValueError unless a threat counts sites."""
  check_threat(threat)
  if threat.site_axes is None:
    raise ValueError(
      "threat must count sites, attacks.l0(n), or be one such for each "
      "modality, for an attack that chooses them; got a threat of another kind"
    )


def budget(sites: float | Array, like: Array) -> Array:
  """Returns a number of sites as [1, 1] or [B, 1], of the type of `like`.

  Raises:
    ValueError: if it is one for each modality, or for other examples.
  """
  if isinstance(sites, Mapping):
    raise ValueError(
      "threat must be one number of sites over all modalities, attacks.l0(n); "
      f"got budgets for {sorted(sites)}"
    )
  check_per_example("sites", sites, like.shape[0])
  return jnp.reshape(jnp.asarray(sites, like.dtype), (-1, 1))


def l0(
  sites: float | Array,
  box: Bounds = UNIT_BOX,
  site_axes: ravel.Amounts = 1,
) -> Threat:
  """Returns ``#{sites that change} <= sites``.

  The projection is the nearest point in l2: it keeps the sites that bring it
  nearest to the candidate, ``sum_c (d^2 - w^2)`` with d a channel's distance
  from its origin and w that from the box.
  Its gradient steps are ``g/||g||_1``, dense: the projection makes them
  sparse. A sample is random values at random sites.

  Args:
    sites: how many sites may change, a scalar or [B]; may be traced.
    box: smallest and largest values of an input, finite, see `linf`.
    site_axes: how many trailing axes make one site, for all inputs or for each
      modality: 1 for images [B, H, W, C], whose pixels count once whatever
      their channels; 0 for features.

  Raises:
    ValueError: if a concrete number or box makes no sense.

  References:
    Francesco Croce, Matthias Hein, 2019, "Sparse and imperceivable adversarial
    attacks", arXiv 1909.05040.
  """
  check_range("sites", sites, 0.0, np.finfo(np.float64).max)
  if not isinstance(box, tuple) or len(box) != 2:
    raise ValueError(f"box must be a pair (lower, upper); got {box!r}")
  for bound in jax.tree.leaves(box):
    if is_concrete(bound) and not np.all(np.isfinite(bound)):
      raise ValueError(f"box must be finite for an l0 threat; got {box}")

  settings = _Settings(sites, box, site_axes)
  return Threat(
    project=functools.partial(_project, settings),
    sample=functools.partial(_sample, settings),
    ascent=_ascent,
    contains=functools.partial(_contains, settings),
    distance=functools.partial(_distance, settings),
    radius=sites,
    box=box,
    times=lambda factor: l0(factor * sites, box, site_axes),
    site_axes=site_axes,
  )


class _Settings(NamedTuple):
  """The arguments of `l0`."""

  radius: float | Array
  box: Bounds
  site_axes: ravel.Amounts


def _project(settings: _Settings, candidate: Inputs, origin: Inputs) -> Inputs:
  center, restore = ravel.ravel_examples(origin)
  moved = ravel.ravel_examples(candidate)[0].astype(center.dtype)
  wanted = jnp.where(jnp.isfinite(moved), moved, center)
  moved = jnp.clip(wanted, *walls(settings.box, origin))
  sites = sites_of(origin, settings.site_axes)
  # What is gained by moving a channel, d^2 - w^2 with d its wanted change and w
  # the part of it beyond the box. By factors: squares of far candidates would
  # cancel.
  gain = (moved - center) * ((wanted - center) + (wanted - moved))
  allowed = largest(sites.total(gain), budget(settings.radius, center))
  near = jnp.where(sites.spread(allowed), moved, center)
  return ravel.store_like(restore(near), origin)


def _sample(settings: _Settings, key: Key, origin: Inputs) -> Inputs:
  center, restore = ravel.ravel_examples(origin)
  keys = prng.example_keys(key, center.shape[0])
  where, what = prng.split(keys)
  count = budget(settings.radius, center)
  # Sites first, then values for all of them: one draw of fixed shape.
  sites = sites_of(origin, settings.site_axes)
  mask = sites.spread(largest(random_scores(where, sites.number), count))
  values = uniform_rows(what, *walls(settings.box, origin))
  return ravel.store_like(restore(jnp.where(mask, values, center)), origin)


def _ascent(gradient: Inputs, candidate: Inputs) -> Inputs:
  del candidate
  slope, restore = ravel.ravel_examples(gradient)
  # Largest entry 1 first, so that the sum does not overflow or vanish.
  slope, _ = vectors.over_largest(slope)
  size = jnp.sum(jnp.abs(slope), 1, keepdims=True)
  return restore(slope / jnp.where(size > 0, size, 1))


def _distance(settings: _Settings, candidate: Inputs, origin: Inputs) -> Array:
  moved, center = (
    ravel.ravel_examples(candidate)[0],
    ravel.ravel_examples(origin)[0],
  )
  # A site changes if any of its channels does, by however little.
  changed = (moved != center).astype(center.dtype)
  total = sites_of(origin, settings.site_axes).total(changed)
  return jnp.sum((total > 0).astype(center.dtype), 1)


def _contains(settings: _Settings, candidate: Inputs, origin: Inputs) -> Array:
  moved = ravel.ravel_examples(candidate)[0]
  limit = budget(settings.radius, moved)[:, 0]
  near = _distance(settings, candidate, origin) <= limit
  kind = ravel.coarsest_dtype(candidate)
  return near & jnp.all(in_box(moved, *walls(settings.box, origin), kind), 1)


def random_scores(keys: Key, number: int) -> Array:
  """Returns a score of each of `number` sites, uniform in [0, 1), [B, S].

  The sites of the `largest` are a uniform choice of exactly so many.
  """
  return prng.per_example(lambda k: jax.random.uniform(k, (number,)), keys)
