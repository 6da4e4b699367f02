"""When Auto-PGD looks back at its progress."""

import numpy as np

from snnjax.validation import check_count


def checkpoints(steps: int) -> np.ndarray:
  """Returns [steps + 1]: how many steps a checkpoint looks back, 0 at others.

  The first comes after 22 % of the steps, each later one after a period that
  is shorter by 3 % of them, but never below 6 %.

  Args:
    steps: of the whole run, at least 1.

  Raises:
    ValueError: if it is not such a count.

  References:
    Francesco Croce, Matthias Hein, 2020, "Reliable evaluation of adversarial
    robustness with an ensemble of diverse parameter-free attacks",
    arXiv 2003.01690.
  """
  check_count("steps", steps)
  # The authors' arithmetic: every share is cut to whole steps by itself.
  period, least, shrink = (
    max(int(share * steps), 1) for share in (0.22, 0.06, 0.03)
  )
  back = np.zeros(steps + 1, np.int32)
  step = period
  while step <= steps:
    back[step] = period
    period = max(period - shrink, least)
    step += period
  return back
