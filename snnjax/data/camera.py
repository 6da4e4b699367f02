"""The camera of the saccade simulator: its sensor, its path, its clock."""

from typing import NamedTuple

import numpy as np

LEGS = 3


class Camera(NamedTuple):
  """What moves and what the sensor sees; hashable, static under `jit`.

  Attributes:
    height: sensor rows; a smaller image is centred on a black ground.
    width: sensor columns.
    side: length of each leg of the triangle in pixels; 0 keeps it still.
    leg_us: duration of one leg in microseconds.
    step_us: simulated time step in microseconds; must divide `leg_us`.
    threshold: log-intensity change that makes one event.
    offset: added to the intensity before the logarithm.
    mismatch: relative standard deviation of the pixels' thresholds, drawn
      per example from a normal cut off at three deviations; below 1/3.
    rotation: the triangle is turned by an angle drawn per example from
      [-rotation, rotation] radians.
  """

  height: int = 34
  width: int = 34
  side: float = 4.0
  leg_us: int = 100_000
  step_us: int = 1_000
  threshold: float = 0.3
  offset: float = 0.1
  mismatch: float = 0.0
  rotation: float = 0.0

  @property
  def steps(self) -> int:
    """Number of time steps of one recording."""
    return LEGS * self.leg_us // self.step_us

  @property
  def duration_us(self) -> int:
    """Length of one recording in microseconds."""
    return LEGS * self.leg_us


def check_camera(camera: Camera, frames: int) -> None:
  """Raises a ValueError that names the first value out of its range."""
  if not 0 < camera.step_us <= camera.leg_us or (
    camera.leg_us % camera.step_us
  ):
    raise ValueError(
      f"camera.step_us must be positive and divide leg_us={camera.leg_us}; "
      f"got {camera.step_us}"
    )
  if not 1 <= frames <= camera.steps:
    raise ValueError(
      f"frames must be between 1 and the {camera.steps} simulated steps; got "
      f"{frames}"
    )
  for name in ("threshold", "offset"):
    if not getattr(camera, name) > 0:
      raise ValueError(
        f"camera.{name} must be positive; got {getattr(camera, name)}"
      )
  if camera.side < 0 or camera.rotation < 0:
    raise ValueError(
      "camera.side and camera.rotation must be at least 0; got "
      f"{camera.side} and {camera.rotation}"
    )
  if not 0 <= camera.mismatch < 1 / 3:
    raise ValueError(
      f"camera.mismatch must be in [0, 1/3); got {camera.mismatch}"
    )


def positions(camera: Camera) -> np.ndarray:
  """Returns where the image lies at each step boundary.

  The path starts at a corner of a triangle around the sensor's centre and
  comes back to it.

  Args:
    camera: side in pixels, durations in microseconds.

  Returns:
    Shifts (down, right) in pixels, [steps + 1, 2].
  """
  angles = np.pi * (0.5 + np.array([0.0, 2.0, 4.0, 6.0]) / LEGS)
  corners = (
    camera.side
    / np.sqrt(3)
    * np.stack([-np.sin(angles), np.cos(angles)], axis=-1)
  )
  corners[-1] = corners[0]  # exactly, without the rounding of sin and cos
  ticks = np.linspace(0.0, LEGS, camera.steps + 1)
  return np.stack(
    [np.interp(ticks, np.arange(LEGS + 1), c) for c in corners.T], axis=-1
  )
