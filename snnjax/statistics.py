"""Binomial intervals for accuracies and success rates."""

import math
import statistics
from typing import NamedTuple


class Interval(NamedTuple):
  """An estimate with its confidence interval.

  Attributes:
    estimate: the point estimate; NaN where there was nothing to count.
    low: the lower end.
    high: the upper end.
  """

  estimate: float
  low: float
  high: float


def wilson(successes: int, total: int, confidence: float = 0.95) -> Interval:
  r"""Returns the Wilson score interval of a binomial proportion.

  ``(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`` with
  ``p = successes/n`` and z the standard normal quantile at
  ``(1 + confidence)/2``.

  Args:
    successes: how many succeeded, 0 to `total`.
    total: how many were tried, n. Zero gives (NaN, 0, 1): nothing is known.
    confidence: the coverage wanted, strictly between 0 and 1.

  Returns:
    The proportion and its interval, all in [0, 1].

  Raises:
    ValueError: if the counts or the confidence are out of range.

  References:
    E. B. Wilson (1927), Probable inference, the law of succession, and
    statistical inference, Journal of the American Statistical Association 22.
  """
  if not 0 <= successes <= total:
    raise ValueError(
      "successes must lie between 0 and total; got successes="
      f"{successes}, total={total}"
    )
  if not 0.0 < confidence < 1.0:
    raise ValueError(
      f"confidence must lie strictly between 0 and 1; got {confidence}"
    )
  if total == 0:
    return Interval(math.nan, 0.0, 1.0)
  p = successes / total
  z = statistics.NormalDist().inv_cdf((1.0 + confidence) / 2.0)
  shrink = 1.0 / (1.0 + z * z / total)
  centre = shrink * (p + z * z / (2 * total))
  half = shrink * z * math.sqrt(p * (1 - p) / total + (z / (2 * total)) ** 2)
  # The ends are exactly 0 and 1 at the extremes; rounding must not say else.
  low = 0.0 if successes == 0 else centre - half
  high = 1.0 if successes == total else centre + half
  return Interval(p, low, high)
