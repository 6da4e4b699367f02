"""Median robust radii of networks, from accuracies at a few radii."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from snnjax.arguments import check_array


class MedianRadii(NamedTuple):
  """Where half of what a network had right is lost.

  Attributes:
    log_radii: [I] natural logarithm of each network's median radius. Beyond the
      radii that were tried it is extrapolated.
    spread: s, common to all networks: how far the radii of one network's
      examples lie apart, in units of the logarithm.
    shares: [I, L] what the fit expects to be left, of what was right.
  """

  log_radii: np.ndarray
  spread: float
  shares: np.ndarray


def median_radii(left: Any, right: Any, radii: Sequence[float]) -> MedianRadii:
  r"""Returns the median radius that each network's examples withstand.

  Of the examples of network i that are right when clean, the share
  ``1/(1 + (e/r_i)^(1/s))`` withstands the radius e: their largest safe radii
  are log-logistic with the median r_i and a spread s that all networks share.
  Fitted by minimum logit chi-square: with n_i right, k_il left and
  ``p = (k + 1/2)/(n + 1)``, least squares of ``logit p`` on log e with one
  intercept per network and the weights ``n p (1 - p)``, which are small where
  next to all or nothing is left.

  A radius is what theory speaks of: to first order its logarithm falls by the
  logarithm of the gradient's dual norm, in every norm of attack. Accuracies at
  one radius saturate, and their units differ from norm to norm.

  Args:
    left: [I, L] counts of examples that withstand radius l, of `right`.
    right: [I] counts of examples that are right when clean, positive.
    radii: [L] positive and rising, at least two.

  Raises:
    ValueError: if a count or radius is out of range, or accuracy does not fall
      with the radius: then there is no median to speak of.

  References:
    J. Berkson (1944), Application of the logistic function to bio-assay,
    Journal of the American Statistical Association 39.
  """
  log_radii = np.log(_rising(radii))
  kept = np.asarray(left, float)
  check_array("left", kept, "[I, L]", "They are counts", L=len(log_radii))
  total = np.asarray(right, float)
  check_array("right", total, "[I]", "They are counts", I=len(kept))
  n = total[:, None]
  if not np.all(n > 0) or not np.all((kept >= 0) & (kept <= n)):
    raise ValueError(
      "left must lie between 0 and right, which is positive; got "
      f"{kept.tolist()} of {total.tolist()}"
    )
  share = (kept + 0.5) / (n + 1)
  logit = np.log(share / (1 - share))
  weight = n * share * (1 - share)
  mass = weight.sum(1, keepdims=True)
  middle = (weight * log_radii).sum(1, keepdims=True) / mass
  height = (weight * logit).sum(1, keepdims=True) / mass
  away = log_radii - middle
  slope = float((weight * away * (logit - height)).sum())
  slope /= float((weight * away**2).sum())
  if slope >= 0:
    raise ValueError(
      "left must fall with the radius, over all networks together; got "
      f"{kept.tolist()} at {list(radii)}"
    )
  spread = -1 / slope
  medians = middle + spread * height
  shares = 1 / (1 + np.exp((log_radii - medians) / spread))
  return MedianRadii(medians[:, 0], spread, shares)


def _rising(radii: Sequence[float]) -> np.ndarray:
  values = np.asarray(radii, float)
  rising = values.ndim == 1 and len(values) > 1 and np.all(np.diff(values) > 0)
  if not rising or not np.all(np.isfinite(values)) or values[0] <= 0:
    raise ValueError(
      f"radii must be positive and rising, at least two; got {values.tolist()}"
    )
  return values
