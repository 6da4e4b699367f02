"""An event camera that makes three saccades in front of a still image.

The camera walks once around an equilateral triangle, one leg after the other
at constant speed, as the recording rig of N-MNIST does. A pixel that last
fired at log intensity r fires again when its log intensity
L = log(I + offset) has moved by one threshold:

  n_k = trunc((L_k - L_0) / threshold - m_k),   m_{k+1} = m_k + n_k,

with m the net number of events so far, kept as an integer. So ON - OFF never
differs from the log change over the threshold by one or more, at whatever
step, and a coarse step emits several events at once instead of losing them.

References:
  G. Orchard, A. Jayawant, G. Cohen, N. Thakor, "Converting Static Image
  Datasets to Spiking Neuromorphic Datasets Using Saccades", 2015,
  arXiv:1507.07629.
  Y. Hu, S.-C. Liu, T. Delbruck, "v2e: From Video Frames to Realistic DVS
  Events", 2021, arXiv:2006.07722 (log threshold crossing, mismatch).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnjax import prng
from snnjax.arguments import check_array
from snnjax.data.camera import Camera, check_camera, positions
from snnjax.interfaces import Array, Key

NMNIST = Camera()


def _check_image(image: Array, camera: Camera) -> Array:
  """Returns the image as [H, W]."""
  advice = "dataset.to_unit makes floats of bytes"
  sizes = check_array("image", image, "floats [H, W] or [H, W, 1]", advice)
  rows, columns = sizes["H"], sizes["W"]
  if rows > camera.height or columns > camera.width:
    raise ValueError(
      f"image must be [H, W] with H <= {camera.height} and W <= "
      f"{camera.width}, the camera's size; got shape {image.shape}"
    )
  return image.reshape(rows, columns)


def _shift_weights(shift: Array, size: int, sensor: int) -> Array:
  """Bilinear weights [sensor, size] that centre and shift one axis."""
  source = jnp.arange(sensor) - (sensor - size) / 2 - shift
  distance = jnp.abs(source[:, None] - jnp.arange(size)[None, :])
  return jnp.maximum(0.0, 1.0 - distance)


def log_intensity(image: Array, shift: Array, camera: Camera) -> Array:
  """Returns the log intensity of each pixel: log(shifted I + offset).

  Args:
    image: [H, W] in [0, 1].
    shift: (down, right) in pixels, fractions allowed (bilinear).
    camera: sensor size and offset.

  Returns:
    [height, width] log intensities.
  """
  rows = _shift_weights(shift[0], image.shape[0], camera.height)
  columns = _shift_weights(shift[1], image.shape[1], camera.width)
  # Both factors at full precision: a bfloat16 product would make events.
  intensity = jnp.einsum(
    "ih,hw,jw->ij",
    rows.astype(image.dtype),
    image,
    columns.astype(image.dtype),
    precision=lax.Precision.HIGHEST,
  )
  return jnp.log(intensity + camera.offset)


def _draw_path(key: Key, camera: Camera) -> Array:
  path = jnp.asarray(positions(camera))
  if camera.rotation == 0:
    return path  # the same for all examples: the shifts are computed once
  angle = jax.random.uniform(
    key, minval=-camera.rotation, maxval=camera.rotation
  )
  turn = jnp.array(
    [[jnp.cos(angle), jnp.sin(angle)], [-jnp.sin(angle), jnp.cos(angle)]]
  )
  return jnp.matmul(path, turn, precision=lax.Precision.HIGHEST)


def _draw_threshold(key: Key, camera: Camera) -> Array:
  if camera.mismatch == 0:
    return jnp.asarray(camera.threshold)
  noise = jax.random.truncated_normal(
    key, -3.0, 3.0, (camera.height, camera.width)
  )
  return camera.threshold * (1 + camera.mismatch * noise)


def simulate(
  key: Key, image: Array, camera: Camera = NMNIST, *, frames: int
) -> Array:
  """Counts the events of one recording of one image in equal time bins.

  A step's events are stamped with the middle of the step and counted in the
  bin [i, i + 1) * duration / frames that holds it; `frames=camera.steps`
  keeps the full resolution (`events.from_counts` lists it). The counts of
  coarser frames sum to the same number of events.

  Args:
    key: a typed key; consumed by the camera's mismatch and rotation.
    image: [H, W] or [H, W, 1] in [0, 1]; no larger than the sensor.
    camera: path, sensor and time step.
    frames: number T of time bins, at most `camera.steps`.

  Returns:
    Counts [T, height, width, 2] int32, channel 0 ON (brighter), 1 OFF.

  Raises:
    ValueError: if the camera, the frames or the image's shape are not
      allowed. Values are checked by `simulate_batch`.
  """
  check_camera(camera, frames)
  image = _check_image(image, camera)
  path_key, threshold_key = jax.random.split(key)
  path = _draw_path(path_key, camera).astype(image.dtype)
  threshold = _draw_threshold(threshold_key, camera).astype(image.dtype)
  start = log_intensity(image, path[0], camera)

  def step(
    carry: tuple[Array, Array], now: tuple[Array, Array]
  ) -> tuple[tuple[Array, Array], None]:
    net, counts = carry
    shift, frame = now
    change = (log_intensity(image, shift, camera) - start) / threshold
    # Against all events so far and not the last reference level: rounding
    # errors of single steps would otherwise add up over the recording.
    fired = jnp.trunc(change - net).astype(jnp.int32)
    both = jnp.stack([jnp.maximum(fired, 0), jnp.maximum(-fired, 0)], axis=-1)
    row = lax.dynamic_index_in_dim(counts, frame, keepdims=False)
    counts = lax.dynamic_update_index_in_dim(counts, row + both, frame, 0)
    return (net + fired, counts), None

  # The frame of each step's middle, in whole numbers: (s + 1/2) T / steps.
  frame = (2 * jnp.arange(camera.steps) + 1) * frames // (2 * camera.steps)
  sensor = (camera.height, camera.width)
  net = jnp.zeros(sensor, jnp.int32)
  counts = jnp.zeros((frames, *sensor, 2), jnp.int32)
  (_, counts), _ = lax.scan(step, (net, counts), (path[1:], frame))
  return counts


@functools.partial(jax.jit, static_argnames=("camera", "frames"))
def _simulate_chunk(
  keys: Key, images: Array, camera: Camera, frames: int
) -> Array:
  return jax.vmap(lambda k, x: simulate(k, x, camera, frames=frames))(
    keys, images
  )


def _check_images(images: np.ndarray) -> np.ndarray:
  images = np.asarray(images)
  check_array(
    "images",
    images,
    "floats [N, H, W] or [N, H, W, 1]",
    "dataset.to_unit makes floats of bytes",
  )
  if not np.all((images >= 0) & (images <= 1)):
    raise ValueError(
      "images must lie in [0, 1]; got values from "
      f"{images.min()} to {images.max()}"
    )
  return images


def simulate_batch(
  key: Key,
  images: np.ndarray,
  camera: Camera = NMNIST,
  *,
  frames: int,
  chunk: int = 128,
  progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
  """Records many images, in compiled chunks of one size.

  The last chunk is filled up: an example's counts never depend on the others.

  Args:
    key: a typed key, scalar or [N], one per image.
    images: [N, H, W] or [N, H, W, 1] floats in [0, 1].
    camera: path, sensor and time step.
    frames: number T of time bins, at most `camera.steps`.
    chunk: number of images simulated at once.
    progress: called with (images done, N) after every chunk.

  Returns:
    Counts [N, T, height, width, 2] uint8 on the host.

  Raises:
    ValueError: for bad arguments, or over 255 events in one pixel and frame.
  """
  images = _check_images(images)
  if chunk < 1:
    raise ValueError(f"chunk must be at least 1; got {chunk}")
  check_camera(camera, frames)
  total = len(images)
  # Drawn for all images before they are cut: a chunk's size changes nothing.
  keys = prng.example_keys(key, total)
  result = np.empty((total, frames, camera.height, camera.width, 2), np.uint8)
  for begin in range(0, total, chunk):
    end = min(begin + chunk, total)
    rows = np.minimum(np.arange(begin, begin + chunk), total - 1)
    counts = np.asarray(
      _simulate_chunk(keys[rows], images[rows], camera, frames)
    )
    if counts.max() > np.iinfo(np.uint8).max:
      raise ValueError(
        "a pixel must have at most 255 events in one frame; got "
        f"{counts.max()}: use more frames or a higher camera.threshold"
      )
    result[begin:end] = counts[: end - begin]
    if progress is not None:
      progress(end, total)
  return result
