"""What evaluated networks show: rows of tables, alarms, sentences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.evaluation import (
  alarm_study,
  attack_grid,
  attack_kinds,
  suites,
)
from experiments.evaluation.assessment import LARGE, Assessed
from experiments.reporting import data_tables, remedies
from snnjax import checks
from snnjax import evaluation as evaluating
from snnjax.evaluation import Evaluation, Summary
from snnjax.intervals import Interval

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
  """Returns the attacks that ran on a cell, those of some kinds if given.

  Without kinds, they have met every example that withstood them all; some of
  them may have met the survivors of others.
  """
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


def of_batch(assessed: Assessed, attacks: Iterable[str]) -> str:
  """Returns of which batch the results of some attacks depend, in words.

  Empty where each example's is its own.
  """
  some = set(attacks) & set(assessed.mixing)
  return f"of {assessed.config.evaluation.microbatch}" if some else ""


def mixing(assessed: Assessed, cell: attack_grid.Cell) -> tuple[str, ...]:
  """Returns the attacks in a cell's ball whose results depend on the batch."""
  there = [name.split("/", 2)[2] for name in within(assessed, cell).attacks]
  return tuple(name for name in assessed.mixing if name in there)


def cell_summary(
  assessed: Assessed, cell: attack_grid.Cell, attacks: Sequence[str]
) -> Summary:
  """Returns the worst case over some attacks of one cell, and no other."""
  names = [cell.case(attack) for attack in attacks]
  return evaluating.summarize(only(assessed.evaluation, names))


def within(assessed: Assessed, cell: attack_grid.Cell) -> Evaluation:
  """Returns the evaluation with all attacks in the ball of one cell.

  Those on the cell, and those at smaller radii and on fewer modalities; none
  where the cell itself has none: what nobody attacked is not robust.
  """
  radii = {
    each.case(attack): each.radii
    for each in attack_grid.cells(assessed.config, assessed.modalities)
    for attack in on_cell(assessed, each)
  }
  names = [cell.case(attack) for attack in on_cell(assessed, cell)]
  return evaluating.nested(assessed.evaluation, names, radii)


def spread(prefix: str, interval: Interval | None) -> dict[str, float | None]:
  """Returns an interval as three columns of a row; None is not measured."""
  ends = tuple(interval) if interval else (None, None, None)
  names = (prefix, f"{prefix}_low", f"{prefix}_high")
  return dict(zip(names, ends, strict=True))


