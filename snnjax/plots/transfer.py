"""Robustness by training arm and attack norm, as an annotated heat map."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle

from snnjax.intervals import student
from snnjax.plots import canvas, wording
from snnjax.report import Figure

_COLOURS = "Blues"  # rises in lightness too: read in grey as well
_GAP, _WIDE_GAP, _GROUP = 0.18, 0.5, 0.62  # in cells
_FEW = 7  # columns, up to which a cell's text is on one line
Values = Mapping[str, Mapping[str, Mapping[Any, float]]]


class _Cell(NamedTuple):
  """A share and its interval over seeds."""

  mean: float
  low: float
  high: float
  seeds: int
  without: list[Any]

  def text(self, one_line: bool) -> str:
    if math.isnan(self.mean):
      return "none"
    mark = "\u2020" if self.without else ""
    if math.isnan(self.low):
      return f"{100 * self.mean:.0f}{mark}"
    half = f"\u00b1 {50 * (self.high - self.low):.0f}"
    between = " " if one_line else "\n"
    return f"{100 * self.mean:.0f}{mark}{between}{half}"


def transfer_matrix(
  values: Values,
  *,
  rows: Mapping[str, Sequence[str]],
  columns: Mapping[str, Mapping[str, str]],
  caption: str,
  union: str | None = None,
  trained: Mapping[str, Collection[str]] | None = None,
  confidence: float = 0.95,
  name: str = "transfer_matrix",
  title: str = "Robust accuracy by training arm and attack norm",
  unit: str = "Robust accuracy [%]",
  heading: str = "radius",
) -> Figure:
  """Draws a share in [0, 1] of every arm under every attack, in percent.

  A cell shows the mean over seeds and half of its t interval. Values that are
  NaN are left out and the cell marked by a dagger; a cell without any is
  hatched and says "none"; one of a single seed has no half-width.

  Args:
    values: arm -> column -> seed -> share; an arm or column may lack.
    rows: heading -> its arms, in order; the heading "" is not written.
    columns: attack norm -> column -> its heading, such as the radius.
    caption: what it shows.
    union: a column of `values`, drawn apart as the last: the share that
      withstands all attacks. None draws none.
    trained: arm -> the norms that it was trained against; those cells are
      framed.
    confidence: of the t intervals.
    name: of the files.
    title: of the figure.
    unit: at the colour bar.
    heading: what the columns' headings are.

  Raises:
    ValueError: if there is no row or column, no number, a share is outside
      [0, 1], or `rows`, `columns`, `union` and `trained` name what is not in
      `values`, or an arm twice.
  """
  trained = trained or {}
  _check(values, rows, columns, union, trained)
  cells = {
    arm: {
      column: _cell(values.get(arm, {}).get(column, {}), confidence)
      for column in _columns(columns, union)
    }
    for arms in rows.values()
    for arm in arms
  }
  if all(math.isnan(c.mean) for line in cells.values() for c in line.values()):
    raise ValueError("values must hold a number in a cell that is shown")
  drawing = _draw(cells, rows, columns, union, trained, unit, heading)
  arms = list(cells)
  canvas.reading_key(drawing, _key(cells, trained, confidence))
  return Figure(
    name,
    title,
    caption,
    f"Heat map of the share that withstands attacks under "
    f"{', '.join(columns)}, for {', '.join(arms)}; the numbers are in "
    f"{name}.json.",
    canvas.png(drawing),
    {
      "confidence": confidence,
      "rows": dict(rows),
      "columns": columns,
      "union": union,
      "trained": {arm: list(norms) for arm, norms in trained.items()},
      "cells": {
        arm: {column: cell._asdict() for column, cell in line.items()}
        for arm, line in cells.items()
      },
    },
  )


def _columns(
  columns: Mapping[str, Mapping[str, str]], union: str | None
) -> list[str]:
  keys = [column for norm in columns.values() for column in norm]
  return keys if union is None else [*keys, union]


def _check(
  values: Values,
  rows: Mapping[str, Sequence[str]],
  columns: Mapping[str, Mapping[str, str]],
  union: str | None,
  trained: Mapping[str, Collection[str]],
) -> None:
  arms = [arm for group in rows.values() for arm in group]
  wanted = _columns(columns, union)
  for argument, names in (("rows", arms), ("columns", wanted)):
    if not names or len(set(names)) != len(names):
      raise ValueError(
        f"{argument} must name at least one of values, none of them twice; "
        f"got {names}"
      )
  there = {column for line in values.values() for column in line}
  for argument, names, allowed in (
    ("rows", arms, values),
    ("columns and union", wanted, there),
    ("trained", list(trained), arms),
    ("trained", [n for norms in trained.values() for n in norms], columns),
  ):
    unknown = [name for name in names if name not in allowed]
    if unknown:
      raise ValueError(
        f"{argument} must be among {', '.join(map(str, allowed))}; got "
        f"{', '.join(unknown)}"
      )
  for arm, line in values.items():
    for column, seeds in line.items():
      for seed, share in seeds.items():
        if not (math.isnan(share) or 0 <= share <= 1):
          raise ValueError(
            f"values[{arm!r}][{column!r}] must be shares in [0, 1]; got "
            f"{share} of seed {seed}"
          )


def _cell(seeds: Mapping[Any, float], confidence: float) -> _Cell:
  without = [seed for seed, share in seeds.items() if math.isnan(share)]
  shares = [share for share in seeds.values() if not math.isnan(share)]
  return _Cell(*student(shares, confidence), len(shares), without)


def _draw(
  cells: Mapping[str, Mapping[str, _Cell]],
  rows: Mapping[str, Sequence[str]],
  columns: Mapping[str, Mapping[str, str]],
  union: str | None,
  trained: Mapping[str, Collection[str]],
  unit: str,
  heading: str,
) -> Drawing:
  across, down = _across(columns, union), _down(rows)
  wide, high = max(across.values()) + 1, max(down.values()) + 1
  one_line = len(across) <= _FEW
  tall = 0.34 if one_line else 0.42
  drawing = canvas.sheet(
    min(9.4, 3.4 + wide * (1.0 if one_line else 0.5)),
    max(tall * high + 1.4, 2.8),
  )
  axes = drawing.subplots()
  axes.set_xlim(-0.1, wide + 0.1)
  axes.set_ylim(high + 0.1, -0.1)
  canvas.bare(axes)
  for spine in axes.spines.values():
    spine.set_visible(False)
  colours, scale = matplotlib.colormaps[_COLOURS], Normalize(0.0, 1.0)
  for arm, line in cells.items():
    for column, cell in line.items():
      _paint(axes, across[column], down[arm], cell, colours, one_line)
  for arm, norms in trained.items():
    for norm in norms:
      _frame(axes, [across[column] for column in columns[norm]], down[arm])
  _headings(axes, across, down, columns, union, heading)
  _groups(axes, rows, down)
  bar = drawing.colorbar(
    ScalarMappable(scale, colours),
    ax=axes,
    shrink=0.7 if high > 6 else 1.0,
    pad=0.02,
    aspect=25,
  )
  bar.set_ticks(
    [0, 0.25, 0.5, 0.75, 1.0], labels=["0", "25", "50", "75", "100"]
  )
  bar.set_label(canvas.plain(unit), fontsize=9, color=canvas.INK)
  bar.ax.tick_params(labelsize=8, colors=canvas.INK)
  bar.outline.set_visible(False)
  return drawing


def _across(
  columns: Mapping[str, Mapping[str, str]], union: str | None
) -> dict[str, float]:
  """Returns the left edge of each column; a gap parts the norms."""
  left = 0.0
  edges: dict[str, float] = {}
  for norm in columns.values():
    for column in norm:
      edges[column] = left
      left += 1
    left += _GAP
  if union is not None:
    edges[union] = left - _GAP + _WIDE_GAP
  return edges


def _down(rows: Mapping[str, Sequence[str]]) -> dict[str, float]:
  """Returns the upper edge of each row; a group's heading stands above it."""
  top = 0.0
  edges: dict[str, float] = {}
  for heading, arms in rows.items():
    top += _GROUP if heading else (_GAP if edges else 0.0)
    for arm in arms:
      edges[arm] = top
      top += 1
  return edges


