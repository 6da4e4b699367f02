"""Numbers of measured networks, by name, and contrasts of arms over seeds.

A number of one network has a path as its name:

    accuracy   firing_rate   margin      of the clean inputs
    fgsm   pgd10   random/LEVEL          accuracies left, linf
    log_margin                           log of the median of those right
    robust/NORM/LEVEL                    accuracy left by the worst of a chain
    transfer/NORM/LEVEL                  the same of `measurement.transfer`
    transfer/rest/LEVEL                  mean over its norms other than linf
    union/LEVEL                          accuracy left by all its norms together
    mean/CONFIDENCE/POINT/RULE/PART/METRIC     of gradients, see `measurement`
    change/CONFIDENCE/POINT/RULE/PART/METRIC   of each example's own
    zeros/CONFIDENCE/POINT/RULE/PART           share of zero gradients

RULE may be ``own``, the training rule, and PART ``whole``, all the network
sees: its only modality, or the gradients of all as one vector. The LEVEL of
``transfer`` and ``union`` may be ``mean``, over all radii.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from experiments.command.exits import UsageError
from experiments.configuration import study as studies
from experiments.configuration.study import Claim, Contrast, Question, Study
from experiments.questions import measurement
from experiments.questions.measurement import ATTACK, DERIVED, METRICS
from experiments.questions.results import Measured
from snnjax import replication
from snnjax.replication import Estimate, Rule

ALL_METRICS = (*METRICS, *DERIVED)


class Cell(NamedTuple):
  """One data set as one set of modalities sees it."""

  data: str
  inputs: str

  @property
  def words(self) -> str:
    """For a heading."""
    return f"{self.data}, {self.inputs}"


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
      "LEVEL, transfer/NORM/LEVEL, union/LEVEL or mean/CONFIDENCE/POINT/RULE/"
      f"PART/METRIC; got {name!r} of {measured.member.words}"
    ) from None


def _place(
  study: Study, measured: Measured, kind: str, path: Sequence[str]
) -> tuple[int, ...]:
  """The position of a number in the table of all gradients."""
  rules = study.protocol.rules
  parts = measurement.parts_of(measured.member.modalities)
  axes: list[Sequence[str]] = [
    tuple(measurement.CONFIDENCES),
    measurement.points_of(study.protocol),
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


_ACROSS: Mapping[str, Callable[..., float]] = {
  "transfer": _transfer,
  "union": _union,
}


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


# By cell, by arm, by seed.
Grouped = Mapping[Cell, Mapping[str, Mapping[int, Measured]]]


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
  """Returns one number of each seed of an arm."""
  return {seed: number(study, each, name) for seed, each in networks.items()}


def decision_rule(name: str, source: Contrast | Claim, alpha: float) -> Rule:
  """Returns the decision rule of a contrast or a claim.

  Args:
    name: what it is called in an error.
    source: its smallest effect, alternative and unit.
    alpha: the level of the test.

  Raises:
    UsageError: it makes no sense.
  """
  try:
    return Rule(
      smallest_effect=source.smallest_effect,
      alpha=alpha,
      alternative=source.alternative,
      unit=source.unit,
    )
  except ValueError as error:
    raise UsageError(f"{name}: {error}") from None


class Compared(NamedTuple):
  """A contrast in one cell.

  Attributes:
    contrast: what is compared.
    cell: where.
    estimate: treated less control over the seeds of both, a
      `replication.Contrast`; None where fewer than two have both. Of a matched
      contrast less what their difference in the matched number is worth.
    unpaired: seeds that one arm lacks, with the arm: named, never counted.
    decides: whether the question's verdict rests on it.
  """

  contrast: Contrast
  cell: Cell
  estimate: replication.Contrast | None
  unpaired: tuple[str, ...]
  decides: bool

  @property
  def name(self) -> str:
    """Its name among all of a question."""
    return f"{self.contrast.name} ({self.cell.words})"


def compare(
  study: Study, question: Question, networks: Grouped
) -> list[Compared]:
  """Returns every contrast of a question in every cell that has both arms.

  Args:
    study: the study.
    question: its contrasts, and the data and modalities that decide.
    networks: from `grouped`.
  """
  deciding = {"+".join(each) for each in question.deciding}
  result = []
  for contrast in question.contrasts:
    for cell, arms in networks.items():
      treated, control = (
        by_seed(study, arms.get(arm, {}), contrast.measure)
        for arm in (contrast.treated, contrast.control)
      )
      both = [seed for seed in treated if seed in control]
      unpaired = [
        *(f"{contrast.control} {s}" for s in treated if s not in control),
        *(f"{contrast.treated} {s}" for s in control if s not in treated),
      ]
      corrections: Mapping[int, float] = dict.fromkeys(both, 0.0)
      if contrast.matched:
        corrections = _corrections(study, contrast, arms, both)
        unpaired += [
          f"{' or '.join(contrast.along)} {s}"
          for s in both
          if s not in corrections
        ]
      estimate = None
      if len(corrections) > 1:
        estimate = replication.paired_contrast(
          {s: treated[s] - worth for s, worth in corrections.items()},
          {s: control[s] for s in corrections},
          confidence=1 - question.alpha,
        )
      decides = (
        contrast.decides
        and cell.inputs in deciding
        and cell.data in question.data
      )
      result.append(
        Compared(contrast, cell, estimate, tuple(unpaired), decides)
      )
  return result


def _corrections(
  study: Study,
  contrast: Contrast,
  networks: Mapping[str, Mapping[int, Measured]],
  seeds: Sequence[int],
) -> dict[int, float]:
  """What the arms' difference in the matched number is worth, by seed.

  The line through the two arms of `along`, of the same seed, says how much of
  the measure a unit of the number is worth. Seeds that lack one of them, or
  where they are equal in the number, are left out.

  Raises:
    UsageError: the contrast does not name two arms.
  """
  if len(contrast.along) != 2:
    raise UsageError(
      f"contrast {contrast.name!r}: along must name two arms where matched is "
      f"given; got {contrast.along}"
    )
  first, last = (networks.get(arm, {}) for arm in contrast.along)
  own, other = (
    networks.get(arm, {}) for arm in (contrast.treated, contrast.control)
  )
  result = {}
  for seed in seeds:
    if seed not in first or seed not in last:
      continue
    x, y = (
      [number(study, arm[seed], name) for arm in (first, last, own, other)]
      for name in (contrast.matched, contrast.measure)
    )
    if x[0] != x[1]:
      result[seed] = (y[1] - y[0]) / (x[1] - x[0]) * (x[2] - x[3])
  return result


def rule_of(question: Question, contrast: Contrast) -> Rule:
  """Returns the decision rule of a contrast.

  Raises:
    UsageError: it makes no sense.
  """
  return decision_rule(f"contrast {contrast.name!r}", contrast, question.alpha)


class Decided(NamedTuple):
  """A verdict, and what would change it.

  Attributes:
    compared: what was measured.
    verdict: of it, corrected for all that the question decides.
    change: in words.
  """

  compared: Compared
  verdict: replication.Verdict
  change: str


def decide(
  question: Question, compared: Sequence[Compared]
) -> dict[str, Decided]:
  """Returns the verdicts of a question, by the names of its contrasts.

  Args:
    question: its rules.
    compared: from `compare`; those that decide and have an estimate count.
  """
  deciding = {c.name: c for c in compared if c.decides and c.estimate}
  if not deciding:
    return {}
  rules = {n: rule_of(question, c.contrast) for n, c in deciding.items()}
  estimates: dict[str, Estimate] = {
    name: each.estimate
    for name, each in deciding.items()
    if each.estimate is not None
  }
  verdicts = replication.decide(estimates, rules)
  return {
    name: Decided(
      each,
      verdicts[name],
      replication.what_would_change(estimates, rules, name).sentence,
    )
    for name, each in deciding.items()
  }


def matched(
  study: Study,
  contrast: Contrast,
  networks: Mapping[str, Mapping[int, Measured]],
) -> dict[str, replication.Coefficient]:
  """Returns a contrast at equal values of something else, by its name.

  The slope of "treated" in a regression over the networks of both arms on it
  and on the covariate: clean accuracy, firing rate, or the size of the same
  gradient, log ||g||_1. Errors are clustered by seed.

  Args:
    study: the study.
    contrast: its arms and measure.
    networks: of one cell, by arm and seed.
  """
  pairs = [
    (arm, seed, each)
    for arm in (contrast.control, contrast.treated)
    for seed, each in networks.get(arm, {}).items()
  ]
  if len(pairs) < 6:
    return {}
  values = [number(study, each, contrast.measure) for _, _, each in pairs]
  covariates = {
    "clean accuracy": "accuracy",
    "firing rate": "firing_rate",
    "gradient size": size_of(contrast.measure),
  }
  result: dict[str, replication.Coefficient] = {}
  for title, name in covariates.items():
    fit = replication.regress(
      values,
      {
        "treated": [float(arm == contrast.treated) for arm, _, _ in pairs],
        title: [number(study, each, name) for _, _, each in pairs],
      },
      clusters=[seed for _, seed, _ in pairs],
    )
    result[title] = fit.coefficients["treated"]
  return result


def size_of(measure: str) -> str:
  """Returns the measure of the size of the gradient that a measure is of."""
  parts = measure.split("/")
  if parts[0] not in ("mean", "change"):
    return "mean/margin/clean/own/whole/log_l1"
  return "/".join(("mean", *parts[1:5], "log_l1"))
