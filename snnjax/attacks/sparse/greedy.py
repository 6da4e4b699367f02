"""Greedy attacks on few sites: JSMA and CornerSearch."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax import prng
from snnjax.arguments import logits_function
from snnjax.attacks.loop import Point, Proposer, search
from snnjax.attacks.oracles import (
  Oracle,
  OracleState,
  Probe,
  Source,
  as_oracle,
  withstood,
)
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.l0 import Sites, budget, largest, sites_of
from snnjax.attacks.threats.threat import Threat, walls
from snnjax.interfaces import AnyLogitsFn, Array, Attack, Inputs, Key, Labels
from snnjax.losses import LogitsLoss, margin_loss, rival
from snnjax.lost_derivatives import guard
from snnjax.validation import check_count

MOST_CHANNELS = 4


def saliency(logits_fn: AnyLogitsFn) -> Oracle:
  """Returns the oracle whose gradient is the signed saliency of each input.

  With a the gradient of the strongest rival's logit and b that of the sum of
  all others, the saliency is ``sign(a) |a b|`` where a and b have opposite
  signs, and 0 elsewhere. Its loss is the margin.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.

  Raises:
    ValueError: if the function does not take these arguments.

  References:
    Nicolas Papernot, Patrick McDaniel, Somesh Jha, Matt Fredrikson, Z. Berkay
    Celik, Ananthram Swami, 2016, "The limitations of deep learning in
    adversarial settings", arXiv 1511.07528.
  """
  logits_fn = logits_function(logits_fn)

  def grad(
    key: Key, state: OracleState, inputs: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    watched = guard(lambda points: logits_fn(key, points), inputs)
    logits, pull = jax.vjp(lambda points: logits_fn(key, points), inputs)
    logits = watched(logits)
    goal = jax.nn.one_hot(
      rival(logits, labels), logits.shape[1], dtype=logits.dtype
    )
    (up,), (down,) = watched((pull(goal), pull(1 - goal)))

    def one(a: Array, b: Array) -> Array:
      return jnp.where(a * b < 0, jnp.sign(a) * jnp.abs(a * b), 0)

    correct = withstood(logits, labels)
    loss = margin_loss(logits, labels)
    return Probe(loss, jax.tree.map(one, up, down), correct), state

  return Oracle(lambda inputs: (), grad)


def jsma(
  source: Source,
  threat: Threat,
  *,
  steps: int,
  site_axes: ravel.Amounts = 1,
) -> Attack:
  """Returns the saliency-map attack: one site after another, to the wall.

  Each step takes the unchanged site of the largest total saliency of those
  channels that can still move, and moves them to the walls that their signs
  point to.

  Args:
    source: a logits function, or an oracle whose gradient says where to push
      (`saliency` is the former's).
    threat: from `l0`; with fewer sites than `steps` the projection decides.
    steps: how many sites to change at most.
    site_axes: as in `l0`.

  Raises:
    ValueError: if `steps` is not a positive whole number.

  References:
    Papernot et al. 2016, arXiv 1511.07528.
    Rey Wiyatno, Anqi Xu, 2018, "Maximal Jacobian-based saliency map attack",
    arXiv 1808.07945 (untargeted, both directions).

  Differs from the former by taking single sites, not pairs; by pushing both
    ways; and by making the strongest rival of each step the target.
  """
  check_count("steps", steps)
  oracle = source if isinstance(source, Oracle) else saliency(source)

  def init(keys: Key, origin: Inputs, labels: Labels) -> tuple[None, tuple]:
    del keys, origin, labels
    return None, ()

  def propose(keys: Key, point: Point, memory: tuple) -> tuple[Inputs, tuple]:
    del keys
    here, restore = ravel.ravel_examples(point.inputs)
    center = ravel.ravel_examples(point.origin)[0]
    sites = sites_of(point.origin, site_axes)
    lower, upper = walls(threat.box, point.origin)
    push = ravel.ravel_examples(point.probe.gradient)[0]
    goal = jnp.where(push > 0, upper, lower)
    able = (push != 0) & (goal != here)
    gain = sites.total(jnp.where(able, jnp.abs(push), 0))
    untouched = sites.total((here != center).astype(here.dtype)) == 0
    gain = jnp.where(untouched, gain, 0)
    best = largest(gain, jnp.ones((1, 1))) & (gain > 0)
    return restore(jnp.where(sites.spread(best) & able, goal, here)), memory

  return search(oracle, Proposer(init, propose), threat, steps=steps)


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
    ValueError: if a count is out of range, or sites or channels are not those
      of the inputs.

  References:
    Francesco Croce, Matthias Hein, 2019, "Sparse and imperceivable adversarial
    attacks", arXiv 1909.05040.

  Differs from the paper by ranking sites by the loss alone, where it ranks
    them for every class; by keeping one corner for each site; and by drawing
    the size of a combination, where it goes through the sizes.
  """
  for name, value in (
    ("sites", sites),
    ("draws", draws),
    ("candidates", candidates),
    ("channels", channels),
  ):
    check_count(name, value)
  if channels > MOST_CHANNELS:
    raise ValueError(f"channels must be at most 4; got {channels}")
  given = _Settings(threat, sites, candidates, channels, site_axes)
  proposer = Proposer(
    functools.partial(_begin, given), functools.partial(_propose, given)
  )
  oracle = as_oracle(source, loss, margin_loss)
  return search(oracle, proposer, threat, steps=given.singles + draws)


class _Settings(NamedTuple):
  """What `corner_search` was given."""

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
  given: _Settings, keys: Key, origin: Inputs, labels: Labels
) -> tuple[Inputs, _Corners]:
  del keys
  layout = sites_of(origin, given.site_axes)
  if layout.number != given.sites or layout.channel.max() >= given.channels:
    raise ValueError(
      f"sites and channels must be those of the inputs, {layout.number} and "
      f"{layout.channel.max() + 1}; got {given.sites} and {given.channels}"
    )
  dtype = ravel.ravel_examples(origin)[0].dtype
  losses = jnp.full((labels.shape[0], given.singles), -jnp.inf, dtype)
  return _single(
    origin, layout, given.threat, jnp.zeros((), int), given.patterns
  ), (_Corners(losses))


