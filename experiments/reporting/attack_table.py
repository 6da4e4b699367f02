"""What each attack of a suite did: a row per network and attack."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.evaluation.assessment import Assessed
from experiments.reporting import findings
from snnjax import evaluation as evaluating
from snnjax.evaluation import Case
from snnjax.report import Column, Table

# Wall times: all that differs from run to run of one evaluation.
TIMES = ("seconds", "seconds_per_example")


def tables(networks: Sequence[Assessed]) -> list[Table]:
  """Returns the table of attacks, and that of those that could not run."""
  did = Table(
    name="attacks",
    title="What each attack did",
    caption=(
      "Summed over all targets and radii of a norm, in the order of attack. An "
      "attack "
      "that meets survivors gets what all attacks above it left correct on "
      "the same target at the same radius; 'of all' is their share of the "
      "examples. 'Newly broken' counts what none of the attacks above broke. "
      "'Iterations' is the median number of times the network was probed "
      "until the first success, or in all. 'Seconds per example' is the "
      "median over microbatches of their wall time, over their size; "
      "'seconds' has the compilation and the filling up of microbatches too. "
      "What depends on the batch follows a gradient that takes statistics of "
      "all examples of a microbatch: of another size, or with other examples "
      "in it, the result may be another."
    ),
    columns=[
      Column("network", "network"),
      Column("norm", "norm"),
      Column("attack", "attack"),
      Column("meets", "meets"),
      Column("met", "examples met"),
      Column("share", "of all", True),
      Column("newly_broken", "newly broken"),
      Column("iterations", "iterations"),
      Column("seconds_per_example", "seconds per example"),
      Column("seconds", "seconds"),
      Column("batch", "depends on the batch"),
    ],
    rows=[row for network in networks for row in rows(network)],
  )
  refused = [
    {"network": network.name, "attack": name, "reason": reason}
    for network in networks
    for name, reason in network.plan.refused.items()
  ]
  if not refused:
    return [did]
  not_run = Table(
    name="not_run",
    title="Attacks of the suite that were not run",
    caption=(
      "These cannot run under this budget, or with so few classes: the numbers "
      "above are without them."
    ),
    columns=[
      Column("network", "network"),
      Column("attack", "attack"),
      Column("reason", "reason"),
    ],
    rows=refused,
  )
  return [did, not_run]


def rows(assessed: Assessed) -> list[dict]:
  """Returns a row for every attack that ran, summed over a norm's cells."""
  plan = assessed.plan
  summaries: dict[str, evaluating.AttackSummary] = {}
  for cell in plan.cells:
    summaries |= findings.summary(assessed, plan.on(cell)).attacks
  of_suite = [case for cell in plan.cells for case in plan.on(cell)]
  attacks = [
    attack for attack in plan.attacks if attack.name not in plan.refused
  ]
  table_rows = []
  for norm, attack in itertools.product(plan.norms, attacks):
    cases = [
      case
      for case in of_suite
      if (case.cell.norm, case.attack) == (norm, attack)
    ]
    if not cases and len(plan.norms) > 1:
      continue  # it is for other norms
    table_rows.append(
      {
        "network": assessed.name,
        "norm": norm,
        "attack": attack.name,
        "meets": attack.meets,
        **_counts(assessed, summaries, cases),
        "iterations": _iterations(assessed, cases),
        **_seconds(assessed, cases),
        "batch": findings.batch_dependence(assessed, [attack.name]),
      }
    )
  totals = {
    "network": assessed.name,
    "norm": "",
    "attack": "all of them",
    "meets": "",
    **_counts(assessed, summaries, of_suite),
    "iterations": None,
    "seconds_per_example": None,
    "seconds": _seconds(assessed, of_suite)["seconds"],
    "batch": findings.batch_dependence(
      assessed, [attack.name for attack in attacks]
    ),
  }
  return [*table_rows, totals]


def _counts(
  assessed: Assessed,
  summaries: Mapping[str, evaluating.AttackSummary],
  cases: Sequence[Case],
) -> dict[str, float | None]:
  """How many examples some cases met, of all they could, and broke first."""
  met = sum(summaries[case.path].attempted for case in cases)
  return {
    "met": met,
    "share": met / (len(assessed.evaluation.labels) * len(cases))
    if cases
    else None,
    "newly_broken": sum(summaries[case.path].broken for case in cases),
  }


def _iterations(assessed: Assessed, cases: Sequence[Case]) -> float | None:
  """The median number of probes; None where nobody was met, or none counted."""
  counted = [
    count
    for case in cases
    for count in assessed.evaluation.attacks[case.path].iterations.tolist()
    if count >= 0
  ]
  return float(np.median(counted)) if counted else None


def _seconds(
  assessed: Assessed, cases: Sequence[Case]
) -> dict[str, float | None]:
  """The wall time in all, and of one example of a full microbatch."""
  seconds = [s for case in cases for s in assessed.seconds.get(case.path, [])]
  if not seconds:
    return dict.fromkeys(TIMES)
  each = float(np.median(seconds)) / assessed.config.evaluation.microbatch
  return {"seconds": float(sum(seconds)), "seconds_per_example": each}
