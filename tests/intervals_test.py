"""Wilson's interval against SciPy's and by its defining equation."""

import math

import numpy as np
import pytest
from scipy import stats

from snnjax.intervals import (
  clopper_pearson,
  paired_difference,
  student,
  t_interval,
  wilson,
)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(
  ("successes", "total"), [(0, 1), (0, 100), (8, 10), (37, 128), (2000, 2000)]
)
def test_the_interval_is_scipy_s(successes, total, confidence):
  got = wilson(successes, total, confidence)
  want = stats.binomtest(successes, total).proportion_ci(confidence, "wilson")
  assert got.estimate == successes / total
  assert got.low == pytest.approx(want.low, abs=1e-12)
  assert got.high == pytest.approx(want.high, abs=1e-12)


def test_a_published_value():
  # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263.
  got = wilson(81, 263)
  assert (round(got.low, 4), round(got.high, 4)) == (0.2553, 0.3662)


def test_nothing_counted_means_nothing_known():
  got = wilson(0, 0)
  assert math.isnan(got.estimate)
  assert got[1:] == (0.0, 1.0)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [((3, 2), "successes"), ((-1, 2), "successes"), ((1, 2, 1.0), "confidence")],
)
def test_bad_arguments_are_named(arguments, message):
  with pytest.raises(ValueError, match=message):
    wilson(*arguments)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize(
  ("successes", "total"), [(0, 1), (0, 32), (1, 32), (8, 10), (2000, 2000)]
)
def test_the_exact_interval_is_scipy_s(successes, total, confidence):
  got = clopper_pearson(successes, total, confidence)
  want = stats.binomtest(successes, total).proportion_ci(confidence, "exact")
  assert got.estimate == successes / total
  assert got.low == pytest.approx(want.low, abs=1e-12)
  assert got.high == pytest.approx(want.high, abs=1e-12)


@pytest.mark.parametrize(("first", "second"), [(5, 0), (6, 0), (9, 2), (10, 2)])
def test_a_paired_difference_is_above_zero_as_the_sign_test_says(first, second):
  got = paired_difference(first, second, 40)
  test = stats.binomtest(first, first + second, alternative="greater")
  assert (got.low > 0) == (test.pvalue < 0.025)
  assert got.estimate == (first - second) / 40
  mirrored = paired_difference(second, first, 40)
  assert (mirrored.low, mirrored.high) == pytest.approx((-got.high, -got.low))


def test_a_paired_difference_is_covered_as_often_as_said():
  """Of all outcomes of 12 examples, whatever their probabilities."""
  count, worst = 12, 1.0
  outcomes = [(b, c) for b in range(count + 1) for c in range(count + 1 - b)]
  found = [paired_difference(b, c, count) for b, c in outcomes]
  shares = [0.0, 0.02, 0.1, 0.3, 0.5, 0.9]
  for p, q in ((p, q) for p in shares for q in shares if p + q <= 1):
    chances = stats.multinomial.pmf(
      [(b, c, count - b - c) for b, c in outcomes], count, [p, q, 1 - p - q]
    )
    covered = sum(
      chance
      for chance, each in zip(chances, found, strict=True)
      if each.low - 1e-12 <= p - q <= each.high + 1e-12
    )
    worst = min(worst, covered)
  assert 0.95 <= worst < 1


def test_nothing_to_compare_says_nothing():
  assert math.isnan(paired_difference(0, 0, 0).estimate)
  assert paired_difference(0, 0, 0)[1:] == (-1, 1)
  assert math.isnan(clopper_pearson(0, 0).estimate)
  same = paired_difference(0, 0, 16)
  assert (same.estimate, same.low, same.high) == (
    0,
    pytest.approx(-0.20591, abs=1e-5),
    pytest.approx(0.20591, abs=1e-5),
  )
  with pytest.raises(ValueError, match="at most total together"):
    paired_difference(9, 8, 16)


@pytest.mark.parametrize("values", [(0.4, 0.5, 0.6), (1.0, 2.0)])
def test_the_interval_of_a_mean_is_students(values):
  mean, *ends = student(np.asarray(values), 0.9)
  known = stats.t.interval(
    0.9, len(values) - 1, np.mean(values), stats.sem(values)
  )
  assert mean == pytest.approx(np.mean(values))
  assert ends == pytest.approx(known)
  assert student([3.0] * 3) == (3.0, 3.0, 3.0)


def test_degrees_of_freedom_may_be_any_number():
  assert t_interval(2.0, 0.5, 4.7, 0.9) == pytest.approx(
    (2.0, *stats.t.interval(0.9, 4.7, 2.0, 0.5))
  )
  with pytest.raises(ValueError, match="strictly between 0 and 1"):
    t_interval(2.0, 0.5, 4.7, 0.0)


def test_one_number_says_nothing_of_the_next():
  assert student([0.7]).estimate == 0.7
  assert math.isnan(student([0.7]).low)
  assert all(map(math.isnan, student([])))
  with pytest.raises(ValueError, match="must be finite; got"):
    student([0.5, math.nan])
  with pytest.raises(ValueError, match="strictly between 0 and 1"):
    student([0.5, 0.6], 1.0)
