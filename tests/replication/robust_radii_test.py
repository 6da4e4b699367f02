"""Median radii of networks whose examples' radii are known."""

import numpy as np
import pytest

from snnjax.replication import median_radii

RADII = (0.5, 1.0, 2.0)


def counts(log_medians, spread, total):
  """How many withstand each radius, as often as the law says."""
  away = (np.log(RADII) - np.asarray(log_medians)[:, None]) / spread
  return total / (1 + np.exp(away))


def test_medians_and_spread_are_recovered():
  truth = [-0.4, 0.0, 0.3, 0.6]
  left = np.round(counts(truth, 0.35, 4000))
  got = median_radii(left, [4000] * 4, RADII)
  np.testing.assert_allclose(got.log_radii, truth, atol=0.005)
  assert got.spread == pytest.approx(0.35, rel=0.01)
  np.testing.assert_allclose(got.shares, left / 4000, atol=0.002)


def test_a_radius_beyond_those_tried_is_extrapolated():
  truth = [-0.4, 0.0, 1.5]
  left = np.round(counts(truth, 0.35, 4000))
  assert left[2, 2] > 0.9 * 4000
  got = median_radii(left, [4000] * 3, RADII)
  assert got.log_radii[2] == pytest.approx(1.5, abs=0.05)
  # Networks that lose or keep everything are far out, but somewhere.
  ends = median_radii(
    [*left, [0, 0, 0], [50, 50, 50]], [4000] * 4 + [50], RADII
  )
  assert np.all(np.isfinite(ends.log_radii))
  assert ends.log_radii[3] < np.log(0.5) < np.log(2) < ends.log_radii[4]
  # They weigh little: the others are where they were.
  np.testing.assert_allclose(ends.log_radii[:3], got.log_radii, atol=0.02)


def test_each_network_counts_what_it_had_right():
  left = np.array([[80.0, 50.0, 20.0]])
  one = median_radii(left, [100], RADII)
  assert one.log_radii[0] == pytest.approx(0.0, abs=1e-9)
  assert median_radii(left, [160], RADII).log_radii[0] < one.log_radii[0]


@pytest.mark.parametrize(
  ("left", "right", "radii", "message"),
  [
    ([[2, 1]], [3], (1.0,), "radii must be positive and rising"),
    ([[2, 1]], [3], (2.0, 1.0), "radii must be positive and rising"),
    ([[2, 1, 0]], [3], (1.0, 2.0), r"left must be \[I, 2\]"),
    ([[2, 1]], [3, 3], (1.0, 2.0), r"right must be \[1\]"),
    ([[4, 1]], [3], (1.0, 2.0), "left must lie between 0 and right"),
    ([[0, 0]], [0], (1.0, 2.0), "right, which is positive"),
    ([[1, 2]], [3], (1.0, 2.0), "left must fall with the radius"),
    ([[1, 1]], [3], (1.0, 2.0), "left must fall with the radius"),
  ],
)
def test_what_has_no_median_is_refused(left, right, radii, message):
  with pytest.raises(ValueError, match=message):
    median_radii(left, right, radii)