def _paint(
  axes: Axes,
  left: float,
  top: float,
  cell: _Cell,
  colours: Colormap,
  one_line: bool,
) -> None:
  empty = math.isnan(cell.mean)
  fill = "#ffffff" if empty else colours(cell.mean)
  axes.add_patch(
    Rectangle(
      (left, top),
      1,
      1,
      facecolor=fill,
      edgecolor="#c9cdd4" if empty else "white",
      hatch="////" if empty else None,
      linewidth=0 if empty else 1.0,
    )
  )
  axes.text(
    left + 0.5,
    top + 0.5,
    cell.text(one_line),
    ha="center",
    va="center",
    fontsize=9 if one_line else 8,
    linespacing=1.15,
    color=canvas.ink_on(fill),
    bbox={"facecolor": "white", "linewidth": 0, "pad": 1} if empty else None,
  )


def _frame(axes: Axes, lefts: Sequence[float], top: float) -> None:
  # Black on white is seen on every colour of a cell, in grey too.
  for shade, width in (("white", 4.0), ("black", 2.0)):
    axes.add_patch(
      Rectangle(
        (min(lefts), top),
        max(lefts) - min(lefts) + 1,
        1,
        fill=False,
        edgecolor=shade,
        linewidth=width,
        zorder=3,
      )
    )


