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
    images: pixels [N, H, W, 1], or [N, H, W, 3] in RGB, of which the camera
      sees the `luminance`; uint8 or floats in [0, 1].
    key: a typed key, scalar or [N]; see `saccade.simulate`.
    camera: what records the images.
    frames: number T of event frames.
    progress: called with (images done, N).

  Returns:
    A data set with the inputs {"image": [N, H, W, C] float32 in [0, 1],
    "events": [N, T, height, width, 2] uint8 counts}; `network_inputs` turns
    the counts into network inputs, batch by batch.

  Raises:
    ValueError: if the inputs are not one array of images, or the camera or
      the frames are not allowed.
  """
  pixels = images.inputs
  if (
    isinstance(pixels, Mapping)
    or pixels.ndim != 4
    or pixels.shape[-1] not in (1, 3)
  ):
    raise ValueError(
      "images must be one array [N, H, W, 1], or [N, H, W, 3] in RGB; "
      f"{images.name} has {dataset.describe(pixels)}"
    )
  if pixels.dtype == np.uint8:
    pixels = dataset.to_unit(pixels)
  grey = luminance(pixels) if pixels.shape[-1] == 3 else pixels
  counts = saccade.simulate_batch(
    key, grey, camera, frames=frames, progress=progress
  )
  return images._replace(
    inputs={"image": pixels.astype(np.float32), "events": counts},
    name=f"{images.name}+events",
  )


def luminance(images: np.ndarray) -> np.ndarray:
  """Returns what a sensor without colour sees of an RGB image.

  0.299 R + 0.587 G + 0.114 B of the pixels as they are stored, with their
  gamma: the luma of ITU-R BT.601.

  Args:
    images: floats [..., 3] in [0, 1].

  Returns:
    Floats [..., 1] in [0, 1].

  Raises:
    ValueError: if there are not three channels.
  """
  if images.shape[-1:] != (3,):
    raise ValueError(
      f"images must have three channels, [..., 3]; got shape {images.shape}"
    )
  weights = np.asarray([0.299, 0.587, 0.114], images.dtype)
  # Rounding must not leave the box: the weights' sum may be above one.
  return np.clip(images @ weights[:, None], 0, 1)


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
