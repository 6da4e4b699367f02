"""What evaluated networks show: rows of tables, alarms, sentences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.evaluation import alarm_study
from experiments.evaluation.assessment import Assessed
from experiments.reporting import data_tables, remedies
from snnjax import checks
from snnjax import evaluation as evaluating
from snnjax.attacks import SuiteAttack
from snnjax.attacks.kinds import GRADIENT_FREE
from snnjax.evaluation import (
  Case,
  Cell,
  Evaluation,
  Plan,
  Summary,
  gradients,
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


def radius(cell: Cell) -> str:
  """A cell's radius in words: one number, or one for each modality."""
  attacked = {name: r for name, r in cell.radii.items() if r}
  if len(set(attacked.values())) == 1:
    return f"{next(iter(attacked.values())):g}"
  return ", ".join(f"{name} {r:g}" for name, r in attacked.items())


def only(evaluation: Evaluation, cases: Iterable[Case]) -> Evaluation:
  """Returns the evaluation with some of its cases."""
  return evaluation._replace(
    attacks={case.path: evaluation.attacks[case.path] for case in cases}
  )


def rules_alone(plan: Plan) -> dict[str, SuiteAttack]:
  """Returns PGD under each rule alone, on all examples: attack by rule."""
  alone: dict[str, SuiteAttack] = {}
  for attack in plan.alone:
    alone.setdefault(attack.rules[0], attack)
  return alone


def of_batch(assessed: Assessed, attacks: Iterable[str]) -> str:
  """Returns of which batch the results of some attacks depend, in words.

  Empty where each example's is its own.
  """
  some = set(attacks) & set(assessed.plan.mixing)
  return f"of {assessed.config.evaluation.microbatch}" if some else ""


def mixing(assessed: Assessed, cell: Cell) -> tuple[str, ...]:
  """Returns the attacks in a cell's ball whose results depend on the batch."""
  plan = assessed.plan
  there = {
    plan.by_path[path].attack.name for path in within(assessed, cell).attacks
  }
  return tuple(name for name in plan.mixing if name in there)


def summary(assessed: Assessed, cases: Iterable[Case]) -> Summary:
  """Returns the worst case over some cases, and no other."""
  return evaluating.summarize(only(assessed.evaluation, cases))


def within(assessed: Assessed, cell: Cell) -> Evaluation:
  """Returns the evaluation with all attacks in the ball of one cell."""
  return assessed.plan.within(assessed.evaluation, cell)


def spread(prefix: str, interval: Interval | None) -> dict[str, float | None]:
  """Returns an interval as three columns of a row; None is not measured."""
  ends = tuple(interval) if interval else (None, None, None)
  names = (prefix, f"{prefix}_low", f"{prefix}_high")
  return dict(zip(names, ends, strict=True))


def withstood(assessed: Assessed, cases: Sequence[Case]) -> Interval | None:
  """Returns the accuracy under the worst of some cases.

  None where there is no attack: what nobody attacked is not robust.
  """
  return summary(assessed, cases).robust if cases else None


# Columns of the main table with a heading: which kinds of attack each counts.
SHARES = {
  "noise": ("random noise", ("random",)),
  "fgsm": ("FGSM", ("fgsm",)),
  "pgd": ("PGD, worst rule", ("pgd",)),
}


def shares(assessed: Assessed) -> dict[str, tuple[str, tuple[str, ...]]]:
  """Returns the rows of `SHARES` that the suite has an attack for."""
  plan = assessed.plan
  kinds = {
    attack.kind
    for attack in plan.attacks
    if attack.meets == "all" and attack.name not in plan.refused
  }
  return {key: each for key, each in SHARES.items() if set(each[1]) <= kinds}


def accuracy_rows(assessed: Assessed) -> list[dict]:
  """Returns clean, noise and worst-case accuracy for every cell.

  The worst case is that of all in the cell's ball, see `within`; the columns
  of `SHARES` are of the cell's own attacks alone.
  """
  rows = []
  for cell in assessed.plan.cells:
    everything = evaluating.summarize(within(assessed, cell))
    row: dict = {
      "network": assessed.name,
      "attacked": cell.target,
      "epsilon": radius(cell),
      **spread("clean", everything.clean),
    }
    for key, (_, kinds) in shares(assessed).items():
      there = assessed.plan.on(cell, *kinds)
      all_met = [case for case in there if case.attack.meets == "all"]
      row |= spread(key, withstood(assessed, all_met))
    ran = bool(everything.attacks)
    row |= spread("robust", everything.robust if ran else None)
    row |= spread("success", everything.success if ran else None)
    row |= {"depends_on_batch": of_batch(assessed, mixing(assessed, cell))}
    rows.append(row | {"examples": everything.examples})
  return rows


def rule_rows(assessed: Assessed) -> list[dict]:
  """Returns each rule's accuracy alone, against the worst of all rules."""
  rules = rules_alone(assessed.plan)
  rows = []
  for cell in assessed.plan.cells:
    row: dict = {
      "network": assessed.name,
      "attacked": cell.target,
      "epsilon": radius(cell),
    }
    ran = assessed.plan.on(cell)
    alone = {
      rule: [case for case in ran if case.attack == attack]
      for rule, attack in rules.items()
    }
    for rule, cases in alone.items():
      row |= spread(rule, withstood(assessed, cases))
    every = [case for cases in alone.values() for case in cases]
    row |= spread("worst", withstood(assessed, every))
    whole = evaluating.summarize(within(assessed, cell))
    row |= spread("suite", whole.robust if ran else None)
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
        kept = np.asarray(getattr(values, metric))[~zero]
        row[metric] = float(kept.mean()) if kept.size else float("nan")
      rows.append(row)
  return rows


