"""What was decided: estimates, thresholds and verdicts in rows."""

import math
from collections.abc import Sequence
from typing import NamedTuple, get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from snnjax.intervals import Interval
from snnjax.plots import canvas, wording
from snnjax.replication import Estimate
from snnjax.replication.rules import Alternative
from snnjax.report import Figure

_ROW, _HIGH_ROW = 0.42, 0.56  # inches; the second holds two lines of a name
_LINE = 44  # letters
# Colour, marker and word each tell the verdict; read in grey as well.
_LOOKS = {
  "verified": ("#0060a0", "o"),
  "refuted": ("#b34700", "X"),
  "undecided": ("#5f6570", "D"),
}
_BESIDE = ("#5f6570", ".")


class ContrastRow(NamedTuple):
  """One contrast in one place.

  Attributes:
    name: of the contrast.
    place: where it was measured, such as the data set and the modalities.
    estimate: treated less control; None where it was not measured.
    smallest_effect: that matters, above 0, in the unit of the estimate.
    unit: of the estimate; rows of one unit share an axis.
    alternative: where the effect is claimed: "greater", "less", "two-sided".
    verdict: "verified", "refuted" or "undecided"; empty where the row is told
      beside and decides nothing.
  """

  name: str
  place: str
  estimate: Interval | Estimate | None
  smallest_effect: float
  unit: str = ""
  alternative: Alternative = "greater"
  verdict: str = ""


def verdict_strip(
  contrasts: Sequence[ContrastRow],
  *,
  caption: str,
  confidence: float = 0.95,
  name: str = "verdicts",
  title: str = "Contrasts and verdicts",
) -> Figure:
  """Draws each contrast with its interval, its threshold and its verdict.

  Rows of equal units are drawn together, on one axis, in the order given. A
  row without an estimate says "not measured".

  Args:
    contrasts: the rows.
    caption: what it shows.
    confidence: of the intervals; an `Interval` is taken to have it.
    name: of the files.
    title: of the figure.

  Raises:
    ValueError: if there is no row, a verdict or alternative is another, a
      smallest effect is not positive, a number is infinite, or a row without a
      number has a verdict.
  """
  if not contrasts:
    raise ValueError("contrasts must hold a row; got none")
  intervals = [_check(row, confidence) for row in contrasts]
  units: dict[str, list[int]] = {}
  for place, row in enumerate(contrasts):
    units.setdefault(row.unit, []).append(place)
  broken = any(len(row.name) > _LINE for row in contrasts)
  drawing, grid = _grid(
    [len(places) for places in units.values()], _HIGH_ROW if broken else _ROW
  )
  for axes, (unit, places) in zip(grid, units.items(), strict=True):
    rows = [contrasts[place] for place in places]
    _panel(axes, rows, [intervals[place] for place in places], unit)
  canvas.reading_key(drawing, [_key(contrasts, confidence)])
  return Figure(
    name,
    title,
    caption,
    f"Estimates with intervals of {len(contrasts)} contrasts in rows, against "
    "zero and the smallest effect that matters: "
    + "; ".join(_words(row) for row in contrasts)
    + ".",
    canvas.png(drawing),
    {
      "confidence": confidence,
      "contrasts": [
        {**row._asdict(), "estimate": interval and interval._asdict()}
        for row, interval in zip(contrasts, intervals, strict=True)
      ],
    },
  )


def _check(row: ContrastRow, confidence: float) -> Interval | None:
  """Returns the interval of a row; None where it has no number."""
  who = f"contrasts, {row.name!r} ({row.place}):"
  if row.verdict not in ("", *_LOOKS):
    raise ValueError(
      f"{who} verdict must be {', '.join(_LOOKS)} or empty; got {row.verdict!r}"
    )
  if row.alternative not in get_args(Alternative):
    raise ValueError(
      f"{who} alternative must be one of {', '.join(get_args(Alternative))}; "
      f"got {row.alternative!r}"
    )
  if not 0 < row.smallest_effect < math.inf:
    raise ValueError(
      f"{who} smallest_effect must be positive and finite; got "
      f"{row.smallest_effect}"
    )
  interval = None
  if row.estimate is not None:
    interval = wording.as_interval(row.estimate, confidence)
  if interval is not None and any(map(math.isinf, interval)):
    raise ValueError(f"{who} estimate must be finite or NaN; got {interval}")
  if interval is None or math.isnan(interval.estimate):
    if row.verdict:
      raise ValueError(
        f"{who} a row without a number must have no verdict; got "
        f"{row.verdict!r}"
      )
    return None
  return interval


