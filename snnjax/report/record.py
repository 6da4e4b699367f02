"""The content of a report, checked before it is written to files."""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from snnjax.checks import Alarm

Value = str | bool | int | float | None
Row = Mapping[str, Value]

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_LONGEST, _DIGITS = 60, 8  # letters of a name, and of the digest behind it
_MADE = re.compile(rf"-[0-9a-f]{{{_DIGITS}}}$")


def file_name(text: str) -> str:
  """Returns a text as a name that `Table` and `Figure` may have.

  Different texts have different names. A text that is such a name already
  stays; any other is spelt with the letters that are allowed, and a digest of
  the text is added.

  Args:
    text: any, such as the name of a folder.
  """
  if _NAME.fullmatch(text) and len(text) <= _LONGEST and not _MADE.search(text):
    return text
  plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
  safe = re.sub(r"[^a-z0-9_.-]+", "-", plain.lower()).strip("-._")
  digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
  return f"{safe[:_LONGEST] or 'name'}-{digest[:_DIGITS]}"


class Column(NamedTuple):
  """How one column of a table is shown.

  Attributes:
    key: of the rows' mappings.
    header: its heading, units included.
    percent: show a fraction as a percentage with one decimal.
    digits: significant digits of other floats.
    interval: the keys of the lower and upper end of its interval, shown
      beside the estimate.
  """

  key: str
  header: str
  percent: bool = False
  digits: int = 3
  interval: tuple[str, str] | None = None


class Table(NamedTuple):
  """Rows of values, written to ``tables/NAME.csv``.

  Attributes:
    name: of its file: lower-case letters, digits, ``_``, ``.`` and ``-``.
    title: its heading.
    caption: what it shows, in plain language.
    columns: the columns shown, in order.
    rows: flat mappings; keys that no column shows go to JSON and CSV only.
  """

  name: str
  title: str
  caption: str
  columns: Sequence[Column]
  rows: Sequence[Row]


class Figure(NamedTuple):
  """A picture and its numbers: ``figures/NAME.png`` and ``NAME.json``.

  Attributes:
    name: of its files, see `Table`.
    title: its heading.
    caption: what it shows, in plain language.
    alt: what a reader who cannot see it is told.
    png: the picture's bytes.
    data: what was drawn: mappings, sequences, numbers, strings, arrays.
  """

  name: str
  title: str
  caption: str
  alt: str
  png: bytes
  data: Any


class Section(NamedTuple):
  """A part of a report.

  Attributes:
    title: its heading.
    text: what it shows, in plain language; blank lines part paragraphs.
    tables: shown first.
    figures: shown after them.
  """

  title: str
  text: str = ""
  tables: Sequence[Table] = ()
  figures: Sequence[Figure] = ()


class Record(NamedTuple):
  """The whole content of a report.

  Attributes:
    title: of the whole.
    summary: the findings, in plain language; blank lines part paragraphs.
    alarms: shown before everything else; from `snnjax.checks.check`.
    sections: in order.
    provenance: how to make it again: versions, devices, seeds, configuration;
      mappings may nest.
  """

  title: str
  summary: str
  alarms: Sequence[Alarm]
  sections: Sequence[Section]
  provenance: Mapping[str, Any]

  def tables(self) -> Iterator[Table]:
    """Yields the tables of all sections."""
    for section in self.sections:
      yield from section.tables

  def figures(self) -> Iterator[Figure]:
    """Yields the figures of all sections."""
    for section in self.sections:
      yield from section.figures


def check_record(record: Record) -> None:
  """Raises ValueError unless the record can be written.

  Names must be unique and safe as file names, rows must have the columns
  shown, figures must be PNG pictures with an alternative text.
  """
  for kind, items in (
    ("table", [table.name for table in record.tables()]),
    ("figure", [figure.name for figure in record.figures()]),
  ):
    for name in items:
      if not _NAME.fullmatch(name) or items.count(name) > 1:
        raise ValueError(
          f"{kind} names must be unique and match {_NAME.pattern}; got {items}"
        )
  for table in record.tables():
    shown = {key for column in table.columns for key in keys_of(column)}
    for position, row in enumerate(table.rows):
      if shown - set(row):
        raise ValueError(
          f"row {position} of table {table.name!r} must have the keys "
          f"{sorted(shown)}; it lacks {sorted(shown - set(row))}"
        )
  for figure in record.figures():
    if not figure.png.startswith(b"\x89PNG") or not figure.alt:
      raise ValueError(
        f"figure {figure.name!r} must be PNG bytes with an alternative text; "
        f"got {figure.png[:8]!r} and alt={figure.alt!r}"
      )


def keys_of(column: Column) -> tuple[str, ...]:
  """Returns the keys a column shows: its own and its interval's."""
  return (column.key, *(column.interval or ()))


def all_keys(table: Table) -> tuple[str, ...]:
  """Returns the keys of all rows: those shown first, in order."""
  shown = [key for column in table.columns for key in keys_of(column)]
  rest = [key for row in table.rows for key in row]
  return tuple(dict.fromkeys(shown + rest))


def jsonable(value: Any, where: str = "value") -> Any:
  """Returns `value` in types of JSON; numbers that are not finite are null.

  Args:
    value: mappings, sequences, numbers, strings, None, NumPy or JAX arrays.
    where: how to call it in an error.

  Raises:
    ValueError: if it holds anything else.
  """
  if isinstance(value, Mapping):
    return {
      str(key): jsonable(item, f"{where}[{key!r}]")
      for key, item in value.items()
    }
  if isinstance(value, list | tuple | set | frozenset):
    return [jsonable(item, f"{where}[{n}]") for n, item in enumerate(value)]
  if value is None or isinstance(value, bool | str | int):
    return value
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  if hasattr(value, "dtype") and value.dtype.kind in "biuf":
    return jsonable(np.asarray(value).tolist(), where)
  raise ValueError(
    f"{where} must be made of mappings, sequences, numbers, strings and "
    f"arrays of numbers; got {type(value).__name__}"
  )