def along(assessed: Assessed, modality: str, metric: str) -> np.ndarray:
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


def alarms(assessed: Assessed) -> tuple[checks.Alarm, ...]:
  """Returns the alarms of a network under the strongest attack on all.

  They compare what was found at each radius and by each attack on its own:
  the worst case over all that a ball holds could not rise with the radius.
  """
  plan, evaluation = assessed.plan, assessed.evaluation
  strongest = plan.strongest
  levels = plan.levels(strongest.target)
  ran = plan.on(strongest)
  rules = [
    case
    for attack in rules_alone(plan).values()
    for case in ran
    if case.attack == attack
  ]

  def robust(cases: Sequence[Case]) -> np.ndarray | None:
    if not cases:
      return None
    some = only(evaluation, cases)
    # What has not met all that it leaves standing cannot be compared.
    if np.isnan(evaluating.summarize(some).robust.estimate):
      return None
    return evaluating.worst(some).robust

  radii = {0.0: evaluation.clean.correct}
  for cell in levels:
    there = robust(plan.on(cell))
    if there is not None:
      radii[cell.radius] = there
  every = [case for cell in levels for case in plan.on(cell)]
  measured = checks.read_evaluation(only(evaluation, every))._replace(
    reported_robust=robust(ran),
    one_step_robust=robust(plan.on(strongest, "fgsm")),
    many_steps_robust=robust(rules[:1]),
    epsilons=list(radii),
    epsilon_robust=list(radii.values()),
    **_without_gradient(assessed, strongest),
    own_rule_robust=robust(rules[:1]),
    all_rules_robust=robust(rules),
    rules=len(rules),
    zero_gradient=zero_gradients(assessed),
    constant_correct=checks.most_frequent(evaluation.labels),
    large_epsilon_robust=robust(plan.beside),
    **data_tables.coverage(assessed.used),
  )
  found = checks.check(
    measured,
    assessed.name,
    examples=len(evaluation.labels),
    where=strongest.words,
  )
  return remedies.told(
    alarm_study.completed(found, assessed.alarms, assessed.name)
  )


def _without_gradient(assessed: Assessed, cell: Cell) -> dict[str, Any]:
  """Who withstands the gradient, and who attacks without one, too.

  The white box is the attacks that met every example that it leaves standing:
  one that met survivors of others has not tried what those broke. An attack
  without a gradient that met all examples is told alone, one that met
  survivors together with all before it.
  """
  attacks = assessed.evaluation.attacks
  free = assessed.plan.on(cell, *GRADIENT_FREE)
  white = [case for case in assessed.plan.on(cell) if case not in free]
  while True:
    standing = assessed.evaluation.clean.correct.copy()
    for case in white:
      standing &= ~attacks[case.path].success
    met = [
      case for case in white if np.all(attacks[case.path].attempted[standing])
    ]
    if met == white:
      break
    white = met
  if not white:
    return {}
  found, left = {}, standing
  for case in free:
    outcome = attacks[case.path]
    left = left & ~outcome.success
    correct = assessed.evaluation.clean.correct
    alone = bool(np.all(outcome.attempted[correct]))
    found[case.attack.name] = correct & ~outcome.success if alone else left
  return {"white_box_robust": standing, "gradient_free_robust": found}


def unmeasured(left_out: Mapping[str, str]) -> list[checks.Alarm]:
  """Returns the alarms of runs without a result: each check, not checked.

  Args:
    left_out: by run, why it has none.
  """
  return [
    alarm._replace(reason=reason)
    for name, reason in left_out.items()
    for alarm in remedies.told(checks.check(checks.Measurements(), name))
  ]


def zero_gradients(assessed: Assessed) -> dict[str, np.ndarray]:
  """Returns by place which examples have no gradient in any modality, [N].

  At the clean input that of the margin; in the ball, where PGD starts, and at
  all points along it that of the loss that it climbs, while the example stands.
  """
  study = assessed.study

  def everywhere(metrics: gradients.ModalityMetrics) -> np.ndarray:
    zero = [each.is_zero for each in metrics.values()]
    return np.logical_and.reduce(zero).astype(bool)

  way = everywhere(study.along) & np.asarray(study.standing, bool)
  return {
    "clean": everywhere(study.metrics["margin"]["clean"]),
    "ball": way[:, 0],
    "attack": np.any(way[:, 1:], 1),
  }


def correct_counts(
  assessed: Assessed, target: str
) -> Mapping[str, Sequence[float]]:
  """Returns radii and how many examples withstand all attacks up to each."""
  evaluation = assessed.evaluation
  radii, correct = [0.0], [int(evaluation.clean.correct.sum())]
  for cell in assessed.plan.levels(target):
    there = within(assessed, cell)
    if not there.attacks:
      continue
    worst = evaluating.worst(there)
    radii.append(cell.radius)
    correct.append(int(worst.robust.sum()))
  return {"radii": radii, "correct": correct}
