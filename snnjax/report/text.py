"""A record as JSON, CSV and Markdown."""

import csv
import io
import json
from typing import Any

from snnjax.checks import Alarm, State, verdict
from snnjax.report import wording
from snnjax.report.record import (
  Figure,
  Record,
  Section,
  Table,
  all_keys,
  jsonable,
)

SCHEMA = "snnjax.report"
VERSION = 1


def to_json(record: Record) -> str:
  """Returns the record as strict JSON.

  ``{"schema": "snnjax.report", "version": 1, "title", "summary", "verdict",
  "alarms", "sections", "provenance"}``. Numbers that are not finite (NaN,
  infinite) are null; so is what was not measured. Pictures are named by path.
  """
  summary = verdict(record.alarms)
  document = {
    "schema": SCHEMA,
    "version": VERSION,
    "title": record.title,
    "summary": record.summary,
    "verdict": {"tone": summary.tone.value, "text": summary.text},
    "alarms": [_alarm(alarm) for alarm in record.alarms],
    "sections": [_section(section) for section in record.sections],
    "provenance": jsonable(record.provenance, "provenance"),
  }
  return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)


def figure_json(figure: Figure) -> str:
  """Returns the numbers behind a figure as strict JSON, see `to_json`."""
  document = {
    "schema": f"{SCHEMA}.figure",
    "version": VERSION,
    "name": figure.name,
    "title": figure.title,
    "caption": figure.caption,
    "alt": figure.alt,
    "data": jsonable(figure.data, f"figure {figure.name!r} data"),
  }
  return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)


def to_csv(table: Table) -> str:
  """Returns the table as CSV with a header of keys, in full precision.

  What was not measured is an empty cell; NaN and infinities are ``nan`` and
  ``inf``.
  """
  stream = io.StringIO()
  writer = csv.DictWriter(stream, all_keys(table), lineterminator="\n")
  writer.writeheader()
  writer.writerows(table.rows)
  return stream.getvalue()


def to_markdown(record: Record) -> str:
  """Returns the record as Markdown; pictures are links to their files."""
  parts = [f"# {record.title}", _alarms(record), record.summary]
  for section in record.sections:
    parts += [f"## {section.title}", section.text]
    for table in section.tables:
      parts += [f"### {table.title}", table.caption, _table(table)]
    for figure in section.figures:
      picture = f"![{_one_line(figure.alt)}](figures/{figure.name}.png)"
      parts += [f"### {figure.title}", picture, figure.caption]
  rows = wording.flatten(record.provenance)
  parts += [
    "## Provenance",
    "\n".join(f"- {name}: {_one_line(value)}" for name, value in rows.items()),
  ]
  return "\n\n".join(part for part in parts if part) + "\n"


def _alarms(record: Record) -> str:
  lines = ["## Alarms", "", verdict(record.alarms).text, ""]
  for group in wording.group_alarms(record.alarms, State.FIRED):
    first = group[0]
    lines.append(
      f"- **{first.name}** ({wording.severity(first)}): {first.cause} "
      f"Evidence: {wording.subjects(group)}. Remedy: {first.remedy}"
    )
  for state in State:
    if state is State.FIRED:
      continue
    for group in wording.group_alarms(record.alarms, state):
      numbers = wording.subjects(group)
      lines.append(f"- {group[0].name}: {state.value} ({numbers})")
  return "\n".join(lines)


def _table(table: Table) -> str:
  def line(cells: list[str]) -> str:
    return (
      "| " + " | ".join(_one_line(c).replace("|", "\\|") for c in cells) + " |"
    )

  # Markdown has no other way to set numbers flush right.
  rules = [
    "---:" if wording.is_numeric(column, table.rows) else ":---"
    for column in table.columns
  ]
  return "\n".join(
    [
      line([column.header for column in table.columns]),
      "| " + " | ".join(rules) + " |",
      *(
        line([wording.cell(row, column) for column in table.columns])
        for row in table.rows
      ),
    ]
  )


def _one_line(text: str) -> str:
  return " ".join(text.split())


def _alarm(alarm: Alarm) -> dict[str, Any]:
  return {
    "name": alarm.name,
    "subject": alarm.subject,
    "state": alarm.state.value,
    "severity": alarm.severity.name.lower(),
    "cause": alarm.cause,
    "remedy": alarm.remedy,
    "evidence": jsonable(alarm.evidence, f"alarm {alarm.name!r} evidence"),
    "missing": list(alarm.missing),
    "reason": alarm.reason,
    "examples": alarm.examples or None,
    "where": alarm.where,
  }


def _section(section: Section) -> dict[str, Any]:
  return {
    "title": section.title,
    "text": section.text,
    "tables": [
      {
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "columns": [column._asdict() for column in table.columns],
        "rows": jsonable(table.rows, f"table {table.name!r}"),
        "csv": f"tables/{table.name}.csv",
      }
      for table in section.tables
    ],
    "figures": [
      {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "alt": figure.alt,
        "png": f"figures/{figure.name}.png",
        "data": f"figures/{figure.name}.json",
      }
      for figure in section.figures
    ],
  }
