"""The checkpoints at which Auto-PGD and SA-PGD look at their step size."""

import numpy as np

from snnjax.validation import check_count


def checkpoints(steps: int) -> np.ndarray:
  """Returns after which steps a checkpoint comes, [steps + 1].

  Where one comes, the number of steps since the one before, elsewhere 0. The
  first comes after 22 % of the steps; each later period is 3 % of the steps
  shorter than the one before, and never below 6 %.

  Args:
    steps: of the whole run.

  Raises:
    ValueError: if `steps` is not a positive whole number.

  References:
    Francesco Croce, Matthias Hein, 2020, "Reliable evaluation of adversarial
    robustness with an ensemble of diverse parameter-free attacks",
    arXiv 2003.01690.
  """
  check_count("steps", steps)
  # The authors' arithmetic: every share is cut to whole steps by itself.
  period, least, less = (
    max(int(share * steps), 1) for share in (0.22, 0.06, 0.03)
  )
  periods = np.zeros(steps + 1, np.int32)
  end = period
  while end <= steps:
    periods[end] = period
    period = max(period - less, least)
    end += period
  return periods


def halvings(steps: int) -> np.ndarray:
  """Returns how many checkpoints came before each step, [steps].

  Args:
    steps: of the whole run.

  Raises:
    ValueError: if `steps` is not a positive whole number.
  """
  return np.cumsum(checkpoints(steps) > 0)[:-1]
