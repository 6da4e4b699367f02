"""What evaluated networks show: rows of tables, alarms, sentences."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments import (
  alarm_study,
  attack_grid,
  attack_kinds,
  data_tables,
  suites,
)
from experiments.assessment import LARGE, Assessed
from snnjax import checks
from snnjax import evaluation as evaluating
from snnjax.evaluation import Evaluation, Summary
from snnjax.statistics import Interval, wilson

# Metrics of the report's tables, with their headings.
METRICS = {
  "l0_relative": "entries over 1 % of the largest",
  "l1": "l1 norm",
  "l2": "l2 norm",
  "participation_ratio": "participation ratio",
  "gini": "Gini",
}


def radius(cell: attack_grid.Cell) -> str:
  """A cell's radius in words: one number, or one for each modality."""
  attacked = {name: r for name, r in cell.radii.items() if r}
  if len(set(attacked.values())) == 1:
    return f"{next(iter(attacked.values())):g}"
  return ", ".join(f"{name} {r:g}" for name, r in attacked.items())


def only(evaluation: Evaluation, names: Sequence[str]) -> Evaluation:
  """Returns the evaluation with some of its attacks."""
  return evaluation._replace(
    attacks={name: evaluation.attacks[name] for name in names}
  )


def on_cell(
  assessed: Assessed, cell: attack_grid.Cell, *kinds: str
) -> list[str]:
  """Returns the attacks that ran on a cell, those of some kinds if given."""
  return [
    attack.name
    for attack in suites.plan(assessed.config)
    if cell.case(attack.name) in assessed.evaluation.attacks
    and (not kinds or attack.spec.kind in kinds)
  ]


def rules_alone(assessed: Assessed) -> dict[str, str]:
  """Returns PGD under each rule alone, on all examples: attack by rule."""
  planned = suites.plan(assessed.config)
  alone = suites.alone(planned)
  found: dict[str, str] = {}
  for attack in planned:
    if attack.name in alone and attack.name not in assessed.refused:
      found.setdefault(attack.rules[0], attack.name)
  return found


def cell_summary(
  assessed: Assessed, cell: attack_grid.Cell, attacks: Sequence[str]
) -> Summary:
  """Returns the worst case over some attacks of one cell."""
  names = [cell.case(attack) for attack in attacks]
  return evaluating.summarize(only(assessed.evaluation, names))


def spread(prefix: str, interval: Interval) -> dict[str, float]:
  """Returns an interval as three columns of a row."""
  return {
    prefix: interval.estimate,
    f"{prefix}_low": interval.low,
    f"{prefix}_high": interval.high,
  }


# Columns of the main table with a heading: which kinds of attack each counts.
SHARES = {
  "noise": ("random noise", ("random",)),
  "fgsm": ("FGSM", ("fgsm",)),
  "pgd": ("PGD, worst rule", ("pgd",)),
}


def shares(assessed: Assessed) -> dict[str, tuple[str, tuple[str, ...]]]:
  """Returns the rows of `SHARES` that the suite has an attack for."""
  kinds = {
    attack.spec.kind
    for attack in suites.plan(assessed.config)
    if attack.spec.meets == "all" and attack.name not in assessed.refused
  }
  return {key: each for key, each in SHARES.items() if set(each[1]) <= kinds}


def accuracy_rows(assessed: Assessed) -> list[dict]:
  """Returns clean, noise and worst-case accuracy for every cell."""
  rows = []
  for cell in attack_grid.cells(assessed.config, assessed.modalities):
    everything = cell_summary(assessed, cell, on_cell(assessed, cell))
    row: dict = {
      "network": assessed.name,
      "attacked": cell.target,
      "epsilon": radius(cell),
      **spread("clean", everything.clean),
    }
    for key, (_, kinds) in shares(assessed).items():
      found = cell_summary(assessed, cell, on_cell(assessed, cell, *kinds))
      row |= spread(key, found.robust)
    row |= spread("robust", everything.robust)
    row |= spread("success", everything.success)
    rows.append(row | {"examples": everything.examples})
  return rows


