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
from snnjax.checks.findings import Finding

__all__ = [
  "CHECKS",
  "Alarm",
  "Check",
  "Finding",
  "Measurements",
  "Severity",
  "State",
  "check",
  "measured",
]
