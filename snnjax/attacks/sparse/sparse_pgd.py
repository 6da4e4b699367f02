"""Gradient attacks on few sites under a budget: PGD-l0 and sPGD.

They take a threat from `l0`, or one such for each modality, and the `site_axes`
it was built with.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import prng, vectors
from snnjax.attacks.candidates import Keep, success_then_loss
from snnjax.attacks.gradient.fgsm_pgd import pgd
from snnjax.attacks.loop import Point, Proposer, search, with_restarts
from snnjax.attacks.oracles import Source, as_oracle
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.l0 import (
  Budgets,
  budgets_of,
  check_sites,
  sites_of,
)
from snnjax.attacks.threats.norms import uniform_rows
from snnjax.attacks.threats.threat import Threat, walls
from snnjax.interfaces import Array, Attack, Inputs, Key, Labels
from snnjax.losses import LogitsLoss
from snnjax.validation import check_count, check_range


def pgd_l0(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  step_size: ravel.Amounts = 100.0,
  random_start: bool = True,
  restarts: int = 1,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns projected gradient ascent over the l0 ball.

  ``x <- project(x + step_size g/||g||_1)``, the projection keeping the sites
  that moved most.

  Args:
    source: a logits function, or an oracle.
    threat: from `l0`, or one such for each modality.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many.
    step_size: the l1 length of a step, in raw units times coordinates; the
      authors take 30000/255 for images.
    random_start: whether each run starts at random values of random sites.
    restarts: how many runs to choose from.
    keep: see `ascend`.

  Raises:
    ValueError: as `pgd`, or if the threat counts no sites.

  References:
    Francesco Croce, Matthias Hein, 2019, "Sparse and imperceivable adversarial
    attacks", arXiv 1909.05040.
  """
  check_sites(threat)
  return pgd(
    source,
    threat,
    loss=loss,
    steps=steps,
    step_size=step_size,
    random_start=random_start,
    restarts=restarts,
    keep=keep,
  )


class _Masked(NamedTuple):
  """sPGD's memory.

  Attributes:
    values: [B, D], ``x + p``, what a site holds if it is chosen.
    scores: [B, S], m.
    idle: [B, G], for how many steps each budget's choice stood still.
  """

  values: Array
  scores: Array
  idle: Array


def spgd(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  value_step: float = 0.25,
  score_step: float = 0.25,
  patience: int = 3,
  projected: bool = True,
  restarts: int = 1,
  site_axes: ravel.Amounts = 1,
) -> Attack:
  """Returns sparse PGD, which ascends values and the choice of sites.

  The point is ``x + p * top_k(sigmoid(m))``, m one score per site::

    p <- clip(p + value_step (upper - lower) sign(g_p))
    m <- m + score_step sqrt(S) g_m/||g_m||_2

  with g_m the gradient through the sigmoid, the choice differentiated as the
  identity; g_p is the gradient at the point times the choice (`projected`) or
  times the sigmoid. Scores are drawn anew when the choice stood still for
  `patience` steps or their gradient vanished.

  A modality with a number of sites of its own has all of this for itself.

  Args:
    source: a logits function, or an oracle.
    threat: from `l0`, or one such for each modality.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many points to try.
    value_step: step of the values, in widths of the box.
    score_step: step of the scores, in units of sqrt(S).
    patience: idle steps until the scores are drawn anew.
    projected: which of the paper's two gradients; it reports the worst of
      both, as `worst_of` does.
    restarts: how many runs to choose from.
    site_axes: as in `l0`.

  Raises:
    ValueError: if a count or step is out of range, or the threat counts no
      sites.

  References:
    Xuyang Zhong, Yixiao Huang, Chen Liu, 2024, "Towards efficient training and
    evaluation of robust models against l0 bounded adversarial perturbations",
    arXiv 2405.05075.
  """
  check_sites(threat)
  check_count("patience", patience)
  check_range("value_step", value_step, 0.0, np.inf)
  check_range("score_step", score_step, 0.0, np.inf)

  settings = _Settings(
    threat, value_step, score_step, patience, projected, site_axes
  )
  check_count("steps", steps)
  proposer = Proposer(
    functools.partial(_begin, settings), functools.partial(_propose, settings)
  )
  run = search(as_oracle(source, loss), proposer, threat, steps=steps)
  return with_restarts(run, restarts)


