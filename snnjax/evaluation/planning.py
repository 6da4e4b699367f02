"""The plan of an evaluation: norms x targets x radii x attacks of a suite.

A plan says which attack meets which examples at which radius. The code that
runs an evaluation, the code that reads it back and the code that reports it use
the same plan, so that they cannot disagree.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

from snnjax.attacks.rule_suites import (
  SuiteAttack,
  SuiteError,
)
from snnjax.evaluation.nesting import with_inner_balls
from snnjax.evaluation.records import Evaluation

EVERYTHING = "both"  # the target of all modalities together
WHOLE = "inputs"  # the target where the inputs are one array
ALONE = ("pgd", "spgd")  # the kinds that compare backward rules


@dataclasses.dataclass(frozen=True)
class Cell:
  """One target at one radius of one norm.

  Attributes:
    norm: its name, "" where it is not known.
    target: a modality, or `EVERYTHING`.
    level: position of the radius among those of the evaluation.
    radii: per modality; 0 where it is not attacked.
  """

  norm: str
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
    cell: what is attacked, and how far.
    attack: of the suite, as it is run; its name has its rule behind it where
      the suite has the attack under several.
    path: its name in files, tables and keys, ``image/0/pgd/rga``; in an
      evaluation of several norms ``l2/image/0/pgd/rga``.
  """

  cell: Cell
  attack: SuiteAttack
  path: str


