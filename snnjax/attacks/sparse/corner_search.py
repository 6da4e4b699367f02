"""CornerSearch: single sites at the corners of the box, then combinations."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax import prng
from snnjax.attacks.loop import Point, Proposer, search
from snnjax.attacks.oracles import Source, as_oracle
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.l0 import (
  Sites,
  budget,
  check_sites,
  largest,
  sites_of,
)
from snnjax.attacks.threats.threat import Threat, walls
from snnjax.interfaces import Array, Attack, Inputs, Key, Labels
from snnjax.losses import LogitsLoss, margin_loss
from snnjax.validation import check_count

MOST_CHANNELS = 4  # a site with C channels has 2^C corners to try


class _Corners(NamedTuple):
  """CornerSearch's memory: the loss of each site and corner [B, S * P]."""

  losses: Array


def corner_search(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  sites: int,
  draws: int,
  candidates: int = 100,
  channels: int = 1,
  site_axes: ravel.Amounts = 1,
) -> Attack:
  """Returns CornerSearch: all single sites, then combinations of the best.

  First every site is set to every corner of its channels' box, alone. The
  sites are ranked by the largest loss that gave; each draw then changes 1 to
  k of the N best, the i-th with weight 2N - 2i + 1, each to its best corner.
  No gradient is used; it costs ``sites * 2^channels + draws`` queries.

  Args:
    source: a logits function, or an oracle whose gradient is not used.
    threat: from `l0`.
    loss: of a logits function, see `Source`; None is the margin loss.
    sites: how many sites the inputs have.
    draws: how many combinations to try.
    candidates: N.
    channels: the most channels a site has, at most 4.
    site_axes: as in `l0`.

  Raises:
    ValueError: if a count is out of range, the threat counts no sites, or
      sites or channels are not those of the inputs.

  References:
    Francesco Croce, Matthias Hein, 2019, "Sparse and imperceivable adversarial
    attacks", arXiv 1909.05040.

  Differs from the paper by ranking sites by the loss alone, where it ranks
    them for every class; by keeping one corner for each site; and by drawing
    the size of a combination, where it goes through the sizes.
  """
  check_sites(threat)
  for name, value in (
    ("sites", sites),
    ("draws", draws),
    ("candidates", candidates),
    ("channels", channels),
  ):
    check_count(name, value)
  if channels > MOST_CHANNELS:
    raise ValueError(
      f"channels must be at most {MOST_CHANNELS}; got {channels}"
    )
  settings = _Settings(threat, sites, candidates, channels, site_axes)
  proposer = Proposer(
    functools.partial(_begin, settings), functools.partial(_propose, settings)
  )
  oracle = as_oracle(source, loss, margin_loss)
  return search(oracle, proposer, threat, steps=settings.singles + draws)


class _Settings(NamedTuple):
  """The arguments of `corner_search`."""

  threat: Threat
  sites: int
  candidates: int
  channels: int
  site_axes: ravel.Amounts

  @property
  def patterns(self) -> int:
    """How many corners a site has."""
    return 2**self.channels

  @property
  def singles(self) -> int:
    """How many points differ from the clean input in one site."""
    return self.sites * self.patterns


def _begin(
  settings: _Settings, keys: Key, origin: Inputs, labels: Labels
) -> tuple[Inputs, _Corners]:
  del keys
  layout = sites_of(origin, settings.site_axes)
  if (
    layout.number != settings.sites or layout.channel.max() >= settings.channels
  ):
    raise ValueError(
      f"sites and channels must be those of the inputs, {layout.number} and "
      f"{layout.channel.max() + 1}; got {settings.sites} and "
      f"{settings.channels}"
    )
  dtype = ravel.ravel_examples(origin)[0].dtype
  losses = jnp.full((labels.shape[0], settings.singles), -jnp.inf, dtype)
  return _single_site(
    origin, layout, settings.threat, jnp.zeros((), int), settings.patterns
  ), (_Corners(losses))


def _propose(
  settings: _Settings, keys: Key, point: Point, memory: _Corners
) -> tuple[Inputs, _Corners]:
  layout = sites_of(point.origin, settings.site_axes)
  place = point.tried - 1
  # The clean input (place -1) belongs to no site, and points behind the last
  # single one are combinations: both are sent out of bounds, and dropped.
  losses = memory.losses.at[
    :, jnp.where(place < 0, settings.singles, place)
  ].set(point.probe.loss.astype(memory.losses.dtype), mode="drop")
  single = _single_site(
    point.origin,
    layout,
    settings.threat,
    jnp.minimum(place + 1, settings.singles - 1),
    settings.patterns,
  )
  # Both are made, since the turn is traced; one of them is tried.
  count = min(settings.candidates, settings.sites)
  mixed = _random_mix(
    keys, point.origin, layout, settings.threat, losses, count
  )
  following = jax.tree.map(
    lambda lone, many: jnp.where(place + 1 < settings.singles, lone, many),
    single,
    mixed,
  )
  return following, _Corners(losses)


def _corner(layout: Sites, pattern: Array, lower: Array, upper: Array) -> Array:
  """Returns corner number `pattern` [B or 1, D] of each site's channels."""
  # The bits of the pattern's number say which channels are at the upper wall.
  high = (pattern >> jnp.asarray(layout.channel)[None]) & 1
  return jnp.where(high == 1, upper, lower)


def _single_site(
  origin: Inputs, layout: Sites, threat: Threat, index: Array, patterns: int
) -> Inputs:
  """Returns the inputs with one site at one corner."""
  center, restore = ravel.ravel_examples(origin)
  chosen = (jnp.arange(layout.number) == index // patterns)[None]
  pattern = jnp.reshape(index % patterns, (1, 1))
  corner = _corner(layout, pattern, *walls(threat.box, origin))
  return restore(jnp.where(layout.spread(chosen), corner, center))


def _random_mix(
  keys: Key,
  origin: Inputs,
  layout: Sites,
  threat: Threat,
  losses: Array,
  count: int,
) -> Inputs:
  """Returns the inputs with a random combination of the best sites."""
  center, restore = ravel.ravel_examples(origin)
  table = losses.reshape(losses.shape[0], layout.number, -1)
  table = jnp.where(jnp.isnan(table), -jnp.inf, table)
  # Each site takes the corner that served it best when it was alone.
  pattern = layout.spread(jnp.argmax(table, 2))
  order = jnp.argsort(-jnp.max(table, 2), axis=1)
  rank = jnp.argsort(order, axis=1)
  # The paper's weights 2N - 2i + 1, with i = rank + 1, as logarithms: the
  # largest of log weight + Gumbel noise are a draw without replacement.
  weight = jnp.log(
    jnp.maximum(2 * count - 2 * rank - 1, 1).astype(center.dtype)
  )
  sizes, picks = prng.split(keys)
  gumbel = prng.per_example(
    lambda k: jax.random.gumbel(k, (layout.number,), center.dtype), picks
  )
  unit = prng.per_example(
    lambda k: jax.random.uniform(k, (1,), center.dtype), sizes
  )
  # Uniform on 1 ... k.
  size = jnp.ceil(unit * jnp.floor(budget(threat.radius, center)))
  scores = jnp.where(rank < count, weight + gumbel, -jnp.inf)
  chosen = largest(scores, size) & (rank < count)
  corner = _corner(layout, pattern, *walls(threat.box, origin))
  return restore(jnp.where(layout.spread(chosen), corner, center))
