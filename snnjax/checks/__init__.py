"""Alarms: what makes a robust accuracy untrustworthy, and what to do."""

from snnjax.checks.alarms import (
  Alarm,
  Measurements,
  State,
  check,
  keep_graver,
  read_evaluation,
)
from snnjax.checks.decisions import Finding, Undecided, Unmeasured
from snnjax.checks.driver import (
  Effort,
  measure,
  merge,
  parts,
  statistics_change,
)
from snnjax.checks.sentence import Tone, Verdict, verdict
from snnjax.checks.table import CHECKS, Check, Severity
from snnjax.checks.target import Examples, Subject, most_frequent

__all__ = [
  "CHECKS",
  "Alarm",
  "Check",
  "Effort",
  "Examples",
  "Finding",
  "Measurements",
  "Severity",
  "State",
  "Subject",
  "Tone",
  "Undecided",
  "Unmeasured",
  "Verdict",
  "check",
  "keep_graver",
  "measure",
  "merge",
  "most_frequent",
  "parts",
  "read_evaluation",
  "statistics_change",
  "verdict",
]


def __dir__() -> list[str]:
  return sorted(__all__)
