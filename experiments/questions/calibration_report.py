"""The radii that a calibration chose: as a report, and as lines of a study."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.questions import calibration
from experiments.questions.calibration_options import ARM, Options
from experiments.questions.network_numbers import Cell
from snnjax import plots, report
from snnjax.report import Column, Record, Section, Table


class Chosen(NamedTuple):
  """The radii of one norm in one cell.

  Attributes:
    grid: [E] that were tried.
    accuracies: by seed, [E].
    radii: that were chosen.
  """

  grid: Sequence[float]
  accuracies: Mapping[int, Sequence[float]]
  radii: tuple[float, ...]


ByNorm = Mapping[str, Chosen]


def lines(radii: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
  """Returns radii as the lines to put into a study.

  Args:
    radii: by set of modalities, by norm.
  """
  text = "{\n"
  for inputs, by_norm in radii.items():
    text += f'  "{inputs}": {{\n'
    for norm, values in by_norm.items():
      text += f'    "{norm}": {tuple(values)},\n'
    text += "  },\n"
  return text + "}"


def record(
  asked: Options, counts: Mapping[str, int], result: Mapping[Cell, ByNorm]
) -> Record:
  """Returns the report of radii: a table, and a picture for each data set.

  Args:
    asked: what was asked for.
    counts: by data set, the test examples that were attacked.
    result: what was chosen.
  """
  study = asked.study
  places = [f"radius {position}" for position in range(len(calibration.SHARES))]
  rows: list[dict[str, Any]] = []
  panels: dict[str, dict[str, dict[str, plots.RadiusCurve]]] = {}
  for cell, by_norm in result.items():
    for norm, chosen in by_norm.items():
      table = list(chosen.accuracies.values())
      curve = plots.RadiusCurve(chosen.grid, table, chosen.radii)
      lines_of = panels.setdefault(cell.data, {}).setdefault(norm, {})
      lines_of[cell.inputs] = curve
      rows.append(
        {
          "data": cell.data,
          "modalities": cell.inputs,
          "norm": norm,
          "smallest": float(np.mean(table, 0)[0]),
          **dict(zip(places, chosen.radii, strict=True)),
        }
      )
  shares = ", ".join(f"{100 * share:g} %" for share in calibration.SHARES)
  abouts = "; ".join(
    f"{study.data[name].about}: the first {count} test examples"
    for name, count in counts.items()
  )
  seeds = ", ".join(map(str, asked.seeds))
  text = (
    f"Radii at which {study.arms[ARM].about} networks (seeds {seeds}, which "
    f"no question uses) keep {shares} of what they get right at the smallest "
    f"radius, under the first {calibration.ATTACKS} attacks of each chain with "
    f"at most {calibration.STEPS} steps. {abouts}."
  )
  columns = [
    Column("data", "data set"),
    Column("modalities", "modalities"),
    Column("norm", "norm"),
    Column("smallest", "accuracy at the smallest radius", percent=True),
    *(
      Column(place, f"{100 * share:g} % are left at")
      for place, share in zip(places, calibration.SHARES, strict=True)
    ),
  ]
  return Record(
    title="Radii of a study's attacks",
    summary=text,
    alarms=(),
    sections=[
      Section(
        "Radii",
        "",
        [Table("radii", "Radii", "As the study takes them.", columns, rows)],
        [
          plots.chosen_radii(
            curves,
            caption="Marks are the radii that were chosen.",
            name=report.file_name(f"radii_{name}"),
            title=f"Accuracy along the radius, {name}",
          )
          for name, curves in panels.items()
        ],
      )
    ],
    provenance={"size": study.size, "seeds": list(asked.seeds)},
  )
