"""Paper, ink and PNG bytes, without touching Matplotlib's global state."""

import io
import re
from collections.abc import Iterable

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
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
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DIVERGING = "RdBu_r"
INK = "#333333"
FAINT = "#e3e5e9"
_DPI = 150
_SMALL, _MEDIUM = 9, 10
_LETTER, _HANDLE = 0.078, 0.75  # inches: one small letter; handle and gap


def colour(position: int) -> str:
  """Returns the colour of one series; they repeat after seven."""
  return COLOURS[position % len(COLOURS)]


def marker(position: int) -> str:
  """Returns the marker of one series, so that colour is not needed."""
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
  size = (max(width * columns, 4.8) + 0.4, height * rows + footer)
  drawing = Drawing(figsize=size, dpi=_DPI, layout="constrained")
  FigureCanvasAgg(drawing)
  axes = drawing.subplots(
    rows, columns, squeeze=False, sharex=share, sharey=share
  )
  return drawing, axes


def dress(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
  """Gives one panel its title, labels with units, and a quiet grid."""
  axes.set_title(plain(title), fontsize=_MEDIUM, color=INK, pad=8)
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
  # A column is as wide as its widest label, its handle and the gap after it.
  widest = max(map(len, explained)) * _LETTER + _HANDLE
  drawing.legend(
    list(explained.values()),
    list(explained),
    loc="outside lower center",
    ncols=max(1, min(len(explained), int(drawing.get_figwidth() / widest))),
    fontsize=_SMALL,
    frameon=False,
    labelcolor=INK,
  )


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
