"""Chooses the radii of a study's attacks, once, on networks outside of it.

The accuracy of a conventional network under the chain of a norm is measured at
many radii; those at which about 60, 30 and 5 % of what it gets right are left
are the study's. Weights of penalties are chosen likewise: those that leave
gradients of the size that another arm has. The networks have seeds that no
question uses.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.configuration.study import Protocol
from experiments.measuring import worst_points
from experiments.measuring.named_arrays import ATTACK, CONFIDENCES, METRICS
from experiments.measuring.subject import Subject

SHARES = (0.6, 0.3, 0.05)
FIRST_SEED = 1000  # of the networks that radii and weights are chosen on
GRIDS: Mapping[str, Sequence[float]] = {
  "linf": tuple(np.geomspace(0.0005, 0.5, 19).tolist()),
  "l2": tuple(np.geomspace(0.01, 10.0, 19).tolist()),
  "l1": tuple(np.geomspace(0.05, 200.0, 22).tolist()),
  "l0": (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 36.0, 54.0, 80.0),
}
# At so many radii a whole chain would cost more than it tells.
EXAMPLES, ATTACKS, STEPS = 200, 2, 10
FACTORS = (0.25, 1.0, 4.0)  # of a weight, at which a penalty is tried


def shortened(protocol: Protocol) -> Protocol:
  """Returns a protocol whose chains are those that radii are chosen by.

  The first `ATTACKS` of each chain, of at most `STEPS` steps.

  Args:
    protocol: of the study.
  """
  chains = {
    norm: tuple(
      dataclasses.replace(step, steps=min(step.steps, STEPS))
      for step in chain[:ATTACKS]
    )
    for norm, chain in protocol.chains.items()
  }
  return dataclasses.replace(protocol, chains=chains)


def accuracies(subject: Subject) -> dict[str, np.ndarray]:
  """Returns by norm the accuracy at every one of its radii.

  Args:
    subject: a conventional network, whose radii are a grid for each norm.
  """
  levels = {norm: range(len(grid)) for norm, grid in subject.radii.items()}
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
  if not mean[0]:
    raise ValueError(
      f"accuracies must be above 0 at the smallest radius; got {mean[0]:g} at "
      f"{grid[0]:g}"
    )
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


def clean_size(subject: Subject) -> float:
  """Returns the mean log ||g||_1 of the margin's gradients at clean inputs.

  Under the training rule, of all inputs as one vector, over the examples that
  are right and have a gradient: the number of a question's networks that is
  called ``mean/margin/clean/own/whole/log_l1``.

  Args:
    subject: the network; its radii are not read.

  Raises:
    ValueError: no example is right and has a gradient.
  """
  measured = subject.measured(
    subject.programs.gradients, subject.batch, "gradients"
  )
  confidence = CONFIDENCES.index("margin")
  metric = METRICS.index("log_l1")
  sizes = np.asarray(measured, np.float64)[:, confidence, -1, metric]
  right = worst_points.attack(subject, {}).arrays["correct"]
  known = sizes[right & np.isfinite(sizes)]
  if not len(known):
    raise ValueError(
      f"{subject.member.words}: no example is right and has a gradient"
    )
  return float(known.mean())


def matched_weight(
  weights: Sequence[float], sizes: Sequence[float], wanted: float
) -> float:
  """Returns the weight of a penalty that leaves gradients of a size.

  Interpolated in the logarithm of the weight, rounded to two digits.

  Args:
    weights: rising, at which the penalty was tried.
    sizes: the logarithms of the sizes that they leave.
    wanted: the size to reach.

  Raises:
    ValueError: the sizes do not fall, or do not pass the one that is wanted.
  """
  falling = all(one > other for one, other in itertools.pairwise(sizes))
  if not (falling and sizes[-1] <= wanted <= sizes[0]):
    told = ", ".join(
      f"{size:.2f} at {weight:g}"
      for weight, size in zip(weights, sizes, strict=True)
    )
    raise ValueError(
      f"log sizes must fall with the weight and pass {wanted:.2f}; got {told}"
    )
  place = np.interp(-wanted, -np.asarray(sizes), np.log(weights))
  return float(f"{np.exp(place):.2g}")
