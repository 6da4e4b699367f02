"""Wilson's interval against SciPy's and by its defining equation."""

import math

import pytest
from scipy import stats

from snnjax.statistics import wilson


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
