"""Input gradients side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing

from snnjax.arguments import check_array
from snnjax.plots import canvas
from snnjax.report import Figure


def as_maps(arrays: np.ndarray) -> np.ndarray:
  """Sums signed arrays of images or event frames to one plane each.

  Args:
    arrays: [N, H, W], images [N, H, W, C] (summed over channels) or event
      frames [N, T, H, W, C] (over time and polarity; index one polarity
      beforehand, as ``[..., :1]``, to see it alone).

  Returns:
    [N, H, W].

  Raises:
    ValueError: if the shape is none of these.
  """
  shapes = "[N, H, W], [N, H, W, C] or [N, T, H, W, C]"
  check_array("arrays", arrays, shapes)
  sums: dict[int, tuple[int, ...]] = {3: (), 4: (-1,), 5: (1, -1)}
  return np.sum(arrays, axis=sums[arrays.ndim])


def gradient_maps(
  gradients: Mapping[str, np.ndarray],
  *,
  caption: str,
  inputs: np.ndarray | None = None,
  labels: Sequence[str] | None = None,
  name: str = "gradient_maps",
  title: str = "Input gradients",
) -> Figure:
  """Draws the gradients of several networks at the same inputs.

  All maps share one symmetric colour scale, the 99.5th percentile of all
  magnitudes; stronger pixels have the end colours.

  Args:
    gradients: by network, [N, ...] as `as_maps` takes; one row each.
    caption: what it shows.
    inputs: [N, ...] drawn in grey above them, on their own scale.
    labels: [N] headings of the columns.
    name: of the files.
    title: of the figure.

  Raises:
    ValueError: if there is none, or they differ in the number of examples.
  """
  maps = {network: as_maps(value) for network, value in gradients.items()}
  shown = {} if inputs is None else {"input": as_maps(inputs)}
  counts = {len(value) for value in (*maps.values(), *shown.values())}
  if not maps or len(counts) != 1 or 0 in counts:
    raise ValueError(
      "gradients and inputs must hold the same number of examples, at least "
      f"one; got {sorted(counts)} for {list(maps)}"
    )
  count = counts.pop()
  if labels is not None and len(labels) != count:
    raise ValueError(f"labels must be {count} strings; got {len(labels)}")
  scale = _scale(np.abs(np.stack(list(maps.values()))))
  drawing = _draw(maps, shown, labels, scale)
  return Figure(
    name,
    title,
    caption,
    f"Heat maps of the input gradients of {', '.join(maps)} at {count} "
    f"examples on one scale of plus or minus {scale:.3g}.",
    canvas.png(drawing),
    {"scale": scale, "gradients": maps, "inputs": shown.get("input")},
  )


def _scale(magnitudes: np.ndarray) -> float:
  scale = float(np.percentile(magnitudes, 99.5)) or float(magnitudes.max())
  return scale or 1.0  # all gradients are zero: any scale shows that


def _draw(
  maps: Mapping[str, np.ndarray],
  shown: Mapping[str, np.ndarray],
  labels: Sequence[str] | None,
  scale: float,
) -> Drawing:
  # A row has room for few letters beside it.
  labels_of = canvas.labels([*shown, *maps], longest=16)
  rows = [(labels_of[name], planes, True) for name, planes in shown.items()]
  rows += [(labels_of[name], planes, False) for name, planes in maps.items()]
  drawing, grid = canvas.panels(
    len(rows), len(rows[0][1]), 1.2, 1.1, share=False, footer=0.3
  )
  for line, (name, planes, grey) in zip(grid, rows, strict=True):
    low, high = (None, None) if grey else (-scale, scale)
    for axes, plane in zip(line, planes, strict=True):
      canvas.bare(axes)
      picture = axes.imshow(
        plane,
        cmap="gray_r" if grey else canvas.DIVERGING,
        vmin=low,
        vmax=high,
        interpolation="nearest",
      )
    line[0].set_ylabel(name, fontsize=9, color=canvas.INK)
  for axes, label in zip(grid[0], labels or (), strict=False):
    axes.set_title(canvas.plain(label), fontsize=9, color=canvas.INK)
  below = grid[len(shown) :, :]
  bar = drawing.colorbar(picture, ax=below, shrink=0.9, pad=0.02)
  bar.set_label("gradient per unit of input", fontsize=9, color=canvas.INK)
  bar.ax.tick_params(labelsize=8, colors=canvas.INK)
  return drawing
