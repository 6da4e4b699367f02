"""What speaks for or against a claim: rows of numbers with their intervals."""

import math
import pathlib
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from experiments.configuration.study import Claim, Study
from experiments.questions import seed_pairs
from experiments.questions.network_numbers import Cell, Grouped
from experiments.questions.results import Measured
from experiments.questions.seed_pairs import BySeed
from snnjax.intervals import Interval, wilson
from snnjax.replication import Estimate

SEEDS = "seed"
_PLACE = "results/questions/networks"
# Half of a 95 % interval, in standard errors.
_HALF = 1.96


class Context(NamedTuple):
  """All that evidence is taken from.

  Attributes:
    study: its protocol, arms and claims.
    networks: those whose gradients are measured, from `grouped`.
    committed: the folder of this repository's other results.
  """

  study: Study
  networks: Grouped
  committed: pathlib.Path


class Row(NamedTuple):
  """One number that speaks for or against a claim.

  Attributes:
    name: of it, among those of its claim.
    estimate: it, with its error over replicates; None where that is not known.
    artifact: the file that it is read from.
    replicate: what is repeated: seeds, functions, turns.
    note: what a reader must know of it, or why there is no estimate.
    decides: whether the verdict rests on it; others are told beside.
    interval: of a number that has no replicates; NaN ends where unknown.
  """

  name: str
  estimate: Estimate | None
  artifact: str
  replicate: str = SEEDS
  note: str = ""
  decides: bool = True
  interval: Interval | None = None


Evidence = Callable[[Context, Claim], list[Row]]
Number = Callable[[Measured], float]  # of one network; NaN: it has none


def cells(context: Context, claim: Claim) -> dict[Cell, bool]:
  """Returns the cells of a claim, and whether each decides.

  Those that decide are there whether or not anybody measured them; the others
  are the rest of what is measured.
  """
  data = dict.fromkeys(
    name
    for question in context.study.questions.values()
    for name in question.data
  )
  deciding = {
    Cell(name, "+".join(modalities)): True
    for name in data
    for modalities in claim.modalities
  }
  beside = {cell: False for cell in context.networks if cell not in deciding}
  return deciding | beside


def artifact(cell: Cell, claim: Claim) -> str:
  """Returns the files of a claim's arms in one cell, as a pattern."""
  arms = ",".join(claim.arms)
  several = f"{{{arms}}}" if len(claim.arms) > 1 else arms
  return f"{_PLACE}/{cell.data}.{cell.inputs}.{several}.*/gradients.npz"


def of_arms(
  context: Context, claim: Claim, cell: Cell, number: Number
) -> tuple[Sequence[BySeed], str]:
  """Returns a number of every arm of a claim, over the seeds that all have.

  Args:
    context: the networks.
    claim: its arms.
    cell: where.
    number: of one network.

  Returns:
    By arm, by seed; and in words what is missing, which no mean counts.
  """
  networks = context.networks.get(cell, {})
  pairs = seed_pairs.paired(
    [
      {seed: number(each) for seed, each in networks.get(arm, {}).items()}
      for arm in claim.arms
    ]
  )
  notes = [
    f"{arm}: no such number of seeds {_listed(seeds)}"
    for arm, seeds in zip(claim.arms, pairs.unknown, strict=True)
    if seeds
  ]
  for arm, seeds in zip(claim.arms, pairs.unpaired, strict=True):
    if not networks.get(arm):
      notes.append(f"not measured: {arm}")
    elif seeds:
      notes.append(
        f"left out for want of its pair: {arm} seeds {_listed(seeds)}"
      )
  return pairs.arms, "; ".join(notes)


def _listed(seeds: Sequence[int]) -> str:
  return ", ".join(map(str, seeds))


def mean_of(arms: Sequence[BySeed]) -> dict[int, float]:
  """Returns the mean over arms, by seed."""
  return {seed: fmean(own[seed] for own in arms) for seed in arms[0]}


def mean_estimate(
  claim: Claim, values: Sequence[float], least_error: float = 0.0
) -> Estimate | None:
  """Returns the mean of replicates with its error; None of fewer than two.

  Args:
    claim: its level.
    values: one of each replicate.
    least_error: that the standard error is at least: where replicates agree by
      the coarseness of what is measured.
  """
  if len(values) < 2:
    return None
  error = stdev(values) / math.sqrt(len(values))
  return Estimate(
    estimate=fmean(values),
    standard_error=max(error, least_error),
    degrees_of_freedom=len(values) - 1,
    replicates=len(values),
    confidence=1 - claim.alpha,
  )


def share_estimate(
  claim: Claim, shares: Sequence[float], examples: int
) -> Estimate | None:
  """Returns the mean over replicates of shares of examples.

  Where all agree, at 0 above all, their spread says nothing: the standard error
  is at least that of Wilson's interval of all examples that were counted.

  Args:
    claim: its level.
    shares: one of each replicate.
    examples: that they are shares of, all together, at least 1.
  """
  if not shares:
    return None
  interval = wilson(round(fmean(shares) * examples), examples)
  return mean_estimate(
    claim, shares, (interval.high - interval.low) / 2 / _HALF
  )


def only_one(values: BySeed) -> Interval | None:
  """Returns the number of the only seed, whose error is not known."""
  if len(values) != 1:
    return None
  (value,) = values.values()
  return Interval(value, math.nan, math.nan)


def few_note(values: BySeed, note: str) -> str:
  """Returns a note that says where there are too few seeds for an estimate."""
  if len(values) > 1:
    return note
  count = f"{len(values)} seed" + "s" * (not values)
  return "; ".join(filter(None, (f"{count}: no interval", note)))
