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
from snnjax.report.text import SCHEMA, VERSION
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
  "write",
]
