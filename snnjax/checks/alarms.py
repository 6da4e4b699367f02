"""Measured numbers, and the alarms that they raise."""

import enum
import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from snnjax.checks.decisions import Undecided, Unmeasured
from snnjax.checks.table import CHECKS, Check, Severity
from snnjax.evaluation import Evaluation, summarize, worst
from snnjax.evaluation.summary import summarize_attacks


class State(enum.Enum):
  """Whether an alarm fired, or how far its check came.

  A check has passed only if it was measured on enough examples to decide.
  """

  FIRED = "fired"
  UNDECIDED = "undecided"
  NOT_CHECKED = "not checked"
  PASSED = "passed"
  NOT_APPLICABLE = "not applicable"


class Alarm(NamedTuple):
  """The result of one check.

  Attributes:
    name: the check's name, in words.
    state: where it stands.
    severity: what it means if it fires.
    cause: what it tells when it fires.
    remedy: what to do then.
    evidence: the numbers it was decided by, or left open by; empty if there
      are none.
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
    """Whether the alarm fired; False also if it was not decided."""
    return self.state is State.FIRED


class Measurements(NamedTuple):
  """The numbers that alarms are decided by; None where not measured.

  Names that end in ``_robust`` are booleans [N], one per example: correct, and
  not broken by the attack. The fields are the parameters of the functions in
  `criteria` and `coverage`, described there. `reasons` maps a field to the
  reason why it cannot be measured here, in words.
  """

  one_step_robust: np.ndarray | None = None
  many_steps_robust: np.ndarray | None = None
  steps_robust: np.ndarray | None = None
  doubled_steps_robust: np.ndarray | None = None
  epsilons: Sequence[float] | None = None
  epsilon_robust: Sequence[np.ndarray] | None = None
  large_epsilon_robust: np.ndarray | None = None
  constant_correct: np.ndarray | None = None
  white_box_robust: np.ndarray | None = None
  gradient_free_robust: Mapping[str, np.ndarray] | None = None
  zero_gradient: Mapping[str, np.ndarray] | None = None
  own_rule_robust: np.ndarray | None = None
  all_rules_robust: np.ndarray | None = None
  rules: int | None = None
  finite_difference_cosines: Mapping[str, np.ndarray] | None = None
  ten_draws_robust: np.ndarray | None = None
  twenty_draws_robust: np.ndarray | None = None
  differing_forwards: int | None = None
  forwards: int | None = None
  statistics_change: float | None = None
  product_bits: int | None = None
  outside: int | None = None
  non_finite: int | None = None
  outputs: int | None = None
  one_restart_robust: np.ndarray | None = None
  ten_restarts_robust: np.ndarray | None = None
  loss_robust: Mapping[str, np.ndarray] | None = None
  reported_robust: np.ndarray | None = None
  differing_alone: int | None = None
  attacked_alone: int | None = None
  tuning_indices: Collection[int] | None = None
  reported_indices: Collection[int] | None = None
  disagreeing_claims: int | None = None
  missing_classes: Mapping[str, int] | None = None
  num_classes: int | None = None
  reasons: Mapping[str, str] | None = None


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
    In the order of `State`: fired alarms first.
  """
  alarms = (_alarm(measurements, subject, line) for line in checks)
  return _sort(
    alarm._replace(examples=examples, where=where) for alarm in alarms
  )


def keep_graver(
  first: Iterable[Alarm], second: Iterable[Alarm]
) -> tuple[Alarm, ...]:
  """Returns the graver of two alarms of each check, in the order of `check`.

  An alarm that fired on either side counts. Otherwise one that passed counts,
  except against an undecided one with evidence that the passed one lacks: then
  the check stays undecided.

  Args:
    first: of one network; preferred where both say the same.
    second: of the same network, measured otherwise: on other examples, or by
      other attacks.
  """
  gravest: dict[tuple[str, str], Alarm] = {}
  for alarm in (*first, *second):
    earlier = gravest.setdefault((alarm.name, alarm.subject), alarm)
    gravest[alarm.name, alarm.subject] = _keep_graver(earlier, alarm)
  return _sort(gravest.values())


def _keep_graver(alarm: Alarm, other: Alarm) -> Alarm:
  rank = (
    State.FIRED,
    State.PASSED,
    State.UNDECIDED,
    State.NOT_APPLICABLE,
    State.NOT_CHECKED,
  )
  first, second = sorted((alarm, other), key=lambda a: rank.index(a.state))
  # Many examples may answer what few left open, but only about the numbers
  # that they looked at too.
  if (first.state, second.state) == (State.PASSED, State.UNDECIDED):
    return first if set(second.evidence) <= set(first.evidence) else second
  return first


def read_evaluation(evaluation: Evaluation) -> Measurements:
  """Returns the measurements that an evaluation already holds.

  All other fields are None; add them with ``_replace``. `reported_robust` is
  None as well where `summarize` would refuse an accuracy, because an output
  left ball or box, or has none to give.
  """
  clean = evaluation.clean
  attacks = summarize_attacks(evaluation).values()
  outside = sum(attack.outside for attack in attacks)
  # `worst` would raise; an unjudged evaluation still has other measurements.
  judged = not (outside or np.isnan(summarize(evaluation).robust.estimate))
  return Measurements(
    reported_robust=worst(evaluation).robust if judged else None,
    zero_gradient=_zero_gradient(evaluation),
    differing_forwards=int(np.sum(~clean.repeatable)),
    forwards=len(clean.repeatable),
    outside=outside,
    non_finite=int(np.sum(~clean.finite)) + sum(a.non_finite for a in attacks),
    outputs=sum(attack.attempted for attack in attacks),
    disagreeing_claims=sum(attack.disagreeing for attack in attacks),
    reported_indices=frozenset(evaluation.indices.tolist()),
  )


def _zero_gradient(evaluation: Evaluation) -> dict[str, np.ndarray] | None:
  """The examples with zero gradients, of the attack that met most of them.

  None if no attack looked at a gradient.
  """
  known = [
    outcome.zero_gradient[outcome.attempted & ~np.isnan(outcome.zero_gradient)]
    for outcome in evaluation.attacks.values()
  ]
  shares = [values != 0 for values in known if len(values)]
  if not shares:
    return None
  return {"ends": max(shares, key=lambda zero: float(zero.mean()))}


def _sort(alarms: Iterable[Alarm]) -> tuple[Alarm, ...]:
  order = tuple(State)
  return tuple(
    sorted(alarms, key=lambda a: (order.index(a.state), -a.severity))
  )


def _alarm(measurements: Measurements, subject: str, line: Check) -> Alarm:
  # A check asks for what its decision has parameters for: the table needs no
  # list of fields that could disagree with the function.
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
  # A reason why it cannot be measured tells "does not apply" from "was not
  # done".
  if missing:
    known = measurements.reasons or {}
    reasons = dict.fromkeys(known[name] for name in missing if name in known)
    if not reasons:
      return alarm
    return alarm._replace(state=State.NOT_APPLICABLE, reason="; ".join(reasons))
  finding = line.decide(**values)
  if isinstance(finding, Unmeasured):
    return alarm._replace(reason=finding.reason)
  if isinstance(finding, Undecided):
    return alarm._replace(
      state=State.UNDECIDED,
      reason=finding.reason,
      evidence=dict(finding.evidence),
    )
  return alarm._replace(
    state=State.FIRED if finding.fired else State.PASSED,
    evidence=dict(finding.evidence),
  )
