"""The statements of docs/theory.md, each a property under its number."""

import functools
import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from snnjax import sparsity, vulnerability

DUAL = {math.inf: 1, 2: 2, 1: math.inf}
QUICK = settings(max_examples=50, deadline=None)
entries = st.floats(-8, 8, width=32).map(lambda v: 0.0 if abs(v) < 0.01 else v)


@st.composite
def gradients(draw, least=1, most=7):
  """A gradient with at least one entry that is not zero, some zeros too."""
  values = draw(
    arrays.arrays(np.float64, st.integers(least, most), elements=entries)
  )
  assume(np.any(values))
  return values


def size_of(gradient, order):
  return np.linalg.norm(gradient, ord=order)


@functools.cache
def uniform(order, size, draws, seed):
  """Uniform points of a unit ball by rejection: no formula of ours in it."""
  generator = np.random.default_rng(seed)
  points = np.empty((0, size))
  while len(points) < draws:
    cube = generator.uniform(-1, 1, (100_000, size))
    points = np.concatenate([points, cube[np.linalg.norm(cube, order, 1) <= 1]])
  return points[:draws]


def first_order(gradient, order):
  return vulnerability.first_order(jnp.asarray(gradient)[None], order)


@pytest.mark.parametrize("order", DUAL)
@given(gradient=gradients(), seed=st.integers(0, 2**16))
@QUICK
def test_1_the_adversary_gets_the_dual_norm(order, gradient, seed):
  bound = size_of(gradient, DUAL[order])
  moves = np.random.default_rng(seed).normal(size=(200, gradient.size))
  moves /= np.linalg.norm(moves, order, 1, keepdims=True)
  assert np.all(np.abs(moves @ gradient) <= bound * (1 + 1e-9))
  unit = np.zeros_like(gradient)
  unit[np.argmax(np.abs(gradient))] = np.sign(
    gradient[np.argmax(np.abs(gradient))]
  )
  best = {
    math.inf: np.sign(gradient),
    2: gradient / size_of(gradient, 2),
    1: unit,
  }[order]
  assert size_of(best, order) <= 1 + 1e-9
  np.testing.assert_allclose(best @ gradient, bound, rtol=1e-9)
  ours = first_order(gradient, order).adversarial[0]
  np.testing.assert_allclose(ours, bound**2, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("order", DUAL)
def test_2_chance_gets_the_2_norm(order, size):
  draws = 40_000
  points = uniform(order, size, draws, seed=size)
  gradient = np.random.default_rng(7).normal(size=size)
  squares = (points @ gradient) ** 2
  moment = {math.inf: 1 / 3, 2: 1 / (size + 2), 1: 2 / (size + 1) / (size + 2)}
  expected = moment[order] * size_of(gradient, 2) ** 2
  error = squares.std() / math.sqrt(draws)
  assert abs(squares.mean() - expected) < 5 * error
  assert error < 0.02 * expected  # tight enough to tell one moment from another
  ours = first_order(gradient, order).random[0]
  np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("order", DUAL)
@given(gradient=gradients())
@QUICK
def test_3_the_ratio_stays_in_its_range(order, gradient):
  count, size = np.count_nonzero(gradient), gradient.size
  full = (size + 1) * (size + 2) / 2
  low, high = {
    math.inf: (3, 3 * count),
    2: (size + 2, size + 2),
    1: (full / count, full),
  }[order]
  found = first_order(gradient, order)
  np.testing.assert_allclose(found.lower[0], low, rtol=1e-5)
  np.testing.assert_allclose(found.upper[0], high, rtol=1e-5)
  assert low * (1 - 1e-5) <= found.ratio[0] <= high * (1 + 1e-5)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_3_the_ends_of_the_range_are_reached(count):
  flat = np.zeros(7)
  flat[:count] = -1.5
  peaked = np.where(flat != 0, 1e-6, 0)
  peaked[0] = 1.0
  for order, gradient, end in (
    (math.inf, flat, "upper"),
    (math.inf, peaked, "lower"),
    (1, flat, "lower"),
    (1, peaked, "upper"),
  ):
    found = first_order(gradient, order)
    np.testing.assert_allclose(
      found.ratio[0], getattr(found, end)[0], rtol=1e-4
    )


@given(gradient=gradients())
@QUICK
def test_3_the_linf_ratio_is_the_participation_ratio(gradient):
  share = sparsity.participation_ratio(jnp.asarray(gradient)[None])[0]
  found = first_order(gradient, math.inf).ratio[0]
  np.testing.assert_allclose(found, 3 * gradient.size * share, rtol=1e-4)


@given(gradient=gradients(), sites=st.integers(1, 7), seed=st.integers(0, 99))
@QUICK
def test_4_few_pixels_by_enumeration(gradient, sites, seed):
  sites = min(sites, gradient.size)
  inputs = np.random.default_rng(seed).uniform(0, 1, gradient.size)
  # A change to a wall, or none, at every site; those with too many drop out.
  changes = [
    np.array(walls) - inputs
    for walls in itertools.product(*[(0.0, x, 1.0) for x in inputs])
  ]
  allowed = [c for c in changes if np.count_nonzero(c) <= sites]
  best = max(float(c @ gradient) ** 2 for c in allowed)
  found = vulnerability.first_order_l0(
    jnp.asarray(gradient)[None],
    jnp.asarray(inputs)[None],
    sites,
    site_axes=0,
  )[0]
  np.testing.assert_allclose(found, best, rtol=1e-4, atol=1e-9)


@given(gradient=gradients())
@QUICK
def test_5_at_equal_1_norm_sparser_is_weaker_elsewhere(gradient):
  total, size = size_of(gradient, 1), gradient.size
  spread = size * total**2 / (size * size_of(gradient, 2) ** 2)  # d PR
  largest = size_of(gradient, math.inf)
  np.testing.assert_allclose(
    first_order(gradient, 2).adversarial[0], total**2 / spread, rtol=1e-5
  )
  assert total / spread <= largest * (1 + 1e-9)
  assert largest <= total / math.sqrt(spread) * (1 + 1e-9)


@given(gradient=gradients(least=2), margin=st.floats(0.01, 100))
@QUICK
def test_6_slopes_of_robustness_on_size_and_sparsity(gradient, margin):
  total, size = size_of(gradient, 1), gradient.size
  share = total**2 / (size * size_of(gradient, 2) ** 2)
  assume(size * share > 1.001)
  radius = {p: math.log(margin / size_of(gradient, q)) for p, q in DUAL.items()}
  base = math.log(margin) - math.log(total)
  spread = math.log(share) + math.log(size)
  assert radius[math.inf] == pytest.approx(base, abs=1e-9)
  assert radius[2] == pytest.approx(base + spread / 2, abs=1e-9)
  slope = (radius[1] - base) / spread
  assert 0.5 - 1e-6 <= slope <= 1 + 1e-6


@pytest.mark.parametrize("order", DUAL)
@given(
  gradient=gradients(most=5),
  bends=arrays.arrays(np.float64, 5, elements=st.floats(-2, 2, width=32)),
  epsilon=st.floats(0.01, 1),
)
@QUICK
def test_7_curvature_bounds_what_first_order_misses(
  order, gradient, bends, epsilon
):
  size = gradient.size
  bends = bends[:size]
  # f(x + u) = g.u + sum_i b_i u_i^2 / 2: |(grad f(x + u) - g).u| is at most
  # L ||u||_p^2 with L as below.
  steepest = np.abs(bends).sum() if order == math.inf else np.abs(bends).max()
  inside = uniform(order, size, 500, seed=3)
  points = np.concatenate([inside, corners(order, size)])
  moved = epsilon * points
  change = moved @ gradient + (moved**2 @ bends) / 2
  linear = moved @ gradient
  slack = steepest * epsilon**2 / 2 + 1e-9
  assert abs(np.abs(change).max() - np.abs(linear).max()) <= slack
  root = [math.sqrt(np.mean(v**2)) for v in (change, linear)]
  assert abs(root[0] - root[1]) <= slack


def corners(order, size):
  """The corners of the ball; for l2 the unit vectors."""
  if order == math.inf:
    return np.array(list(itertools.product((-1.0, 1.0), repeat=size)))
  return np.concatenate([np.eye(size), -np.eye(size)])
