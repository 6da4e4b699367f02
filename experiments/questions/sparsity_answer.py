"""The answer to the first question: sparsity of gradients under attack."""

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from experiments.configuration.study import Contrast, Study
from experiments.measuring.named_arrays import (
  CONFIDENCES,
  METRICS,
  parts_of,
  points_of,
)
from experiments.questions import (
  contrasts,
  network_numbers,
  seed_pairs,
  wording,
)
from experiments.questions.contrasts import Findings
from experiments.questions.network_numbers import ALL_METRICS, Grouped
from experiments.questions.results import Measured
from snnjax import plots
from snnjax.report import Column, Record, Section, Table

NAME = "sparsity_under_attack"
_WHOLE = "own/whole/log_participation_ratio"


def _headline(study: Study) -> dict[str, str]:
  """What the table of arms shows, with headings.

  Of gradients: the margin's, under the training rule, of all inputs.
  """
  norms, level = study.protocol.norms, study.protocol.level
  points = points_of(study.protocol)
  return {
    "accuracy": "clean accuracy",
    **{f"robust/{norm}/{level}": f"left by {norm}" for norm in norms},
    **{f"mean/margin/{p}/{_WHOLE}": f"log PR, {p}" for p in points},
    **{f"change/margin/{n}/{_WHOLE}": f"change by {n}" for n in norms},
    **{
      f"mean/margin/{p}/own/whole/log_l1": f"log |g|_1, {p}" for p in points[:2]
    },
    "firing_rate": "firing rate",
  }


def answer(
  study: Study, measured: Sequence[Measured], missing: Sequence[str]
) -> Record:
  """Returns the report that answers the question.

  Args:
    study: its decision rules and protocol.
    measured: the networks.
    missing: those that are not there, in words.

  Raises:
    DataError: no network has all that the question measures.
  """
  findings = contrasts.findings(study, NAME, measured)
  networks = findings.networks
  return wording.record(
    "Do crafted-noise networks keep sparser gradients under attack?",
    wording.summary(findings, missing),
    study,
    findings.measured,
    [
      _figure_section(findings),
      wording.rules_section(findings.question),
      wording.contrasts_section(
        findings,
        "Differences of two arms trained from the same initial weights on the "
        "same order of examples, seed by seed; intervals are Student's over "
        "seeds. Negative differences of the log participation ratio mean a "
        "sparser gradient in the treated arm: -0.1 is about 10 % fewer inputs "
        "that take part.",
      ),
      _along_section(study, networks),
      _arms_section(study, networks),
      _matched_section(findings),
      _gradients_section(study, networks),
    ],
  )


def _figure_section(findings: Findings) -> Section:
  """The figure that carries the verdict: every network, in pairs."""
  study, question = findings.study, findings.question
  deciding = [each for each in question.contrasts if each.decides]
  if not deciding:
    return Section("The figure", "No contrast of the study decides.")
  contrast = deciding[0]
  metric, caption = _words(study, contrast)
  panels: dict[str, dict[str, plots.PairedArm]] = {}
  for cell, arms in findings.networks.items():
    if contrast.control not in arms:
      continue
    values = {
      arm: network_numbers.by_seed(study, seeds, contrast.measure)
      for arm, seeds in arms.items()
    }
    control = values[contrast.control]
    panels[cell.words] = {
      study.arms[arm].about: plots.PairedArm(
        own,
        None
        if arm == contrast.control
        else seed_pairs.difference(own, control, question.alpha),
      )
      for arm, own in values.items()
    }
  figures = []
  if panels:
    figures.append(
      plots.paired_differences(
        panels,
        control=study.arms[contrast.control].about,
        metric=metric,
        smallest_effect=contrast.smallest_effect,
        share=False,
        caption=f"Every dot is a network: {caption}. Lines join networks of "
        "one seed.",
      )
    )
  return Section("The figure", "", (), figures)


def _words(study: Study, contrast: Contrast) -> tuple[str, str]:
  """The measure of a contrast: for the axis, and for the caption."""
  for norm in study.protocol.norms:
    if contrast.measure == f"mean/margin/{norm}/{_WHOLE}":
      return (
        f"log participation ratio at {norm}-adversarial inputs",
        "the mean over its test examples of the log participation ratio of the "
        "margin's gradient, at the worst point that "
        f"{len(study.protocol.chains[norm])} attacks found. Further left is "
        "sparser",
      )
  return contrast.measure, f"{contrast.measure}, {contrast.unit}"


def _along_section(study: Study, networks: Grouped) -> Section:
  """Sparsity at every step of the attack, a band per arm."""
  metric = METRICS.index("log_participation_ratio")
  figures = []
  for place, norm in enumerate(study.protocol.norms):
    panels: dict[str, dict[str, np.ndarray]] = {}
    right: dict[str, dict[str, np.ndarray]] = {}
    for cell, arms in networks.items():
      for arm, seeds in arms.items():
        about = study.arms[arm].about
        tables = [each.arrays["gradients"] for each in seeds.values()]
        panels.setdefault(cell.words, {})[about] = np.stack(
          [table["along"][place, -1, metric] for table in tables]
        ).astype(np.float64)
        right.setdefault(cell.words, {})[about] = np.stack(
          [table["along_standing"][place] for table in tables]
        ).astype(np.float64)
    figures.append(
      plots.bands_along(
        panels,
        right=right,
        metric="log participation ratio",
        name=f"along_{norm}",
        title=f"Along the {norm} attack",
        caption=(
          "The gradient that the attack follows, cross-entropy under the "
          f"training rule, at each of its steps under {norm}, over the "
          "examples that are right when clean. The attack starts at a random "
          "point of the ball, not at the clean input."
        ),
      )
    )
  return Section(
    "Along the attack",
    "What a clean input shows and an adversarial one does not: lines that meet "
    "say that a sparser gradient at the clean input is lost on the way.",
    (),
    figures,
  )


