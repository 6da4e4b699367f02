"""The plan of an evaluation: targets x radii x the attacks of a suite.

A plan says which attack meets which examples at which radius. The code that
runs an evaluation, the code that reads it back and the code that reports it use
the same plan, so that they cannot disagree.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from snnjax.attacks.rule_suites import (
  SuiteAttack,
  SuiteError,
  with_defaults,
)
from snnjax.evaluation.nesting import with_inner_balls
from snnjax.evaluation.records import Evaluation

EVERYTHING = "both"  # the target of all modalities together
WHOLE = "inputs"  # the target where the inputs are one array


@dataclasses.dataclass(frozen=True)
class Cell:
  """One target at one radius.

  Attributes:
    target: a modality, or `EVERYTHING`.
    level: position of the radius among those of the evaluation.
    radii: per modality; 0 where it is not attacked.
  """

  target: str
  level: int
  radii: Mapping[str, float]

  @property
  def words(self) -> str:
    """The radius of each modality that is attacked, in words."""
    return ", ".join(f"{name} {r:g}" for name, r in self.radii.items() if r)

  @property
  def radius(self) -> float:
    """The largest radius of any modality."""
    return max(self.radii.values())


@dataclasses.dataclass(frozen=True)
class Case:
  """One attack on one cell; an evaluation has one `Outcome` for each.

  Attributes:
    target: what is attacked; see `Cell`.
    level: position of the radius.
    radii: per modality.
    attack: of the suite, as it is run; its name has its rule behind it where
      the suite has the attack under several.
  """

  target: str
  level: int
  radii: Mapping[str, float]
  attack: SuiteAttack

  @property
  def path(self) -> str:
    """Its name in files, tables and keys: ``image/0/pgd/rga``."""
    return f"{self.target}/{self.level}/{self.attack.name}"

  @property
  def cell(self) -> Cell:
    """The target at its radius."""
    return Cell(self.target, self.level, self.radii)


@dataclasses.dataclass(frozen=True)
class Plan:
  """All cases of an evaluation.

  Attributes:
    attacks: of the suite, as they are run, in their order.
    cells: every target at every radius, the smallest radius first.
    cases: in the order of attack; those on no cell of `cells` are asked
      beside the suite.
    refused: by attack, why it cannot run and has no case.
    mixing: attacks whose results depend on the microbatch, since they follow
      a gradient that takes statistics of it.
  """

  attacks: tuple[SuiteAttack, ...]
  cells: tuple[Cell, ...]
  cases: tuple[Case, ...]
  refused: Mapping[str, str]
  mixing: tuple[str, ...] = ()

  @property
  def strongest(self) -> Cell:
    """The last target at its largest radius: the evaluation's headline."""
    return self.cells[-1]

  @functools.cached_property
  def by_path(self) -> Mapping[str, Case]:
    """Every case by its path, in the order of attack."""
    return {case.path: case for case in self.cases}

  @functools.cached_property
  def survivors(self) -> Mapping[str, tuple[str, ...]]:
    """By path of each case that meets survivors, the cases before it.

    These are the earlier cases on the same cell, whose victims it does not
    meet. In the form that `stream` takes as `survivors`.
    """
    earlier = {}
    for place, case in enumerate(self.cases):
      if case.attack.meets == "survivors":
        before = self.cases[:place]
        earlier[case.path] = tuple(
          other.path for other in before if other.cell == case.cell
        )
    return earlier

  @functools.cached_property
  def alone(self) -> tuple[SuiteAttack, ...]:
    """PGD under each single rule on all examples, to compare the rules."""
    return tuple(
      attack
      for attack in self.attacks
      if attack.kind == "pgd"
      and attack.meets == "all"
      and len(attack.rules) == 1
      and attack.name not in self.refused
    )

  @functools.cached_property
  def beside(self) -> tuple[Case, ...]:
    """The cases that lie on no cell of the plan, such as a far radius."""
    return tuple(case for case in self.cases if case.cell not in self.cells)

  def levels(self, target: str) -> tuple[Cell, ...]:
    """Returns the cells of one target, the smallest radius first."""
    return tuple(cell for cell in self.cells if cell.target == target)

  def on(self, cell: Cell, *kinds: str) -> tuple[Case, ...]:
    """Returns the cases on a cell, those of some kinds if any are named.

    Without kinds, they have met every example that withstood them all; some
    of them may have met the survivors of others.
    """
    return tuple(
      case
      for case in self.cases
      if case.cell == cell and (not kinds or case.attack.kind in kinds)
    )

  def within(self, evaluation: Evaluation, cell: Cell) -> Evaluation:
    """Returns an evaluation with all attacks in the ball of one cell.

    These are the attacks on the cell, at smaller radii and on fewer modalities.
    If no attack is on the cell itself there are none, so that its accuracy is
    unknown and not that at a smaller radius.

    Args:
      evaluation: of this plan.
      cell: of `cells`.
    """
    radii = {c.path: c.radii for c in self.cases if c not in self.beside}
    return with_inner_balls(
      evaluation, [case.path for case in self.on(cell)], radii
    )

  def without(self, refused: Mapping[str, str]) -> "Plan":
    """Returns the plan less the attacks that cannot run.

    Args:
      refused: by attack, why.

    Raises:
      SuiteError: none is left.
    """
    # By name: an attack that cannot run at one radius cannot at any.
    reasons = {**self.refused, **refused}
    left = tuple(c for c in self.cases if c.attack.name not in reasons)
    if not left:
      raise SuiteError("attacks", reasons, "at least one that can run")
    return dataclasses.replace(self, cases=left, refused=reasons)

  def with_cell(self, cell: Cell) -> "Plan":
    """Returns the plan with the first attack of `alone` on one more cell.

    The alarms ask for a radius at which every sound attack succeeds. Where
    `alone` is empty the plan itself is returned.
    """
    if not self.alone:
      return self
    case = Case(cell.target, cell.level, cell.radii, self.alone[0])
    return dataclasses.replace(self, cases=(*self.cases, case))


