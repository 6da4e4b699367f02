"""One record as JSON, CSV, Markdown and a page that opens offline."""

from snnjax.report.record import (
  Column,
  Figure,
  Record,
  Section,
  Table,
  file_name,
  jsonable,
  keys_of,
)
from snnjax.report.text import SCHEMA, VERSION, to_csv
from snnjax.report.writing import Paths, read, write

__all__ = [
  "SCHEMA",
  "VERSION",
  "Column",
  "Figure",
  "Paths",
  "Record",
  "Section",
  "Table",
  "file_name",
  "jsonable",
  "keys_of",
  "read",
  "to_csv",
  "write",
]


def __dir__() -> list[str]:
  return sorted(__all__)
