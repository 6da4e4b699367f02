"""Lines of accuracy against the attack's radius, with bands, in panels."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from snnjax.plots import canvas

T = TypeVar("T")


def band(
  axes: Axes,
  radii: ArrayLike,
  middle: ArrayLike,
  bounds: tuple[ArrayLike, ArrayLike] | None,
  label: str,
  place: int,
) -> None:
  """Draws a line with markers, and a band around it.

  Args:
    axes: where.
    radii: [E] along the axis, rising.
    middle: [E] the line.
    bounds: lower and upper [E] ends of the band; None draws none.
    label: of the line, in the legend.
    place: of the line among those of the figure; its colour and marker.
  """
  shade = canvas.colour(place)
  if bounds is not None:
    axes.fill_between(radii, *bounds, color=shade, alpha=0.18, linewidth=0)
  axes.plot(
    radii,
    middle,
    color=shade,
    marker=canvas.marker(place),
    markersize=5,
    linewidth=1.8,
    label=label,
  )


def accuracy_panels(
  curves: Mapping[str, Mapping[str, T]],
  draw: Callable[[Axes, str, T, int], dict[str, object]],
  unit: str,
  chance: float | None = None,
) -> tuple[Drawing, list[str], dict[str, dict[str, object]]]:
  """Draws lines of accuracy against the radius, a panel for each target.

  Args:
    curves: by what is attacked (one panel each), then by name (one line).
    draw: ``(axes, label, curve, place)``; returns the numbers that it drew.
    unit: of the radius.
    chance: accuracy of guessing, drawn as a dashed line.

  Returns:
    The drawing, the names in their order, and the numbers by panel and name.

  Raises:
    ValueError: if there is no curve.
  """
  if not curves or not all(curves.values()):
    raise ValueError(f"curves must hold a line per panel; got {curves}")
  names = list(dict.fromkeys(n for panel in curves.values() for n in panel))
  shown = canvas.labels(names)
  drawing, grid = canvas.panels(1, len(curves), 3.6, 3.1, share=False)
  data: dict[str, dict[str, object]] = {}
  for axes, (attacked, lines) in zip(grid[0], curves.items(), strict=True):
    data[attacked] = {
      name: draw(axes, shown[name], curve, names.index(name))
      for name, curve in lines.items()
    }
    if chance is not None:
      axes.axhline(
        chance, color=canvas.INK, linewidth=1, linestyle="--", label="chance"
      )
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    first = "Accuracy over all examples" if axes is grid[0, 0] else ""
    canvas.dress(axes, attacked, f"epsilon [{unit}]", first)
  canvas.legend(drawing, grid[0])
  return drawing, names, data
