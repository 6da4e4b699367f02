"""The answer to the first question: sparsity of gradients under attack."""

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from experiments.configuration.study import Question, Study
from experiments.questions import measurement, outcomes, wording
from experiments.questions.outcomes import Compared, Decided, Grouped
from experiments.questions.results import Measured
from snnjax.report import Column, Record, Section, Table

NAME = "sparsity_under_attack"
_WHOLE = "own/whole/log_participation_ratio"


def _headline(study: Study) -> dict[str, str]:
  """What the table of arms shows, with headings.

  Of gradients: the margin's, under the training rule, of all inputs.
  """
  norms, level = study.protocol.norms, study.protocol.level
  points = measurement.points_of(study.protocol)
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
  """
  question = study.questions[NAME]
  networks = outcomes.grouped(measured)
  compared = outcomes.compare(study, question, networks)
  decided = outcomes.decide(question, compared)
  return Record(
    title="Do crafted-noise networks keep sparser gradients under attack?",
    summary=wording.summary(study, question, decided, missing),
    alarms=[],
    sections=[
      wording.rules_section(question),
      _answer_section(compared, decided),
      _arms_section(study, networks),
      _matched_section(study, question, networks),
      _gradients_section(study, networks),
      wording.networks_section(study, measured),
    ],
    provenance=wording.provenance(study, measured),
  )


def _answer_section(
  compared: Sequence[Compared], decided: Mapping[str, Decided]
) -> Section:
  return Section(
    "The contrasts",
    "Differences of two arms trained from the same initial weights on the same "
    "order of examples, seed by seed; intervals are Student's over seeds. "
    "Negative differences of the log participation ratio mean a sparser "
    "gradient in the treated arm: -0.1 is about 10 % fewer inputs that take "
    "part.",
    [wording.contrast_table(compared, decided)],
  )


def _arms_section(study: Study, networks: Grouped) -> Section:
  """Every arm in every cell: means over seeds."""
  headline = _headline(study)
  rows: list[dict[str, Any]] = []
  for cell, arms in networks.items():
    for arm, seeds in arms.items():
      row: dict[str, Any] = {
        "data": cell.data,
        "modalities": cell.inputs,
        "arm": study.arms[arm].about,
        "seeds": len(seeds),
      }
      for name in headline:
        values = list(outcomes.by_seed(study, seeds, name).values())
        row |= wording.over_seeds(name, values)
      rows.append(row)
  columns = [
    Column("data", "data set"),
    Column("modalities", "modalities"),
    Column("arm", "arm"),
    Column("seeds", "seeds"),
  ]
  for name, heading in headline.items():
    columns.append(
      Column(
        name,
        heading,
        percent=name == "accuracy" or name.startswith("robust/"),
        interval=(f"{name} low", f"{name} high"),
      )
    )
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


def _matched_section(
  study: Study, question: Question, networks: Grouped
) -> Section:
  """The contrasts at equal accuracy, size and firing rate."""
  rows: list[dict[str, Any]] = []
  for contrast in question.contrasts:
    for cell, arms in networks.items():
      for title, estimate in outcomes.matched(study, contrast, arms).items():
        rows.append(
          {
            "contrast": contrast.name,
            "data": cell.data,
            "modalities": cell.inputs,
            "matched": title,
            "difference": estimate.estimate,
            "low": estimate.low,
            "high": estimate.high,
            "inflation": estimate.variance_inflation,
          }
        )
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
          Column("data", "data set"),
          Column("modalities", "modalities"),
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
      any_network = next(iter(seeds.values()))
      parts = measurement.parts_of(any_network.member.modalities)
      for path in itertools.product(
        measurement.CONFIDENCES,
        measurement.points_of(study.protocol),
        study.protocol.rules,
        parts,
      ):
        row: dict[str, Any] = {
          "data": cell.data,
          "modalities": cell.inputs,
          "arm": arm,
          **dict(
            zip(("confidence", "point", "rule", "part"), path, strict=True)
          ),
        }
        joined = "/".join(path)
        for metric in outcomes.ALL_METRICS:
          row[metric] = _mean(study, seeds, f"mean/{joined}/{metric}")
        row["retention"] = _mean(
          study, seeds, f"change/{joined}/log_participation_ratio"
        )
        row["zeros"] = _mean(study, seeds, f"zeros/{joined}")
        rows.append(row)
  shown = (*outcomes.ALL_METRICS, "retention", "zeros")
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
  value = fmean(outcomes.by_seed(study, seeds, name).values())
  return value if math.isfinite(value) else None
