"""Intervals: of accuracies, of their differences, of means over repetitions."""

import math
import statistics
from collections.abc import Sequence
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
  _check(successes, total, confidence)
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


def clopper_pearson(
  successes: int, total: int, confidence: float = 0.95
) -> Interval:
  r"""Returns the exact interval of a binomial proportion.

  It never covers less than `confidence`: each end is the proportion at which
  what was seen, or anything farther, has the probability
  ``(1 - confidence)/2``. Its ends decide; `wilson`'s, which are right on
  average, are for showing.

  Args:
    successes: how many succeeded, 0 to `total`.
    total: how many were tried, n. Zero gives (NaN, 0, 1): nothing is known.
    confidence: the coverage wanted, strictly between 0 and 1.

  Returns:
    The proportion and its interval, all in [0, 1].

  Raises:
    ValueError: if the counts or the confidence are out of range.

  References:
    C. J. Clopper, E. S. Pearson (1934), The use of confidence or fiducial
    limits illustrated in the case of the binomial, Biometrika 26.
  """
  # At the top it would cost every import of the package a sixth of a second.
  from scipy import special

  _check(successes, total, confidence)
  if total == 0:
    return Interval(math.nan, 0.0, 1.0)
  tail, failures = (1.0 - confidence) / 2.0, total - successes
  low, high = 0.0, 1.0
  if successes:
    low = float(special.betaincinv(successes, failures + 1, tail))
  if failures:
    high = float(special.betaincinv(successes + 1, failures, 1.0 - tail))
  return Interval(successes / total, low, high)


def paired_difference(
  first_only: int, second_only: int, total: int, confidence: float = 0.95
) -> Interval:
  r"""Returns the interval of a difference of two shares of the same examples.

  ``p_1 - p_2 = q (2 t - 1)``: q is the share of the examples of which exactly
  one of two things holds, t the share of the first among these. Both have
  exact intervals, and the ends here are the products of theirs. So the lower
  end is above 0 exactly where the sign test (McNemar's exact test) finds the
  first larger.

  Args:
    first_only: of how many examples only the first holds.
    second_only: of how many only the second.
    total: how many examples there are, n. Zero gives (NaN, -1, 1).
    confidence: the coverage wanted, strictly between 0 and 1.

  Returns:
    The difference of the shares and its interval, all in [-1, 1].

  Raises:
    ValueError: if the counts or the confidence are out of range.

  References:
    M. P. Fay, K. Lumbard (2021), Confidence intervals for difference in
    proportions for matched pairs compatible with exact McNemar's or sign
    tests, Statistics in Medicine 40.

  Differs from: they meld the two distributions, where this multiplies their
  limits, which is wider.
  """
  apart = first_only + second_only
  if min(first_only, second_only) < 0 or apart > total:
    raise ValueError(
      "first_only and second_only must be at least 0 and at most total "
      f"together; got {first_only}, {second_only} and total={total}"
    )
  share = clopper_pearson(apart, total, confidence)
  first = clopper_pearson(first_only, apart, confidence)
  if total == 0:
    return Interval(math.nan, -1.0, 1.0)
  low, high = 2.0 * first.low - 1.0, 2.0 * first.high - 1.0
  return Interval(
    (first_only - second_only) / total,
    low * (share.low if low > 0 else share.high),
    high * (share.high if high > 0 else share.low),
  )


def student(values: Sequence[float], confidence: float = 0.95) -> Interval:
  r"""Returns the t interval of the mean of independent numbers.

  ``m -+ t s / sqrt(n)`` with the mean m, the standard deviation s of n numbers
  (its sum of squares over n - 1) and t the quantile at ``(1 + confidence)/2``
  of Student's distribution of n - 1 degrees of freedom. It is exact for
  numbers that are normally distributed.

  Args:
    values: one number for each repetition, such as an accuracy per seed. None
      gives three NaNs; one has a mean, and NaN for either end: it says nothing
      of how the next one differs.
    confidence: the coverage wanted, strictly between 0 and 1.

  Raises:
    ValueError: if a value is not finite, or the confidence out of range.

  References:
    Student (1908), The probable error of a mean, Biometrika 6.
  """
  _check(0, 0, confidence)
  numbers = [float(value) for value in values]  # of an array too
  if not all(map(math.isfinite, numbers)):
    raise ValueError(f"values must be finite; got {numbers}")
  if not numbers:
    return Interval(math.nan, math.nan, math.nan)
  mean = statistics.fmean(numbers)
  if len(numbers) == 1:
    return Interval(mean, math.nan, math.nan)
  error = statistics.stdev(numbers) / math.sqrt(len(numbers))
  return t_interval(mean, error, len(numbers) - 1, confidence)


def t_interval(
  estimate: float,
  standard_error: float,
  degrees_of_freedom: float,
  confidence: float = 0.95,
) -> Interval:
  """Returns the t interval about an estimate whose error is estimated too.

  Args:
    estimate: in any unit.
    standard_error: of the estimate, in its unit, at least 0.
    degrees_of_freedom: of the standard error, above 0; any real number.
    confidence: the coverage wanted, strictly between 0 and 1.

  Raises:
    ValueError: if the confidence is out of range.
  """
  # At the top it would cost every import of the package a sixth of a second.
  from scipy import special

  _check(0, 0, confidence)
  tail = float(special.stdtrit(degrees_of_freedom, (1.0 + confidence) / 2.0))
  half = tail * standard_error
  return Interval(estimate, estimate - half, estimate + half)


def _check(successes: int, total: int, confidence: float) -> None:
  if not 0 <= successes <= total:
    raise ValueError(
      "successes must lie between 0 and total; got successes="
      f"{successes}, total={total}"
    )
  if not 0.0 < confidence < 1.0:
    raise ValueError(
      f"confidence must lie strictly between 0 and 1; got {confidence}"
    )
