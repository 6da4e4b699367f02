"""Paired contrasts against SciPy's tests; pairing is by seed."""

import math

import numpy as np
import pytest
from scipy import stats

from snnjax.replication import (
  Estimate,
  hierarchical_bootstrap,
  holm,
  paired_contrast,
)

TREATED = {3: 0.62, 1: 0.57, 2: 0.66, 8: 0.60, 5: 0.71}
CONTROL = {1: 0.50, 2: 0.61, 3: 0.52, 5: 0.59, 8: 0.58}


@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_a_contrast_is_the_paired_t_test(confidence):
  got = paired_contrast(TREATED, CONTROL, confidence=confidence)
  order = sorted(TREATED)
  want = stats.ttest_rel(*([a[s] for s in order] for a in (TREATED, CONTROL)))
  assert got.estimate == pytest.approx(0.072)
  assert got.p_value == pytest.approx(want.pvalue, rel=1e-9)
  assert (got.low, got.high) == pytest.approx(
    want.confidence_interval(confidence)
  )
  assert (got.replicates, got.degrees_of_freedom) == (5, 4)
  # Pairs are of one seed, in whatever order the arms list them.
  assert got.differences == pytest.approx(
    {3: 0.10, 1: 0.07, 2: 0.05, 8: 0.02, 5: 0.12}
  )


def test_the_effect_size_is_hedges():
  got = paired_contrast(TREATED, CONTROL)
  d = 0.072 / np.std([0.10, 0.07, 0.05, 0.02, 0.12], ddof=1)
  # Hedges (1981), table 1: J(4) = 0.7979; 1 - 3/(4 v - 1) is 0.8.
  assert got.effect_size == pytest.approx(0.7979 * d, rel=1e-4)
  pair = paired_contrast({1: 2.0, 2: 4.0}, {1: 0.0, 2: 1.0})
  assert pair.effect_size == 0


def test_the_effect_size_has_no_bias():
  # Means over 4,000 experiments of true size 1; uncorrected it is 1.25.
  draws = np.random.default_rng(0).normal(1, 1, (4000, 5))
  zero = dict.fromkeys(range(5), 0.0)
  sizes = [paired_contrast(dict(enumerate(d)), zero).effect_size for d in draws]
  assert np.mean(sizes) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize(
  ("treated", "control", "message"),
  [
    ({1: 0.5, 2: 0.6}, {1: 0.5}, "treated alone has 2"),
    ({1: 0.5}, {1: 0.5, 4: 0.1, 7: 0.2}, "control alone has 4, 7"),
    ({1: 0.5, 2: math.nan}, {1: 0.5, 2: 0.5}, "treated of seed 2 .* got nan"),
    ({1: 0.5, 2: 0.5}, {1: math.inf, 2: 0.5}, "control of seed 1 .* got inf"),
    ({1: 0.5, 2: None}, {1: 0.5, 2: 0.5}, "treated of seed 2 .* got None"),
    ({1: [0.5], 2: 0.5}, {1: 0.5, 2: 0.5}, "treated of seed 1 .* one finite"),
    ({1: 0.5}, {1: 0.4}, "at least 2 seeds; got 1"),
    ({}, {}, "at least 2 seeds; got 0"),
    ([0.5, 0.6], {0: 0.5, 1: 0.6}, "treated must be a mapping .* got a list"),
  ],
)
def test_what_does_not_pair_is_named(treated, control, message):
  with pytest.raises(ValueError, match=message):
    paired_contrast(treated, control)
  with pytest.raises(ValueError, match="confidence must lie strictly"):
    paired_contrast(TREATED, CONTROL, confidence=95)


@pytest.mark.parametrize("control", [(0.1, 0.2), (0.4, 0.5)])
def test_equal_differences_prove_nothing(control):
  # 0.3 - 0.1 and 0.4 - 0.2 differ in the last place.
  treated = {seed: value + 0.2 for seed, value in enumerate(control)}
  got = paired_contrast(treated, dict(enumerate(control)))
  assert (got.standard_error, got.p_value) == (0, 1)
  assert math.isnan(got.effect_size)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"estimate": math.nan}, "estimate must be finite; got nan"),
    ({"standard_error": -1.0}, "standard_error .* got -1.0"),
    ({"degrees_of_freedom": 0}, "degrees_of_freedom .* got 0"),
    ({"replicates": 1}, "replicates must be at least 2; got 1"),
    ({"confidence": 1.0}, "confidence must lie strictly"),
  ],
)
def test_no_estimate_is_made_of_impossible_numbers(change, message):
  good = {"standard_error": 0.1, "degrees_of_freedom": 4, "replicates": 5}
  with pytest.raises(ValueError, match=message):
    Estimate(**{"estimate": 0.2, **good, **change})


