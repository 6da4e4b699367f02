"""What of all gradients is kept for good: examples of some, means of all."""

import warnings
from collections.abc import Mapping

import numpy as np

from experiments.measuring.named_arrays import METRICS, Arrays


def summarized(arrays: Mapping[str, np.ndarray]) -> Arrays:
  """Returns what of `attacked_gradients.gradients` is kept for good.

  Instead of all gradients those of the margin under the training rule, [P, Q,
  M, N], and of all of them, over the examples that are right when clean:

  - ``mean`` [C, P, R, Q, M and `DERIVED`], over those with a gradient there;
  - ``change``, of the same shape, the mean of each example's own difference
    from its clean gradient, over those with a gradient at both points;
  - ``zeros`` [C, P, R, Q], the share of zero gradients.

  Args:
    arrays: from `attacked_gradients.gradients`.
  """
  right = arrays["correct"]
  own = arrays["gradient"].astype(np.float64)[..., right]
  own = np.concatenate([own, _derived(own, arrays["part_sizes"])], -2)
  zero = np.isnan(own[..., 0, :])
  with warnings.catch_warnings():
    # No example may have a gradient left: that is nan, and counted.
    warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
    mean = np.nanmean(own, -1)
    change = np.nanmean(own - own[:, :1], -1)
  return {
    **{name: array for name, array in arrays.items() if name != "gradient"},
    "gradient": arrays["gradient"][0, :, 0],
    "mean": mean.astype(np.float32),
    "change": change.astype(np.float32),
    "zeros": zero.mean(-1).astype(np.float32),
  }


def _derived(own: np.ndarray, sizes: np.ndarray) -> np.ndarray:
  """`DERIVED` of metrics [..., Q, M, N], with the dimensions [Q]."""
  ratio = own[..., METRICS.index("log_participation_ratio"), :]
  size = sizes.astype(np.float64)[:, None]
  # ||g||_1 / ||g||_2 = sqrt(d PR).
  log_quotient = 0.5 * (np.log(size) + ratio)
  root = np.sqrt(size)
  hoyer = (root - np.exp(log_quotient)) / (root - 1)
  log_l2 = own[..., METRICS.index("log_l1"), :] - log_quotient
  return np.stack([hoyer, log_l2], -2)