def _propose(
  given: _Settings, keys: Key, point: Point, memory: _Corners
) -> tuple[Inputs, _Corners]:
  layout = sites_of(point.origin, given.site_axes)
  place = point.tried - 1
  # Behind the last single site nothing is written: out of bounds is dropped.
  losses = memory.losses.at[:, jnp.where(place < 0, given.singles, place)].set(
    point.probe.loss.astype(memory.losses.dtype), mode="drop"
  )
  alone = _single(
    point.origin,
    layout,
    given.threat,
    jnp.minimum(place + 1, given.singles - 1),
    given.patterns,
  )
  count = min(given.candidates, given.sites)
  mixed = _mixed(keys, point.origin, layout, given.threat, losses, count)
  following = jax.tree.map(
    lambda one, many: jnp.where(place + 1 < given.singles, one, many),
    alone,
    mixed,
  )
  return following, _Corners(losses)


def _corner(layout: Sites, pattern: Array, lower: Array, upper: Array) -> Array:
  """Returns corner number `pattern` [B or 1, D] of each site's channels."""
  high = (pattern >> jnp.asarray(layout.channel)[None]) & 1
  return jnp.where(high == 1, upper, lower)


def _single(
  origin: Inputs, layout: Sites, threat: Threat, index: Array, patterns: int
) -> Inputs:
  """Returns the inputs with one site at one corner."""
  center, restore = ravel.ravel_examples(origin)
  chosen = (jnp.arange(layout.number) == index // patterns)[None]
  pattern = jnp.reshape(index % patterns, (1, 1))
  corner = _corner(layout, pattern, *walls(threat.box, origin))
  return restore(jnp.where(layout.spread(chosen), corner, center))


def _mixed(
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
  pattern = layout.spread(jnp.argmax(table, 2))
  order = jnp.argsort(-jnp.max(table, 2), axis=1)
  rank = jnp.argsort(order, axis=1)
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
  size = jnp.ceil(unit * jnp.floor(budget(threat.radius, center)))
  scores = jnp.where(rank < count, weight + gumbel, -jnp.inf)
  chosen = largest(scores, size) & (rank < count)
  corner = _corner(layout, pattern, *walls(threat.box, origin))
  return restore(jnp.where(layout.spread(chosen), corner, center))
