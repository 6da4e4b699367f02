"""AutoAttack: four to six parameter-free attacks; an example survives all.

Each function returns its attacks by name, in the order to run them;
`snnjax.evaluation.autoattack` runs them on the survivors.
"""

import functools
from collections.abc import Callable, Mapping

from snnjax import losses
from snnjax.attacks.auto_pgd import (
  TargetedLoss,
  auto_pgd,
  shrinking_auto_pgd,
  targeted_auto_pgd,
)
from snnjax.attacks.fab import fab, targeted_fab
from snnjax.attacks.minimal import MinimalAttack, as_attack
from snnjax.attacks.mixtures import within
from snnjax.attacks.nearest import geometry_of
from snnjax.attacks.oracle import eot
from snnjax.attacks.square import square
from snnjax.attacks.threat import Threat
from snnjax.types import Array, Attack, LogitsFn, ScoredLossFn

Norm = Callable[[float | Array], Threat]  # radius -> threat

_SCHEDULE = 10_000  # the queries over which Square's windows shrink


def autoattack_standard(
  logits_fn: LogitsFn,
  norm: Norm,
  epsilon: float | Array,
  *,
  steps: int = 100,
  queries: int = 5000,
  targets: int = 9,
  loss: TargetedLoss = losses.targeted_dlr,
) -> Mapping[str, Attack]:
  """Returns APGD on cross-entropy, APGD-T, FAB-T and Square.

  Under l1, both APGDs run in shrinking balls, the first with five restarts
  and the second towards at most five rivals, as the authors do.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``; its backward rule is the one that
      the white-box attacks follow.
    norm: ``radius -> threat``, such as `linf`.
    epsilon: the radius.
    steps: of each run of APGD and FAB.
    queries: of Square.
    targets: how many rivals; C - 1 if there are fewer.
    loss: of APGD-T; the default needs four classes, `targeted_margin_loss`
      only two.

  Raises:
    ValueError: if a count is below one or the threat is not one norm ball.

  References:
    Francesco Croce, Matthias Hein, 2020, "Reliable evaluation of adversarial
    robustness with an ensemble of diverse parameter-free attacks",
    arXiv 2003.01690; for l1, 2021, arXiv 2103.01208.

  Differs from the authors' code as its parts do: see `auto_pgd`, `fab` and
  `square`.
  """
  sparse = geometry_of(norm(epsilon)).order == 1
  return {
    "apgd_ce": _apgd(
      logits_fn, norm, epsilon, losses.cross_entropy, steps, 5 if sparse else 1
    ),
    "apgd_t": _apgd_t(
      logits_fn, norm, epsilon, loss, steps, min(targets, 5 if sparse else 9)
    ),
    "fab_t": _budgeted(
      targeted_fab(logits_fn, norm(epsilon), steps=steps, targets=targets),
      logits_fn,
      norm(epsilon),
    ),
    "square": _square(logits_fn, norm(epsilon), queries),
  }


def autoattack_plus(
  logits_fn: LogitsFn,
  norm: Norm,
  epsilon: float | Array,
  *,
  steps: int = 100,
  queries: int = 5000,
  targets: int = 9,
  loss: TargetedLoss = losses.targeted_dlr,
) -> Mapping[str, Attack]:
  """Returns the standard attacks, APGD on DLR and untargeted FAB.

  APGD and FAB restart five times.

  Args:
    logits_fn: see `autoattack_standard`.
    norm: ``radius -> threat``.
    epsilon: the radius.
    steps: of each run of APGD and FAB.
    queries: of Square.
    targets: how many rivals; C - 1 if there are fewer.
    loss: of APGD-T.

  Raises:
    ValueError: if a count is below one or the threat is not one norm ball.

  References:
    Croce, Hein 2020, arXiv 2003.01690.
  """
  threat = norm(epsilon)
  run = functools.partial(_apgd, logits_fn, norm, epsilon)
  return {
    "apgd_ce": run(losses.cross_entropy, steps, 5),
    "apgd_dlr": run(losses.dlr, steps, 5),
    "fab": _budgeted(
      fab(logits_fn, threat, steps=steps, restarts=5, rivals=targets),
      logits_fn,
      threat,
    ),
    "square": _square(logits_fn, threat, queries),
    "apgd_t": _apgd_t(logits_fn, norm, epsilon, loss, steps, targets),
    "fab_t": _budgeted(
      targeted_fab(logits_fn, threat, steps=steps, targets=targets),
      logits_fn,
      threat,
    ),
  }


def autoattack_rand(
  logits_fn: LogitsFn,
  norm: Norm,
  epsilon: float | Array,
  *,
  steps: int = 100,
  draws: int = 20,
) -> Mapping[str, Attack]:
  """Returns APGD on cross-entropy and on DLR, averaged over draws.

  For stochastic networks: a random encoder, a stochastic gate.

  Args:
    logits_fn: see `autoattack_standard`.
    norm: ``radius -> threat``.
    epsilon: the radius.
    steps: of each run.
    draws: how many draws each gradient averages.

  Raises:
    ValueError: if a count is below one.

  References:
    Croce, Hein 2020, arXiv 2003.01690.
  """
  return {
    f"apgd_{name}": auto_pgd(
      eot(losses.scored(logits_fn, loss), draws), norm(epsilon), steps=steps
    )
    for name, loss in (("ce", losses.cross_entropy), ("dlr", losses.dlr))
  }


def _apgd(
  logits_fn: LogitsFn,
  norm: Norm,
  epsilon: float | Array,
  loss: losses.LogitsLoss,
  steps: int,
  restarts: int,
) -> Attack:
  source = losses.scored(logits_fn, loss)
  if geometry_of(norm(epsilon)).order == 1:
    return shrinking_auto_pgd(
      source, norm, epsilon, steps=steps, restarts=restarts
    )
  return auto_pgd(source, norm(epsilon), steps=steps, restarts=restarts)


def _apgd_t(
  logits_fn: LogitsFn,
  norm: Norm,
  epsilon: float | Array,
  loss: TargetedLoss,
  steps: int,
  targets: int,
) -> Attack:
  threat = norm(epsilon)
  attack = None
  if geometry_of(threat).order == 1:
    attack = functools.partial(
      shrinking_auto_pgd, norm=norm, epsilon=epsilon, steps=steps
    )
  return targeted_auto_pgd(
    logits_fn,
    threat,
    steps=steps,
    targets=targets,
    loss=loss,
    attack=attack,
  )


def _budgeted(
  attack: MinimalAttack, logits_fn: LogitsFn, threat: Threat
) -> Attack:
  return within(as_attack(attack), _margin(logits_fn), threat)


def _square(logits_fn: LogitsFn, threat: Threat, queries: int) -> Attack:
  return square(_margin(logits_fn), threat, queries=queries, schedule=_SCHEDULE)


def _margin(logits_fn: LogitsFn) -> ScoredLossFn:
  return losses.scored(logits_fn, losses.margin_loss)