@dataclasses.dataclass(frozen=True)
class Plan:
  """All cases of an evaluation.

  Attributes:
    attacks: of the suite, as they are run, in their order; those that are for
      other norms are not among them.
    cells: every norm's every target at every radius, the smallest radius
      first; every norm has the same targets, and as many radii.
    cases: in the order of attack; those on no cell of `cells` are asked
      beside the suite.
    refused: by attack, why it cannot run and has no case; by "ATTACK under
      NORM" where it has some under another norm.
    mixing: attacks whose results depend on the microbatch, since they follow
      a gradient that takes statistics of it.
  """

  attacks: tuple[SuiteAttack, ...]
  cells: tuple[Cell, ...]
  cases: tuple[Case, ...]
  refused: Mapping[str, str]
  mixing: tuple[str, ...] = ()

  @functools.cached_property
  def norms(self) -> tuple[str, ...]:
    """The norms of the evaluation, in their order."""
    return tuple(dict.fromkeys(cell.norm for cell in self.cells))

  @property
  def strongest(self) -> Cell:
    """The last target at its largest radius, of the first norm.

    `union` of it is the evaluation's headline.
    """
    return self.strongest_in(self.norms[0])

  def strongest_in(self, norm: str) -> Cell:
    """Returns the last target at its largest radius, of one norm."""
    return [cell for cell in self.cells if cell.norm == norm][-1]

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

  def alone(self, norm: str) -> tuple[SuiteAttack, ...]:
    """Returns PGD under each single rule on all examples, of one norm.

    They compare the rules. Where sites are counted it is sPGD.
    """
    there = [case.attack for case in self.cases if case.cell.norm == norm]
    return tuple(
      attack
      for attack in self.attacks
      if attack.kind in ALONE
      and attack.meets == "all"
      and len(attack.rules) == 1
      and attack in there
    )

  @functools.cached_property
  def beside(self) -> tuple[Case, ...]:
    """The cases that lie on no cell of the plan, such as a far radius."""
    return tuple(case for case in self.cases if case.cell not in self.cells)

  def levels(self, norm: str, target: str) -> tuple[Cell, ...]:
    """Returns the cells of one target and norm, the smallest radius first."""
    return tuple(
      cell for cell in self.cells if (cell.norm, cell.target) == (norm, target)
    )

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

    These are the attacks on the cell, at smaller radii and on fewer modalities,
    all of the cell's norm: balls of two norms do not lie in each other.
    If no attack is on the cell itself there are none, so that its accuracy is
    unknown and not that at a smaller radius.

    Args:
      evaluation: of this plan.
      cell: of `cells`.
    """
    radii = {
      case.path: case.cell.radii
      for case in self.cases
      if case not in self.beside and case.cell.norm == cell.norm
    }
    return with_inner_balls(
      evaluation, [case.path for case in self.on(cell)], radii
    )

  def union(self, evaluation: Evaluation, cell: Cell) -> Evaluation:
    """Returns an evaluation with all attacks in the balls of every norm.

    `summarize` of it is the accuracy under all norms together, each example
    under the worst of them. If a norm has no attack on its cell there are none,
    so that the accuracy is unknown.

    Args:
      evaluation: of this plan.
      cell: of `cells`, whose target and level are those of every norm.
    """
    balls = [
      self.within(evaluation, other).attacks
      for other in self.cells
      if (other.target, other.level) == (cell.target, cell.level)
    ]
    inside = set().union(*balls) if all(balls) else set()
    return evaluation._replace(
      attacks={
        path: outcome
        for path, outcome in evaluation.attacks.items()
        if path in inside
      }
    )

  def without(
    self,
    refused: Mapping[tuple[str, str], str],
    formless: Mapping[tuple[str, str], str],
  ) -> "Plan":
    """Returns the plan less the attacks that cannot run.

    An attack that cannot run at one radius of a norm cannot at any.

    Args:
      refused: by norm and attack, why.
      formless: the same of attacks whose kind has no form for the norm; they
        are named only if they run under no norm.

    Raises:
      SuiteError: none is left.
    """
    gone = {**refused, **formless}
    left = tuple(
      case
      for case in self.cases
      if (case.cell.norm, case.attack.name) not in gone
    )
    there = {case.attack.name for case in left}
    reasons: dict[str, list[str]] = {}
    for (norm, name), reason in refused.items():
      key = f"{name} under {norm}" if name in there else name
      reasons.setdefault(key, []).append(reason)
    # That it has no form for a norm tells something only if it never ran.
    silent = there | reasons.keys()
    for (_, name), reason in formless.items():
      if name not in silent:
        reasons.setdefault(name, []).append(reason)
    told = {key: "; ".join(dict.fromkeys(r)) for key, r in reasons.items()}
    told = {**self.refused, **told}
    if not left:
      raise SuiteError("attacks", told, "at least one that can run")
    return dataclasses.replace(self, cases=left, refused=told)

  def with_cell(self, cell: Cell) -> "Plan":
    """Returns the plan with the first attack of `alone` on one more cell.

    The alarms ask for a radius at which every sound attack succeeds. Where
    `alone` is empty the plan itself is returned.
    """
    alone = self.alone(cell.norm)
    if not alone:
      return self
    case = case_of(cell, alone[0], self.norms)
    return dataclasses.replace(self, cases=(*self.cases, case))


def cells(
  radii: Mapping[str, Mapping[str, Sequence[float]]],
) -> tuple[Cell, ...]:
  """Returns every norm's every target at every radius, the smallest first.

  The targets are the modalities, in their order, and of several all together.

  Args:
    radii: by norm, of every modality as many.

  Raises:
    ValueError: norms or modalities differ in how many radii they have, or
      there is none.
  """
  lengths = {
    f"{norm} {name}".strip(): len(values)
    for norm, by_name in radii.items()
    for name, values in by_name.items()
  }
  if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
    raise ValueError(
      "radii must be as many for every modality and norm, and at least one; "
      f"got {lengths}"
    )
  count = next(iter(lengths.values()))
  grid = []
  for norm, by_name in radii.items():
    # With one modality, "all together" would be that one again.
    targets = [*by_name, EVERYTHING] if len(by_name) > 1 else list(by_name)
    grid += [
      Cell(
        norm,
        target,
        level,
        {
          name: float(values[level]) if target in (name, EVERYTHING) else 0.0
          for name, values in by_name.items()
        },
      )
      for target in targets
      for level in range(count)
    ]
  return tuple(grid)


def plan(attacks: Iterable[SuiteAttack], grid: Sequence[Cell]) -> Plan:
  """Returns the plan that runs every attack on the cells it is meant for.

  Args:
    attacks: from `attacks.expand_rules`.
    grid: from `cells`.

  Raises:
    SuiteError: an attack names a radius that is not there, or none is for any
      of the norms.
  """
  grid_cells = tuple(grid)
  norms = tuple(dict.fromkeys(cell.norm for cell in grid_cells))
  wanted = tuple(attacks)
  suite = tuple(a for a in wanted if any(_is_for(a, norm) for norm in norms))
  if not suite:
    asked = {attack.name: attack.norms for attack in wanted}
    raise SuiteError("norms", asked, f"such that one is for {list(norms)}")
  count = 1 + max(cell.level for cell in grid_cells)
  cases = tuple(
    case_of(cell, attack, norms)
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


def case_of(cell: Cell, attack: SuiteAttack, norms: Sequence[str]) -> Case:
  """Returns a case of an evaluation.

  Args:
    cell: what is attacked.
    attack: as it is run.
    norms: of the evaluation; with several, the case's path begins with its own.
  """
  path = f"{cell.target}/{cell.level}/{attack.name}"
  return Case(cell, attack, path if len(norms) == 1 else f"{cell.norm}/{path}")


def _is_for(attack: SuiteAttack, norm: str) -> bool:
  """Whether an attack is for a norm; for one that has no name it is."""
  return not attack.norms or not norm or norm in attack.norms


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
  return (
    _is_for(attack, cell.norm)
    and cell.target in (attack.targets or (cell.target,))
    and cell.level in levels
  )
