"""sigma-zero: the fewest sites that change the prediction."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from snnjax import vectors
from snnjax.attacks.candidates import nearest_success
from snnjax.attacks.loop import Point, Proposer, search
from snnjax.attacks.oracles import Source, as_oracle
from snnjax.attacks.steppers import adam
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.l0 import l0, sites_of
from snnjax.attacks.threats.threat import UNIT_BOX, Bounds, box_only, walls
from snnjax.interfaces import Array, Attack, AttackResult, Inputs, Key, Labels
from snnjax.losses import LogitsLoss, margin_loss
from snnjax.validation import check_count

_ADAM = adam()


class _SigmaZero(NamedTuple):
  """sigma-zero's memory: the current change [B, D], Adam's, the cut-off."""

  delta: Array
  adam: optax.OptState
  cutoff: Array


def sigma_zero(
  source: Source,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  box: Bounds = UNIT_BOX,
  site_axes: ravel.Amounts = 1,
  step_size: float = 1.0,
  smoothing: float = 1e-3,
  cutoff: float = 0.3,
  cutoff_step: float = 0.01,
) -> Attack:
  """Returns the minimal l0 attack sigma-zero.

  Descends ``max(-loss, 0) + (1/S) sum_i q_i/(q_i + sigma)``, q_i the squared
  change of site i, by Adam on the gradient divided by its largest entry, the
  step annealed by a cosine; changes below a cut-off are dropped. The cut-off
  grows while the example is misclassified and falls while it is not. The
  smallest misclassified change is returned; there is no budget, `within` adds
  one.

  Args:
    source: a logits function, or an oracle.
    loss: of a logits function, see `Source`; None is the margin loss.
    steps: how many points to try, the clean input first.
    box: smallest and largest values of an input, finite.
    site_axes: as in `l0`.
    step_size: the first step of Adam.
    smoothing: sigma.
    cutoff: the first cut-off, in raw units.
    cutoff_step: its change per unit of Adam's step.

  Raises:
    ValueError: if a count is below one or the box is not finite.

  References:
    Antonio Emanuele Cina, Francesco Villani, Maura Pintor, Lea Schoenherr,
    Battista Biggio, Marcello Pelillo, 2024, "sigma-zero: gradient-based
    optimization of l0-norm adversarial examples", arXiv 2402.01879.

  Differs from the paper by counting sites with all their channels, where it
    counts channels one by one.
  """
  check_count("steps", steps)
  oracle = as_oracle(source, loss, margin_loss)
  sites = l0(float(np.finfo(np.float32).max), box, site_axes)
  anywhere = box_only(box)

  settings = _Settings(
    steps, box, site_axes, step_size, smoothing, cutoff, cutoff_step
  )
  proposer = Proposer(
    functools.partial(_begin, settings), functools.partial(_propose, settings)
  )

  def attack(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    fewest = nearest_success(
      lambda result: sites.distance(result.inputs, inputs)
    )
    # The clean input is the first point that it tries.
    run = search(oracle, proposer, anywhere, steps=steps - 1, keep=fewest)
    return run(key, inputs, labels)

  return attack


class _Settings(NamedTuple):
  """The arguments of `sigma_zero`."""

  steps: int
  box: Bounds
  site_axes: ravel.Amounts
  step_size: float
  smoothing: float
  cutoff: float
  cutoff_step: float


def _begin(
  settings: _Settings, keys: Key, origin: Inputs, labels: Labels
) -> tuple[None, _SigmaZero]:
  del keys, labels
  delta = jnp.zeros_like(ravel.ravel_examples(origin)[0])
  start = jnp.full((delta.shape[0], 1), settings.cutoff, delta.dtype)
  return None, _SigmaZero(delta, _ADAM.init(delta), start)


def _propose(
  settings: _Settings, keys: Key, point: Point, memory: _SigmaZero
) -> tuple[Inputs, _SigmaZero]:
  del keys
  center, restore = ravel.ravel_examples(point.origin)
  sites = sites_of(point.origin, settings.site_axes)
  correct = point.probe.correct[:, None]
  gradient = ravel.ravel_examples(point.probe.gradient)[0]
  # The oracle ascends: max(-loss, 0) descends it, and has no slope once the
  # example is misclassified. Then only the count of sites is made smaller.
  gradient = jnp.where(correct, -gradient, 0)
  delta = memory.delta
  energy = sites.spread(sites.total(jnp.square(delta))) + settings.smoothing
  # d/d delta of q/(q + sigma) is 2 delta sigma/(q + sigma)^2.
  gradient += 2 * delta * settings.smoothing / jnp.square(energy) / sites.number
  # Over its largest entry, as in the paper: the step sets the length.
  gradient, _ = vectors.over_largest(gradient)
  direction, state = _ADAM.update(gradient, memory.adam)
  done = point.tried.astype(delta.dtype) / settings.steps
  pace = (1 + jnp.cos(jnp.pi * done)) / 2
  lower, upper = walls(settings.box, point.origin)
  moved = jnp.clip(
    center + delta - settings.step_size * pace * direction, lower, upper
  )
  rate = settings.cutoff_step * settings.step_size * pace
  # Misclassified with sites to spare: drop more of them. Else allow more.
  change = jnp.where(correct, -rate, rate)
  limit = jnp.clip(memory.cutoff + change, 0, 1)
  # Of squares, so that no root is taken of each site's change.
  far = sites.total(jnp.square(moved - center)) >= jnp.square(limit)
  moved = jnp.where(sites.spread(far), moved, center)
  return restore(moved), _SigmaZero(moved - center, state, limit)
