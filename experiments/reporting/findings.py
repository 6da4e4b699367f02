"""Computes the numbers of a report: rows of tables and lines of pictures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.evaluation.assessment import Assessed
from snnjax import evaluation as evaluating
from snnjax.attacks import SuiteAttack
from snnjax.evaluation import (
  Case,
  Cell,
  Evaluation,
  Plan,
  Summary,
  gradients,
  planning,
)
from snnjax.intervals import Interval

# Metrics of the report's tables, with their headings.
METRICS = {
  "l0_relative": "entries over 1 % of the largest",
  "l1": "l1 norm",
  "l2": "l2 norm",
  "participation_ratio": "participation ratio",
  "gini": "Gini",
}


TOGETHER = "all together"  # the norm of a row on the worst of all norms


def radius(cell: Cell) -> str:
  """A cell's radius in words: one number, or one for each modality."""
  attacked = {name: r for name, r in cell.radii.items() if r}
  if len(set(attacked.values())) == 1:
    return f"{next(iter(attacked.values())):g}"
  return ", ".join(f"{name} {r:g}" for name, r in attacked.items())


def select_cases(evaluation: Evaluation, cases: Iterable[Case]) -> Evaluation:
  """Returns the evaluation with some of its cases."""
  return evaluation._replace(
    attacks={case.path: evaluation.attacks[case.path] for case in cases}
  )


def rules_alone(plan: Plan, norm: str) -> dict[str, SuiteAttack]:
  """Returns PGD under each rule alone, on all examples: attack by rule."""
  alone: dict[str, SuiteAttack] = {}
  for attack in plan.alone(norm):
    alone.setdefault(attack.rules[0], attack)
  return alone


def batch_dependence(assessed: Assessed, attacks: Iterable[str]) -> str:
  """Says on a batch of which size the results of some attacks depend.

  Returns "of 64", for instance; empty if no result depends on other examples.
  """
  dependent = set(attacks) & set(assessed.plan.mixing)
  return f"of {assessed.config.evaluation.microbatch}" if dependent else ""


def batch_dependent(
  assessed: Assessed, evaluation: Evaluation
) -> tuple[str, ...]:
  """Returns which attacks of a part depend in their results on the batch."""
  plan = assessed.plan
  attack_names = {plan.by_path[path].attack.name for path in evaluation.attacks}
  return tuple(name for name in plan.mixing if name in attack_names)


def summary(assessed: Assessed, cases: Iterable[Case]) -> Summary:
  """Returns the worst case over some cases, and no other."""
  return evaluating.summarize(select_cases(assessed.evaluation, cases))


def within(assessed: Assessed, cell: Cell) -> Evaluation:
  """Returns the evaluation with all attacks in the ball of one cell."""
  return assessed.plan.within(assessed.evaluation, cell)


def headline(assessed: Assessed) -> Evaluation:
  """Returns the evaluation with all attacks at the largest radii.

  They are on the last target, and under every norm: its worst case is what is
  told of a network first.
  """
  plan = assessed.plan
  return plan.union(assessed.evaluation, plan.strongest)


def interval_columns(
  prefix: str, interval: Interval | None
) -> dict[str, float | None]:
  """Returns an interval as three columns of a row; None is not measured."""
  ends = tuple(interval) if interval else (None, None, None)
  names = (prefix, f"{prefix}_low", f"{prefix}_high")
  return dict(zip(names, ends, strict=True))


def accuracy_under(
  assessed: Assessed, cases: Sequence[Case]
) -> Interval | None:
  """Returns the accuracy under the worst of some cases.

  None without a case: a network that nobody attacked is not robust.
  """
  return summary(assessed, cases).robust if cases else None


# Columns of the main table with a heading: which kinds of attack each counts.
SHARES = {
  "noise": ("random noise", ("random",)),
  "fgsm": ("FGSM", ("fgsm",)),
  "pgd": ("PGD, worst rule", planning.ALONE),
}


