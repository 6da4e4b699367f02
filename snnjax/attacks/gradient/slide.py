"""SLIDE: projected gradient ascent along sparse l1 steps."""

import numpy as np

from snnjax.attacks.candidates import Keep, strongest
from snnjax.attacks.gradient.fgsm_pgd import pgd
from snnjax.attacks.oracles import Source
from snnjax.attacks.threats import balls, ravel
from snnjax.attacks.threats.gauge import geometry_of
from snnjax.attacks.threats.modalities import per_modality
from snnjax.attacks.threats.threat import Threat, check_threat
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
  keep: Keep = strongest,
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
  ball = balls.l1_ball(1 - quantile)
  return pgd(
    source,
    _sparse(threat, ball),
    loss=loss,
    steps=steps,
    step_size=step_size,
    random_start=random_start,
    restarts=restarts,
    keep=keep,
  )


def _sparse(threat: Threat, ball: balls.Ball) -> Threat:
  """Returns the threat with the steps of a ball, in every modality."""
  check_threat(threat)
  if threat.parts is not None:
    return per_modality(
      {
        name: part if _is_empty(part) else _sparse(part, ball)
        for name, part in threat.parts.items()
      }
    )
  geometry = geometry_of(threat)
  if geometry.order != 1:
    raise ValueError(
      f"threat must be of order 1 for SLIDE; got order {geometry.order}"
    )

  def ascent(gradient: Inputs, candidate: Inputs) -> Inputs:
    rows, restore = geometry.rows(candidate)
    slope: Array = geometry.slopes(gradient)
    return restore(ball.direction(slope, rows, geometry.room(candidate)))

  return threat._replace(ascent=ascent)


def _is_empty(threat: Threat) -> bool:
  """Returns whether nothing may change, as far as that is known."""
  radius = threat.radius
  return is_concrete(radius) and not np.any(np.asarray(radius))
