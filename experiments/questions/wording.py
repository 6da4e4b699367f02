"""What the answers to all questions say alike: rules, verdicts, networks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.configuration import study as studies
from experiments.configuration.study import Question, Study
from experiments.questions import contrasts, doubts, network_numbers
from experiments.questions.contrasts import Compared, Decided, Findings
from experiments.questions.network_numbers import Cell
from experiments.questions.results import Measured
from snnjax import plots, replication
from snnjax.intervals import student
from snnjax.report import Column, Figure, Record, Section, Table
from snnjax.report.record import jsonable, keys_of
from snnjax.storage import identity

_MOST = 12  # of missing networks named in a summary
CELL_COLUMNS = (  # of `network_numbers.Cell.row`
  Column("data", "data set"),
  Column("modalities", "modalities"),
)


def record(
  title: str,
  summary: str,
  study: Study,
  measured: Sequence[Measured],
  sections: Sequence[Section],
) -> Record:
  """Returns an answer: its own sections, then what all answers end with.

  Args:
    title: the question.
    summary: the findings.
    study: the study.
    measured: the networks that are counted.
    sections: of this answer.
  """
  return Record(
    title=title,
    summary=summary,
    alarms=doubts.alarms(study, network_numbers.grouped(measured)),
    sections=[
      *sections,
      doubts.attacks_section(study, measured),
      networks_section(study, measured),
    ],
    provenance=provenance(study, measured),
  )


def summary(findings: Findings, missing: Sequence[str]) -> str:
  """Returns the findings: question, verdicts, scale, what is missing.

  Args:
    findings: what the networks say.
    missing: networks that are not there, in words.
  """
  study, question, decided = (
    findings.study,
    findings.question,
    findings.decided,
  )
  parts = [question.text, verdict_sentence(decided)]
  parts += [
    f"{name}: {each.verdict.conclusion.value}. {each.verdict.reason}. "
    f"{each.change}"
    for name, each in decided.items()
  ]
  parts.append(f"Size {study.size}: {_about(study, question.data)}.")
  if question.beside:
    parts.append(
      "Told beside, where it decides nothing: "
      f"{_about(study, list(question.beside))}."
    )
  return "\n\n".join([*parts, *reservations(study, missing)])


def _about(study: Study, data: Sequence[str]) -> str:
  """Some data sets in words, with the number of their test examples."""
  groups: dict[int, list[str]] = {}
  for name in data:
    count = studies.examples(study, name)
    groups.setdefault(count, []).append(study.data[name].about)
  return "; ".join(
    f"{'; '.join(abouts)}; {count} test examples each"
    for count, abouts in groups.items()
  )


def reservations(study: Study, missing: Sequence[str]) -> list[str]:
  """Returns the sentences that a summary ends with where it is not complete.

  Args:
    study: its size.
    missing: networks that lack a measurement, in words: who, then what.
  """
  parts = []
  if study.size == "smoke":
    parts.append("This size shows that everything runs; it answers nothing.")
  if missing:
    more = [f"and {len(missing) - _MOST} more"] * (len(missing) > _MOST)
    parts.append(
      f"NOT FINISHED: {len(missing)} networks of the study are missing or "
      "measured in part, and what is said is said of what there is: "
      f"{'; '.join([*missing[:_MOST], *more])}."
    )
  return parts


def verdict_sentence(decided: Mapping[str, Decided]) -> str:
  """Returns the verdicts in one sentence."""
  if not decided:
    return "There is no verdict: no contrast that decides has two seeds."
  groups: dict[str, list[str]] = {}
  for name, each in decided.items():
    groups.setdefault(each.verdict.conclusion.value, []).append(name)
  told = [f"{word} for {'; '.join(names)}" for word, names in groups.items()]
  (claim, *others) = {e.compared.contrast.claim for e in decided.values()}
  said = f"That {claim}" if not others else "The claims"
  return f"{said}: {', '.join(told)}."


def rules_section(question: Question) -> Section:
  """Returns the decision rules, which stood before the first network."""
  rows: list[dict[str, Any]] = []
  for contrast in question.contrasts:
    rule = contrasts.rule_of(question, contrast)
    rows.append(
      {
        "contrast": contrast.name,
        "claim": contrast.claim,
        "measure": contrast.measure,
        "matched": f"{contrast.matched}, along {' and '.join(contrast.along)}"
        if contrast.matched
        else "",
        "decides": contrast.decides,
        "rule": (
          replication.describe(rule)
          if contrast.decides
          else "told beside, decides nothing"
        ),
      }
    )
  return Section(
    "The decision rules",
    "As the study has them; docs/questions.md says when each was written. The "
    "unit of replication is the training seed; examples are nested in it. Only "
    "contrasts that decide are corrected for, and have a verdict.",
    [
      Table(
        "rules",
        "Rules",
        "What each contrast claims, and what verifies or refutes it.",
        [
          Column("contrast", "contrast"),
          Column("claim", "claim"),
          Column("measure", "measure"),
          Column("matched", "at equal"),
          Column("decides", "decides"),
          Column("rule", "rule"),
        ],
        rows,
      )
    ],
  )


def contrasts_section(findings: Findings, text: str) -> Section:
  """Returns every contrast as a table and a picture.

  Args:
    findings: what the networks say.
    text: how the numbers are read.
  """
  return Section(
    "The contrasts",
    text,
    [_contrast_table(findings.compared, findings.decided)],
    [_verdict_figure(findings)],
  )


def _contrast_table(
  compared: Sequence[Compared], decided: Mapping[str, Decided]
) -> Table:
  """Every contrast in every cell, with its interval and verdict."""
  rows: list[dict[str, Any]] = []
  for each in compared:
    estimate, verdict = each.estimate, decided.get(each.name)
    rows.append(
      {
        "contrast": each.contrast.name,
        **each.cell.row,
        "seeds": estimate.replicates if estimate else 0,
        "difference": estimate.estimate if estimate else None,
        "low": estimate.low if estimate else None,
        "high": estimate.high if estimate else None,
        "effect_size": estimate.effect_size if estimate else None,
        "p": estimate.p_value if estimate else None,
        "corrected_p": verdict.verdict.p_effect if verdict else None,
        "verdict": verdict.verdict.conclusion.value if verdict else "",
        "unpaired": ", ".join(each.unpaired),
      }
    )
  return Table(
    "contrasts",
    "Contrasts",
    "Treated less control over the seeds of both, with Student's interval, "
    "Hedges' g of the paired differences, the p value of the paired t test and "
    "that of the rule after Holm's correction.",
    [
      Column("contrast", "contrast"),
      *CELL_COLUMNS,
      Column("seeds", "seeds"),
      Column("difference", "difference", interval=("low", "high")),
      Column("effect_size", "effect size"),
      Column("p", "p"),
      Column("corrected_p", "corrected p"),
      Column("verdict", "verdict"),
    ],
    rows,
  )


def arm_row(
  study: Study, cell: Cell, arm: str, seeds: Mapping[int, Measured]
) -> dict[str, Any]:
  """Returns the first columns of a table of arms, see `arm_columns`."""
  about = study.arms[arm].about
  return {**cell.row, "arm": about, "seeds": len(seeds)}


def arm_columns(heading: str) -> list[Column]:
  """Returns the columns of `arm_row`, with the arms' heading."""
  return [*CELL_COLUMNS, Column("arm", heading), Column("seeds", "seeds")]


