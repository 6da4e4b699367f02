"""A plan as JSON holds it, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from snnjax.attacks.rule_suites import SuiteAttack, with_defaults
from snnjax.evaluation import planning
from snnjax.evaluation.planning import Cell, Plan


def to_plain(plan: Plan) -> dict[str, Any]:
  """Returns a plan as JSON holds it; `from_plain` reads it."""
  beside: list[Cell] = []
  for case in plan.beside:
    if case.cell not in beside:
      beside.append(case.cell)
  grid = [*plan.cells, *beside]
  return {
    "attacks": [
      {**attack._asdict(), "options": dict(attack.options)}
      for attack in plan.attacks
    ],
    # As pairs: JSON objects of ours are sorted by key.
    "cells": [_plain_cell(cell) for cell in plan.cells],
    "beside": [_plain_cell(cell) for cell in beside],
    "cases": [
      [grid.index(case.cell), plan.attacks.index(case.attack)]
      for case in plan.cases
    ],
    "refused": list(plan.refused.items()),
    "mixing": list(plan.mixing),
  }


def _plain_cell(cell: Cell) -> list[Any]:
  return [cell.norm, cell.target, cell.level, list(cell.radii.items())]


def from_plain(plain: Mapping[str, Any]) -> Plan:
  """Returns the plan that `to_plain` wrote.

  Raises:
    KeyError: a part is missing.
    TypeError: a part is of another kind.
    ValueError: a case is of no cell or attack of the plan.
  """
  attacks = tuple(_attack(values) for values in plain["attacks"])
  grid = tuple(_cell(*values) for values in plain["cells"])
  every = (*grid, *(_cell(*values) for values in plain["beside"]))
  norms = tuple(dict.fromkeys(cell.norm for cell in grid))
  cases = []
  for place, number in plain["cases"]:
    if not (0 <= place < len(every) and 0 <= number < len(attacks)):
      raise ValueError(
        f"a case must be of {len(every)} cells and {len(attacks)} attacks; "
        f"got {place} and {number}"
      )
    cases.append(planning.case_of(every[place], attacks[number], norms))
  refused, mixing = dict(plain["refused"]), tuple(plain["mixing"])
  return Plan(attacks, grid, tuple(cases), refused, mixing)


def _cell(norm: Any, target: Any, level: Any, radii: Sequence[Any]) -> Cell:
  cell = Cell(norm, target, level, dict(radii))
  numbers = all(isinstance(r, int | float) for r in cell.radii.values())
  names = isinstance(norm, str) and isinstance(target, str)
  if not (names and type(level) is int and numbers):
    raise TypeError(f"a cell must be (text, text, count, numbers); got {cell}")
  return cell


def _attack(values: Mapping[str, Any]) -> SuiteAttack:
  """Returns an attack from JSON, which has made lists of its tuples."""

  def tuples(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
      key: tuple(value) if isinstance(value, list) else value
      for key, value in tree.items()
    }

  with_tuples = {**tuples(values), "options": tuples(values["options"])}
  return with_defaults(
    SuiteAttack(**with_tuples)
  )  # checks it: nothing is left open
