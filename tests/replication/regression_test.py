"""Regression against least squares, t tests that it must equal, and truth."""

import math

import numpy as np
import pytest
from scipy import stats

from snnjax.replication import paired_contrast, regress


@pytest.fixture(scope="module")
def networks():
  generator = np.random.default_rng(2)
  size = generator.normal(size=48)
  sparsity = 0.6 * size + generator.normal(size=48)
  return {
    "y": 1 - 2 * size + 0.5 * sparsity + generator.normal(size=48),
    "predictors": {"size": size, "sparsity": sparsity},
    "clusters": np.arange(48) % 8,
    "groups": {"data": np.repeat(["mnist", "svhn", "nmnist"], 16)},
  }


def test_slopes_are_those_of_least_squares(networks):
  got = regress(**networks)
  size, sparsity = networks["predictors"].values()
  data = np.array(networks["groups"]["data"])
  design = np.column_stack(
    [size, sparsity, *(data == one for one in np.unique(data))]
  )
  weights, (rest,), *_ = np.linalg.lstsq(design, networks["y"])
  assert [c.estimate for c in got.coefficients.values()] == pytest.approx(
    weights[:2]
  )
  assert got.fitted == pytest.approx(design @ weights)
  total = np.var(networks["y"]) * 48
  assert got.r_squared == pytest.approx(1 - rest / total)
  # What is lost without a predictor, by fitting without it.
  alone = regress(**{**networks, "predictors": {"size": size}})
  assert got.coefficients["sparsity"].own_r_squared == pytest.approx(
    got.r_squared - alone.r_squared
  )
  other = regress(
    sparsity,
    {"size": size},
    clusters=networks["clusters"],
    groups=networks["groups"],
  )
  assert got.coefficients["sparsity"].variance_inflation == pytest.approx(
    1 / (1 - other.r_squared)
  )
  assert got.observations == 48


def test_one_predictor_is_scipys_line(networks):
  size = networks["predictors"]["size"]
  got = regress(networks["y"], {"size": size}, clusters=range(48))
  want = stats.linregress(size, networks["y"])
  slope = got.coefficients["size"]
  assert slope.estimate == pytest.approx(want.slope)
  assert got.r_squared == pytest.approx(want.rvalue**2)
  assert slope.variance_inflation == pytest.approx(1)
  assert slope.own_r_squared == pytest.approx(got.r_squared)
  # One network a cluster is HC2: close to the classical error, not equal.
  assert slope.standard_error == pytest.approx(want.stderr, rel=0.3)


@pytest.mark.parametrize("grouped", [False, True])
def test_two_arms_of_each_seed_are_the_paired_t_test(grouped):
  generator = np.random.default_rng(4)
  treated, control = generator.normal(0.5, 0.1, (2, 6))
  seeds = [*range(6)] * 2
  got = regress(
    [*treated, *control],
    {"arm": [1] * 6 + [0] * 6},
    clusters=seeds,
    groups={"seed": seeds} if grouped else None,
  ).coefficients["arm"]
  want = paired_contrast(dict(enumerate(treated)), dict(enumerate(control)))
  assert got.estimate == pytest.approx(want.estimate)
  assert got.standard_error == pytest.approx(want.standard_error)
  assert got.degrees_of_freedom == pytest.approx(want.degrees_of_freedom)
  assert got.replicates == 6


@pytest.mark.parametrize("each", [1, 5])
def test_a_property_of_clusters_is_welchs_test_of_their_means(each):
  """However many networks a cluster has: they are no further evidence."""
  means = np.array([0.1, 0.4, 0.3, 0.9, 0.7, 1.2, 0.6])
  kind = np.array([0, 0, 0, 1, 1, 1, 1])
  noise = np.random.default_rng(0).normal(size=(7, each))
  noise -= noise.mean(1, keepdims=True)
  got = regress(
    (means[:, None] + noise).ravel(),
    {"kind": np.repeat(kind, each)},
    clusters=np.repeat(np.arange(7), each),
  ).coefficients["kind"]
  first, second = means[kind == 1], means[kind == 0]
  want = stats.ttest_ind(first, second, equal_var=False)
  assert got.estimate / got.standard_error == pytest.approx(want.statistic)
  # Satterthwaite's formula for equal variances of the two kinds.
  freedom = (1 / 3 + 1 / 4) ** 2 / (1 / (9 * 2) + 1 / (16 * 3))
  assert got.degrees_of_freedom == pytest.approx(freedom)


def test_intervals_cover_the_slopes_of_dependent_networks():
  """Eight seeds of six arms; a seed shifts and tilts all its networks."""
  generator = np.random.default_rng(11)
  seeds = np.repeat(np.arange(8), 6)
  covered = np.zeros(2)
  classical = 0
  for _ in range(300):
    size = generator.normal(size=8)[seeds] + generator.normal(size=48)
    sparsity = 0.7 * size + generator.normal(size=48)
    shift, tilt = generator.normal(size=(2, 8))
    y = -2 * size + 0.5 * sparsity + shift[seeds] + 0.5 * tilt[seeds] * size
    y = y + 0.3 * generator.normal(size=48)
    got = regress(y, {"size": size, "sparsity": sparsity}, clusters=seeds)
    slopes = got.coefficients.values()
    covered += [
      slope.low <= truth <= slope.high
      for slope, truth in zip(slopes, (-2, 0.5), strict=True)
    ]
    line = stats.linregress(size, y - 0.5 * sparsity)
    classical += abs(line.slope + 2) < 2.01 * line.stderr
  assert (covered / 300 > 0.92).all()
  assert classical / 300 < 0.85


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"y": [0.0] * 48}, "y must vary; got 0 everywhere"),
    ({"y": [0.5] * 47}, r"y must be numbers \[48\]; got .* \(47,\)"),
    ({"y": [0.5] * 47 + [math.nan]}, "y .* nan at place 47, of cluster 7"),
    ({"predictors": {}}, "predictors must name at least one"),
    ({"predictors": {"a": [1.0] * 48}}, r"predictors\['a'\] must not be a sum"),
    ({"predictors": {"a": [3.0]}}, r"predictors\['a'\] must be numbers"),
    ({"groups": {"data": ["x"]}}, r"groups\['data'\] must have .* 48; got 1"),
    ({"clusters": [1] * 48}, "at least 2 clusters.* got 1 clusters, 48 net"),
    ({"groups": {"each": range(48)}}, "more networks .* 48 networks and 50"),
  ],
)
def test_what_cannot_be_fitted_is_named(networks, change, message):
  with pytest.raises(ValueError, match=message):
    regress(**{**networks, **change})


def test_what_cannot_be_told_apart_is_named(networks):
  size, sparsity = networks["predictors"].values()
  twice = {"size": size, "sum": size - 3 * sparsity, "sparsity": sparsity}
  with pytest.raises(ValueError, match=r"predictors\['size'\] must not be"):
    regress(**{**networks, "predictors": twice})
  close = {"size": size, "other": size + 1e-3 * sparsity}
  slope = regress(**{**networks, "predictors": close}).coefficients["other"]
  assert slope.variance_inflation > 1e4
  # A slope that one seed alone tells.
  single = {"size": size, "single": sparsity * (networks["clusters"] == 3)}
  with pytest.raises(ValueError, match=r"\['single'\] .* cluster 3 nothing"):
    regress(
      **{
        **networks,
        "predictors": single,
        "groups": {"seed": networks["clusters"]},
      }
    )