def over_seeds(name: str, values: Sequence[float]) -> dict[str, float | None]:
  """Returns a mean with its interval, as a column NAME shows it.

  Of one seed, whose spread is unknown, without an interval; nothing where one
  of them is not finite.

  Args:
    name: of the column.
    values: one per seed.
  """
  known = [value for value in values if math.isfinite(value)]
  if len(known) != len(values) or not values:
    return dict.fromkeys((name, f"{name} low", f"{name} high"))
  if len(values) == 1:
    return {name: values[0], f"{name} low": None, f"{name} high": None}
  interval = student(values)
  return {
    name: interval.estimate,
    f"{name} low": interval.low,
    f"{name} high": interval.high,
  }


def seeds_column(name: str, heading: str, *, percent: bool = False) -> Column:
  """Returns the column of `over_seeds`."""
  ends = (f"{name} low", f"{name} high")
  return Column(name, heading, percent=percent, interval=ends)


def _verdict_figure(findings: Findings) -> Figure:
  """The picture of all contrasts, thresholds and verdicts."""
  rows = []
  for each in findings.compared:
    verdict = findings.decided.get(each.name)
    rows.append(
      plots.ContrastRow(
        each.contrast.name,
        each.cell.words,
        each.estimate,
        each.contrast.smallest_effect,
        each.contrast.unit,
        each.contrast.alternative,
        verdict.verdict.conclusion.value if verdict else "",
      )
    )
  return plots.verdict_strip(
    rows,
    caption=(
      "Differences over seeds with their intervals; the dashed line is the "
      "smallest effect that matters, in the direction of the claim."
    ),
    confidence=1 - findings.question.alpha,
  )


