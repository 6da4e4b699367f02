"""Values, alarms and intervals as a person reads them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from snnjax.checks import Alarm, Severity, State
from snnjax.report.record import Column, Row, Value

_NOTHING = "n/a"
_SEVERITIES = {
  Severity.FATAL: "the accuracy means nothing",
  Severity.SERIOUS: "the accuracy is too high",
  Severity.CAUTION: "look closer",
}


def number(value: Value, digits: int = 3, percent: bool = False) -> str:
  """Returns a value with sensible digits; "n/a" where there is none."""
  value = value.item() if isinstance(value, np.generic) else value
  if value is None:
    return _NOTHING
  if isinstance(value, bool):
    return "yes" if value else "no"
  if isinstance(value, str):
    return value
  if isinstance(value, float) and not math.isfinite(value):
    return _NOTHING if math.isnan(value) else str(value)
  if percent:
    return f"{100 * value:.1f} %"
  if isinstance(value, int):
    return f"{value:,}"
  return _significant(value, digits)


def cell(row: Row, column: Column) -> str:
  """Returns what a table shows: the estimate, and its interval if any."""
  estimate = number(row[column.key], column.digits, column.percent)
  if column.interval is None or estimate == _NOTHING:
    return estimate
  low, high = (
    number(row[key], column.digits, column.percent).removesuffix(" %")
    for key in column.interval
  )
  if (low, high) == (_NOTHING, _NOTHING):  # as of the mean of one number
    return estimate
  return f"{estimate} ({low} to {high})"


def is_numeric(column: Column, rows: Any) -> bool:
  """Whether a column holds numbers, so that it is set flush right."""
  values = [row[column.key] for row in rows if row[column.key] is not None]
  return bool(values) and all(
    not isinstance(value, str | bool | np.bool_) for value in values
  )


def evidence(alarm: Alarm) -> str:
  """Returns an alarm's numbers, or why it has none, in one line."""
  if alarm.state in (State.NOT_CHECKED, State.NOT_APPLICABLE):
    missing = ", ".join(map(_words, alarm.missing))
    return alarm.reason or f"not measured: {missing}"
  # An interval's ends stand beside their estimate, not as numbers of their own.
  text = ", ".join(
    _with_interval(name, alarm.evidence)
    for name in alarm.evidence
    if _without_end(name) == name or _without_end(name) not in alarm.evidence
  )
  place = f", radius {alarm.where}" if alarm.where else ""
  if alarm.examples:
    text = f"{text} ({alarm.examples} examples{place})"
  return f"{text}: {alarm.reason}" if alarm.reason else text


def _without_end(name: str) -> str:
  """The name of the number whose interval ends in `name`."""
  return name.removesuffix("_low").removesuffix("_high")


def _with_interval(name: str, evidence: Mapping[str, float]) -> str:
  """A name and its number, with its interval if it has one."""
  ends = [evidence.get(f"{name}_{end}") for end in ("low", "high")]
  share = _is_share(name, evidence[name])
  estimate = f"{_words(name)} {number(evidence[name], percent=share)}"
  if None in ends:
    return estimate
  low, high = (number(end, percent=share).removesuffix(" %") for end in ends)
  return f"{estimate} ({low} to {high})"


def group_alarms(alarms: Iterable[Alarm], state: State) -> list[list[Alarm]]:
  """Returns the alarms of one state, those of one check together.

  The gravest checks come first; within a check, subjects keep their order.
  """
  groups: dict[str, list[Alarm]] = {}
  for alarm in alarms:
    if alarm.state is state:
      groups.setdefault(alarm.name, []).append(alarm)
  return sorted(groups.values(), key=lambda group: -group[0].severity)


def subjects(group: list[Alarm]) -> str:
  """Returns the subjects of one check's alarms, with the numbers of each."""
  numbers = {alarm.subject: evidence(alarm) for alarm in group}
  if len(set(numbers.values())) == 1:  # told once, for all subjects
    names = "; ".join(name for name in numbers if name)
    return ": ".join(part for part in (names, evidence(group[0])) if part)
  return "; ".join(f"{name}: {text}" for name, text in numbers.items())


def severity(alarm: Alarm) -> str:
  """Returns what a fired alarm means, in words."""
  return f"{alarm.severity.name.lower()}: {_SEVERITIES[alarm.severity]}"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
  """Returns nested mappings as dotted names with one-line values."""
  lines: dict[str, str] = {}
  for key, value in tree.items():
    name = f"{prefix}{key}"
    if isinstance(value, Mapping):
      lines |= flatten(value, f"{name}.")
    elif isinstance(value, list | tuple):
      lines[name] = ", ".join(str(item) for item in value)
    else:
      lines[name] = str(value)
  return lines


def _is_share(name: str, value: Value) -> bool:
  """Whether a number of an alarm's evidence is an accuracy or a fraction."""
  marks = ("accuracy", "chance", "fraction", "difference", "limit")
  return isinstance(value, float) and any(mark in name for mark in marks)


def _words(name: str) -> str:
  return name.replace("_", " ")


def _significant(value: float, digits: int) -> str:
  if value == 0:
    return "0"
  if 1e-3 <= abs(value) < 1e6:
    rounded = float(f"{value:.{digits - 1}e}")  # 9.996 is 10.0, not 10.00
    # Positional, with trailing zeros: 0.250 says how well it is known.
    places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:,.{places}f}"
  mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
  return f"{mantissa}e{int(exponent)}"
