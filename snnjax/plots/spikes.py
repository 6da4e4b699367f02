"""Spikes over time."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from snnjax.plots import canvas
from snnjax.report import Figure


def spike_raster(
  spikes: Mapping[str, np.ndarray],
  *,
  caption: str,
  name: str = "spike_raster",
  title: str = "Spikes per layer",
  neurons: int = 200,
) -> Figure:
  """Draws which neurons of each layer fire at which step, for one example.

  Args:
    spikes: by layer, [T, ...] zeros and ones; features are flattened.
    caption: what it shows.
    name: of the files.
    title: of the figure.
    neurons: of a larger layer only this many, evenly spaced, are drawn; the
      panel says so, and its firing rate is that of all.

  Raises:
    ValueError: if there is no layer, or one has no neuron or step.
  """
  if not spikes or any(s.ndim < 2 or not s.size for s in spikes.values()):
    raise ValueError(
      "spikes must be [T, ...] per layer; got shapes "
      f"{ {layer: s.shape for layer, s in spikes.items()} }"
    )
  columns = min(len(spikes), 3)
  rows = -(-len(spikes) // columns)
  drawing, grid = canvas.panels(rows, columns, 3.0, 2.6, share=False)
  data = {}
  for axes, (layer, fired) in zip(grid.flat, spikes.items(), strict=False):
    data[layer] = _layer(axes, layer, fired, neurons)
  for axes in grid.flat[len(spikes) :]:
    axes.set_visible(False)
  return Figure(
    name,
    title,
    caption,
    "Raster plots of spikes, time step against neuron, for the layers "
    f"{', '.join(spikes)}.",
    canvas.png(drawing),
    data,
  )


def _layer(axes: Axes, layer: str, fired: np.ndarray, neurons: int) -> dict:
  every = fired.reshape(fired.shape[0], -1)
  total, rate = every.shape[1], float(every.mean())
  chosen = np.linspace(0, total - 1, min(total, neurons)).round().astype(int)
  drawn = every[:, chosen]
  axes.imshow(
    drawn.T,
    aspect="auto",
    cmap="gray_r",
    vmin=0,
    vmax=1,
    interpolation="nearest",
    extent=(0.5, len(drawn) + 0.5, drawn.shape[1] - 0.5, -0.5),
  )
  part = "" if total == len(chosen) else f" ({len(chosen)} of {total:,})"
  title = f"{canvas.labels([layer])[layer]}: {100 * rate:.1f} % fire"
  canvas.dress(axes, title, "time step", f"neuron{part}")
  axes.grid(visible=False)
  axes.xaxis.set_major_locator(MaxNLocator(integer=True))
  axes.yaxis.set_major_locator(MaxNLocator(integer=True))
  return {"neurons": chosen, "rate": rate, "spikes": drawn.astype(int)}
