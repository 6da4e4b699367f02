"""Chooses the radii of a study's attacks, once, on networks outside of it.

The accuracy of a conventional network under the chain of a norm is measured at
many radii; those at which about 60, 30 and 5 % of what it gets right are left
are the study's. The networks have seeds that no question uses.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.measuring import worst_points
from experiments.measuring.named_arrays import ATTACK
from experiments.measuring.subject import Subject

SHARES = (0.6, 0.3, 0.05)
FIRST_SEED = 1000  # of the networks that radii and weights are chosen on
GRIDS: Mapping[str, Sequence[float]] = {
  "linf": tuple(np.geomspace(0.0005, 0.5, 19)),
  "l2": tuple(np.geomspace(0.01, 10.0, 19)),
  "l1": tuple(np.geomspace(0.05, 200.0, 22)),
  "l0": (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 36.0, 54.0, 80.0),
}


def accuracies(subject: Subject) -> dict[str, np.ndarray]:
  """Returns by norm the accuracy at every radius of `GRIDS`.

  Args:
    subject: a conventional network, whose radii are `GRIDS`.
  """
  levels = {norm: range(len(grid)) for norm, grid in GRIDS.items()}
  arrays = worst_points.attack(subject, levels).arrays
  correct = arrays["correct"]
  return {
    norm: np.asarray(
      [
        np.mean(
          correct
          & ~arrays[ATTACK.format(norm=norm, level=level, field="success")]
        )
        for level in positions
      ]
    )
    for norm, positions in levels.items()
  }


def radii(
  curves: Sequence[np.ndarray],
  grid: Sequence[float],
  shares: Sequence[float] = SHARES,
) -> tuple[float, ...]:
  """Returns the radii at which the mean accuracy falls to some shares.

  Shares are of the accuracy at the smallest radius, which is as good as none.
  Interpolated in the logarithm of the radius, rounded to two digits; to whole
  numbers where the grid has no others.

  Args:
    curves: accuracies at the radii of the grid, one per network.
    grid: rising radii.
    shares: falling.

  Raises:
    ValueError: a share is not reached within the grid.
  """
  mean = np.mean(curves, axis=0)
  falling = np.minimum.accumulate(mean) / mean[0]
  whole = all(float(radius).is_integer() for radius in grid)
  result = []
  for share in shares:
    if not falling[-1] <= share <= falling[0]:
      raise ValueError(
        f"accuracies must pass {share} within the grid; got {falling[0]:.3f} "
        f"at {grid[0]:g} down to {falling[-1]:.3f} at {grid[-1]:g}"
      )
    place = np.interp(-share, -falling, np.log(grid))
    radius = float(f"{np.exp(place):.2g}")
    result.append(float(round(radius)) if whole else radius)
  return tuple(result)
