"""Every network of every arm as a dot, paired over seeds."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from snnjax.intervals import Interval, student
from snnjax.plots import canvas, wording
from snnjax.replication import Estimate
from snnjax.report import Figure

_ROW, _BELOW = 0.34, 0.27  # inches of an arm; its mean lies so far below
_COUNT_AT, _TEXT_AT = 6, 30  # points right of a panel


class PairedArm(NamedTuple):
  """One way to train, repeated over seeds.

  Attributes:
    values: by seed, one number of each network; NaN where it has none.
    difference: of it, less the control, over the seeds of both; such as from
      `replication.paired_contrast`. None where nothing was compared.
  """

  values: Mapping[Any, float]
  difference: Interval | Estimate | None = None


def paired_differences(
  panels: Mapping[str, Mapping[str, PairedArm]],
  *,
  control: str,
  metric: str,
  caption: str,
  name: str = "paired_differences",
  title: str = "Networks by arm, paired over seeds",
  smallest_effect: float | None = None,
  confidence: float = 0.95,
  columns: int = 2,
  share: bool = True,
) -> Figure:
  """Draws a row of dots per arm, one per seed, and joins equal seeds.

  Below the dots lies their mean with its t interval, right of the panel how
  many there are and the difference to the control. All panels have all arms; a
  network without a number is counted as such, never drawn.

  Args:
    panels: by what is measured on (such as a data set and its modalities),
      then by arm.
    control: the arm that the others are compared with; its mean is a line.
    metric: what the numbers are, with their unit.
    caption: what it shows.
    name: of the files.
    title: of the figure.
    smallest_effect: half-width of a band about the control's mean, within
      which a difference does not matter, in the metric's unit; None draws none.
    confidence: of all intervals; an `Interval` is taken to have it.
    columns: panels beside each other.
    share: whether all panels have the same axis of numbers.

  Raises:
    ValueError: if there is no panel, arm or finite number, no panel has the
      control, a number is infinite, the smallest effect is not positive, or
      columns is below 1.
  """
  arms = _check(panels, control, smallest_effect, columns)
  across = min(columns, len(panels))
  down = -(-len(panels) // across)
  drawing = canvas.sheet(
    9.4 if across > 1 else 7.2, down * (_ROW * len(arms) + 0.85) + 0.7
  )
  grid = drawing.subplots(
    down, across, squeeze=False, sharex=share, sharey=True
  )
  data, places = {}, _decimals(panels, confidence)
  for place, (heading, there) in enumerate(panels.items()):
    axes, lowest = grid.flat[place], place + across >= len(panels)
    numbers = {
      arm: _numbers(there[arm], there, confidence)
      for arm in arms
      if arm in there
    }
    _seeds(axes, arms, there)
    _control(axes, numbers.get(control), smallest_effect)
    for row, arm in enumerate(arms):
      _arm(axes, row, numbers.get(arm), arm == control)
      _beside(axes, row, numbers.get(arm), arm == control, places)
    data[heading] = numbers
    below = textwrap.fill(metric, 44) if lowest else ""
    # The title stands above the headings of what is written beside.
    canvas.dress(axes, canvas.labels([heading], 52)[heading], below, pad=15)
    axes.grid(visible=False, axis="y")
    # All axes are labelled: panels of two columns may end at different rows.
    axes.tick_params(labelbottom=True)
  _rows(grid[0, 0], arms)
  for axes in grid.flat[len(panels) :]:
    axes.set_visible(False)
  canvas.reading_key(drawing, _key(control, smallest_effect, confidence, data))
  return Figure(
    name,
    title,
    caption,
    f"Dots of {metric}, one per seed, in rows for the arms {', '.join(arms)}; "
    f"panels {', '.join(panels)}; the numbers are in {name}.json.",
    canvas.png(drawing),
    {
      "metric": metric,
      "control": control,
      "confidence": confidence,
      "smallest_effect": smallest_effect,
      "panels": data,
    },
  )


def _check(
  panels: Mapping[str, Mapping[str, PairedArm]],
  control: str,
  smallest_effect: float | None,
  columns: int,
) -> list[str]:
  """Returns the arms of all panels, in order."""
  empty = [heading for heading, arms in panels.items() if not arms]
  if not panels or empty:
    raise ValueError(
      "panels must hold an arm per panel, and a panel; got none"
      + (f" in {', '.join(map(repr, empty))}" if empty else "")
    )
  arms = list(dict.fromkeys(arm for there in panels.values() for arm in there))
  if control not in arms:
    raise ValueError(
      f"control must be one of {', '.join(arms)}; got {control!r}"
    )
  if smallest_effect is not None and not 0 < smallest_effect < math.inf:
    raise ValueError(
      f"smallest_effect must be positive and finite; got {smallest_effect}"
    )
  if columns < 1:
    raise ValueError(f"columns must be at least 1; got {columns}")
  numbers = {
    (heading, arm, seed): float(value)
    for heading, there in panels.items()
    for arm, one in there.items()
    for seed, value in one.values.items()
  }
  for (heading, arm, seed), value in numbers.items():
    if math.isinf(value):
      raise ValueError(
        f"panels[{heading!r}][{arm!r}] must be finite or NaN; got {value} of "
        f"seed {seed}"
      )
  if all(map(math.isnan, numbers.values())):
    raise ValueError("panels must hold a finite number; got none")
  return arms


def _decimals(
  panels: Mapping[str, Mapping[str, PairedArm]], confidence: float
) -> int:
  """Returns the decimals of all differences, so that they compare."""
  return wording.decimals(
    end
    for arms in panels.values()
    for arm in arms.values()
    if arm.difference is not None
    for end in wording.as_interval(arm.difference, confidence)
  )


def _numbers(
  arm: PairedArm, there: Mapping[str, PairedArm], confidence: float
) -> dict[str, Any]:
  """Returns what is drawn and written of one arm."""
  defined = {s: float(v) for s, v in arm.values.items() if not math.isnan(v)}
  mean = student(list(defined.values()), confidence)
  difference = None
  if arm.difference is not None:
    difference = wording.as_interval(arm.difference, confidence)._asdict()
  seeds = dict.fromkeys(seed for one in there.values() for seed in one.values)
  return {
    "values": dict(arm.values),
    "without_number": [s for s in arm.values if s not in defined],
    "not_there": [s for s in seeds if s not in arm.values],
    "mean": mean.estimate,
    "low": mean.low,
    "high": mean.high,
    "difference": difference,
  }


def _seeds(axes: Axes, arms: list[str], there: Mapping[str, PairedArm]) -> None:
  """Joins the networks of a seed; a line ends where an arm lacks it."""
  nothing = PairedArm({})
  for seed in dict.fromkeys(s for arm in there.values() for s in arm.values):
    line = [there.get(arm, nothing).values.get(seed, math.nan) for arm in arms]
    axes.plot(line, range(len(arms)), color="#9aa0aa", linewidth=0.7, zorder=2)


def _control(
  axes: Axes, numbers: Mapping[str, Any] | None, smallest_effect: float | None
) -> None:
  if numbers is None or math.isnan(numbers["mean"]):
    return
  mean = numbers["mean"]
  axes.axvline(mean, color=canvas.INK, linewidth=1, linestyle="--", zorder=1)
  if smallest_effect is not None:
    axes.axvspan(
      mean - smallest_effect,
      mean + smallest_effect,
      color="#f3e3b3",
      linewidth=0,
      zorder=0,
    )


def _arm(
  axes: Axes, row: int, numbers: Mapping[str, Any] | None, is_control: bool
) -> None:
  if numbers is None:
    return
  values = [v for v in numbers["values"].values() if not math.isnan(v)]
  axes.scatter(
    values,
    [row] * len(values),
    s=20,
    color=canvas.INK if is_control else canvas.colour(0),
    linewidths=0.5,
    edgecolors="white",
    zorder=3,
  )
  below, low, high = row + _BELOW, numbers["low"], numbers["high"]
  if not math.isnan(low):
    axes.plot(
      [low, high],
      [below, below],
      color=canvas.colour(1),
      linewidth=1.6,
      solid_capstyle="butt",
      zorder=3,
    )
    axes.plot(
      numbers["mean"],
      below,
      "D",
      color=canvas.colour(1),
      markersize=4,
      zorder=4,
    )


def _beside(
  axes: Axes,
  row: int,
  numbers: Mapping[str, Any] | None,
  is_control: bool,
  places: int,
) -> None:
  count, text = "0", "no network"
  if numbers is not None:
    without = len(numbers["without_number"])
    count = str(len(numbers["values"]) - without)
    text = _difference(numbers, is_control, places)
    if without:
      text += f"\n{without} without a number"
  canvas.right_of(axes, row, _COUNT_AT, count)
  canvas.right_of(axes, row, _TEXT_AT, text)
  if row == 0:
    canvas.right_of(axes, -0.8, _COUNT_AT, "n")
    canvas.right_of(axes, -0.8, _TEXT_AT, "difference")


def _difference(
  numbers: Mapping[str, Any], is_control: bool, places: int
) -> str:
  if is_control:
    return "control"
  if numbers["difference"] is None:
    return "not compared"
  return wording.with_ends(Interval(**numbers["difference"]), places)


def _rows(axes: Axes, arms: list[str]) -> None:
  shown = canvas.labels(arms, 48)  # on two lines
  axes.set_yticks(
    range(len(arms)), [wording.two_lines(shown[arm]) for arm in arms]
  )
  axes.set_ylim(len(arms) - 0.4, -0.6)


def _key(
  control: str,
  smallest_effect: float | None,
  confidence: float,
  data: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> list[str]:
  percent = wording.percent(confidence)
  sentences = [
    "A dot is a network; thin lines join the networks of one seed. "
    f"Diamond: mean with its {percent} t interval. Dashed: mean of the "
    f"control, \u201c{control}\u201d. Right: number of seeds n, and the "
    f"difference to the control with its {percent} interval."
  ]
  if smallest_effect is not None:
    sentences.append(
      f"Band: within {smallest_effect:.4g} of the control, which does not "
      "matter."
    )
  missing = [
    f"{arm}, seed {seed} ({heading})"
    for heading, arms in data.items()
    for arm, numbers in arms.items()
    for seed in numbers["without_number"]
  ]
  if missing:
    sentences.append(f"Without a number: {wording.few(missing)}.")
  return sentences