def _grid(counts: list[int], row: float) -> tuple[Drawing, list[Axes]]:
  drawing = canvas.sheet(9.4, sum(row * count + 0.75 for count in counts) + 0.6)
  grid = drawing.subplots(
    len(counts),
    1,
    squeeze=False,
    gridspec_kw={"height_ratios": [count + 0.2 for count in counts]},
  )
  return drawing, list(grid.flat)


def _panel(
  axes: Axes,
  rows: Sequence[ContrastRow],
  intervals: Sequence[Interval | None],
  unit: str,
) -> None:
  places = wording.decimals(
    [end for interval in intervals for end in interval or ()]
  )
  axes.axvline(0.0, color=canvas.INK, linewidth=1.2, zorder=1)
  for line, (row, interval) in enumerate(zip(rows, intervals, strict=True)):
    _threshold(axes, line, row)
    if interval is not None:
      _estimate(axes, line, interval, row.verdict)
    _beside(axes, line, interval, row.verdict, places)
  axes.margins(x=0.06)
  canvas.dress(axes, "", f"difference {unit}".rstrip())
  axes.grid(visible=False, axis="y")
  shown = canvas.labels(dict.fromkeys(row.name for row in rows), 2 * _LINE - 8)
  axes.set_yticks(
    range(len(rows)),
    [
      f"{wording.two_lines(shown[row.name], _LINE)}\n{canvas.plain(row.place)}"
      for row in rows
    ],
  )
  axes.set_ylim(len(rows) - 0.4, -0.6)


def _threshold(axes: Axes, line: int, row: ContrastRow) -> None:
  """Draws the smallest effect that matters, where it is claimed."""
  signs = {"greater": (1,), "less": (-1,), "two-sided": (-1, 1)}
  for sign in signs[row.alternative]:
    at = sign * row.smallest_effect
    axes.plot(
      [at, at],
      [line - 0.5, line + 0.5],
      color=canvas.COLOURS[2],
      linewidth=1.8,
      linestyle=(0, (3, 1.5)),
      zorder=2,
    )


def _estimate(axes: Axes, line: int, interval: Interval, verdict: str) -> None:
  shade, mark = _LOOKS.get(verdict, _BESIDE)
  if not math.isnan(interval.low):
    axes.plot(
      [interval.low, interval.high],
      [line, line],
      color=shade,
      linewidth=2.2 if verdict else 1.2,
      solid_capstyle="butt",
      zorder=3,
    )
  axes.plot(
    interval.estimate,
    line,
    mark,
    color=shade,
    markersize=8,
    markeredgecolor="white",
    markeredgewidth=0.6,
    zorder=4,
  )


def _beside(
  axes: Axes, line: int, interval: Interval | None, verdict: str, places: int
) -> None:
  number = "not measured"
  if interval is not None:
    number = wording.with_ends(interval, places)
  shade = _LOOKS.get(verdict, _BESIDE)[0]
  word = verdict or ("not deciding" if interval else "")
  for text, points, weight, colour in (
    (number, 8, "normal", canvas.INK),
    (word, 140, "bold" if verdict else "normal", shade),
  ):
    canvas.right_of(axes, line, points, text, weight=weight, colour=colour)


def _words(row: ContrastRow) -> str:
  return f"{row.name}, {row.place}: {row.verdict or 'not deciding'}"


def _key(contrasts: Sequence[ContrastRow], confidence: float) -> str:
  thresholds = dict.fromkeys(
    f"{row.smallest_effect:.4g} {row.unit}".rstrip() for row in contrasts
  )
  interval = f"{wording.percent(confidence)} interval"
  return (
    f"Mark: mean difference with its {interval}. Green dashes: the smallest "
    "effect that matters, on the side that is claimed ("
    f"{'; '.join(thresholds)})."
  )