def rule_rows(assessed: Assessed) -> list[dict]:
  """Returns each rule's accuracy alone, against the worst of all rules."""
  rules = rules_alone(assessed)
  rows = []
  for cell in attack_grid.cells(assessed.config, assessed.modalities):
    row: dict = {
      "network": assessed.name,
      "attacked": cell.target,
      "epsilon": radius(cell),
    }
    for rule, attack in rules.items():
      row |= spread(rule, cell_summary(assessed, cell, [attack]).robust)
    worst = cell_summary(assessed, cell, list(rules.values()))
    every = cell_summary(assessed, cell, on_cell(assessed, cell))
    row |= spread("worst", worst.robust) | spread("suite", every.robust)
    rows.append(row)
  return rows


def sparsity_rows(assessed: Assessed, confidence: str) -> list[dict]:
  """Returns mean metrics per modality, clean, adversarial and on the way."""
  rows = []
  for modality in assessed.modalities:
    for condition in ("clean", "halfway", "adversarial"):
      values = metric_values(assessed, confidence, condition, modality)
      zero = values["is_zero"].astype(bool)
      row: dict = {
        "network": assessed.name,
        "modality": modality,
        "input": condition,
        "zero": int(zero.sum()),
        "examples": len(zero),
      }
      for metric in METRICS:
        kept = values[metric][~zero]
        row[metric] = float(kept.mean()) if kept.size else float("nan")
      rows.append(row)
  return rows


def metric_values(
  assessed: Assessed, confidence: str, condition: str, modality: str
) -> dict[str, np.ndarray]:
  """Returns every metric of every example under one condition, [N]."""
  prefix = f"metrics/{confidence}/{condition}/{modality}/"
  return {
    name.removeprefix(prefix): value
    for name, value in assessed.study.items()
    if name.startswith(prefix)
  }


def along(assessed: Assessed, modality: str, metric: str) -> np.ndarray:
  """Returns a metric of the attack's own gradient, [S + 1, N]; NaN if zero."""
  values = assessed.study[f"along/{modality}/{metric}"].astype(float)
  zero = assessed.study[f"along/{modality}/is_zero"].astype(bool)
  return np.where(zero, np.nan, values).T


def vulnerability_row(assessed: Assessed) -> dict:
  """Returns measured vulnerabilities beside the first-order ratio."""
  random = float(np.mean(assessed.study["random"]))
  adversarial = float(np.mean(assessed.study["adversarial"]))
  row: dict = {
    "network": assessed.name,
    "random": random,
    "adversarial": adversarial,
    "ratio": adversarial / random if random else float("nan"),
  }
  for modality in assessed.modalities:
    ratio = assessed.study[f"ratio/{modality}"]
    known = ratio[~np.isnan(ratio)]
    middle = float(np.median(known)) if known.size else float("nan")
    row[f"first_order_{modality}"] = middle
  return row