class _Settings(NamedTuple):
  """The arguments of `spgd`."""

  threat: Threat
  value_step: float
  score_step: float
  patience: int
  projected: bool
  site_axes: ravel.Amounts


def _budgets(settings: _Settings, origin: Inputs) -> Budgets:
  return budgets_of(settings.threat, origin, settings.site_axes)


def _draw(settings: _Settings, keys: Key, origin: Inputs) -> Array:
  """Returns new scores, standard normal, [B, S]."""
  number = sites_of(origin, settings.site_axes).number
  return prng.per_example(lambda k: jax.random.normal(k, (number,)), keys)


def _place(
  settings: _Settings, origin: Inputs, memory: _Masked
) -> tuple[Inputs, Array]:
  """Returns the point that the memory stands for, and its choice."""
  center, restore = ravel.ravel_examples(origin)
  budgets = _budgets(settings, origin)
  chosen = budgets.largest(memory.scores, budgets.counts)
  mask = sites_of(origin, settings.site_axes).spread(chosen)
  return restore(jnp.where(mask, memory.values, center)), chosen


def _begin(
  settings: _Settings, keys: Key, origin: Inputs, labels: Labels
) -> tuple[Inputs, _Masked]:
  del labels
  first, second = prng.split(keys)
  # Values for every site, so that a newly chosen one has its own at once.
  values = uniform_rows(first, *walls(settings.threat.box, origin))
  groups = len(_budgets(settings, origin).widths)
  idle = jnp.zeros((values.shape[0], groups), int)
  memory = _Masked(
    values, _draw(settings, second, origin).astype(values.dtype), idle
  )
  return _place(settings, origin, memory)[0], memory


def _propose(
  settings: _Settings, keys: Key, point: Point, memory: _Masked
) -> tuple[Inputs, _Masked]:
  origin = point.origin
  sites = sites_of(origin, settings.site_axes)
  budgets = _budgets(settings, origin)
  center = ravel.ravel_examples(origin)[0]
  gradient = ravel.ravel_examples(point.probe.gradient)[0]
  soft = jax.nn.sigmoid(memory.scores)
  chosen = _place(settings, origin, memory)[1]
  weight = chosen.astype(soft.dtype) if settings.projected else soft
  lower, upper = walls(settings.threat.box, origin)
  # With the choice as weight only chosen sites learn values (the paper's
  # projected gradient); with the sigmoid the others prepare theirs too.
  push = jnp.sign(gradient * sites.spread(weight))
  values = memory.values + settings.value_step * (upper - lower) * push
  # The choice is differentiated as if it were the sigmoid itself: a site's
  # slope is what its values would add to the loss if it were chosen.
  slope = sites.total(gradient * (memory.values - center))
  # Not 1 - soft: that is 0 from a score of 17 on, and the score would stay.
  slope = slope * soft * jax.nn.sigmoid(-memory.scores)
  size = budgets.each(vectors.l2_norm, slope)
  length = settings.score_step * jnp.sqrt(
    jnp.asarray(budgets.widths, slope.dtype)
  )
  scores = memory.scores + budgets.spread(length[None]) * slope / (
    budgets.spread(jnp.where(size > 0, size, 1))
  )
  choice_after = budgets.largest(scores, budgets.counts)
  # Small moves of the scores may leave the choice as it is for many steps.
  same = budgets.each(lambda part: jnp.all(part, 1), choice_after == chosen)
  idle = jnp.where(same, memory.idle + 1, 0)
  # Scores that choose the same sites again and again are drawn anew.
  stuck = (idle >= settings.patience) | (size == 0)
  fresh = _draw(settings, keys, origin).astype(scores.dtype)
  scores = jnp.where(budgets.spread(stuck), fresh, scores)
  memory = _Masked(
    jnp.clip(values, lower, upper), scores, jnp.where(stuck, 0, idle)
  )
  return _place(settings, origin, memory)[0], memory
