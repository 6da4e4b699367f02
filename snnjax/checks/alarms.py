"""Measured numbers, and the alarms that they raise."""

import enum
import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from snnjax.checks.findings import Undecided
from snnjax.checks.table import CHECKS, Check, Severity
from snnjax.evaluation import Evaluation, summarize
from snnjax.evaluation.summary import each_attack


class State(enum.Enum):
  """Where an alarm stands."""

  FIRED = "fired"
  SILENT = "silent"
  NOT_CHECKED = "not checked"
  NOT_APPLICABLE = "not applicable"


class Alarm(NamedTuple):
  """What one check found.

  Attributes:
    name: the check's name, in words.
    state: fired, silent, not checked, or without meaning here.
    severity: what it means if it fires.
    cause: what it tells when it fires.
    remedy: what to do then.
    evidence: the numbers it was decided by; empty if it was not decided.
    missing: the measurements it lacked, if it was not checked.
    subject: what was checked: a network, an attack, a modality.
    reason: why it was not decided, in words, where that is known.
    examples: how many examples its numbers are from; 0 if that is not known.
    where: the radius they were attacked within, in words, if that is known.
  """

  name: str
  state: State
  severity: Severity
  cause: str
  remedy: str
  evidence: Mapping[str, float]
  missing: tuple[str, ...] = ()
  subject: str = ""
  reason: str = ""
  examples: int = 0
  where: str = ""

  @property
  def fired(self) -> bool:
    """Whether the alarm fired; False also if it was not checked."""
    return self.state is State.FIRED


class Measurements(NamedTuple):
  """What the alarms look at; None where it was not measured.

  Accuracies are over all examples, in [0, 1]. The fields are the parameters
  of the functions in `findings` and `coverage`, described there; and
  `reasons`, which maps a field to the reason why it cannot be measured here,
  in words.
  """

  one_step_accuracy: float | None = None
  many_step_accuracy: float | None = None
  accuracy: float | None = None
  doubled_steps_accuracy: float | None = None
  epsilons: Sequence[float] | None = None
  epsilon_accuracies: Sequence[float] | None = None
  large_epsilon_accuracy: float | None = None
  chance: float | None = None
  white_box_accuracy: float | None = None
  gradient_free_accuracies: Mapping[str, float] | None = None
  zero_gradient_fraction: float | None = None
  own_rule_accuracy: float | None = None
  all_rules_accuracy: float | None = None
  rules: int | None = None
  finite_difference_cosine: float | None = None
  ten_draws_accuracy: float | None = None
  twenty_draws_accuracy: float | None = None
  differing_forwards: int | None = None
  statistics_change: float | None = None
  outside: int | None = None
  non_finite: int | None = None
  one_restart_accuracy: float | None = None
  ten_restarts_accuracy: float | None = None
  loss_accuracies: Mapping[str, float] | None = None
  reported_accuracy: float | None = None
  differing_alone: int | None = None
  tuning_indices: Collection[int] | None = None
  reported_indices: Collection[int] | None = None
  disagreeing_claims: int | None = None
  missing_classes: Mapping[str, int] | None = None
  num_classes: int | None = None
  reasons: Mapping[str, str] | None = None


_ORDER = (
  State.FIRED,
  State.NOT_CHECKED,
  State.SILENT,
  State.NOT_APPLICABLE,
)


def check(
  measurements: Measurements,
  subject: str = "",
  checks: Sequence[Check] = CHECKS,
  examples: int = 0,
  where: str = "",
) -> tuple[Alarm, ...]:
  """Returns one alarm per check: the fired first, the gravest foremost.

  Args:
    measurements: what was measured.
    subject: what it was measured on; repeated in each alarm.
    checks: the table; the order within a severity is kept.
    examples: how many examples it was measured on; repeated in each alarm.
    where: the radius they were attacked within; repeated in each alarm.

  Returns:
    Fired alarms, then those not checked, the silent ones, and those that do
    not apply.
  """
  found = (_alarm(measurements, subject, line) for line in checks)
  return _ordered(
    alarm._replace(examples=examples, where=where) for alarm in found
  )


def graver(
  first: Iterable[Alarm], second: Iterable[Alarm]
) -> tuple[Alarm, ...]:
  """Returns of each check the graver of two alarms, in the order of `check`.

  What fired on either counts; else what was silent; then what does not apply.

  Args:
    first: of one network; preferred where both say the same.
    second: of the same network, measured otherwise: on other examples, or by
      other attacks.
  """
  rank = (
    State.FIRED,
    State.SILENT,
    State.NOT_APPLICABLE,
    State.NOT_CHECKED,
  )
  kept: dict[tuple[str, str], Alarm] = {}
  for alarm in (*first, *second):
    held = kept.setdefault((alarm.name, alarm.subject), alarm)
    if rank.index(alarm.state) < rank.index(held.state):
      kept[alarm.name, alarm.subject] = alarm
  return _ordered(kept.values())


def measured(evaluation: Evaluation) -> Measurements:
  """Returns what one evaluation tells; add the rest with ``_replace``.

  Where `summarize` refuses to give an accuracy, or has none, there is none
  here; outputs outside raise their alarm.
  """
  clean = evaluation.clean
  attacks = each_attack(evaluation).values()
  fractions = [a.zero_gradient for a in attacks if a.zero_gradient is not None]
  outside = sum(attack.outside for attack in attacks)
  robust = np.nan if outside else summarize(evaluation).robust.estimate
  accuracy = None if np.isnan(robust) else robust
  return Measurements(
    accuracy=accuracy,
    reported_accuracy=accuracy,
    zero_gradient_fraction=max(fractions, default=None),
    differing_forwards=int(np.sum(~clean.repeatable)),
    outside=outside,
    non_finite=int(np.sum(~clean.finite)) + sum(a.non_finite for a in attacks),
    disagreeing_claims=sum(attack.disagreeing for attack in attacks),
    reported_indices=frozenset(evaluation.indices.tolist()),
  )


def _ordered(alarms: Iterable[Alarm]) -> tuple[Alarm, ...]:
  return tuple(
    sorted(alarms, key=lambda a: (_ORDER.index(a.state), -a.severity))
  )


def _alarm(measurements: Measurements, subject: str, line: Check) -> Alarm:
  wanted = inspect.signature(line.decide).parameters
  values = {name: getattr(measurements, name) for name in wanted}
  missing = tuple(name for name, value in values.items() if value is None)
  alarm = Alarm(
    name=line.name,
    state=State.NOT_CHECKED,
    severity=line.severity,
    cause=line.cause,
    remedy=line.remedy,
    evidence={},
    missing=missing,
    subject=subject,
  )
  if missing:
    known = measurements.reasons or {}
    reasons = dict.fromkeys(known[name] for name in missing if name in known)
    if not reasons:
      return alarm
    return alarm._replace(state=State.NOT_APPLICABLE, reason="; ".join(reasons))
  finding = line.decide(**values)
  if isinstance(finding, Undecided):
    return alarm._replace(reason=finding.reason)
  return alarm._replace(
    state=State.FIRED if finding.fired else State.SILENT,
    evidence=dict(finding.evidence),
  )
