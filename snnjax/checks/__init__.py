"""Alarms: what makes a robust accuracy untrustworthy, and what to do."""

from snnjax.checks.alarms import (
  Alarm,
  Measurements,
  State,
  check,
  graver,
  measured,
)
from snnjax.checks.driver import (
  Effort,
  measure,
  merged,
  parts,
  statistics_change,
)
from snnjax.checks.findings import Finding, Undecided
from snnjax.checks.subject import Examples, Subject
from snnjax.checks.table import CHECKS, Check, Severity

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
  "Undecided",
  "check",
  "graver",
  "measure",
  "measured",
  "merged",
  "parts",
  "statistics_change",
]