def _headings(
  axes: Axes,
  across: Mapping[str, float],
  down: Mapping[str, float],
  columns: Mapping[str, Mapping[str, str]],
  union: str | None,
  heading: str,
) -> None:
  of_columns = {k: v for norm in columns.values() for k, v in norm.items()}
  if union is not None:
    of_columns[union] = "all norms"
  axes.set_xticks(
    [across[column] + 0.5 for column in of_columns],
    [canvas.plain(heading) for heading in of_columns.values()],
  )
  axes.xaxis.tick_top()
  shown = canvas.labels(down, 48)  # on two lines
  axes.set_yticks(
    [top + 0.5 for top in down.values()],
    [wording.two_lines(shown[arm]) for arm in down],
  )
  axes.tick_params(length=0, labelsize=9, labelcolor=canvas.INK)
  above = {
    norm: [across[column] for column in keys] for norm, keys in columns.items()
  }
  if union is not None:
    above["union"] = [across[union]]
  for norm, lefts in above.items():
    middle = (min(lefts) + max(lefts) + 1) / 2
    _above(axes, middle, 20, norm, fontsize=10, ha="center", weight="bold")
  _above(axes, -0.12, 5, heading, fontsize=9, ha="right")


def _above(
  axes: Axes, across: float, points: float, text: str, **looks: Any
) -> None:
  """Writes so many points above the cells."""
  axes.annotate(
    canvas.plain(text),
    (across, 1.0),
    (0, points),
    xycoords=axes.get_xaxis_transform(),
    textcoords="offset points",
    color=canvas.INK,
    annotation_clip=False,
    **looks,
  )


def _groups(
  axes: Axes, rows: Mapping[str, Sequence[str]], down: Mapping[str, float]
) -> None:
  for heading, arms in rows.items():
    if heading:
      axes.text(
        0.0,
        down[arms[0]] - 0.12,
        canvas.plain(heading),
        va="bottom",
        fontsize=9,
        style="italic",
        color=canvas.INK,
      )


def _key(
  cells: Mapping[str, Mapping[str, _Cell]],
  trained: Mapping[str, Collection[str]],
  confidence: float,
) -> list[str]:
  every = [cell for line in cells.values() for cell in line.values()]
  counts = sorted({cell.seeds for cell in every if cell.seeds})
  span = f"{counts[0]}" + (f" to {counts[-1]}" if counts[1:] else "")
  sentences = [
    "Cells: mean in percent \u00b1 half of its "
    f"{wording.percent(confidence)} t interval over {span} seeds."
  ]
  if any(trained.values()):
    sentences.append("Framed: trained on attacks of that norm.")
  if any(cell.without and cell.seeds for cell in every):
    number = sum(len(cell.without) for cell in every if cell.seeds)
    sentences.append(
      f"\u2020: networks without a number are left out ({number} in all)."
    )
  if any(cell.seeds == 1 for cell in every):
    sentences.append("Without \u00b1: one seed.")
  if any(not cell.seeds for cell in every):
    sentences.append("Hatched: no network with a number.")
  return sentences
