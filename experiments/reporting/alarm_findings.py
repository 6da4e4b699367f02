"""Computes the alarms of a network from its evaluation, norm by norm."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.evaluation import alarm_study
from experiments.evaluation.assessment import Assessed
from experiments.reporting import data_tables, findings, remedies
from snnjax import checks, precision
from snnjax import evaluation as evaluating
from snnjax.attacks.kinds import GRADIENT_FREE
from snnjax.evaluation import Case, Cell

# Checks whose answer is the same under every norm.
WITHOUT_NORM = (
  "One class alone",
  "Tuned on the reported examples",
  "Normalisation statistics changed",
  "Classes are missing",
  "Two forward passes differ",
  "Evaluated below float32",
)


def alarms(assessed: Assessed) -> tuple[checks.Alarm, ...]:
  """Returns the alarms of a network.

  Most are about the strongest cell: the largest radius on the last target,
  which is all modalities together. Every norm has its own; what has no norm is
  told once. Accuracies of different radii and attacks are compared, each from
  the attacks of its own cell alone. The worst case of the main table would not
  do: it includes the attacks of all smaller balls, so it could not rise with
  the radius even where an attack fails.
  """
  norms = assessed.plan.norms
  home = _home(assessed)
  return tuple(
    alarm
    for norm in norms
    for alarm in _alarms_of(
      assessed,
      norm,
      assessed.name if len(norms) == 1 else f"{assessed.name} in {norm}",
    )
    if norm == home or alarm.name not in WITHOUT_NORM
  )


def _home(assessed: Assessed) -> str:
  """The norm of the alarms' own attacks; the first where there is none."""
  return alarm_study.norm_of(assessed.config) or assessed.plan.norms[0]


def _alarms_of(
  assessed: Assessed, norm: str, subject: str
) -> tuple[checks.Alarm, ...]:
  """Returns the alarms of one norm."""
  plan, evaluation = assessed.plan, assessed.evaluation
  strongest = plan.strongest_in(norm)
  levels = plan.levels(norm, strongest.target)
  ran = plan.on(strongest)
  rules = [
    case
    for attack in findings.rules_alone(plan, norm).values()
    for case in ran
    if case.attack == attack
  ]

  def robust(cases: Sequence[Case]) -> np.ndarray | None:
    if not cases:
      return None
    selected = findings.select_cases(evaluation, cases)
    # What has not met all that it leaves standing cannot be compared.
    if np.isnan(evaluating.summarize(selected).robust.estimate):
      return None
    return evaluating.worst(selected).robust

  radii = {0.0: evaluation.clean.correct}
  for cell in levels:
    robust_here = robust(plan.on(cell))
    if robust_here is not None:
      radii[cell.radius] = robust_here
  all_cases = [case for cell in levels for case in plan.on(cell)]
  measured = checks.read_evaluation(
    findings.select_cases(evaluation, all_cases)
  )._replace(
    reported_robust=robust(ran),
    one_step_robust=robust(plan.on(strongest, "fgsm")),
    many_steps_robust=robust(rules[:1]),
    epsilons=list(radii),
    epsilon_robust=list(radii.values()),
    **_without_gradient(assessed, strongest),
    own_rule_robust=robust(rules[:1]),
    all_rules_robust=robust(rules),
    rules=len(rules),
    product_bits=precision.BITS[assessed.config.evaluation.precision],
    constant_correct=checks.most_frequent(evaluation.labels),
    large_epsilon_robust=robust(
      [case for case in plan.beside if case.cell.norm == norm]
    ),
  )
  if norm == plan.norms[0]:  # in which gradients are studied
    zero = findings.zero_gradients(assessed)
    measured = measured._replace(zero_gradient=zero)
  if norm == _home(assessed):
    measured = measured._replace(**data_tables.coverage(assessed.used))
  own_alarms = checks.check(
    measured,
    subject,
    examples=len(evaluation.labels),
    where=strongest.words,
  )
  study_norm = alarm_study.norm_of(assessed.config)
  nothing = "evaluation.alarm_examples is 0"
  if assessed.config.evaluation.alarm_examples:
    nothing = f"it is measured in {study_norm or 'linf, l2 or l1'} alone"
  return remedies.add_commands(
    alarm_study.complete(
      own_alarms,
      assessed.alarms if norm == study_norm else None,
      subject,
      nothing,
    )
  )


def _without_gradient(assessed: Assessed, cell: Cell) -> dict[str, Any]:
  """Which examples withstand attacks with, and attacks without gradients.

  Both sides must have tried the same examples, or the comparison is unfair.
  So an attack counts as white box only if it met every example that the white
  box leaves standing. An attack without gradients that met all correct
  examples is reported alone; one that met survivors only is reported together
  with the attacks before it.

  Returns:
    "white_box_robust", [N], and "gradient_free_robust", [N] by attack; empty
    if no white-box attack qualifies.
  """
  attacks = assessed.evaluation.attacks
  free = assessed.plan.on(cell, *GRADIENT_FREE)
  white = [case for case in assessed.plan.on(cell) if case not in free]
  # Leaving one attack out can leave more examples standing, which another
  # attack may not have met: repeat until the selection is stable.
  while True:
    standing = assessed.evaluation.clean.correct.copy()
    for case in white:
      standing &= ~attacks[case.path].success
    thorough = [
      case for case in white if np.all(attacks[case.path].attempted[standing])
    ]
    if thorough == white:
      break
    white = thorough
  if not white:
    return {}
  by_attack, left = {}, standing
  for case in free:
    outcome = attacks[case.path]
    left = left & ~outcome.success
    correct = assessed.evaluation.clean.correct
    alone = bool(np.all(outcome.attempted[correct]))
    by_attack[case.attack.name] = correct & ~outcome.success if alone else left
  return {"white_box_robust": standing, "gradient_free_robust": by_attack}


def unmeasured(left_out: Mapping[str, str]) -> list[checks.Alarm]:
  """Returns the alarms of runs without a result, all in state NOT_CHECKED.

  Args:
    left_out: by run, why it has none.
  """
  return [
    alarm._replace(reason=reason)
    for name, reason in left_out.items()
    for alarm in remedies.add_commands(
      checks.check(checks.Measurements(), name)
    )
  ]