def shares(assessed: Assessed) -> dict[str, tuple[str, tuple[str, ...]]]:
  """Returns the rows of `SHARES` that the suite has an attack for."""
  plan = assessed.plan
  kinds = {
    attack.kind
    for attack in plan.attacks
    if attack.meets == "all" and attack.name not in plan.refused
  }
  return {
    key: kinds_of_column
    for key, kinds_of_column in SHARES.items()
    if set(kinds_of_column[1]) & kinds
  }


def accuracy_rows(assessed: Assessed) -> list[dict]:
  """Returns clean, noise and worst-case accuracy for every cell.

  The worst case is that of all in the cell's ball, see `within`; the columns
  of `SHARES` are of the cell's own attacks alone. Of several norms there are
  rows for the worst of them `TOGETHER`, the last ones.
  """
  plan, evaluation = assessed.plan, assessed.evaluation
  rows = [
    _accuracy_row(
      assessed, cell.norm, [cell], radius(cell), plan.within(evaluation, cell)
    )
    for cell in plan.cells
  ]
  if len(plan.norms) == 1:
    return rows
  for first in plan.cells:
    if first.norm == plan.norms[0]:
      cells = [
        cell
        for cell in plan.cells
        if (cell.target, cell.level) == (first.target, first.level)
      ]
      words = "; ".join(f"{cell.norm} {radius(cell)}" for cell in cells)
      union = plan.union(evaluation, first)
      rows.append(_accuracy_row(assessed, TOGETHER, cells, words, union))
  return rows


def _accuracy_row(
  assessed: Assessed,
  norm: str,
  cells: Sequence[Cell],
  epsilon: str,
  inside: Evaluation,
) -> dict:
  """Returns the row of some cells, of one target, with all in their balls."""
  everything = evaluating.summarize(inside)
  row: dict = {
    "network": assessed.name,
    "norm": norm,
    "attacked": cells[0].target,
    "epsilon": epsilon,
    **interval_columns("clean", everything.clean),
  }
  for key, (_, kinds) in shares(assessed).items():
    all_met = [
      case
      for cell in cells
      for case in assessed.plan.on(cell, *kinds)
      if case.attack.meets == "all"
    ]
    row |= interval_columns(key, accuracy_under(assessed, all_met))
  ran = bool(everything.attacks)
  row |= interval_columns("robust", everything.robust if ran else None)
  row |= interval_columns("success", everything.success if ran else None)
  dependent = batch_dependent(assessed, inside)
  return row | {
    "depends_on_batch": batch_dependence(assessed, dependent),
    "examples": everything.examples,
  }


def rule_rows(assessed: Assessed) -> list[dict]:
  """Returns each rule's accuracy alone, against the worst of all rules."""
  rows = []
  for cell in assessed.plan.cells:
    rules = rules_alone(assessed.plan, cell.norm)
    row: dict = {
      "network": assessed.name,
      "norm": cell.norm,
      "attacked": cell.target,
      "epsilon": radius(cell),
    }
    ran = assessed.plan.on(cell)
    alone = {
      rule: [case for case in ran if case.attack == attack]
      for rule, attack in rules.items()
    }
    for rule, cases in alone.items():
      row |= interval_columns(rule, accuracy_under(assessed, cases))
    all_cases = [case for cases in alone.values() for case in cases]
    row |= interval_columns("worst", accuracy_under(assessed, all_cases))
    suite_summary = evaluating.summarize(within(assessed, cell))
    row |= interval_columns("suite", suite_summary.robust if ran else None)
    rows.append(row)
  return rows


