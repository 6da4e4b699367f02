"""Accuracy against the attack's radius."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from snnjax.intervals import wilson
from snnjax.plots import canvas
from snnjax.plots.curves import accuracy_panels, band
from snnjax.report import Figure


class Curve(NamedTuple):
  """One network's accuracy along the radius.

  Attributes:
    epsilons: [E] radii in raw input units, 0 for the clean inputs.
    correct: [E] how many examples withstand.
    total: how many examples there are.
  """

  epsilons: Sequence[float]
  correct: Sequence[int]
  total: int


def accuracy_against_epsilon(
  curves: Mapping[str, Mapping[str, Curve]],
  *,
  caption: str,
  name: str = "accuracy_epsilon",
  title: str = "Accuracy against attack strength",
  unit: str = "raw input units",
  chance: float | None = None,
) -> Figure:
  """Draws accuracy against epsilon with 95 % Wilson bands.

  Args:
    curves: by what is attacked (one panel each), then by network (one line).
    caption: what it shows.
    name: of the files.
    title: of the figure.
    unit: of epsilon.
    chance: accuracy of guessing, drawn as a dashed line.

  Raises:
    ValueError: if there is no curve, or the counts are out of range.
  """
  drawing, networks, data = accuracy_panels(curves, _line, unit, chance)
  return Figure(
    name,
    title,
    caption,
    f"Lines of accuracy against epsilon for {', '.join(networks)}, attacked on "
    f"{', '.join(curves)}; the numbers are in {name}.json.",
    canvas.png(drawing),
    {"confidence": 0.95, "unit": unit, "chance": chance, "curves": data},
  )


def _line(axes: Axes, label: str, curve: Curve, place: int) -> dict:
  order = sorted(range(len(curve.epsilons)), key=curve.epsilons.__getitem__)
  radii = [float(curve.epsilons[n]) for n in order]
  points = [wilson(int(curve.correct[n]), curve.total) for n in order]
  middle, low, high = zip(*points, strict=True)
  band(axes, radii, middle, (low, high), label, place)
  return {
    "epsilon": radii,
    "accuracy": middle,
    "low": low,
    "high": high,
    "examples": curve.total,
  }
