"""How visible the changes of each attack are: a row per network and attack."""

from collections.abc import Sequence

from experiments.evaluation import perceptual_study
from experiments.evaluation.assessment import Assessed
from experiments.reporting import findings
from snnjax.report import Column, Table


def tables(networks: Sequence[Assessed]) -> list[Table]:
  """Returns the table; none where nothing was measured."""
  table_rows = [row for network in networks for row in rows(network)]
  if not table_rows:
    return []
  plan = networks[0].plan
  radii = "; ".join(
    f"{norm} {findings.radius(plan.strongest_in(norm))}" for norm in plan.norms
  )
  images = "image" in networks[0].modalities
  distance = [Column("distance", "perceptual distance")] if images else []
  return [
    Table(
      name="perceptual",
      title="How visible each attack is",
      caption=(
        "Medians over the examples that an attack broke, on "
        f"{plan.strongest.target} at radius {radii}. Perceptual distance "
        "weighs each pixel's change by how smooth the clean image is around "
        "it: the smaller, the harder to see. Noise tolerance is the logit of "
        "the wrong class over the next: the larger, the more noise the "
        "change survives. (Luo et al. 2018; other radii: the arrays of the "
        "evaluation.)"
      ),
      columns=[
        Column("network", "network"),
        Column("norm", "norm"),
        Column("attack", "attack"),
        Column("broken", "examples broken"),
        *distance,
        Column("tolerance", "noise tolerance"),
      ],
      rows=table_rows,
    )
  ]


def rows(assessed: Assessed) -> list[dict]:
  """Returns a row for every attack of the last target's largest radii."""
  plan, table_rows = assessed.plan, []
  for case in (
    case for norm in plan.norms for case in plan.on(plan.strongest_in(norm))
  ):
    outcome = assessed.evaluation.attacks[case.path]
    if case.path not in assessed.perceived:
      continue
    success = outcome.success & assessed.evaluation.clean.correct
    table_rows.append(
      {
        "network": assessed.name,
        "norm": case.cell.norm,
        "attack": case.attack.name,
        "broken": int(success.sum()),
        **perceptual_study.summarize(assessed.perceived[case.path], success),
      }
    )
  return table_rows