def withstood(
  assessed: Assessed, cell: attack_grid.Cell, attacks: Sequence[str]
) -> Interval | None:
  """Returns the accuracy under the worst of some attacks of one cell.

  None where there is no attack: what nobody attacked is not robust.
  """
  if not attacks:
    return None
  return cell_summary(assessed, cell, attacks).robust


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
  """Returns clean, noise and worst-case accuracy for every cell.

  The worst case is that of all in the cell's ball, see `within`; the columns
  of `SHARES` are of the cell's own attacks alone.
  """
  rows = []
  for cell in attack_grid.cells(assessed.config, assessed.modalities):
    everything = evaluating.summarize(within(assessed, cell))
    row: dict = {
      "network": assessed.name,
      "attacked": cell.target,
      "epsilon": radius(cell),
      **spread("clean", everything.clean),
    }
    for key, (_, kinds) in shares(assessed).items():
      there = on_cell(assessed, cell, *kinds)
      names = [
        attack.name
        for attack in suites.plan(assessed.config)
        if attack.spec.meets == "all" and attack.name in there
      ]
      row |= spread(key, withstood(assessed, cell, names))
    ran = bool(everything.attacks)
    row |= spread("robust", everything.robust if ran else None)
    row |= spread("success", everything.success if ran else None)
    row |= {"depends_on_batch": of_batch(assessed, mixing(assessed, cell))}
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
    ran = on_cell(assessed, cell)
    there = {rule: name for rule, name in rules.items() if name in ran}
    for rule in rules:
      alone = [there[rule]] if rule in there else []
      row |= spread(rule, withstood(assessed, cell, alone))
    row |= spread("worst", withstood(assessed, cell, list(there.values())))
    whole = evaluating.summarize(within(assessed, cell))
    row |= spread("suite", whole.robust if ran else None)
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
  """Returns the alarms of a network under the strongest attack on all.

  They compare what was found at each radius and by each attack on its own:
  the worst case over all that a ball holds could not rise with the radius.
  """
  grid = attack_grid.cells(assessed.config, assessed.modalities)
  strongest = grid[-1]
  levels = [cell for cell in grid if cell.target == strongest.target]
  ran = on_cell(assessed, strongest)
  rules = [n for n in rules_alone(assessed).values() if n in ran]
  evaluation = assessed.evaluation

  def robust(
    attacks: Sequence[str], cell: attack_grid.Cell = strongest
  ) -> np.ndarray | None:
    if not attacks:
      return None
    some = only(evaluation, [cell.case(name) for name in attacks])
    # What has not met all that it leaves standing cannot be compared.
    if np.isnan(evaluating.summarize(some).robust.estimate):
      return None
    return evaluating.worst(some).robust

  radii = {0.0: evaluation.clean.correct}
  for cell in levels:
    there = robust(on_cell(assessed, cell), cell)
    if there is not None:
      radii[max(cell.radii.values())] = there
  every = [cell.case(a) for cell in levels for a in on_cell(assessed, cell)]
  measured = checks.measured(only(evaluation, every))._replace(
    reported_robust=robust(ran),
    one_step_robust=robust(on_cell(assessed, strongest, "fgsm")),
    many_steps_robust=robust(rules[:1]),
    epsilons=list(radii),
    epsilon_robust=list(radii.values()),
    **_without_gradient(assessed, strongest),
    own_rule_robust=robust(rules[:1]),
    all_rules_robust=robust(rules),
    rules=len(rules),
    zero_gradient=zero_gradients(assessed),
    constant_correct=checks.most_frequent(evaluation.labels),
    large_epsilon_robust=_large(assessed),
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


def _without_gradient(
  assessed: Assessed, cell: attack_grid.Cell
) -> dict[str, Any]:
  """Who withstands the gradient, and who attacks without one, too.

  The white box is the attacks that met every example that it leaves standing:
  one that met survivors of others has not tried what those broke. An attack
  without a gradient that met all examples is told alone, one that met
  survivors together with all before it.
  """
  attacks = assessed.evaluation.attacks
  free = on_cell(assessed, cell, *attack_kinds.GRADIENT_FREE)
  white = [name for name in on_cell(assessed, cell) if name not in free]
  while True:
    standing = assessed.evaluation.clean.correct.copy()
    for name in white:
      standing &= ~attacks[cell.case(name)].success
    met = [
      name
      for name in white
      if np.all(attacks[cell.case(name)].attempted[standing])
    ]
    if met == white:
      break
    white = met
  if not white:
    return {}
  found, left = {}, standing
  for name in free:
    outcome = attacks[cell.case(name)]
    left = left & ~outcome.success
    correct = assessed.evaluation.clean.correct
    alone = bool(np.all(outcome.attempted[correct]))
    found[name] = correct & ~outcome.success if alone else left
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

  def everywhere(name: str) -> np.ndarray:
    zero = [assessed.study[name.format(m)] for m in assessed.modalities]
    return np.logical_and.reduce(zero).astype(bool)

  way = everywhere("along/{}/is_zero") & assessed.study["standing"].astype(bool)
  return {
    "clean": everywhere("metrics/margin/clean/{}/is_zero"),
    "ball": way[:, 0],
    "attack": np.any(way[:, 1:], 1),
  }


def correct_counts(
  assessed: Assessed, target: str
) -> Mapping[str, Sequence[float]]:
  """Returns radii and how many examples withstand all attacks up to each."""
  evaluation = assessed.evaluation
  radii, correct = [0.0], [int(evaluation.clean.correct.sum())]
  for cell in attack_grid.cells(assessed.config, assessed.modalities):
    there = within(assessed, cell)
    if cell.target != target or not there.attacks:
      continue
    worst = evaluating.worst(there)
    radii.append(max(cell.radii.values()))
    correct.append(int(worst.robust.sum()))
  return {"radii": radii, "correct": correct}


def _large(assessed: Assessed) -> np.ndarray | None:
  """Who withstands linf 0.5, [N]; None where that was not run."""
  names = [
    name for name in assessed.evaluation.attacks if name.startswith(f"{LARGE}/")
  ]
  if not names:
    return None
  return evaluating.worst(only(assessed.evaluation, names)).robust