def networks_section(study: Study, measured: Sequence[Measured]) -> Section:
  """Returns every network with its digest and its most important numbers."""
  rows: list[dict[str, Any]] = []
  for each in measured:
    own = each.member
    rows.append(
      {
        "network": own.name,
        "data": own.data,
        "modalities": own.inputs,
        "arm": own.arm,
        "seed": own.seed,
        "accuracy": network_numbers.number(study, each, "accuracy"),
        "digest": identity.short(own.digest),
      }
    )
  return Section(
    "The networks",
    "Every network that was counted; its folder among the results has its "
    "arrays, example by example.",
    [
      Table(
        "networks",
        "Networks",
        "Every network, named by the digest of its configuration.",
        [
          Column("network", "network"),
          Column("accuracy", "clean accuracy", percent=True),
        ],
        rows,
      )
    ],
  )


def provenance(study: Study, measured: Sequence[Measured]) -> dict[str, Any]:
  """Returns what the answer was made from.

  Nothing of this machine or moment: equal results give an equal answer.
  """
  kinds: dict[str, dict[str, Any]] = {}
  for each in measured:
    for name, noted in each.who["measurements"].items():
      digest = identity.short(identity.of_value(noted["environment"]))
      kinds.setdefault(name, {})[digest] = noted["environment"]
  return {
    "size": study.size,
    "environments": kinds,
    "arms": {name: dict(arm.keys) for name, arm in study.arms.items()},
    "networks": len(measured),
  }


def filled(table: Table) -> Table:
  """Returns a table whose rows say None of what they lack, beside a note."""
  shown = [key for column in table.columns for key in keys_of(column)]
  empty = dict.fromkeys(shown)
  return table._replace(rows=[{**empty, **row} for row in table.rows])


_DIGITS = 10


def rounded(record: Record) -> Record:
  """Returns a report whose numbers have ten digits.

  Another processor sums in another order: the last digits of sixteen would
  make another file of the same results.
  """
  sections = []
  for section in record.sections:
    tables = [
      table._replace(rows=[_round(row) for row in table.rows])
      for table in section.tables
    ]
    figures = [
      figure._replace(data=_round(jsonable(figure.data)))
      for figure in section.figures
    ]
    sections.append(section._replace(tables=tables, figures=figures))
  return record._replace(sections=sections)


def _round(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {key: _round(each) for key, each in value.items()}
  if isinstance(value, list | tuple):
    return [_round(each) for each in value]
  if isinstance(value, float) and math.isfinite(value):
    return float(f"{value:.{_DIGITS}g}")
  return value
