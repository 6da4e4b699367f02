"""Paper, ink and PNG bytes, without touching Matplotlib's global state."""

import io
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Drawing
from matplotlib.text import Text

# Okabe and Ito (2008), Color universal design: told apart by all readers.
COLOURS = (
  "#0072B2",
  "#D55E00",
  "#009E73",
  "#CC79A7",
  "#E69F00",
  "#56B4E9",
  "#000000",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d")
DIVERGING = "RdBu_r"
INK = "#333333"
FAINT = "#e3e5e9"
_DPI = 150
_SMALL, _MEDIUM = 9, 10
_LETTER, _HANDLE = 0.078, 0.75  # inches: one small letter; handle and gap
_NARROW = 0.06  # inches: no running text has narrower letters, on average


def colour(position: int) -> str:
  """Returns the colour of one series; they repeat after seven."""
  return COLOURS[position % len(COLOURS)]


def marker(position: int) -> str:
  """Returns the marker of one series, so that colour is not needed.

  They repeat after thirteen, so marker and colour together after 91.
  """
  return MARKERS[position % len(MARKERS)]


def labels(names: Iterable[str], longest: int = 36) -> dict[str, str]:
  """Returns each name as a label that Matplotlib draws as it is: no two alike.

  A dollar would start a formula, a leading underscore hide the line from the
  legend; of what is too long the middle is left out.

  Args:
    names: of what is drawn.
    longest: letters of a label.
  """
  short: dict[str, str] = {}
  for number, name in enumerate(names, 1):
    label = _shorten(name, longest)
    if label in short.values():
      end = f" ({number})"
      label = _shorten(name, longest - len(end)) + end
    short[name] = label
  # A thin space before the underscore is all that Matplotlib needs.
  return {
    name: plain(f"\u2009{label}" if label.startswith("_") else label)
    for name, label in short.items()
  }


def plain(text: str) -> str:
  """Returns a text that starts no formula: each dollar is one."""
  return re.sub(r"(?<!\\)\$", r"\\$", text)


def sheet(width: float, height: float) -> Drawing:
  """Returns an empty drawing of a size in inches, which lays itself out.

  Above 9.5 inches its letters are hard to read in a page 900 pixels wide.
  """
  drawing = Drawing(figsize=(width, height), dpi=_DPI, layout="constrained")
  FigureCanvasAgg(drawing)
  return drawing


def reading_key(drawing: Drawing, sentences: Iterable[str]) -> None:
  """Writes above all panels how they are to be read, and what is missing."""
  words, width = " ".join(sentences), drawing.get_figwidth()
  # Measured without TeX, which is never started, see `png`.
  text = drawing.suptitle(
    "",
    x=0.01,
    ha="left",
    fontsize=_SMALL,
    color=INK,
    linespacing=1.35,
    usetex=False,
  )
  for letters in range(int(width / _NARROW), 0, -4):
    text.set_text(plain(textwrap.fill(words, letters)))
    if text.get_window_extent().width <= 0.97 * width * _DPI:
      return


def ink_on(fill: Any) -> str:
  """Returns black or white, whichever is read more easily on a colour."""
  light = _luminance(to_rgb(fill))
  # Contrast as in WCAG 2: (lighter + 0.05) / (darker + 0.05).
  return "white" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "black"


def _luminance(shade: tuple[float, float, float]) -> float:
  """Relative luminance of an sRGB colour, as WCAG 2 defines it."""
  linear = [
    c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shade
  ]
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def panels(
  rows: int,
  columns: int,
  width: float,
  height: float,
  share: bool = True,
  footer: float = 0.7,
) -> tuple[Drawing, np.ndarray]:
  """Returns an empty drawing with [rows, columns] axes.

  Args:
    rows: of panels.
    columns: of panels.
    width: of one panel, in inches.
    height: of one panel, in inches.
    share: whether all panels have the same axes.
    footer: inches left for what lies below the panels.
  """
  # A legend below two columns needs the room of one and a half panels.
  drawing = sheet(max(width * columns, 4.8) + 0.4, height * rows + footer)
  axes = drawing.subplots(
    rows, columns, squeeze=False, sharex=share, sharey=share
  )
  return drawing, axes


def dress(
  axes: Axes, title: str = "", x: str = "", y: str = "", pad: float = 8
) -> None:
  """Gives one panel its title, labels with units, and a quiet grid.

  Args:
    axes: the panel.
    title: above it.
    x: below it.
    y: left of it.
    pad: points between the panel and its title.
  """
  axes.set_title(plain(title), fontsize=_MEDIUM, color=INK, pad=pad)
  axes.set_xlabel(plain(x), fontsize=_SMALL, color=INK)
  axes.set_ylabel(plain(y), fontsize=_SMALL, color=INK)
  axes.tick_params(labelsize=_SMALL, colors=INK, length=3)
  axes.grid(color=FAINT, linewidth=0.8)
  axes.set_axisbelow(True)
  for side, spine in axes.spines.items():
    spine.set_visible(side in ("left", "bottom"))
    spine.set_color("#9aa0aa")


def bare(axes: Axes) -> None:
  """Leaves only the picture in one panel, in a thin frame."""
  axes.set_xticks([])
  axes.set_yticks([])
  for spine in axes.spines.values():
    spine.set_color("#c9cdd4")
    spine.set_linewidth(0.6)


def right_of(
  axes: Axes,
  height: float,
  points: float,
  text: str,
  weight: str = "normal",
  colour: str = INK,
) -> None:
  """Writes beside a panel, so many points from its right edge.

  Args:
    axes: the panel.
    height: of the text's middle, on the panel's y axis.
    points: from the edge.
    text: what is written.
    weight: of the letters.
    colour: of the letters.
  """
  axes.annotate(
    plain(text),
    (1.0, height),
    (points, 0),
    xycoords=axes.get_yaxis_transform(),
    textcoords="offset points",
    va="center",
    fontsize=8.5,
    fontweight=weight,
    color=colour,
    annotation_clip=False,
  )


def legend(drawing: Drawing, axes: Iterable[Axes]) -> None:
  """Puts one legend below all panels, where it covers nothing.

  Args:
    drawing: the whole.
    axes: the panels; a label that several of them have is explained once.
  """
  explained: dict[str, Artist] = {}
  for panel in axes:
    handles, names = panel.get_legend_handles_labels()
    explained |= dict(zip(names, handles, strict=True))
  legend_of(drawing, explained)


def legend_of(drawing: Drawing, explained: Mapping[str, Artist]) -> None:
  """Puts a legend of these marks, by their labels, below all panels."""
  drawing.legend(
    list(explained.values()),
    list(explained),
    loc="outside lower center",
    ncols=_legend_columns(explained, drawing.get_figwidth()),
    fontsize=_SMALL,
    frameon=False,
    labelcolor=INK,
  )


def legend_height(names: Collection[str], width: float) -> float:
  """Returns the inches that the legend of these labels takes.

  Args:
    names: the labels.
    width: of the drawing, in inches.
  """
  return 0.2 * -(-len(names) // _legend_columns(names, width)) + 0.1


def _legend_columns(names: Collection[str], width: float) -> int:
  # A column is as wide as its widest label, its handle and the gap after it.
  widest = max(map(len, names)) * _LETTER + _HANDLE
  return max(1, min(len(names), int(width / widest)))


def _shorten(name: str, longest: int) -> str:
  if len(name) <= longest:
    return name
  room = longest - 1
  return f"{name[: room // 2]}\u2026{name[-(room - room // 2) :]}"


def png(drawing: Drawing) -> bytes:
  """Returns the drawing as PNG; equal drawings give equal bytes.

  Never by TeX, which a ``matplotlibrc`` in the current folder may ask for: to
  TeX a name is a program.
  """
  stream = io.BytesIO()
  with matplotlib.rc_context({"text.usetex": False}):
    for text in drawing.findobj(Text):
      text.set_usetex(False)
    drawing.savefig(stream, format="png", metadata={"Software": None})
  return stream.getvalue()
