"""Accuracy against the attack's radius, of groups of networks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from snnjax.intervals import student
from snnjax.plots import canvas
from snnjax.plots.curves import accuracy_panels, band
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
  drawing, groups, data = accuracy_panels(curves, _line, unit)
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
  several = len(values) > 1
  bounds = (np.clip(lows, 0, 1), np.clip(highs, 0, 1))  # what can be
  band(axes, radii, means, bounds if several else None, label, place)
  for seed in values if several else ():
    shade = canvas.colour(place)
    axes.plot(radii, seed, ".", color=shade, markersize=3, alpha=0.6)
  return {
    "epsilon": radii,
    "mean": means,
    "low": lows,
    "high": highs,
    "seeds": values,
  }
