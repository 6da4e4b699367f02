"""Accuracy against the attack's radius, of groups of networks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from snnjax.intervals import student
from snnjax.plots import canvas
from snnjax.report import Figure


class SeedCurve(NamedTuple):
  """The accuracies of networks that differ in their seed, along the radius.

  Attributes:
    epsilons: [E] radii in raw input units, 0 for the clean inputs.
    accuracy: [S, E] the share of examples that each seed's network gets right.
  """

  epsilons: Sequence[float]
  accuracy: Sequence[Sequence[float]]


def accuracy_over_seeds(
  curves: Mapping[str, Mapping[str, SeedCurve]],
  *,
  caption: str,
  name: str = "accuracy_seeds",
  title: str = "Accuracy against attack strength, over seeds",
  unit: str = "raw input units",
) -> Figure:
  """Draws the mean over seeds with its 95 % t band, and every seed as a dot.

  Args:
    curves: by what is attacked (one panel each), then by group (one line). A
      group of one seed has no band.
    caption: what it shows.
    name: of the files.
    title: of the figure.
    unit: of epsilon.

  Raises:
    ValueError: if a panel has no group, or accuracies are not [S, E].
  """
  if not curves or not all(curves.values()):
    raise ValueError(f"curves must hold a group per panel; got {curves}")
  groups = list(dict.fromkeys(n for panel in curves.values() for n in panel))
  labels = canvas.labels(groups)
  drawing, grid = canvas.panels(1, len(curves), 3.6, 3.1, share=False)
  data: dict[str, dict[str, object]] = {}
  for axes, (attacked, lines) in zip(grid[0], curves.items(), strict=True):
    data[attacked] = {
      group: _line(axes, labels[group], curve, groups.index(group))
      for group, curve in lines.items()
    }
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    first = "Accuracy over all examples" if axes is grid[0, 0] else ""
    canvas.dress(axes, attacked, f"epsilon [{unit}]", first)
  canvas.legend(drawing, grid[0])
  return Figure(
    name,
    title,
    caption,
    f"Lines of mean accuracy against epsilon for {', '.join(groups)}, in the "
    f"panels {', '.join(curves)}; the numbers are in {name}.json.",
    canvas.png(drawing),
    {"confidence": 0.95, "unit": unit, "curves": data},
  )


def _line(axes: Axes, label: str, curve: SeedCurve, place: int) -> dict:
  values = np.asarray(curve.accuracy, float)
  if values.ndim != 2 or values.shape[1] != len(curve.epsilons):
    raise ValueError(
      f"accuracy must be [S, E] for {len(curve.epsilons)} radii; got shape "
      f"{values.shape}"
    )
  order = np.argsort(curve.epsilons)
  radii, values = np.asarray(curve.epsilons, float)[order], values[:, order]
  points = [student(column) for column in values.T]
  means, lows, highs = zip(*points, strict=True)
  shade = canvas.colour(place)
  if len(values) > 1:  # cut at what an accuracy can be
    low, high = np.clip(lows, 0, 1), np.clip(highs, 0, 1)
    axes.fill_between(radii, low, high, color=shade, alpha=0.18, linewidth=0)
    for seed in values:
      axes.plot(radii, seed, ".", color=shade, markersize=3, alpha=0.6)
  axes.plot(
    radii,
    means,
    color=shade,
    marker=canvas.marker(place),
    markersize=5,
    linewidth=1.8,
    label=label,
  )
  return {
    "epsilon": radii,
    "mean": means,
    "low": lows,
    "high": highs,
    "seeds": values,
  }
