"""The answer to the second question: robustness that transfers across norms."""

from collections.abc import Sequence
from typing import Any

from experiments.configuration import study as studies
from experiments.configuration.study import Study
from experiments.questions import (
  contrasts,
  network_numbers,
  stronger_attacks,
  transfer_figures,
  transfer_slopes,
  wording,
)
from experiments.questions import transfer_numbers as numbers
from experiments.questions.network_numbers import Arms, Grouped
from experiments.questions.results import Measured
from snnjax import replication
from snnjax.report import Column, Record, Section, Table

NAME = "norm_transfer"


def answer(
  study: Study, measured: Sequence[Measured], missing: Sequence[str]
) -> Record:
  """Returns the report that answers the question.

  Args:
    study: its decision rules and protocol.
    measured: the networks.
    missing: those that are not there, in words.

  Raises:
    DataError: no network has all that the question measures.
  """
  findings = contrasts.findings(study, NAME, measured)
  networks = findings.networks
  slopes = transfer_slopes.regressed(study, networks)
  sentences = [
    *stronger_attacks.sentences(findings),
    *transfer_slopes.sentences(slopes.slopes),
  ]
  return wording.record(
    "Does sparse-gradient training make robustness transfer?",
    "\n\n".join([wording.summary(findings, missing), *sentences]),
    study,
    findings.measured,
    [
      wording.rules_section(findings.question),
      wording.contrasts_section(
        findings,
        "Differences in accuracy of two arms trained from the same initial "
        "weights on the same order of examples, seed by seed; intervals are "
        "Student's over seeds. Accuracies are means over the three radii of a "
        "norm, `rest` is the mean over the norms other than linf. Contrasts at "
        "equal linf robustness or gradient size subtract, seed by seed, what "
        "the arms' difference in it is worth along two reference arms.",
      ),
      _matrix_section(study, networks),
      *stronger_attacks.sections(study, networks),
      _gap_section(study, networks),
      transfer_slopes.section(
        slopes, transfer_figures.scatters(study, networks)
      ),
    ],
  )


def _matrix_section(study: Study, networks: Grouped) -> Section:
  """The transfer matrix: means over radii, then every radius."""
  norms = study.protocol.transfer_norms
  means = {f"transfer/{norm}/mean": f"left by {norm}" for norm in norms}
  means |= {"union/mean": "left by all norms"}
  return Section(
    "The transfer matrix",
    "Accuracy over the first test examples that every norm of attack leaves, "
    "means over seeds with 95 % intervals. `All norms` counts an example only "
    "if it withstands every norm. Radii are those at which a conventional "
    "network keeps about 60, 30 and 5 %; under l0 they are numbers of sites in "
    "each modality.",
    [
      Table(
        "matrix",
        "Transfer matrix",
        "Means over the radii of each norm.",
        [
          *wording.arm_columns("trained by"),
          wording.seeds_column("accuracy", "clean accuracy", percent=True),
          *(
            wording.seeds_column(path, heading, percent=True)
            for path, heading in means.items()
          ),
        ],
        _mean_rows(study, networks, list(means)),
      ),
      Table(
        "radii",
        "Every radius",
        "The same at each radius; level 0 is the smallest.",
        [
          *wording.arm_columns("trained by"),
          Column("norm", "attacked in"),
          Column("level", "level"),
          Column("radius", "radius"),
          wording.seeds_column("left", "accuracy left", percent=True),
        ],
        _radius_rows(study, networks),
      ),
    ],
    transfer_figures.matrices(study, networks),
  )


def _mean_rows(
  study: Study, networks: Grouped, paths: Sequence[str]
) -> list[dict[str, Any]]:
  """Clean accuracy, and means over the radii of each norm, arm by arm."""
  rows = []
  for cell, arms in networks.items():
    for arm, seeds in arms.items():
      row = wording.arm_row(study, cell, arm, seeds)
      for path in ("accuracy", *paths):
        values = network_numbers.by_seed(study, seeds, path)
        row |= wording.over_seeds(path, list(values.values()), share=True)
      rows.append(row)
  return rows


def _radius_rows(study: Study, networks: Grouped) -> list[dict[str, Any]]:
  """What each norm leaves at each of its radii, arm by arm."""
  rows = []
  for cell, arms in networks.items():
    for arm, columns in numbers.shares(study, arms).items():
      who = wording.arm_row(study, cell, arm, arms[arm])
      radii = studies.check_radii(study, next(iter(arms[arm].values())).member)
      for path, by_seed in columns.items():
        *kind, level = path.split("/")
        if level == "mean":
          continue
        norm = kind[1] if len(kind) > 1 else "all"
        rows.append(
          {
            **who,
            "norm": norm,
            "level": int(level),
            "radius": radii[norm][int(level)] if norm in radii else None,
            **wording.over_seeds("left", list(by_seed.values()), share=True),
          }
        )
  return rows


def _gap_section(study: Study, networks: Grouped) -> Section:
  """What is left under other norms at equal linf robustness."""
  rows: list[dict[str, Any]] = []
  for cell, arms in networks.items():
    if not {numbers.ORDINARY, numbers.HARDENED} <= set(arms):
      continue
    for arm in arms:
      if arm in (numbers.ORDINARY, numbers.HARDENED):
        continue
      for norm in (
        network_numbers.REST,
        *network_numbers.transfer_norms(study),
      ):
        rows.append(
          {
            **cell.row,
            "arm": study.arms[arm].about,
            "norm": norm,
            **_gap(study, arms, arm, norm),
          }
        )
  return Section(
    "The transfer gap at equal linf robustness",
    "A regression over the networks of an arm, of the conventional one and of "
    "adversarial training for linf: accuracy left under a norm on accuracy "
    "left under linf (both means over radii) and on whether the network is of "
    "the arm; errors are clustered by seed. A gap above 0 is robustness beyond "
    "what as much linf robustness brings along. Where the variance inflation "
    "is large the data cannot tell the arm from its linf robustness.",
    [
      wording.filled(
        Table(
          "gaps",
          "Transfer gaps",
          "In accuracy; `rest` is the mean over the norms other than linf.",
          [
            *wording.CELL_COLUMNS,
            Column("arm", "trained by"),
            Column("norm", "attacked in"),
            Column("gap", "gap", percent=True, interval=("low", "high")),
            Column("p", "p"),
            Column("inflation", "variance inflation"),
            Column("networks", "networks"),
            Column("note", "note"),
          ],
          rows,
        )
      )
    ],
  )


def _gap(study: Study, arms: Arms, arm: str, norm: str) -> dict[str, Any]:
  """One gap as a row of the table, or why there is none."""
  chosen = [
    (name, seed, each)
    for name in (numbers.ORDINARY, numbers.HARDENED, arm)
    for seed, each in arms[name].items()
  ]
  left, against_linf = (
    [
      network_numbers.number(study, each, f"transfer/{n}/mean")
      for *_, each in chosen
    ]
    for n in (norm, "linf")
  )
  try:
    fit = replication.regress(
      left,
      {
        "arm": [float(name == arm) for name, *_ in chosen],
        "linf": against_linf,
      },
      clusters=[seed for _, seed, _ in chosen],
    )
  except ValueError as error:
    return {"note": str(error)}
  gap = fit.coefficients["arm"]
  return {
    "gap": gap.estimate,
    "low": gap.low,
    "high": gap.high,
    "p": gap.p_value,
    "inflation": gap.variance_inflation,
    "networks": fit.observations,
    "note": "",
  }
