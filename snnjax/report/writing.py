"""Writes a record into a folder, each file whole or not at all."""

import json
import pathlib
from typing import Any, NamedTuple

from snnjax.report.page import to_html
from snnjax.report.record import Record, check_record
from snnjax.report.text import figure_json, to_csv, to_json, to_markdown
from snnjax.storage import files


class Paths(NamedTuple):
  """Where a report lies.

  Attributes:
    html: the page to open.
    json: the whole record, numbers in full precision; see `read`.
    markdown: the same as text.
    tables: one CSV file per table, in order.
    figures: one PNG file per figure, in order; its numbers lie beside it in a
      file of the same name that ends in ``.json``.
  """

  html: pathlib.Path
  json: pathlib.Path
  markdown: pathlib.Path
  tables: tuple[pathlib.Path, ...]
  figures: tuple[pathlib.Path, ...]


def write(record: Record, folder: str | pathlib.Path) -> Paths:
  """Writes a record as JSON, CSV, Markdown and one HTML page.

  Everything is rendered before anything is written, each file is replaced as
  a whole, and the page comes last: what it shows is complete.

  Args:
    record: what to report.
    folder: created if it is not there; files of the same names are replaced.

  Returns:
    The files' paths.

  Raises:
    ValueError: if the record is not fit to be written.
    OSError: if the folder cannot be written; the message names it.
  """
  check_record(record)
  root = pathlib.Path(folder)
  paths = Paths(
    html=root / "report.html",
    json=root / "report.json",
    markdown=root / "report.md",
    tables=tuple(root / "tables" / f"{t.name}.csv" for t in record.tables()),
    figures=tuple(root / "figures" / f"{f.name}.png" for f in record.figures()),
  )
  contents: dict[pathlib.Path, bytes] = {}
  for path, figure in zip(paths.figures, record.figures(), strict=True):
    contents[path] = figure.png
    contents[path.with_suffix(".json")] = figure_json(figure).encode()
  for path, table in zip(paths.tables, record.tables(), strict=True):
    contents[path] = to_csv(table).encode()
  contents[paths.json] = files.sealed_json(json.loads(to_json(record)))
  contents[paths.markdown] = to_markdown(record).encode()
  contents[paths.html] = to_html(record).encode()
  try:
    for path in dict.fromkeys(path.parent for path in contents):
      path.mkdir(parents=True, exist_ok=True)
      files.sweep(path)
    for path, content in contents.items():
      files.write_bytes(path, content)
  except OSError as error:
    raise OSError(
      error.errno,
      f"the report cannot be written into {root} ({error.strerror}); give a "
      "folder that can be written",
    ) from error
  return paths


def read(path: str | pathlib.Path) -> dict[str, Any]:
  """Reads a record back from the JSON file that `write` made of it.

  Args:
    path: ``report.json``.

  Returns:
    The record as JSON holds it.

  Raises:
    OSError: the file cannot be read.
    DamagedError: it holds anything but what was written.
  """
  return files.read_sealed(pathlib.Path(path), "write the report again")
