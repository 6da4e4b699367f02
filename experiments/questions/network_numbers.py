"""Numbers of measured networks, by name.

A number of one network has a path as its name:

    accuracy   firing_rate   margin      of the clean inputs
    fgsm   pgd10   random/LEVEL          accuracies left, linf
    log_margin                           log of the median of those right
    robust/NORM/LEVEL                    accuracy left by the worst of a chain
    first/NORM/LEVEL                     and by its first attack alone
    transfer/NORM/LEVEL                  the same of `survivors.transfer`
    transfer/rest/LEVEL                  mean over its norms other than linf
    union/LEVEL                          accuracy left by all its norms together
    stronger/NORM                        accuracy left by `survivors.stronger`
    chain/NORM                           by the chain, of the same examples
    taken/NORM                           the difference
    mean/CONFIDENCE/POINT/RULE/PART/METRIC     of gradients, see `summarized`
    change/CONFIDENCE/POINT/RULE/PART/METRIC   of each example's own
    zeros/CONFIDENCE/POINT/RULE/PART           share of zero gradients

RULE may be ``own``, the training rule, and PART ``whole``, all the network
sees: its only modality, or the gradients of all as one vector. The LEVEL of
``transfer`` and ``union`` may be ``mean``, over all radii. Not every network
has the numbers of stronger attacks: see `by_seed`.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from experiments.command.exits import UsageError
from experiments.configuration import study as studies
from experiments.configuration.study import Study
from experiments.measuring.named_arrays import (
  ATTACK,
  CONFIDENCES,
  DERIVED,
  METRICS,
  STRONGER,
  parts_of,
  points_of,
)
from experiments.questions.results import Measured

ALL_METRICS = (*METRICS, *DERIVED)


class Cell(NamedTuple):
  """One data set as one set of modalities sees it."""

  data: str
  inputs: str

  @property
  def words(self) -> str:
    """For a heading."""
    return f"{self.data}, {self.inputs}"

  @property
  def modalities(self) -> tuple[str, ...]:
    """What its networks see."""
    return tuple(self.inputs.split("+"))

  @property
  def row(self) -> dict[str, Any]:
    """As the first columns of a table, see `wording.CELL_COLUMNS`."""
    return {"data": self.data, "modalities": self.inputs}


def number(study: Study, measured: Measured, name: str) -> float:
  """Returns one number of a network.

  Args:
    study: its protocol names the rules.
    measured: the network.
    name: its path, see above.

  Raises:
    UsageError: there is no such number.
  """
  kind, *rest = name.split("/")
  try:
    if kind in _ACROSS:
      return _ACROSS[kind](study, measured, *rest)
    arrays = measured.arrays["gradients"]
    if kind in ("mean", "change", "zeros"):
      return float(arrays[kind][_place(study, measured, kind, rest)])
    read = _SIMPLE[kind]
    return float(read(arrays, *rest))
  except (KeyError, ValueError, TypeError, IndexError):
    raise UsageError(
      f"a measure must be one of {', '.join(sorted(_SIMPLE))}, robust/NORM/"
      "LEVEL, transfer/NORM/LEVEL, union/LEVEL, stronger/NORM, chain/NORM, "
      "taken/NORM or mean/CONFIDENCE/POINT/RULE/PART/METRIC; got "
      f"{name!r} of {measured.member.words}"
    ) from None


def _place(
  study: Study, measured: Measured, kind: str, path: Sequence[str]
) -> tuple[int, ...]:
  """The position of a number in the table of all gradients."""
  rules = study.protocol.rules
  parts = parts_of(measured.member.modalities)
  axes: list[Sequence[str]] = [
    CONFIDENCES,
    points_of(study.protocol),
    rules,
    parts,
  ]
  spelt = list(path)
  if spelt[2] == "own":
    spelt[2] = rules[0]
  if spelt[3] == "whole":
    spelt[3] = parts[-1]
  if kind != "zeros":
    axes.append(ALL_METRICS)
  return tuple(
    list(axis).index(word) for axis, word in zip(axes, spelt, strict=True)
  )


Arrays = Mapping[str, np.ndarray]


def _left(arrays: Arrays, path: str) -> float:
  """The share of all examples that are right and that an attack left so."""
  return float(np.mean(arrays["correct"] & ~arrays[path]))


def _left_by_first(arrays: Arrays, norm: str, level: str) -> float:
  """The share that is right and that the first attack of a chain left so."""
  rank = arrays[ATTACK.format(norm=norm, level=level, field="rank")]
  return float(np.mean(arrays["correct"] & (rank != 0)))


def _log_margin(arrays: Arrays) -> float:
  """Of the median margin of the examples that are right."""
  margins = arrays["margin"].astype(np.float64)[arrays["correct"]]
  with np.errstate(divide="ignore"):  # no margin: no finite logarithm
    return float(np.log(np.median(margins)))


_SIMPLE: Mapping[str, Callable[..., float]] = {
  "accuracy": lambda arrays: float(np.mean(arrays["correct"])),
  "firing_rate": lambda arrays: float(
    np.mean(arrays["firing_rate"].astype(np.float64))
  ),
  "margin": lambda arrays: float(np.mean(arrays["margin"].astype(np.float64))),
  "log_margin": _log_margin,
  "fgsm": lambda arrays: _left(arrays, "single/fgsm"),
  "pgd10": lambda arrays: _left(arrays, "single/pgd10"),
  "random": lambda arrays, level: _left(arrays, f"random/linf/{level}"),
  "robust": lambda arrays, norm, level: _left(
    arrays, ATTACK.format(norm=norm, level=level, field="success")
  ),
  "first": _left_by_first,
}

REST = "rest"  # the norms other than linf


def transfer_norms(study: Study) -> tuple[str, ...]:
  """Returns the norms of the transfer matrix that are not linf."""
  return tuple(n for n in study.protocol.transfer_norms if n != "linf")


def _standing(
  study: Study, measured: Measured, norms: Sequence[str]
) -> np.ndarray:
  """Which examples withstand all of these norms, by radius, [L, A]."""
  arrays = measured.arrays["transfer"]
  radii = studies.check_radii(study, measured.member)[norms[0]]
  fallen = [
    [arrays[ATTACK.format(norm=n, level=k, field="success")] for n in norms]
    for k in range(len(radii))
  ]
  return arrays["correct"] & ~np.any(fallen, 1)


def _at_level(shares: Sequence[float], level: str) -> float:
  """One of the numbers of all radii, or their mean."""
  if level == "mean":
    return fmean(shares)
  place = int(level)
  if place < 0:
    raise IndexError(place)
  return float(shares[place])


def _transfer(study: Study, measured: Measured, norm: str, level: str) -> float:
  norms = transfer_norms(study) if norm == REST else (norm,)
  return fmean(
    _at_level(_standing(study, measured, (each,)).mean(1).tolist(), level)
    for each in norms
  )


def _union(study: Study, measured: Measured, level: str) -> float:
  standing = _standing(study, measured, study.protocol.transfer_norms)
  return _at_level(standing.mean(1).tolist(), level)


def taken(study: Study, measured: Measured, norm: str) -> np.ndarray:
  """Returns which examples each stronger attack broke, [attacks, A].

  Args:
    study: its protocol names the attacks.
    measured: a network with the measurement.
    norm: of the attacks.
  """
  arrays = measured.arrays[_STRONGER]
  places = range(len(study.protocol.stronger[norm]))
  return np.stack([arrays[STRONGER.format(norm=norm, place=p)] for p in places])


def _taken(study: Study, measured: Measured, norm: str) -> float:
  return float(taken(study, measured, norm).any(0).mean())


def _left_by_chain(study: Study, measured: Measured, norm: str) -> float:
  level = study.protocol.level
  path = ATTACK.format(norm=norm, level=level, field="success")
  return _left(measured.arrays[_STRONGER], path)


def _left_by_stronger(study: Study, measured: Measured, norm: str) -> float:
  left = _left_by_chain(study, measured, norm)
  return left - _taken(study, measured, norm)


_ACROSS: Mapping[str, Callable[..., float]] = {
  "transfer": _transfer,
  "union": _union,
  "stronger": _left_by_stronger,
  "chain": _left_by_chain,
  "taken": _taken,
}
# A measurement that not every network has, and the numbers that it gives.
_STRONGER = "stronger"
_OF_SOME = ("stronger", "chain", "taken")


def counts_left(
  study: Study, networks: Sequence[Measured], norm: str
) -> tuple[np.ndarray, np.ndarray]:
  """Returns how many examples withstand each radius of a norm, and are right.

  Args:
    study: its radii.
    networks: I of them, of one cell.
    norm: of the transfer matrix.

  Returns:
    Counts [I, L] of examples that are right and withstand, and [I] of all
    that are right when clean.
  """
  left = [_standing(study, each, (norm,)).sum(1) for each in networks]
  right = [each.arrays["transfer"]["correct"].sum() for each in networks]
  return np.array(left), np.array(right)


Arms = Mapping[str, Mapping[int, Measured]]  # of a cell, by arm and seed
Grouped = Mapping[Cell, Arms]


def grouped(measured: Sequence[Measured]) -> Grouped:
  """Returns networks by cell, arm and seed, in the order they come in."""
  result: dict[Cell, dict[str, dict[int, Measured]]] = {}
  for each in measured:
    own = each.member
    arms = result.setdefault(Cell(own.data, own.inputs), {})
    arms.setdefault(own.arm, {})[own.seed] = each
  return result


def by_seed(
  study: Study, networks: Mapping[int, Measured], name: str
) -> dict[int, float]:
  """Returns one number of each seed of an arm.

  Args:
    study: the study.
    networks: of one arm, by seed. Where the number is of stronger attacks,
      those on which none were tried are left out.
    name: its path.
  """
  of_some = name.split("/")[0] in _OF_SOME
  return {
    seed: number(study, each, name)
    for seed, each in networks.items()
    if not of_some or _STRONGER in each.arrays
  }


def size_of(measure: str) -> str:
  """Returns the measure of the size of the gradient that a measure is of."""
  parts = measure.split("/")
  if parts[0] not in ("mean", "change"):
    return "mean/margin/clean/own/whole/log_l1"
  return "/".join(("mean", *parts[1:5], "log_l1"))