def sparsity_rows(assessed: Assessed, confidence: str) -> list[dict]:
  """Returns mean metrics per modality, clean, adversarial and on the way."""
  rows = []
  for modality in assessed.modalities:
    for condition in ("clean", "halfway", "adversarial"):
      values = assessed.study.metrics[confidence][condition][modality]
      zero = np.asarray(values.is_zero, bool)
      row: dict = {
        "network": assessed.name,
        "modality": modality,
        "input": condition,
        "zero": int(zero.sum()),
        "examples": len(zero),
      }
      for metric in METRICS:
        nonzero = np.asarray(getattr(values, metric))[~zero]
        row[metric] = float(nonzero.mean()) if nonzero.size else float("nan")
      rows.append(row)
  return rows


def metric_along_attack(
  assessed: Assessed, modality: str, metric: str
) -> np.ndarray:
  """Returns a metric of the attack's own gradient, [S + 1, N]; NaN if zero."""
  metrics = assessed.study.along[modality]
  values = np.asarray(getattr(metrics, metric), float)
  return np.where(np.asarray(metrics.is_zero, bool), np.nan, values).T


def vulnerability_row(assessed: Assessed) -> dict:
  """Returns measured vulnerabilities beside the first-order ratio."""
  random = float(np.mean(assessed.study.random))
  adversarial = float(np.mean(assessed.study.adversarial))
  row: dict = {
    "network": assessed.name,
    "random": random,
    "adversarial": adversarial,
    "ratio": adversarial / random if random else float("nan"),
  }
  for modality in assessed.modalities:
    ratio = np.asarray(assessed.study.ratio[modality])
    known = ratio[~np.isnan(ratio)]
    middle = float(np.median(known)) if known.size else float("nan")
    row[f"first_order_{modality}"] = middle
  return row


def zero_gradients(assessed: Assessed) -> dict[str, np.ndarray]:
  """Returns which examples have a zero gradient in all modalities, [N] each.

  Returns:
    "clean": the margin's gradient at the clean input. "ball": the attack
    loss's gradient where PGD starts. "attack": the same at any later iterate
    at which the example is still classified correctly.
  """
  study = assessed.study

  def everywhere(metrics: gradients.ModalityMetrics) -> np.ndarray:
    zero = [modality_metrics.is_zero for modality_metrics in metrics.values()]
    return np.logical_and.reduce(zero).astype(bool)

  way = everywhere(study.along) & np.asarray(study.standing, bool)
  return {
    "clean": everywhere(study.metrics["margin"]["clean"]),
    "ball": way[:, 0],
    "attack": np.any(way[:, 1:], 1),
  }


class Axis(NamedTuple):
  """What a picture of accuracies against the radii of a norm is called.

  Attributes:
    name: of its files.
    title: of the picture.
    unit: of the radii.
  """

  name: str
  title: str
  unit: str


def axis(norms: Sequence[str], norm: str, name: str, title: str) -> Axis:
  """Returns the names of a picture of one norm; those of all, where it is one.

  Args:
    norms: of the evaluation.
    norm: one of them.
    name: of the picture's files, were there one norm alone.
    title: of the picture, were there one norm alone.
  """
  unit = "sites" if norm == "l0" else "raw input units"
  if len(norms) == 1:
    return Axis(name, title, unit)
  return Axis(f"{name}_{norm}", f"{title}, {norm}", unit)


def correct_counts(
  assessed: Assessed, norm: str
) -> Mapping[str, Mapping[str, Sequence[float]]]:
  """Returns radii and how many examples withstand all attacks up to each.

  By target, in words, of one norm.
  """
  plan, evaluation = assessed.plan, assessed.evaluation
  counts: dict[str, Mapping[str, Sequence[float]]] = {}
  for target in dict.fromkeys(cell.target for cell in plan.cells):
    radii, correct = [0.0], [int(evaluation.clean.correct.sum())]
    for cell in plan.levels(norm, target):
      attacked = within(assessed, cell)
      if attacked.attacks:
        radii.append(cell.radius)
        correct.append(int(evaluating.worst(attacked).robust.sum()))
    counts[f"attack on {target}"] = {"radii": radii, "correct": correct}
  return counts
