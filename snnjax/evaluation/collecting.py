"""Puts the chunks of an evaluation together: one row per example, or none."""

from collections.abc import Iterable, Sequence

import numpy as np

from snnjax.evaluation.complete import Survivors, earlier_stages, find_lacks
from snnjax.evaluation.records import (
  CLEAN,
  Chunk,
  Clean,
  Evaluation,
  Outcome,
  positions,
)


def collect(
  indices: np.ndarray,
  labels: np.ndarray,
  names: Sequence[str],
  chunks: Iterable[Chunk],
  survivors: Survivors = True,
) -> Evaluation:
  """Returns the evaluation that the chunks of one or more runs make up.

  Their order does not matter. An example that an attack did not have to meet
  has the row of `_MISSING`.

  Args:
    indices: [N] unique ids; the rows of the result follow this order.
    labels: [N] integer classes.
    names: the attacks, in the order they were run.
    chunks: from `stream`, or loaded from where they were saved.
    survivors: which examples each attack had to meet, as in `stream`.

  Raises:
    ValueError: if a chunk names an unknown stage or example, or a stage lacks
      an example that it had to meet.
  """
  received = tuple(chunks)
  count = len(indices)
  clean = Clean(*_empty(count, Clean))
  attacks = {name: Outcome(*_empty(count, Outcome)) for name in names}
  budgets: dict[str, str] = {}
  for chunk in received:
    rows = positions(indices, chunk.indices)
    if chunk.budget:
      budgets[chunk.stage] = chunk.budget
    if isinstance(chunk.rows, Clean) and chunk.stage == CLEAN:
      _assign(clean, rows, chunk.rows)
    elif isinstance(chunk.rows, Outcome) and chunk.stage in attacks:
      _assign(attacks[chunk.stage], rows, chunk.rows)
    else:
      raise ValueError(
        f"chunk stage must be {CLEAN!r} with Clean rows or one of "
        f"{list(names)} with Outcome rows; got {chunk.stage!r} with "
        f"{type(chunk.rows).__name__} rows"
      )
  lacks = find_lacks(indices, earlier_stages(tuple(names), survivors), received)
  if lacks:
    raise ValueError(
      f"an evaluation must be whole; there are {'; '.join(map(str, lacks))}"
    )
  return Evaluation(indices, labels, clean, attacks, budgets)


_MISSING = {
  "prediction": (np.int32, -1),
  "iterations": (np.int32, -1),
  "loss": (np.float32, np.nan),
  "distance": (np.float32, np.nan),
  "zero_gradient": (np.float32, np.nan),
  # True until an attempt says otherwise: these two count defects.
  "contained": (np.bool_, True),
  "finite": (np.bool_, True),
}


def _empty(count: int, record: type[Clean] | type[Outcome]) -> list[np.ndarray]:
  columns: list[np.ndarray] = []
  for field in record._fields:
    dtype, value = _MISSING.get(field, (np.bool_, False))
    columns.append(np.full(count, value, dtype))
  return columns


def _assign(
  table: Clean | Outcome, rows: np.ndarray, values: Clean | Outcome
) -> None:
  for column, new in zip(table, values, strict=True):
    column[rows] = new
