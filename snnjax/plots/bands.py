"""A metric along an attack, as a band over seeds for every arm."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator, PercentFormatter

from snnjax.intervals import student
from snnjax.plots import canvas, wording
from snnjax.report import Figure

Spread = Literal["t", "range"]
Panels = Mapping[str, Mapping[str, np.ndarray]]


class _Kind(NamedTuple):
  """How seeds become a line and a band."""

  spread: Spread
  confidence: float

  @property
  def words(self) -> str:
    if self.spread == "range":
      return "Line: median over seeds; band: from the least to the greatest."
    percent = wording.percent(self.confidence)
    return f"Line: mean over seeds; band: its {percent} t interval."

  def __call__(self, seeds: np.ndarray) -> tuple[float, float, float]:
    """Returns the ends of the band and the line between, at one step."""
    defined = seeds[~np.isnan(seeds)]
    if self.spread == "t":
      middle, low, high = student(defined.tolist(), self.confidence)
    elif defined.size > 1:
      low, middle, high = np.quantile(defined, (0.0, 0.5, 1.0)).tolist()
    else:
      middle = float(defined[0]) if defined.size else np.nan
      low = high = np.nan
    return low, middle, high


def bands_along(
  panels: Panels,
  *,
  metric: str,
  caption: str,
  right: Panels | None = None,
  steps: Sequence[int] | None = None,
  spread: Spread = "t",
  confidence: float = 0.95,
  name: str = "bands_along",
  title: str = "Along the attack",
  columns: int = 3,
  share: bool = True,
) -> Figure:
  """Draws a metric against the attack step: a line and a band for each arm.

  An arm of one seed has no band. Undefined values (NaN) are left out, step by
  step, and counted above the panels.

  Args:
    panels: by what is attacked, then by arm, [S, K + 1]: one row per seed,
      one column per step, the first where the attack starts.
    metric: its name, with its unit if it has one.
    caption: what it shows.
    right: the same of the share of examples that are still right, in [0, 1];
      drawn below each panel. None draws none.
    steps: [K + 1] numbers of the steps; 0 to K if None.
    spread: "t" for the mean and its t interval, "range" for the median, the
      least and the greatest.
    confidence: of the t interval.
    name: of the files.
    title: of the figure.
    columns: panels beside each other.
    share: whether all panels have the same axis of the metric.

  Raises:
    ValueError: if there is nothing to draw, arrays are not [S, K + 1] of one K
      in a panel or hold infinities, `right` has other panels or arms, or an
      argument is none of those allowed.
  """
  if spread not in get_args(Spread):
    raise ValueError(f"spread must be 't' or 'range'; got {spread!r}")
  if columns < 1:
    raise ValueError(f"columns must be at least 1; got {columns}")
  at = _check("panels", panels, steps)
  if right is not None:
    _check_right(right, panels, steps)
  kind = _Kind(spread, confidence)
  arms = list(dict.fromkeys(arm for there in panels.values() for arm in there))
  sources = (
    {"metric": panels}
    if right is None
    else {
      "metric": panels,
      "right": right,
    }
  )
  drawing, grids = _grids(len(panels), columns, len(sources), share, arms)
  data: dict[str, dict[str, Any]] = {h: {"steps": at[h]} for h in panels}
  for (key, source), grid in zip(sources.items(), grids, strict=True):
    for heading, axes in zip(panels, grid, strict=True):
      data[heading][key] = _lines(
        axes, source[heading], at[heading], arms, kind
      )
  _dress(grids, list(panels), metric, columns)
  canvas.legend(drawing, grids[0])
  canvas.reading_key(drawing, [kind.words, *_counts(panels)])
  return Figure(
    name,
    title,
    caption,
    f"Lines of {metric} against the attack step for {', '.join(arms)}, with "
    f"bands over seeds, in the panels {', '.join(panels)}; the numbers are in "
    f"{name}.json.",
    canvas.png(drawing),
    {
      "metric": metric,
      "spread": spread,
      "confidence": confidence if spread == "t" else None,
      "panels": data,
    },
  )


def _check(
  argument: str, panels: Panels, steps: Sequence[int] | None
) -> dict[str, list[int]]:
  """Returns the numbers of the steps of each panel."""
  if not panels or not all(panels.values()):
    raise ValueError(
      f"{argument} must hold an arm per panel, and a panel; got "
      f"{ {heading: list(arms) for heading, arms in panels.items()} }"
    )
  at = {}
  for heading, arms in panels.items():
    shapes = {arm: np.shape(rows) for arm, rows in arms.items()}
    lengths = {shape[-1] for shape in shapes.values() if len(shape) == 2}
    if (
      len(lengths) != 1
      or 0 in lengths
      or any(len(shape) != 2 or not shape[0] for shape in shapes.values())
    ):
      raise ValueError(
        f"{argument}[{heading!r}] must be [S, K + 1] with one K for all arms; "
        f"got shapes {shapes}"
      )
    length = lengths.pop()
    at[heading] = list(range(length)) if steps is None else list(steps)
    if len(at[heading]) != length:
      raise ValueError(
        f"steps must be the {length} of {argument}[{heading!r}]; got "
        f"{len(at[heading])}"
      )
    for arm, rows in arms.items():
      if np.isinf(rows).any():
        raise ValueError(
          f"{argument}[{heading!r}][{arm!r}] must be finite or NaN; got inf"
        )
  return at


def _check_right(
  right: Panels, panels: Panels, steps: Sequence[int] | None
) -> None:
  there, wanted = (
    {heading: list(arms) for heading, arms in source.items()}
    for source in (right, panels)
  )
  if there != wanted:
    raise ValueError(
      f"right must have the panels and arms of panels, {wanted}; got {there}"
    )
  _check("right", right, steps)
  for heading, arms in right.items():
    for arm, rows in arms.items():
      defined = np.asarray(rows)[~np.isnan(rows)]
      if np.any((defined < 0) | (defined > 1)):
        raise ValueError(
          f"right[{heading!r}][{arm!r}] must be shares in [0, 1]; got "
          f"{defined.min():.4g} to {defined.max():.4g}"
        )
      if np.shape(rows)[1] != np.shape(panels[heading][arm])[1]:
        raise ValueError(
          f"right[{heading!r}] must have as many steps as panels; got "
          f"{np.shape(rows)[1]} and {np.shape(panels[heading][arm])[1]}"
        )


def _grids(
  count: int, columns: int, kinds: int, share: bool, arms: list[str]
) -> tuple[Drawing, list[list[Axes]]]:
  """Returns axes for each kind of numbers, one per panel."""
  across = min(columns, count)
  down = -(-count // across)
  heights = [2.3, 1.4][:kinds]
  width = {1: 6.4, 2: 8.0}.get(across, 9.4)
  below = canvas.legend_height(canvas.labels(arms).values(), width)
  drawing = canvas.sheet(width, down * (sum(heights) + 0.5) + below + 0.5)
  grid = drawing.add_gridspec(
    down * kinds, across, height_ratios=heights * down
  )
  rows: list[list[Axes]] = [[] for _ in range(kinds)]
  for place in range(count):
    row, column = divmod(place, across)
    for kind, line in enumerate(rows):
      line.append(
        drawing.add_subplot(
          grid[row * kinds + kind, column],
          sharex=rows[0][place] if kind else None,
          sharey=line[0] if line and (share or kind) else None,
        )
      )
  return drawing, rows


def _lines(
  axes: Axes,
  there: Mapping[str, np.ndarray],
  at: list[int],
  arms: list[str],
  kind: _Kind,
) -> dict[str, Any]:
  shown, data = canvas.labels(arms), {}
  for arm, rows in there.items():
    values = np.asarray(rows, float)
    low, middle, high = np.array([kind(column) for column in values.T]).T
    place = arms.index(arm)
    shade = canvas.colour(place)
    # Where one seed alone is defined there is no band: NaN draws none.
    axes.fill_between(at, low, high, color=shade, alpha=0.16, linewidth=0)
    axes.plot(
      at,
      middle,
      color=shade,
      marker=canvas.marker(place),
      # Few markers, not all at the same steps: lines of equal numbers show.
      markevery=(place % max(len(at) // 6, 1), max(len(at) // 6, 1)),
      markersize=5,
      markeredgecolor="white",
      markeredgewidth=0.5,
      linewidth=1.6,
      label=shown[arm],
    )
    data[arm] = {
      "line": middle,
      "low": low,
      "high": high,
      "seeds": values,
      "undefined": np.isnan(values).sum(axis=0),
    }
  return data


def _dress(
  grids: list[list[Axes]], headings: list[str], metric: str, columns: int
) -> None:
  shown = canvas.labels(headings, 40)
  words = [textwrap.fill(metric, 32), "Still right"]
  for kind, (line, label) in enumerate(zip(grids, words, strict=False)):
    last = kind == len(grids) - 1
    for place, (axes, heading) in enumerate(zip(line, headings, strict=True)):
      canvas.dress(
        axes,
        "" if kind else shown[heading],
        "attack step (0: where it starts)" if last else "",
        label if place % columns == 0 else "",
      )
      axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
      axes.tick_params(labelbottom=last)
      if kind:
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _counts(panels: Panels) -> list[str]:
  """Says how many seeds there are, and what was left out."""
  counts = {
    (heading, arm): len(rows)
    for heading, arms in panels.items()
    for arm, rows in arms.items()
  }
  least, most = min(counts.values()), max(counts.values())
  sentences = [f"Seeds: {least if least == most else f'{least} to {most}'}."]
  single = [f"{arm} ({head})" for (head, arm), n in counts.items() if n == 1]
  if single:
    sentences.append(f"One seed, so no band: {wording.few(single)}.")
  undefined = {
    key: int(np.isnan(np.asarray(panels[key[0]][key[1]], float)).sum())
    for key in counts
  }
  left_out = [
    f"{arm} {number} of {np.size(panels[head][arm])} ({head})"
    for (head, arm), number in undefined.items()
    if number
  ]
  if left_out:
    sentences.append(f"Undefined and left out: {wording.few(left_out)}.")
  return sentences
