"""Sparse-RS: random search over few sites, without a gradient."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import prng
from snnjax.attacks.loop import Point, Proposer, search, with_restarts
from snnjax.attacks.oracles import Source, as_oracle
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.l0 import (
  Budgets,
  budgets_of,
  check_sites,
  random_scores,
  sites_of,
)
from snnjax.attacks.threats.threat import Threat, walls
from snnjax.interfaces import Array, Attack, Inputs, Key, Labels
from snnjax.losses import LogitsLoss, margin_loss
from snnjax.validation import check_count, check_range


class _Random(NamedTuple):
  """Sparse-RS's memory: the best point so far and the one being tried.

  Attributes:
    values: [B, D], what the best point's chosen sites hold.
    chosen: [B, S] booleans, its sites.
    tried_values: [B, D], those of the point at the network now.
    tried_chosen: [B, S] booleans, its sites.
    loss: [B], of the best point.
  """

  values: Array
  chosen: Array
  tried_values: Array
  tried_chosen: Array
  loss: Array


def sparse_rs(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  queries: int,
  share: float = 0.3,
  restarts: int = 1,
  site_axes: ravel.Amounts = 1,
) -> Attack:
  """Returns Sparse-RS: random search over sites and corner values.

  Each query moves a share of the k chosen sites elsewhere, gives the new ones
  random corners of the box, and stays there if the loss did not fall. The
  share shrinks along the authors' schedule. No gradient is used. A modality
  with a number of sites of its own moves that share of these.

  Args:
    source: a logits function, or an oracle whose gradient is not used.
    threat: from `l0`, or one such for each modality.
    loss: of a logits function, see `Source`; None is the margin loss.
    queries: how many points to try.
    share: the first share of sites that move, in (0, 1].
    restarts: how many runs to choose from.
    site_axes: as in `l0`.

  Raises:
    ValueError: if a count or the share is out of range, or the threat counts
      no sites.

  References:
    Francesco Croce, Maksym Andriushchenko, Naman D. Singh, Nicolas Flammarion,
    Matthias Hein, 2022, "Sparse-RS: a versatile framework for query-efficient
    sparse black-box adversarial attacks", arXiv 2006.12834.
  """
  check_sites(threat)
  check_count("queries", queries)
  check_range("share", share, np.finfo(float).tiny, 1.0)
  shares = jnp.asarray(share * share_schedule(queries))
  settings = _Settings(threat, shares, site_axes)
  proposer = Proposer(
    functools.partial(_begin, settings), functools.partial(_propose, settings)
  )
  oracle = as_oracle(source, loss, margin_loss)
  run = search(oracle, proposer, threat, steps=queries)
  return with_restarts(run, restarts)


def share_schedule(queries: int) -> np.ndarray:
  """Returns the factor of the moving share at each query, [queries].

  The authors' for 10,000 queries, stretched to the number given.

  Args:
    queries: at least 1.
  """
  ends = np.array([0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])
  divisors = np.array([1, 2, 4, 5, 6, 8, 10, 12, 15, 20])
  stretched = np.arange(queries) * 10_000 // queries
  return 1 / divisors[np.searchsorted(ends, stretched, side="left")]


def _random_scores(keys: Key, candidates: Array) -> Array:
  """Returns random scores, positive for candidates [B, S], else negative."""
  draw = random_scores(keys, candidates.shape[1])
  return jnp.where(candidates, draw, -1.0)


class _Settings(NamedTuple):
  """The arguments of `sparse_rs`; `shares` has one entry for each query."""

  threat: Threat
  shares: Array
  site_axes: ravel.Amounts


def _budgets(settings: _Settings, origin: Inputs) -> Budgets:
  return budgets_of(settings.threat, origin, settings.site_axes)


def _corners(settings: _Settings, keys: Key, origin: Inputs) -> Array:
  """Returns a random corner of the box for every site, [B, D]."""
  lower, upper = walls(settings.threat.box, origin)
  high = prng.per_example(
    lambda k: jax.random.bernoulli(k, 0.5, lower.shape[1:]), keys
  )
  return jnp.where(high, upper, lower)


def _place(
  settings: _Settings, origin: Inputs, values: Array, chosen: Array
) -> Inputs:
  """Returns the inputs with the chosen sites at their values."""
  center, restore = ravel.ravel_examples(origin)
  mask = sites_of(origin, settings.site_axes).spread(chosen)
  return restore(jnp.where(mask, values, center))


def _begin(
  settings: _Settings, keys: Key, origin: Inputs, labels: Labels
) -> tuple[Inputs, _Random]:
  first, second = prng.split(keys)
  number = sites_of(origin, settings.site_axes).number
  budgets = _budgets(settings, origin)
  chosen = budgets.largest(random_scores(first, number), budgets.counts)
  values = _corners(settings, second, origin)
  loss = jnp.full(labels.shape, -jnp.inf, values.dtype)
  return _place(settings, origin, values, chosen), _Random(
    values, chosen, values, chosen, loss
  )


def _propose(
  settings: _Settings, keys: Key, point: Point, memory: _Random
) -> tuple[Inputs, _Random]:
  origin, loss = point.origin, point.probe.loss.astype(memory.loss.dtype)
  # Equal is good enough: the search must be able to cross a plateau.
  better = loss >= memory.loss
  values, chosen = ravel.select_examples(
    better,
    (memory.tried_values, memory.tried_chosen),
    (memory.values, memory.chosen),
  )
  leaving, coming, painting = prng.split(keys, 3)
  budgets = _budgets(settings, origin)
  count = budgets.counts
  # The clean input is point 0, and what is proposed from it is not tried.
  part = settings.shares[jnp.minimum(point.tried, len(settings.shares)) - 1]
  moving = jnp.maximum(jnp.floor(part.astype(count.dtype) * count), 1)
  # No more can move than there are empty sites to go to, or sites in use.
  free, used = (
    budgets.each(lambda part: jnp.sum(part, 1), sites).astype(count.dtype)
    for sites in (~chosen, chosen)
  )
  moving = jnp.minimum(jnp.minimum(moving, free), used)
  # The largest of random scores are a uniform choice of exactly so many.
  standing = _random_scores(leaving, chosen)
  out = chosen & budgets.largest(standing, moving)
  new = ~chosen & budgets.largest(_random_scores(coming, ~chosen), moving)
  # Where every site is in use nothing can move: one gets a new corner instead.
  full = budgets.spread(free == 0)
  repaint = jnp.where(full, budgets.largest(standing, 1.0 + free), new)
  paint = sites_of(origin, settings.site_axes).spread(repaint)
  tried = jnp.where(paint, _corners(settings, painting, origin), values)
  # As many come as go, so that the number of sites in use stays.
  placed = (chosen & ~out) | new
  best = jnp.where(better, loss, memory.loss)
  return _place(settings, origin, tried, placed), _Random(
    values, chosen, tried, placed, best
  )
