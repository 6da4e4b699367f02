"""Accuracy against the attack's radius."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from snnjax.intervals import wilson
from snnjax.plots import canvas
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
  if not curves or not all(curves.values()):
    raise ValueError(f"curves must hold a network per panel; got {curves}")
  networks = list(dict.fromkeys(n for panel in curves.values() for n in panel))
  drawing, grid = canvas.panels(1, len(curves), 3.6, 3.1, share=False)
  labels = canvas.labels(networks)
  data: dict[str, dict[str, object]] = {}
  for axes, (attacked, lines) in zip(grid[0], curves.items(), strict=True):
    data[attacked] = {}
    for network, curve in lines.items():
      data[attacked][network] = _line(
        axes, labels[network], curve, networks.index(network)
      )
    if chance is not None:
      axes.axhline(
        chance, color=canvas.INK, linewidth=1, linestyle="--", label="chance"
      )
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    first = "Accuracy over all examples" if axes is grid[0, 0] else ""
    canvas.dress(axes, attacked, f"epsilon [{unit}]", first)
  canvas.legend(drawing, grid[0])
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
  shade = canvas.colour(place)
  axes.fill_between(radii, low, high, color=shade, alpha=0.18, linewidth=0)
  axes.plot(
    radii,
    middle,
    color=shade,
    marker=canvas.marker(place),
    markersize=5,
    linewidth=1.8,
    label=label,
  )
  return {
    "epsilon": radii,
    "accuracy": middle,
    "low": low,
    "high": high,
    "examples": curve.total,
  }