def _is_share(name: str) -> bool:
  """Whether a number is a share of examples."""
  return name == "accuracy" or name.startswith("robust/")


def _arms_section(study: Study, networks: Grouped) -> Section:
  """Every arm in every cell: means over seeds."""
  headline = _headline(study)
  rows: list[dict[str, Any]] = []
  for cell, arms in networks.items():
    for arm, seeds in arms.items():
      row = wording.arm_row(study, cell, arm, seeds)
      for name in headline:
        values = list(network_numbers.by_seed(study, seeds, name).values())
        row |= wording.over_seeds(name, values, share=_is_share(name))
      rows.append(row)
  columns = wording.arm_columns("arm")
  for name, heading in headline.items():
    columns.append(wording.seeds_column(name, heading, percent=_is_share(name)))
  return Section(
    "The arms",
    "Means over seeds with 95 % intervals. PR is the participation ratio of "
    "the margin's gradient with respect to all that the network sees, under "
    "the training rule; logarithms are natural. A change is that of each "
    "example between its clean and its adversarial input.",
    [
      Table(
        "arms",
        "Arms",
        "Clean and robust accuracy, sparsity and size of gradients.",
        columns,
        rows,
      )
    ],
  )


def _matched_section(findings: Findings) -> Section:
  """The contrasts at equal accuracy, size and firing rate."""
  rows: list[dict[str, Any]] = []
  for each in findings.compared:
    contrast, cell = each.contrast, each.cell
    arms = findings.networks[cell]
    matched = contrasts.adjusted(findings.study, contrast, arms)
    rows += [
      {
        "contrast": contrast.name,
        **cell.row,
        "matched": title,
        "difference": estimate.estimate,
        "low": estimate.low,
        "high": estimate.high,
        "inflation": estimate.variance_inflation,
      }
      for title, estimate in matched.items()
    ]
  return Section(
    "At equal accuracy, size and firing rate",
    "The difference of the two arms in a regression over their networks on the "
    "arm and the covariate, errors clustered by seed. Where the arms hardly "
    "overlap in the covariate the variance inflation is large, and the data "
    "cannot tell the arm from it.",
    [
      Table(
        "matched",
        "Matched contrasts",
        "What is left of a contrast at equal values of something else.",
        [
          Column("contrast", "contrast"),
          *wording.CELL_COLUMNS,
          Column("matched", "at equal"),
          Column("difference", "difference", interval=("low", "high")),
          Column("inflation", "variance inflation"),
        ],
        rows,
      )
    ],
  )


def _gradients_section(study: Study, networks: Grouped) -> Section:
  """All metrics of all gradients, means over seeds: for the CSV above all."""
  rows: list[dict[str, Any]] = []
  for cell, arms in networks.items():
    for arm, seeds in arms.items():
      for path in itertools.product(
        CONFIDENCES,
        points_of(study.protocol),
        study.protocol.rules,
        parts_of(cell.modalities),
      ):
        row: dict[str, Any] = {
          **cell.row,
          "arm": arm,
          **dict(
            zip(("confidence", "point", "rule", "part"), path, strict=True)
          ),
        }
        joined = "/".join(path)
        for metric in ALL_METRICS:
          row[metric] = _mean(study, seeds, f"mean/{joined}/{metric}")
        row["retention"] = _mean(
          study, seeds, f"change/{joined}/log_participation_ratio"
        )
        row["zeros"] = _mean(study, seeds, f"zeros/{joined}")
        rows.append(row)
  shown = (*ALL_METRICS, "retention", "zeros")
  return Section(
    "All metrics",
    "Confidence x point x rule x part of the gradient: means over the seeds of "
    "the means over examples that are right when clean. `retention` is the "
    "mean change of each example's log participation ratio from clean to "
    "attacked; `zeros` the share of gradients that are exactly zero, which no "
    "mean counts.",
    [
      Table(
        "gradients",
        "Gradients",
        "All of them.",
        [
          *(
            Column(key, key)
            for key in (
              "data",
              "modalities",
              "arm",
              "confidence",
              "point",
              "rule",
              "part",
            )
          ),
          *(Column(key, key.replace("_", " ")) for key in shown),
        ],
        rows,
      )
    ],
  )


def _mean(
  study: Study, seeds: Mapping[int, Measured], name: str
) -> float | None:
  """The mean over seeds; None where one of them has no such gradient."""
  value = fmean(network_numbers.by_seed(study, seeds, name).values())
  return value if math.isfinite(value) else None
