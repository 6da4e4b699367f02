"""A record as one HTML page that needs nothing else: no network, no script."""

import base64
import html
from collections.abc import Sequence

from snnjax.checks import Alarm, State, verdict
from snnjax.report import wording
from snnjax.report.record import Column, Figure, Record, Section, Table

_SHORT = 32  # letters of a cell that stays on one line
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --soft: #5b6472;
  --paper: #ffffff; --panel: #f5f6f8; --line: #dcdfe5; --link: #0b57a4;
  --fired: #a3261b; --fired-panel: #fdecea; --quiet: #2c6e49;
  --open: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec;
  --soft: #a3abb8; --paper: #15181d; --panel: #1e2229; --line: #343a44;
  --link: #7db7f2; --fired: #ff9d92; --fired-panel: #3a1d1a;
  --quiet: #84cfa4; --open: #e8b95a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.35rem; margin: 2.75rem 0 .5rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .25rem; }
p { max-width: 46rem; margin: .5rem 0; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0;
  margin: 1.5rem 0 0; list-style: none; font-size: .95rem; }
.caption { color: var(--soft); font-size: .95rem; }
.scroll { overflow-x: auto; margin: .75rem 0 1.25rem;
  border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .8rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { background: var(--panel); font-weight: 600; }
tbody th { font-weight: 500; }
.short { white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
figure { margin: .75rem 0 1.5rem; }
figure img { display: block; max-width: 100%; height: auto; padding: .5rem;
  background: #ffffff; border: 1px solid var(--line); border-radius: 8px; }
figcaption { margin-top: .5rem; max-width: 46rem; color: var(--soft);
  font-size: .95rem; }
.alarm { margin: .75rem 0; padding: .75rem 1rem; border-radius: 8px;
  background: var(--fired-panel); border-left: 5px solid var(--fired); }
.alarm h3 { margin: 0 0 .25rem; color: var(--fired); }
.alarm p { margin: .2rem 0; }
.clear, .open, .fired { font-weight: 600; font-size: 1.1rem; }
.clear { color: var(--quiet); }
.open { color: var(--open); }
.fired { color: var(--fired); }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--link); }
details li { margin: .25rem 0; }
@media print { body { max-width: none; } .scroll { overflow: visible; } }
"""


def to_html(record: Record) -> str:
  """Returns the record as one page: alarms first, pictures embedded."""
  titles = ["Alarms", *(s.title for s in record.sections), "Provenance"]
  links = "".join(
    f'<li><a href="#part-{n}">{_text(title)}</a></li>'
    for n, title in enumerate(titles)
  )
  sections = "".join(
    _section(section, n) for n, section in enumerate(record.sections, 1)
  )
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f"<title>{_text(record.title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
    f"<body>\n<header><h1>{_text(record.title)}</h1></header>\n"
    f"<main>\n{_alarms(record.alarms)}\n"
    f"{_paragraphs(record.summary)}\n<nav><ul>{links}</ul></nav>\n"
    f"{sections}\n{_provenance(record, len(record.sections) + 1)}\n"
    "</main>\n</body>\n</html>\n"
  )


def _text(text: str) -> str:
  return html.escape(text, quote=True)


def _paragraphs(text: str, kind: str = "") -> str:
  marked = f' class="{kind}"' if kind else ""
  return "".join(
    f"<p{marked}>{_text(' '.join(part.split()))}</p>\n"
    for part in text.split("\n\n")
    if part.strip()
  )


def _alarms(alarms: Sequence[Alarm]) -> str:
  summary = verdict(alarms)
  fired = "".join(map(_alarm_box, wording.group_alarms(alarms, State.FIRED)))
  quiet = "".join(
    _check_list(state, wording.group_alarms(alarms, state))
    for state in State
    if state is not State.FIRED
  )
  return (
    f'<section id="part-0"><h2>Alarms</h2>\n'
    f'<p class="{summary.tone.value}">{_text(summary.sentence)}</p>\n'
    f"{_paragraphs(summary.counts)}{fired}{quiet}</section>"
  )


def _alarm_box(group: list[Alarm]) -> str:
  first = group[0]
  return (
    f'<div class="alarm" role="alert"><h3>{_text(first.name)}</h3>\n'
    f"<p><strong>{_text(wording.severity(first).capitalize())}.</strong> "
    f"{_text(first.cause)}</p>\n"
    f"<p>Evidence: {_text(wording.subjects(group))}.</p>\n"
    f"<p>Remedy: {_text(first.remedy)}</p></div>\n"
  )


def _check_list(state: State, groups: list[list[Alarm]]) -> str:
  """A list of checks: unfolded while they are undecided or not checked."""
  if not groups:
    return ""
  shown = " open" if state in (State.UNDECIDED, State.NOT_CHECKED) else ""
  items = "".join(
    f"<li>{_text(group[0].name)} "
    f'<span class="caption">({_text(wording.subjects(group))})</span></li>'
    for group in groups
  )
  title = f"{state.value.capitalize()} ({len(groups)})"
  return (
    f"<details{shown}><summary>{title}</summary><ul>{items}</ul></details>\n"
  )


def _section(section: Section, number: int) -> str:
  tables = "".join(_table(table) for table in section.tables)
  figures = "".join(_figure(figure) for figure in section.figures)
  return (
    f'<section id="part-{number}"><h2>{_text(section.title)}</h2>\n'
    f"{_paragraphs(section.text)}{tables}{figures}</section>\n"
  )


def _table(table: Table) -> str:
  marks = [_mark(column, table) for column in table.columns]
  heads = "".join(
    f'<th scope="col"{mark}>{_text(column.header)}</th>'
    for column, mark in zip(table.columns, marks, strict=True)
  )
  body = []
  for row in table.rows:
    cells = [
      f"<td{mark}>{_text(wording.cell(row, column))}</td>"
      for column, mark in zip(table.columns, marks, strict=True)
    ]
    body.append(f"<tr>{''.join(cells)}</tr>")
  return (
    f"<h3>{_text(table.title)}</h3>\n{_paragraphs(table.caption, 'caption')}"
    f'<div class="scroll" tabindex="0" role="region" '
    f'aria-label="{_text(table.title)}"><table><thead><tr>{heads}</tr></thead>'
    f"<tbody>{''.join(body)}</tbody></table></div>\n"
  )


def _mark(column: Column, table: Table) -> str:
  """A column's class: numbers are set flush right, short texts unbroken."""
  if wording.is_numeric(column, table.rows):
    return ' class="number"'
  cells = [wording.cell(row, column) for row in table.rows]
  short = max(map(len, cells), default=0) <= _SHORT
  return ' class="short"' if short else ""


def _figure(figure: Figure) -> str:
  picture = base64.b64encode(figure.png).decode()
  return (
    f"<h3>{_text(figure.title)}</h3>\n<figure>"
    f'<img src="data:image/png;base64,{picture}" alt="{_text(figure.alt)}">'
    f"<figcaption>{_text(figure.caption)}</figcaption></figure>\n"
  )


def _provenance(record: Record, number: int) -> str:
  rows = "".join(
    f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>'
    for name, value in wording.flatten(record.provenance).items()
  )
  return (
    f'<section id="part-{number}"><h2>Provenance</h2>\n'
    '<div class="scroll" tabindex="0" role="region" aria-label="Provenance">'
    f"<table><tbody>{rows}</tbody></table></div></section>"
  )
