"""Accuracy along many radii of a norm, and the radii chosen of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from snnjax.plots import canvas
from snnjax.report import Figure


class RadiusCurve(NamedTuple):
  """What attacks of one norm leave at rising radii, and what was chosen.

  Attributes:
    radii: [E] rising, above 0.
    accuracies: [K, E] of K networks, in [0, 1].
    chosen: radii within those.
  """

  radii: Sequence[float]
  accuracies: ArrayLike
  chosen: Sequence[float]


def chosen_radii(
  curves: Mapping[str, Mapping[str, RadiusCurve]],
  *,
  caption: str,
  name: str = "chosen_radii",
  title: str = "Accuracy along the radius",
  columns: int = 2,
) -> Figure:
  """Draws the mean accuracy of some networks, with marks at chosen radii.

  Radii are on a logarithmic axis. Faint lines are single networks, where there
  are several.

  Args:
    curves: by norm (one panel each), then by what the networks see (one line).
    caption: what it shows.
    name: of the files.
    title: of the figure.
    columns: panels beside each other.

  Raises:
    ValueError: if a panel has no curve, or a curve is not as above.
  """
  if not curves or not all(curves.values()):
    raise ValueError(f"curves must hold a line per panel; got {dict(curves)}")
  names = list(dict.fromkeys(n for panel in curves.values() for n in panel))
  shown = canvas.labels(names)
  across = min(columns, len(curves))
  rows = -(-len(curves) // across)
  drawing, grid = canvas.panels(rows, across, 4.2, 3.1, share=False)
  data: dict[str, dict[str, object]] = {}
  for axes, (norm, lines) in zip(grid.flat, curves.items(), strict=False):
    data[norm] = {
      own: _line(axes, norm, shown[own], curve, names.index(own))
      for own, curve in lines.items()
    }
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    left = "Accuracy over all examples" if axes in grid[:, 0] else ""
    canvas.dress(axes, norm, f"{norm} radius", left)
  for axes in list(grid.flat)[len(curves) :]:
    axes.remove()
  canvas.legend(drawing, drawing.axes)
  canvas.reading_key(
    drawing,
    [
      "Thick lines are means over networks, faint ones single networks.",
      "Marks are the radii that were chosen.",
    ],
  )
  return Figure(
    name,
    title,
    caption,
    f"Lines of accuracy against the radius for {', '.join(names)} under "
    f"{', '.join(curves)}, with marks at the chosen radii; the numbers are in "
    f"{name}.json.",
    canvas.png(drawing),
    {"curves": data},
  )


def _line(
  axes: Axes, norm: str, label: str, curve: RadiusCurve, place: int
) -> dict[str, object]:
  radii = np.asarray(curve.radii, float)
  table = np.asarray(curve.accuracies, float)
  if table.shape[1:] != radii.shape or not len(table):
    raise ValueError(
      f"accuracies must be [K, E] with E = {len(radii)} radii under {norm}; "
      f"got {table.shape}"
    )
  if not (radii[0] > 0 and np.all(np.diff(radii) > 0)):
    raise ValueError(
      f"radii must rise from above 0 under {norm}; got {list(curve.radii)}"
    )
  outside = [c for c in curve.chosen if not radii[0] <= c <= radii[-1]]
  if outside:
    raise ValueError(
      f"chosen must lie in {radii[0]:g}..{radii[-1]:g} under {norm}; got "
      f"{outside}"
    )
  mean, shade = table.mean(0), canvas.colour(place)
  if len(table) > 1:
    for row in table:
      axes.plot(radii, row, color=shade, linewidth=0.8, alpha=0.4)
  axes.plot(radii, mean, color=shade, linewidth=1.8, label=label)
  heights = np.interp(np.log(curve.chosen), np.log(radii), mean)
  axes.plot(
    curve.chosen,
    heights,
    color=shade,
    marker=canvas.marker(place),
    markersize=7,
    linestyle="none",
  )
  return {
    "radii": radii,
    "accuracies": table,
    "chosen": list(curve.chosen),
    "accuracy at chosen": heights,
  }
