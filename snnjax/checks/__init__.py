"""Alarms: what makes a robust accuracy untrustworthy, and what to do."""

from snnjax.checks.alarms import (
  CHECKS,
  Alarm,
  Check,
  Measurements,
  Severity,
  State,
  check,
  measured,
)
from snnjax.checks.driver import measure, merged, statistics_change
from snnjax.checks.findings import Finding
from snnjax.checks.subject import Examples, Subject

__all__ = [
  "CHECKS",
  "Alarm",
  "Check",
  "Examples",
  "Finding",
  "Measurements",
  "Severity",
  "State",
  "Subject",
  "check",
  "measure",
  "measured",
  "merged",
  "statistics_change",
]
