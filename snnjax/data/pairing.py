"""Images paired with the event stream of the same picture."""

from collections.abc import Callable, Mapping

import numpy as np

from snnjax.data import dataset, events, saccade
from snnjax.data.camera import Camera
from snnjax.interfaces import Array, Key


def pair(
  images: dataset.Dataset,
  key: Key,
  camera: Camera = saccade.NMNIST,
  *,
  frames: int,
  progress: Callable[[int, int], None] | None = None,
) -> dataset.Dataset:
  """Returns each image together with simulated events of the same image.

  Args:
    images: pixels [N, H, W, 1], uint8 or floats in [0, 1].
    key: a typed key, scalar or [N]; see `saccade.simulate`.
    camera: what records the images.
    frames: number T of event frames.
    progress: called with (images done, N).

  Returns:
    A data set with the inputs {"image": [N, H, W, 1] float32 in [0, 1],
    "events": [N, T, height, width, 2] uint8 counts}; `network_inputs` turns
    the counts into network inputs, batch by batch.

  Raises:
    ValueError: if the inputs are not one array of images, or the camera or
      the frames are not allowed.
  """
  pixels = images.inputs
  if isinstance(pixels, Mapping) or pixels.ndim != 4 or pixels.shape[-1] != 1:
    raise ValueError(
      f"images must be one array [N, H, W, 1]; {images.name} has "
      f"{dataset.describe(pixels)}"
    )
  if pixels.dtype == np.uint8:
    pixels = dataset.to_unit(pixels)
  counts = saccade.simulate_batch(
    key, pixels, camera, frames=frames, progress=progress
  )
  return images._replace(
    inputs={"image": pixels.astype(np.float32), "events": counts},
    name=f"{images.name}+events",
  )


def network_inputs(
  inputs: Mapping[str, Array], *, cap: int
) -> dict[str, Array]:
  """Returns {"image": as it is, "events": saturated counts}, all in [0, 1].

  Args:
    inputs: {"image": floats, "events": integer counts}.
    cap: counts from which an event frame's pixel is full, see
      `events.saturate`.
  """
  return {
    "image": inputs["image"],
    "events": events.saturate(inputs["events"], cap),
  }
