"""SLIDE: projected gradient ascent along sparse l1 steps."""

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.attacks.candidates import Keep, success_then_loss
from snnjax.attacks.gradient.fgsm_pgd import pgd
from snnjax.attacks.oracles import Source
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.norms import Room, sparse_direction, split
from snnjax.attacks.threats.threat import Threat, check_threat, norm_of
from snnjax.interfaces import Array, Attack, Inputs
from snnjax.losses import LogitsLoss
from snnjax.validation import check_range, is_concrete


def slide(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  step_size: ravel.Amounts | None = None,
  quantile: float = 0.99,
  random_start: bool = True,
  restarts: int = 1,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns the sparse l1 descent attack.

  PGD whose steps of l1 length `step_size` are spread evenly over the
  coordinates with the largest gradients, those above the `quantile`, leaving
  out the ones that stand at the wall they would be pushed into.

  Args:
    source: a logits function, or an oracle.
    threat: an l1 threat, or one for each modality that may change; its own
      steps are replaced.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many.
    step_size: l1 length of a step, in input units; None as in `pgd`.
    quantile: the share of coordinates that a step leaves alone.
    random_start: whether to start at a sample of the threat.
    restarts: how many runs to choose from.
    keep: see `ascend`.

  Raises:
    ValueError: if an argument is out of range, or the threat is not l1.

  References:
    Florian Tramer, Dan Boneh, 2019, "Adversarial training and robustness for
    multiple perturbations", arXiv 1904.13000.

  Differs from the authors' code in the projection: theirs is onto the ball,
  then clipped to the box; ours is onto both together.
  """
  check_range("quantile", quantile, 0.0, 1.0)
  return pgd(
    source,
    sparse_steps(threat, 1 - quantile),
    loss=loss,
    steps=steps,
    step_size=step_size,
    random_start=random_start,
    restarts=restarts,
    keep=keep,
  )


def sparse_steps(threat: Threat, fraction: float) -> Threat:
  """Returns a threat whose steps are those of SLIDE.

  For any attack along the steps of a threat: `steepest(sparse_steps(threat,
  0.01))` makes `ascend_recorded` follow SLIDE, `fgsm` takes one such step.

  Args:
    threat: an l1 threat, or one for each modality that may change.
    fraction: the share of each modality's coordinates that a step moves, one
      at least: 1 less the quantile of `slide`.

  Raises:
    ValueError: if the fraction is out of range, or the threat is not l1.
  """
  check_threat(threat)
  check_range("fraction", fraction, 0.0, 1.0)
  # The steps are those of l1; a modality that may not change has no say.
  norm = norm_of(threat)
  for order, radius in zip(
    norm.orders, jax.tree.leaves(threat.radius), strict=True
  ):
    if order != 1 and not _is_empty(radius):
      raise ValueError(
        f"threat must be of order 1 for SLIDE; got order {order}"
      )

  def ascent(gradient: Inputs, candidate: Inputs) -> Inputs:
    rows, restore = norm.rows(candidate)
    slope, room = norm.slopes(gradient), norm.room(candidate)
    # Each block, that is each modality's ball, has its own largest gradients.
    parts = (
      split(matrix, norm.blocks(candidate)) for matrix in (slope, rows, *room)
    )
    directions = [
      sparse_direction(slope, here, Room(lower, upper), fraction)
      for slope, here, lower, upper in zip(*parts, strict=True)
    ]
    return restore(jnp.concatenate(directions, 1))

  return threat._replace(ascent=ascent)


def _is_empty(radius: float | Array) -> bool:
  """Returns whether nothing may change, as far as that is known."""
  return is_concrete(radius) and not np.any(np.asarray(radius))
