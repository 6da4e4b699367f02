"""All networks by the size and the sparsity of their gradients."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.ticker import (
  FuncFormatter,
  Locator,
  LogLocator,
  MaxNLocator,
  NullLocator,
  PercentFormatter,
)

from snnjax.intervals import Interval
from snnjax.plots import canvas, wording
from snnjax.replication import Estimate
from snnjax.report import Figure

_COLOURS = "viridis_r"  # told apart by all readers, and in grey
_ARROW = 0.17  # its length, of the panel's width and height
_CORNERS = ((0.12, 0.88), (0.88, 0.88), (0.12, 0.12), (0.88, 0.12))


class NetworkPoint(NamedTuple):
  """One network.

  Attributes:
    family: of arms, which share a marker.
    log_size: natural logarithm of ||g||_1 of its input gradients.
    log_participation_ratio: of the same gradients, natural too.
    accuracy: what it keeps under the panel's attack, in [0, 1].
    name: of the network, in the JSON.
  """

  family: str
  log_size: float
  log_participation_ratio: float
  accuracy: float
  name: str = ""


class Slopes(NamedTuple):
  """What a regression makes of a panel: robustness gained per unit.

  Attributes:
    size: per unit of log ||g||_1, with the other held.
    participation_ratio: per unit of log participation ratio.
  """

  size: Interval | Estimate
  participation_ratio: Interval | Estimate


def size_against_sparsity(
  points: Mapping[str, Sequence[NetworkPoint]],
  *,
  caption: str,
  slopes: Mapping[str, Slopes] | None = None,
  confidence: float = 0.95,
  name: str = "size_against_sparsity",
  title: str = "Size and sparsity of gradients, and robustness",
  colour_label: str = "Robust accuracy [%]",
  fitted: str = "accuracy",
  columns: int = 2,
) -> Figure:
  """Draws every network by gradient size and sparsity, coloured by robustness.

  All panels have the same axes and colours. A network of which a number is
  NaN is not drawn; it is counted and named.

  Args:
    points: by attack norm (one panel each), the networks.
    caption: what it shows.
    slopes: by attack norm, of a regression of robustness on both. An arrow
      points to where the fitted one rises, each axis counted in its
      standard deviation over the panel's networks; along an axis if that one
      alone explains it. The slopes are written below the panel.
    confidence: of the slopes' intervals; an `Interval` is taken to have it.
    name: of the files.
    title: of the figure.
    colour_label: at the colour bar.
    fitted: what the slopes are of, in words.
    columns: panels beside each other.

  Raises:
    ValueError: if a panel has no network with all numbers, a number is
      infinite or an accuracy outside [0, 1], or slopes are of another panel.
  """
  if columns < 1:
    raise ValueError(f"columns must be at least 1; got {columns}")
  slopes = slopes or {}
  unknown = [norm for norm in slopes if norm not in points]
  if not points or unknown:
    raise ValueError(
      f"points must hold a panel, and all of slopes; got {list(points)} with "
      f"slopes of {list(slopes)}"
    )
  drawn = {norm: _check(norm, networks) for norm, networks in points.items()}
  families = list(dict.fromkeys(p.family for n in points.values() for p in n))
  places = np.array([_place(p) for n in drawn.values() for p in n])
  top = _top(p.accuracy for n in drawn.values() for p in n)
  drawing, grid = _grid(len(points), columns, places, families)
  fits = {}
  for place, (norm, networks) in enumerate(drawn.items()):
    axes = grid[place]
    picture = _panel(axes, networks, families, top)
    _dress(axes, norm, place % columns == 0, 30 if norm in slopes else 8)
    if norm in slopes:
      fits[norm] = _fit(axes, networks, slopes[norm], confidence)
  bar = drawing.colorbar(picture, ax=grid, shrink=0.8, pad=0.02, aspect=30)
  bar.formatter = PercentFormatter(1.0, 0, symbol="")
  bar.set_label(canvas.plain(colour_label), fontsize=9, color=canvas.INK)
  bar.ax.tick_params(labelsize=8, colors=canvas.INK)
  _legend(drawing, families)
  without = {
    norm: [_who(p) for p in networks if p not in drawn[norm]]
    for norm, networks in points.items()
  }
  canvas.reading_key(drawing, _key(without, fits, confidence, fitted))
  return Figure(
    name,
    title,
    caption,
    "Scatter of the participation ratio against the l1 norm of input "
    f"gradients of networks of the families {', '.join(families)}, coloured "
    f"by accuracy under {', '.join(points)}; the numbers are in {name}.json.",
    canvas.png(drawing),
    {
      "confidence": confidence,
      "points": {
        norm: [point._asdict() for point in networks]
        for norm, networks in points.items()
      },
      "without_number": without,
      "fits": fits,
    },
  )


def _numbers(point: NetworkPoint) -> tuple[float, float, float]:
  return point.log_size, point.log_participation_ratio, point.accuracy


def _who(point: NetworkPoint) -> str:
  return point.name or point.family


def _place(point: NetworkPoint) -> tuple[float, float]:
  """Where a network is drawn: in ordinary units, on logarithmic axes."""
  return math.exp(point.log_size), math.exp(point.log_participation_ratio)


def _check(norm: str, networks: Sequence[NetworkPoint]) -> list[NetworkPoint]:
  """Returns the networks that have all numbers."""
  defined = []
  for point in networks:
    numbers = _numbers(point)
    outside = not math.isnan(point.accuracy) and not 0 <= point.accuracy <= 1
    if any(map(math.isinf, numbers)) or outside:
      raise ValueError(
        f"points[{norm!r}] must be finite or NaN with accuracies in [0, 1]; "
        f"got {numbers} of {_who(point)}"
      )
    if not any(map(math.isnan, numbers)):
      defined.append(point)
  if not defined:
    raise ValueError(
      f"points[{norm!r}] must have a network with all numbers; got none among "
      f"{len(networks)}"
    )
  return defined


def _top(accuracies: Iterable[float]) -> float:
  """Returns the end of the colours: the next tenth above all."""
  return max(math.ceil(10 * max(accuracies) - 1e-9), 1) / 10


def _grid(
  count: int, columns: int, places: np.ndarray, families: list[str]
) -> tuple[Drawing, list[Axes]]:
  across = min(columns, count)
  down = -(-count // across)
  width = {1: 7.4, 2: 8.6}.get(across, 9.4)
  below = canvas.legend_height(canvas.labels(families).values(), width)
  tall = {1: 4.0, 2: 3.5}.get(across, 3.1)
  drawing = canvas.sheet(width, tall * down + below + 0.7)
  grid = drawing.subplots(down, across, squeeze=False, sharex=True, sharey=True)
  for axes in grid.flat[count:]:
    axes.set_visible(False)
  shared = grid[0, 0]
  shared.set_xscale("log")
  shared.set_yscale("log")
  low, high = np.log(places).min(axis=0), np.log(places).max(axis=0)
  room = 0.12 * np.maximum(high - low, 0.5)
  limits = np.exp(np.stack([low - room, high + room], axis=1))
  shared.set_xlim(*limits[0])
  shared.set_ylim(*limits[1])
  for axis, ends in ((shared.xaxis, limits[0]), (shared.yaxis, limits[1])):
    axis.set_major_locator(_ticks(*ends))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  return drawing, list(grid.flat[:count])


def _panel(
  axes: Axes,
  networks: Sequence[NetworkPoint],
  families: list[str],
  top: float,
) -> PathCollection:
  for place, family in enumerate(families):
    own = [point for point in networks if point.family == family]
    across, up = np.array([_place(p) for p in own]).reshape(-1, 2).T
    picture = axes.scatter(
      across,
      up,
      c=[p.accuracy for p in own],
      s=42,
      marker=canvas.marker(place),
      cmap=_COLOURS,
      vmin=0.0,
      vmax=top,
      edgecolors=canvas.INK,
      linewidths=0.7,
    )
  return picture


def _dress(axes: Axes, norm: str, first: bool, pad: float) -> None:
  canvas.dress(
    axes,
    canvas.labels([norm], 40)[norm],
    "l1 norm of the gradient",
    "participation ratio" if first else "",
    pad,
  )
  axes.tick_params(labelbottom=True)


def _ticks(low: float, high: float) -> Locator:
  """Returns where a logarithmic axis has numbers, however short it is."""
  if high / low < 8:
    return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
  return LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 300 else (1.0,))


def _fit(
  axes: Axes,
  networks: Sequence[NetworkPoint],
  slopes: Slopes,
  confidence: float,
) -> dict[str, Any]:
  """Draws the direction in which the fitted accuracy rises, and its slopes."""
  size, ratio = (wording.as_interval(each, confidence) for each in slopes)
  numbers = np.array([_numbers(point)[:2] for point in networks])
  direction = np.array([size.estimate, ratio.estimate]) * numbers.std(axis=0)
  length = float(np.hypot(*direction))
  if length > 0:
    direction = direction / length
    _draw_arrow(axes, networks, direction)
  places = wording.decimals([*size, *ratio])
  axes.annotate(
    f"size {wording.with_ends(size, places)}\n"
    f"participation ratio {wording.with_ends(ratio, places)}",
    (0.5, 1.0),
    (0, 5),
    xycoords="axes fraction",
    textcoords="offset points",
    ha="center",
    fontsize=8.5,
    linespacing=1.3,
    color=canvas.INK,
    annotation_clip=False,
  )
  return {
    "size": size._asdict(),
    "participation_ratio": ratio._asdict(),
    "direction": direction.tolist() if length > 0 else None,
  }


def _draw_arrow(
  axes: Axes, networks: Sequence[NetworkPoint], direction: np.ndarray
) -> None:
  # It stands in the corner that has the fewest networks near it.
  to_panel = axes.transData + axes.transAxes.inverted()
  places = to_panel.transform([_place(point) for point in networks])
  corner = max(
    np.array(_CORNERS), key=lambda at: np.hypot(*(places - at).T).min()
  )
  half = _ARROW / 2 * direction
  axes.annotate(
    "",
    corner + half,
    corner - half,
    xycoords="axes fraction",
    textcoords="axes fraction",
    arrowprops={"arrowstyle": "-|>", "color": canvas.COLOURS[1], "lw": 2.2},
  )


def _legend(drawing: Drawing, families: list[str]) -> None:
  shown = canvas.labels(families)
  marks = {
    shown[family]: Line2D(
      [],
      [],
      linestyle="",
      marker=canvas.marker(place),
      markerfacecolor="#c9cdd4",
      markeredgecolor=canvas.INK,
    )
    for place, family in enumerate(families)
  }
  canvas.legend_of(drawing, marks)


def _key(
  without: Mapping[str, list[str]],
  fits: Mapping[str, Mapping[str, Any]],
  confidence: float,
  fitted: str,
) -> list[str]:
  sentences = ["A mark is a network; logarithmic axes."]
  if any(fit["direction"] for fit in fits.values()):
    sentences.append(
      f"Arrow: where the fitted {fitted} rises, each axis in its standard "
      "deviation."
    )
  if fits:
    sentences.append(
      f"Above: {fitted} per unit of log size and of log participation ratio, "
      f"with {wording.percent(confidence)} intervals."
    )
  missing = [
    f"{who} ({norm})" for norm, names in without.items() for who in names
  ]
  if missing:
    sentences.append(f"Not drawn, without a number: {wording.few(missing)}.")
  return sentences
