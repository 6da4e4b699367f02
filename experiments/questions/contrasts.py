"""Contrasts of arms over seeds, in every cell, and what they decide."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.command.exits import DataError, UsageError
from experiments.configuration.study import Claim, Contrast, Question, Study
from experiments.questions import network_numbers, seed_pairs
from experiments.questions.network_numbers import Arms, Cell, Grouped
from experiments.questions.results import Measured
from snnjax import replication
from snnjax.replication import Estimate, Rule


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


def rule_of(question: Question, contrast: Contrast) -> Rule:
  """Returns the decision rule of a contrast.

  Raises:
    UsageError: it makes no sense.
  """
  return decision_rule(f"contrast {contrast.name!r}", contrast, question.alpha)


class Compared(NamedTuple):
  """A contrast in one cell.

  Attributes:
    contrast: what is compared.
    cell: where.
    estimate: treated less control over the seeds of both; None where fewer
      than two have both. Of a matched contrast less what their difference in
      the matched number is worth.
    unpaired: seeds that one arm lacks, or has no such number of, with the arm:
      named, never counted.
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


class Findings(NamedTuple):
  """What the networks of a question say.

  Attributes:
    study: the study.
    question: of it.
    measured: the networks that have every measurement of the question.
    networks: the same, by cell, arm and seed.
    compared: every contrast in every cell.
    decided: verdicts, by the names of the contrasts.
  """

  study: Study
  question: Question
  measured: Sequence[Measured]
  networks: Grouped
  compared: Sequence[Compared]
  decided: Mapping[str, Decided]


def findings(study: Study, name: str, measured: Sequence[Measured]) -> Findings:
  """Returns the contrasts of a question and their verdicts.

  Args:
    study: its decision rules and protocol.
    name: of the question.
    measured: networks; those that lack one of its measurements are left out.

  Raises:
    UsageError: a contrast of the study makes no sense.
    DataError: all of them are left out.
  """
  question = study.questions[name]
  whole = [m for m in measured if set(question.measurements) <= set(m.arrays)]
  if not whole:
    raise DataError(
      f"{name} must have a network with {' and '.join(question.measurements)}; "
      f"got {len(measured)} that lack one of them. Run {name} without "
      "--from_results"
    )
  networks = network_numbers.grouped(whole)
  compared = compare(study, question, networks)
  decided = decide(question, compared)
  return Findings(study, question, whole, networks, compared, decided)


def compare(
  study: Study, question: Question, networks: Grouped
) -> list[Compared]:
  """Returns every contrast in every cell that it is asked of and has networks.

  Args:
    study: the study.
    question: its contrasts, and the data and modalities that decide.
    networks: from `network_numbers.grouped`.
  """
  deciding = {"+".join(each) for each in question.deciding}
  result = []
  for contrast in question.contrasts:
    asked = {"+".join(each) for each in contrast.modalities}
    for cell, arms in networks.items():
      if asked and cell.inputs not in asked:
        continue
      estimate, unpaired = _compare(study, question, contrast, arms)
      decides = (
        contrast.decides
        and cell.inputs in deciding
        and cell.data in question.data
      )
      result.append(Compared(contrast, cell, estimate, unpaired, decides))
  return result


def _compare(
  study: Study, question: Question, contrast: Contrast, arms: Arms
) -> tuple[replication.Contrast | None, tuple[str, ...]]:
  """The estimate of a contrast in one cell, and the seeds it cannot count."""
  names = contrast.treated, contrast.control
  pairs = seed_pairs.paired(
    [
      network_numbers.by_seed(study, arms.get(arm, {}), contrast.measure)
      for arm in names
    ]
  )
  treated, control = pairs.arms
  # What one arm has alone is what the other lacks.
  unpaired = [
    f"{arm} {seed}"
    for arm, seeds in (
      *zip(reversed(names), pairs.unpaired, strict=True),
      *zip(names, pairs.unknown, strict=True),
    )
    for seed in seeds
  ]
  if contrast.matched:
    worth = _corrections(study, contrast, arms, list(treated))
    unpaired += [
      f"{' or '.join(contrast.along)} {seed}"
      for seed in treated
      if seed not in worth
    ]
    treated = {seed: treated[seed] - value for seed, value in worth.items()}
  estimate = seed_pairs.difference(treated, control, question.alpha)
  return estimate, tuple(dict.fromkeys(unpaired))


def _corrections(
  study: Study, contrast: Contrast, arms: Arms, seeds: Sequence[int]
) -> dict[int, float]:
  """What the arms' difference in the matched number is worth, by seed.

  The line through the two arms of `along`, of the same seed, says how much of
  the measure a unit of the number is worth. Seeds that lack one of them or a
  number of it, or where they are equal in the number, are left out.

  Raises:
    UsageError: the contrast does not name two arms.
  """
  if len(contrast.along) != 2:
    raise UsageError(
      f"contrast {contrast.name!r}: along must name two arms where matched is "
      f"given; got {contrast.along}"
    )
  first, last = (arms.get(arm, {}) for arm in contrast.along)
  own, other = (
    arms.get(arm, {}) for arm in (contrast.treated, contrast.control)
  )
  result = {}
  for seed in seeds:
    if seed not in first or seed not in last:
      continue
    x, y = (
      [
        network_numbers.number(study, arm[seed], name)
        for arm in (first, last, own, other)
      ]
      for name in (contrast.matched, contrast.measure)
    )
    if x[0] != x[1]:
      worth = (y[1] - y[0]) / (x[1] - x[0]) * (x[2] - x[3])
      if math.isfinite(worth):
        result[seed] = worth
  return result


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


def adjusted(
  study: Study, contrast: Contrast, arms: Arms
) -> dict[str, replication.Coefficient]:
  """Returns a contrast at equal values of something else, by its name.

  The slope of "treated" in a regression over the networks of both arms on it
  and on the covariate: clean accuracy, firing rate, or the size of the same
  gradient, log ||g||_1. Errors are clustered by seed.

  Args:
    study: the study.
    contrast: its arms and measure.
    arms: the networks of one cell.
  """
  chosen = [
    (arm, seed, each)
    for arm in (contrast.control, contrast.treated)
    for seed, each in arms.get(arm, {}).items()
  ]
  if len(chosen) < 6:
    return {}
  values = _numbers(study, chosen, contrast.measure)
  covariates = {
    "clean accuracy": "accuracy",
    "firing rate": "firing_rate",
    "gradient size": network_numbers.size_of(contrast.measure),
  }
  result: dict[str, replication.Coefficient] = {}
  for title, name in covariates.items():
    fit = replication.regress(
      values,
      {
        "treated": [float(arm == contrast.treated) for arm, *_ in chosen],
        title: _numbers(study, chosen, name),
      },
      clusters=[seed for _, seed, _ in chosen],
    )
    result[title] = fit.coefficients["treated"]
  return result


def _numbers(
  study: Study, chosen: Sequence[tuple[str, int, Measured]], name: str
) -> list[float]:
  return [network_numbers.number(study, each, name) for *_, each in chosen]