def cells(radii: Mapping[str, Sequence[float]]) -> tuple[Cell, ...]:
  """Returns every target at every radius, the smallest radius first.

  The targets are the modalities, in their order, and of several all together.

  Args:
    radii: of every modality as many.

  Raises:
    ValueError: the modalities differ in how many radii they have, or there
      is none.
  """
  lengths = {name: len(values) for name, values in radii.items()}
  if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
    raise ValueError(
      "radii must be as many for every modality, and at least one; got "
      f"{lengths}"
    )
  # With one modality, "all together" would be that one again.
  targets = [*radii, EVERYTHING] if len(radii) > 1 else list(radii)
  return tuple(
    Cell(
      target,
      level,
      {
        name: float(values[level]) if target in (name, EVERYTHING) else 0.0
        for name, values in radii.items()
      },
    )
    for target in targets
    for level in range(next(iter(lengths.values())))
  )


def plan(attacks: Iterable[SuiteAttack], grid: Sequence[Cell]) -> Plan:
  """Returns the plan that runs every attack on the cells it is meant for.

  Args:
    attacks: from `attacks.expand_rules`.
    grid: from `cells`.

  Raises:
    SuiteError: an attack names a radius that is not there.
  """
  suite, grid_cells = tuple(attacks), tuple(grid)
  count = 1 + max(cell.level for cell in grid_cells)
  cases = tuple(
    Case(cell.target, cell.level, cell.radii, attack)
    for cell in grid_cells
    for attack in suite
    if _meets(attack, cell, count)
  )
  # An attack for a modality that the inputs lack is named as refused: left out
  # silently, it would seem to have run.
  there = {case.attack.name for case in cases}
  targets = sorted({cell.target for cell in grid_cells})
  refused = {
    attack.name: (
      f"targets must be among {targets} for these inputs; got {attack.targets}"
    )
    for attack in suite
    if attack.name not in there
  }
  return Plan(suite, grid_cells, cases, refused)


def _meets(attack: SuiteAttack, cell: Cell, count: int) -> bool:
  """Whether an attack is meant for a cell, where there are `count` radii."""
  for level in attack.levels:
    if not -count <= level < count:
      raise SuiteError(
        f"levels of {attack.name!r}",
        level,
        f"in {-count}..{count - 1} for {count} radii",
      )
  # Negative levels count from the largest radius; none named means all.
  levels = {level % count for level in attack.levels} or {cell.level}
  return cell.target in (attack.targets or (cell.target,)) and (
    cell.level in levels
  )


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
    "cells": [[c.target, c.level, list(c.radii.items())] for c in plan.cells],
    "beside": [[c.target, c.level, list(c.radii.items())] for c in beside],
    "cases": [
      [grid.index(case.cell), plan.attacks.index(case.attack)]
      for case in plan.cases
    ],
    "refused": list(plan.refused.items()),
    "mixing": list(plan.mixing),
  }


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
  cases = []
  for place, number in plain["cases"]:
    if not (0 <= place < len(every) and 0 <= number < len(attacks)):
      raise ValueError(
        f"a case must be of {len(every)} cells and {len(attacks)} attacks; "
        f"got {place} and {number}"
      )
    cell = every[place]
    cases.append(Case(cell.target, cell.level, cell.radii, attacks[number]))
  refused, mixing = dict(plain["refused"]), tuple(plain["mixing"])
  return Plan(attacks, grid, tuple(cases), refused, mixing)


def _cell(target: Any, level: Any, radii: Sequence[Any]) -> Cell:
  cell = Cell(target, level, dict(radii))
  numbers = all(isinstance(r, int | float) for r in cell.radii.values())
  if not (isinstance(target, str) and type(level) is int and numbers):
    raise TypeError(f"a cell must be (text, count, numbers); got {cell}")
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
