"""What evaluated networks show: rows of tables, alarms, sentences."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments import attack_grid
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


def accuracy_rows(assessed: Assessed) -> list[dict]:
  """Returns clean, noise and worst-case accuracy for every cell."""
  rules = list(assessed.config.evaluation.rules)
  rows = []
  for cell in attack_grid.cells(assessed.config, assessed.modalities):
    white = cell_summary(assessed, cell, rules)
    noise = cell_summary(assessed, cell, [attack_grid.RANDOM])
    fgsm = cell_summary(assessed, cell, [attack_grid.FGSM])
    everything = cell_summary(
      assessed, cell, [*rules, attack_grid.FGSM, attack_grid.RANDOM]
    )
    rows.append(
      {
        "network": assessed.name,
        "attacked": cell.target,
        "epsilon": radius(cell),
        **spread("clean", everything.clean),
        **spread("noise", noise.robust),
        **spread("fgsm", fgsm.robust),
        **spread("pgd", white.robust),
        **spread("robust", everything.robust),
        **spread("success", everything.success),
        "examples": everything.examples,
      }
    )
  return rows


def rule_rows(assessed: Assessed) -> list[dict]:
  """Returns each rule's accuracy alone, against the worst of all rules."""
  rules = list(assessed.config.evaluation.rules)
  rows = []
  for cell in attack_grid.cells(assessed.config, assessed.modalities):
    alone = {
      rule: cell_summary(assessed, cell, [rule]).robust for rule in rules
    }
    row: dict = {
      "network": assessed.name,
      "attacked": cell.target,
      "epsilon": radius(cell),
    }
    for rule, interval in alone.items():
      row |= spread(rule, interval)
    row |= spread("worst", cell_summary(assessed, cell, rules).robust)
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
    row[f"first_order_{modality}"] = float(np.nanmedian(ratio))
  return row


def alarms(assessed: Assessed) -> tuple[checks.Alarm, ...]:
  """Returns the alarms of a network under the strongest attack on all."""
  rules = list(assessed.config.evaluation.rules)
  grid = attack_grid.cells(assessed.config, assessed.modalities)
  strongest = grid[-1]
  levels = [cell for cell in grid if cell.target == strongest.target]
  evaluation = assessed.evaluation
  attacked = [cell.case(rule) for cell in levels for rule in rules]
  measured = checks.measured(only(evaluation, attacked))
  own = cell_summary(assessed, strongest, [rules[0]]).robust.estimate
  fgsm = cell_summary(assessed, strongest, [attack_grid.FGSM])
  noise = cell_summary(assessed, strongest, [attack_grid.RANDOM])
  worst = cell_summary(assessed, strongest, rules).robust.estimate
  classes = int(evaluation.labels.max()) + 1
  counts = np.bincount(evaluation.labels, minlength=classes)
  measured = measured._replace(
    accuracy=worst,
    reported_accuracy=worst,
    one_step_accuracy=fgsm.robust.estimate,
    many_step_accuracy=own,
    epsilons=[0.0] + [max(cell.radii.values()) for cell in levels],
    epsilon_accuracies=[
      evaluating.summarize(evaluation).clean.estimate,
      *(cell_summary(assessed, c, rules).robust.estimate for c in levels),
    ],
    white_box_accuracy=worst,
    gradient_free_accuracies={"random noise": noise.robust.estimate},
    own_rule_accuracy=own,
    all_rules_accuracy=worst,
    rules=len(rules),
    zero_gradient_fraction=zero_fraction(assessed),
    chance=float(counts.max() / counts.sum()),
    large_epsilon_accuracy=_large(assessed, rules[0]),
  )
  return checks.check(measured, assessed.name)


def zero_fraction(assessed: Assessed) -> float:
  """Returns the share of examples with no gradient in any modality."""
  zero = [
    metric_values(assessed, "margin", "clean", modality)["is_zero"]
    for modality in assessed.modalities
  ]
  return float(np.mean(np.logical_and.reduce(zero)))


def correct_counts(
  assessed: Assessed, target: str, attacks: Sequence[str]
) -> Mapping[str, Sequence[float]]:
  """Returns radii and how many examples withstand the worst of `attacks`."""
  evaluation = assessed.evaluation
  radii, correct = [0.0], [int(evaluation.clean.correct.sum())]
  for cell in attack_grid.cells(assessed.config, assessed.modalities):
    if cell.target != target:
      continue
    names = [cell.case(attack) for attack in attacks]
    worst = evaluating.worst(only(evaluation, names))
    radii.append(max(cell.radii.values()))
    correct.append(int(worst.robust.sum()))
  return {"radii": radii, "correct": correct}


def _large(assessed: Assessed, rule: str) -> float | None:
  """Accuracy under linf 0.5; None where that was not run."""
  name = f"{LARGE}/0/{rule}"
  if name not in assessed.evaluation.attacks:
    return None
  evaluation = only(assessed.evaluation, [name])
  robust = evaluating.worst(evaluation).robust
  return wilson(int(robust.sum()), len(robust)).estimate