def test_holm_by_hand():
  # Sorted .01, .02, .03, .04 times 4, 3, 2, 1: .04, .06, .06, .04 -> .06.
  got = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.02})
  assert list(got) == ["a", "b", "c", "d"]
  assert got == pytest.approx({"a": 0.06, "b": 0.04, "c": 0.06, "d": 0.06})
  assert holm({1: 0.7, 2: 0.6}) == {1: 1.0, 2: 1.0}
  assert holm({"alone": 0.03}) == {"alone": 0.03}
  assert holm({}) == {}


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.1])
def test_holm_names_what_is_no_p_value(p):
  with pytest.raises(ValueError, match=r"p_values of b must lie in \[0, 1\]"):
    holm({"a": 0.5, "b": p})


@pytest.fixture(scope="module")
def outcomes():
  """Of 6 seeds and two arms 400 truth values each."""
  generator = np.random.default_rng(3)
  shares = generator.uniform(0.45, 0.55, (2, 6, 1))
  return [
    dict(enumerate(arm)) for arm in generator.random((2, 6, 400)) < shares
  ]


def test_the_bootstrap_has_the_spread_of_two_levels(outcomes):
  treated, control = outcomes
  got = hierarchical_bootstrap(treated, control, seed=0, resamples=8000)
  differences = [treated[s] * 1.0 - control[s] for s in range(6)]
  within = np.mean([d.var() / 400 for d in differences])
  between = np.var([d.mean() for d in differences])
  deviation = math.sqrt((between + within) / 6)
  assert got.estimate == pytest.approx(np.mean(differences))
  half = 1.96 * deviation
  assert got.low == pytest.approx(got.estimate - half, abs=0.05 * half)
  assert got.high == pytest.approx(got.estimate + half, abs=0.05 * half)
  # Numbers that all differ are drawn one by one, to the same spread.
  noise = np.random.default_rng(1).normal(0, 1e-9, (6, 400))
  apart = {seed: values + noise[seed] for seed, values in treated.items()}
  again = hierarchical_bootstrap(apart, control, seed=0, resamples=8000)
  assert tuple(again) == pytest.approx(tuple(got), abs=0.05 * half)


def test_the_bootstrap_counts_seeds_alike_and_repeats_itself():
  treated = {"a": np.ones(1), "b": np.zeros(1000)}
  control = {"a": np.zeros(1), "b": np.zeros(1000)}
  got = hierarchical_bootstrap(treated, control, seed=7, resamples=500)
  assert got == (0.5, 0, 1)
  values = {s: np.random.default_rng(s).random(50) for s in range(5)}
  zeros = {s: np.zeros(50) for s in range(5)}
  first, same, other = (
    hierarchical_bootstrap(values, zeros, seed=s, resamples=300)
    for s in (1, 1, 2)
  )
  assert first == same
  assert first != other
  wider = hierarchical_bootstrap(
    values, zeros, seed=1, resamples=300, confidence=0.99
  )
  assert wider.low < first.low < first.high < wider.high


@pytest.mark.parametrize(
  ("treated", "arguments", "message"),
  [
    ({1: np.ones(3)}, {}, "control alone has 2"),
    ({1: np.ones(3), 2: np.ones(4)}, {}, "seed 2 .* same examples; got 4 and"),
    ({1: np.ones(3), 2: np.ones((3, 1))}, {}, r"seed 2 .* of shape \(3, 1\)"),
    ({1: np.ones(0), 2: np.ones(3)}, {}, r"seed 1 .* of shape \(0,\)"),
    ({1: np.ones(3), 2: [1, math.nan, 0]}, {}, "seed 2 .* nan at example 1"),
    (None, {"resamples": 10}, "resamples must be at least 100; got 10"),
    (None, {"confidence": 0.0}, "confidence must lie strictly"),
  ],
)
def test_the_bootstrap_names_what_is_wrong(treated, arguments, message):
  control = {1: np.zeros(3), 2: np.zeros(3)}
  with pytest.raises(ValueError, match=message):
    hierarchical_bootstrap(treated or control, control, seed=0, **arguments)
