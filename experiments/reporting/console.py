"""What a binary says at its end: accuracies, and the alarms with them."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from experiments.evaluation.assessment import Assessed
from experiments.reporting import accuracy_table, findings
from snnjax import checks
from snnjax.checks import Alarm, State
from snnjax.report import Table, wording

_WHOLE = ("clean", "robust")  # columns that a line has room for the interval of


def networks(
  assessed: Sequence[Assessed],
  left_out: Mapping[str, str] = MappingProxyType({}),
) -> str:
  """Returns clean and worst-case accuracy at every radius, and the alarms.

  Args:
    assessed: evaluated alike.
    left_out: by run that was to be among them, why it is not.
  """
  found = [alarm for each in assessed for alarm in findings.alarms(each)]
  found += findings.unmeasured(left_out)
  parts = [
    table(accuracy_table.table(assessed)),
    *(f"{name} is not reported: {why}." for name, why in left_out.items()),
    alarms(found),
  ]
  return "\n\n".join(parts)


def alarms(found: Iterable[Alarm]) -> str:
  """Returns the verdict, what fired with its evidence, and what is open."""
  kept = list(found)
  return "\n".join(
    [
      checks.verdict(kept).text,
      *(
        f"- {group[0].name} ({wording.severity(group[0])}): "
        f"{wording.subjects(group)}. Remedy: {group[0].remedy}"
        for group in wording.group_alarms(kept, State.FIRED)
      ),
      *(
        f"- {state.value}: "
        + "; ".join(
          group[0].name for group in wording.group_alarms(kept, state)
        )
        for state in (State.UNDECIDED, State.NOT_CHECKED)
        if wording.group_alarms(kept, state)
      ),
    ]
  )


def table(shown: Table) -> str:
  """Returns a table as plain text, the intervals of the main columns too."""
  columns = [
    column if column.key in _WHOLE else column._replace(interval=None)
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
