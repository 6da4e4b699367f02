"""Distributions of sparsity metrics, before, after and during an attack."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from snnjax.plots import canvas
from snnjax.report import Figure

_BINS = 24


def sparsity_histograms(
  values: Mapping[str, Mapping[str, np.ndarray]],
  *,
  metric: str,
  caption: str,
  name: str,
  title: str = "Sparsity of input gradients",
) -> Figure:
  """Draws how a metric is distributed, one panel per network.

  All panels share bins and axes. Undefined values (NaN) are left out and
  counted in the panel's title.

  Args:
    values: by network, then by condition (clean, adversarial, ...), [B].
    metric: its name, with its unit if it has one.
    caption: what it shows.
    name: of the files.
    title: of the figure.

  Raises:
    ValueError: if there is nothing to draw.
  """
  if not values or not all(values.values()):
    raise ValueError(f"values must hold conditions per network; got {values}")
  everything = [v for panel in values.values() for v in panel.values()]
  # One set of bins for all panels, so that their heights compare.
  edges = _edges(np.concatenate([np.ravel(v) for v in everything]))
  drawing, grid = canvas.panels(1, len(values), 3.2, 2.7)
  labels = canvas.labels(values, longest=28)
  data: dict[str, dict[str, object]] = {}
  for axes, (network, conditions) in zip(grid[0], values.items(), strict=True):
    data[network] = {}
    # Not drawn and not hidden: how many were left out is in the title.
    undefined = 0
    for place, (condition, numbers) in enumerate(conditions.items()):
      defined = numbers[~np.isnan(numbers)]
      undefined += numbers.size - defined.size
      _histogram(axes, condition, defined, edges, place)
      data[network][condition] = numbers
    left_out = f" ({undefined} undefined)" if undefined else ""
    first = "Examples" if axes is grid[0, 0] else ""
    canvas.dress(axes, f"{labels[network]}{left_out}", metric, first)
  canvas.legend(drawing, grid[0])
  return Figure(
    name,
    title,
    caption,
    f"Histograms of {metric} for {', '.join(values)}.",
    canvas.png(drawing),
    {"metric": metric, "edges": edges, "values": data},
  )


def sparsity_along_attack(
  values: Mapping[str, np.ndarray],
  *,
  metric: str,
  caption: str,
  name: str,
  steps: Sequence[int] | None = None,
  title: str = "Sparsity along the attack",
) -> Figure:
  """Draws a metric's median over the attack's steps, with its middle half.

  Args:
    values: by network, [S, B]: the metric of every example at S steps. NaN
      is undefined and left out of that step's quantiles.
    metric: its name, with its unit if it has one.
    caption: what it shows.
    name: of the files.
    steps: [S] the attack steps measured; by default 0 to S-1.
    title: of the figure.

  Raises:
    ValueError: if there is nothing to draw, or steps and values differ.
  """
  sizes = {numbers.shape[0] for numbers in values.values()}
  if len(sizes) != 1 or any(v.ndim != 2 or not v.size for v in values.values()):
    raise ValueError(
      "values must be [S, B] with one S for all networks; got shapes "
      f"{ {n: v.shape for n, v in values.items()} }"
    )
  count = sizes.pop()
  at = list(range(count)) if steps is None else list(steps)
  if len(at) != count:
    raise ValueError(f"steps must be {count} numbers; got {len(at)}")
  drawing, grid = canvas.panels(1, 1, 5.2, 3.1)
  axes = grid[0, 0]
  labels = canvas.labels(values)
  data = {}
  for place, (network, numbers) in enumerate(values.items()):
    data[network] = _band(axes, labels[network], at, numbers, place)
  axes.xaxis.set_major_locator(MaxNLocator(integer=True))
  canvas.dress(axes, "", "attack step (0: where it starts)", metric)
  canvas.legend(drawing, [axes])
  return Figure(
    name,
    title,
    caption,
    f"Lines of the median {metric} against the attack step for "
    f"{', '.join(values)}, with bands from lower to upper quartile.",
    canvas.png(drawing),
    {"metric": metric, "steps": at, "values": data},
  )


def _histogram(
  axes: Axes, condition: str, defined: np.ndarray, edges: np.ndarray, place: int
) -> None:
  shade = canvas.colour(place)
  bins = edges.tolist()
  axes.hist(defined, bins, color=shade, alpha=0.3, label=condition)
  axes.hist(defined, bins, color=shade, histtype="step", linewidth=1.5)
  if defined.size:
    axes.axvline(
      float(np.median(defined)),
      color=shade,
      linewidth=1.5,
      linestyle=("--", ":", "-.")[place % 3],
      label=f"median, {condition}",
    )


def _band(
  axes: Axes, label: str, at: list[int], numbers: np.ndarray, place: int
) -> dict[str, np.ndarray]:
  low, middle, high = np.stack([_quantiles(row) for row in numbers], axis=1)
  shade = canvas.colour(place)
  axes.fill_between(at, low, high, color=shade, alpha=0.18, linewidth=0)
  axes.plot(
    at,
    middle,
    color=shade,
    marker=canvas.marker(place),
    markersize=4,
    linewidth=1.8,
    label=label,
  )
  return {
    "median": middle,
    "lower_quartile": low,
    "upper_quartile": high,
    "undefined": np.isnan(numbers).sum(axis=1),
  }


def _quantiles(row: np.ndarray) -> np.ndarray:
  defined = row[~np.isnan(row)]
  if not defined.size:
    return np.full(3, np.nan)
  return np.quantile(defined, (0.25, 0.5, 0.75))


def _edges(values: np.ndarray) -> np.ndarray:
  defined = values[~np.isnan(values)]
  if not defined.size:
    return np.linspace(0.0, 1.0, _BINS + 1)
  return np.histogram_bin_edges(defined, _BINS)