def alarms(assessed: Assessed) -> tuple[checks.Alarm, ...]:
  """Returns the alarms of a network under the strongest attack on all."""
  rules = list(rules_alone(assessed).values())
  grid = attack_grid.cells(assessed.config, assessed.modalities)
  strongest = grid[-1]
  levels = [cell for cell in grid if cell.target == strongest.target]
  evaluation = assessed.evaluation
  ran = [cell.case(a) for cell in levels for a in on_cell(assessed, cell)]
  measured = checks.measured(only(evaluation, ran))
  worst = _robust(assessed, strongest, on_cell(assessed, strongest))
  white = _robust(assessed, strongest, _white_box(assessed, strongest))
  classes = int(evaluation.labels.max()) + 1
  counts = np.bincount(evaluation.labels, minlength=classes)
  measured = measured._replace(
    accuracy=worst,
    reported_accuracy=worst,
    one_step_accuracy=_robust(
      assessed, strongest, on_cell(assessed, strongest, "fgsm")
    ),
    many_step_accuracy=_robust(assessed, strongest, rules[:1]),
    epsilons=[0.0] + [max(cell.radii.values()) for cell in levels],
    epsilon_accuracies=[
      evaluating.summarize(evaluation).clean.estimate,
      *(
        cell_summary(assessed, c, on_cell(assessed, c)).robust.estimate
        for c in levels
      ),
    ],
    white_box_accuracy=white,
    gradient_free_accuracies=_gradient_free(assessed, strongest),
    own_rule_accuracy=_robust(assessed, strongest, rules[:1]),
    all_rules_accuracy=_robust(assessed, strongest, rules),
    rules=len(rules),
    zero_gradient_fraction=zero_fraction(assessed),
    chance=float(counts.max() / counts.sum()),
    large_epsilon_accuracy=_large(assessed),
    **data_tables.coverage(assessed.used),
  )
  found = checks.check(measured, assessed.name, examples=len(evaluation.labels))
  return alarm_study.completed(found, assessed.alarms, assessed.name)


def _robust(
  assessed: Assessed, cell: attack_grid.Cell, attacks: Sequence[str]
) -> float | None:
  """Accuracy under the worst of some attacks; None if there is none."""
  if not attacks:
    return None
  return cell_summary(assessed, cell, attacks).robust.estimate


def _white_box(assessed: Assessed, cell: attack_grid.Cell) -> list[str]:
  """The attacks of a cell that follow a gradient of the network."""
  free = on_cell(assessed, cell, *attack_kinds.GRADIENT_FREE)
  return [name for name in on_cell(assessed, cell) if name not in free]


def _gradient_free(
  assessed: Assessed, cell: attack_grid.Cell
) -> dict[str, float]:
  """Accuracies that say whether an attack without gradient finds more.

  One that met all examples is taken alone. One that met the survivors of
  others is taken together with the white box, below which it can only be by
  what it broke itself.
  """
  white = _white_box(assessed, cell)
  found = {}
  for name in on_cell(assessed, cell, *attack_kinds.GRADIENT_FREE):
    alone = (
      evaluating.summarize(only(assessed.evaluation, [cell.case(name)]))
      .attacks[cell.case(name)]
      .alone
    )
    shared = [name] if alone else [*white, name]
    found[name] = cell_summary(assessed, cell, shared).robust.estimate
  return found


def zero_fraction(assessed: Assessed) -> float:
  """Returns the share of examples with no gradient in any modality."""
  zero = [
    metric_values(assessed, "margin", "clean", modality)["is_zero"]
    for modality in assessed.modalities
  ]
  return float(np.mean(np.logical_and.reduce(zero)))


def correct_counts(
  assessed: Assessed, target: str
) -> Mapping[str, Sequence[float]]:
  """Returns radii and how many examples withstand all attacks of the suite."""
  evaluation = assessed.evaluation
  radii, correct = [0.0], [int(evaluation.clean.correct.sum())]
  for cell in attack_grid.cells(assessed.config, assessed.modalities):
    if cell.target != target:
      continue
    names = [cell.case(attack) for attack in on_cell(assessed, cell)]
    worst = evaluating.worst(only(evaluation, names))
    radii.append(max(cell.radii.values()))
    correct.append(int(worst.robust.sum()))
  return {"radii": radii, "correct": correct}


def _large(assessed: Assessed) -> float | None:
  """Accuracy under linf 0.5; None where that was not run."""
  names = [
    name for name in assessed.evaluation.attacks if name.startswith(f"{LARGE}/")
  ]
  if not names:
    return None
  robust = evaluating.worst(only(assessed.evaluation, names)).robust
  return wilson(int(robust.sum()), len(robust)).estimate
