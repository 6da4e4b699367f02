"""What each attack of a suite did: a row per network and attack."""

from collections.abc import Sequence

import numpy as np

from experiments import attack_grid, findings, suites
from experiments.assessment import Assessed
from snnjax import evaluation as evaluating
from snnjax.report import Column, Table

# Wall times: all that differs from run to run of one evaluation.
TIMES = ("seconds", "seconds_per_example")


def tables(networks: Sequence[Assessed]) -> list[Table]:
  """Returns the table of attacks, and that of those that could not run."""
  did = Table(
    name="attacks",
    title="What each attack did",
    caption=(
      "Summed over all targets and radii, in the order of attack. An attack "
      "that meets survivors gets what all attacks above it left correct on "
      "the same target at the same radius; 'newly broken' counts what none of "
      "them broke. 'Iterations' is the median number of times the network was "
      "probed until the first success, or in all. 'Seconds per example' is "
      "the median over full microbatches of their wall time, over their size; "
      "'seconds' has the compilation and the filling up of microbatches too."
    ),
    columns=[
      Column("network", "network"),
      Column("attack", "attack"),
      Column("meets", "meets"),
      Column("met", "examples met"),
      Column("newly_broken", "newly broken"),
      Column("iterations", "iterations"),
      Column("seconds_per_example", "seconds per example"),
      Column("seconds", "seconds"),
    ],
    rows=[row for each in networks for row in rows(each)],
  )
  refused = [
    {"network": each.name, "attack": name, "reason": reason}
    for each in networks
    for name, reason in each.refused.items()
  ]
  if not refused:
    return [did]
  not_run = Table(
    name="not_run",
    title="Attacks of the suite that were not run",
    caption=(
      "These cannot run under this budget: the numbers above are without them."
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
  """Returns a row for every attack that ran, summed over the cells."""
  summaries: dict[str, evaluating.AttackSummary] = {}
  cells = attack_grid.cells(assessed.config, assessed.modalities)
  for cell in cells:
    ran = findings.on_cell(assessed, cell)
    summaries |= findings.cell_summary(assessed, cell, ran).attacks
  found = []
  for attack in suites.plan(assessed.config):
    if attack.name in assessed.refused:
      continue
    cases = [
      name
      for name in (cell.case(attack.name) for cell in cells)
      if name in summaries
    ]
    found.append(
      {
        "network": assessed.name,
        "attack": attack.name,
        "meets": attack.spec.meets,
        "met": sum(summaries[name].attempted for name in cases),
        "newly_broken": sum(summaries[name].broken for name in cases),
        "iterations": _iterations(assessed, cases),
        **_seconds(assessed, cases),
      }
    )
  return found


def _iterations(assessed: Assessed, cases: Sequence[str]) -> float | None:
  """The median number of probes; None where nobody was met, or none counted."""
  counts = np.concatenate(
    [assessed.evaluation.attacks[name].iterations for name in cases]
  )
  counted = counts[counts >= 0]
  return float(np.median(counted)) if counted.size else None


def _seconds(
  assessed: Assessed, cases: Sequence[str]
) -> dict[str, float | None]:
  """The wall time in all, and of one example of a full microbatch."""
  seconds = [s for name in cases for s in assessed.seconds.get(name, [])]
  if not seconds:
    return dict.fromkeys(TIMES)
  each = float(np.median(seconds)) / assessed.config.evaluation.microbatch
  return {"seconds": float(sum(seconds)), "seconds_per_example": each}
