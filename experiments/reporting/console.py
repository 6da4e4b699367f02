"""The plain text that a binary ends with: accuracies and alarms."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from experiments.evaluation.assessment import Assessed
from experiments.reporting import accuracy_table, alarm_findings
from snnjax import checks
from snnjax.checks import Alarm, State
from snnjax.report import Table, wording

_WITH_INTERVAL = ("clean", "robust")  # a line has no room for more intervals


def networks(
  assessed: Sequence[Assessed],
  left_out: Mapping[str, str] = MappingProxyType({}),
) -> str:
  """Returns clean and worst-case accuracy at every radius, and the alarms.

  Args:
    assessed: evaluated alike.
    left_out: by run that was to be among them, why it is not.
  """
  all_alarms = [
    alarm for network in assessed for alarm in alarm_findings.alarms(network)
  ]
  all_alarms += alarm_findings.unmeasured(left_out)
  parts = [
    table(accuracy_table.table(assessed)),
    *(f"{name} is not reported: {why}." for name, why in left_out.items()),
    alarms(all_alarms),
  ]
  return "\n\n".join(parts)


def alarms(all_alarms: Iterable[Alarm]) -> str:
  """Returns the verdict, what fired with its evidence, and what is open."""
  listed = list(all_alarms)
  return "\n".join(
    [
      checks.verdict(listed).text,
      *(
        f"- {group[0].name} ({wording.severity(group[0])}): "
        f"{wording.subjects(group)}. Remedy: {group[0].remedy}"
        for group in wording.group_alarms(listed, State.FIRED)
      ),
      *(
        f"- {state.value}: "
        + "; ".join(
          group[0].name for group in wording.group_alarms(listed, state)
        )
        for state in (State.UNDECIDED, State.NOT_CHECKED)
        if wording.group_alarms(listed, state)
      ),
    ]
  )


def table(shown: Table) -> str:
  """Returns a table as plain text, the intervals of the main columns too."""
  columns = [
    column if column.key in _WITH_INTERVAL else column._replace(interval=None)
    for column in shown.columns
  ]
  rows: list[list[str]] = [
    [wording.cell(row, column) for column in columns] for row in shown.rows
  ]
  heads = [column.header for column in columns]
  widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
  return "\n".join(
    "  ".join(
      word.ljust(width) for word, width in zip(line, widths, strict=True)
    ).rstrip()
    for line in [heads, ["-" * width for width in widths], *rows]
  )
