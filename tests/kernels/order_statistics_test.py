"""Order statistics equal those of a plain sort, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks
from snnjax.attacks.threats import hyperplane, l0
from snnjax.attacks.threats.norms import Block, Room
from snnjax.kernels import order_statistics

DTYPES = ["float32", "float64", "bfloat16", "float16"]
INF, NAN = jnp.inf, jnp.nan
ODD = [0.0, -0.0, 1e-7, -1e-7, 3.0, 3.0, -3.0, INF, -INF, 1.0, -1.0, 6e4]


def rows(dtype, *more):
  plain = jax.random.normal(jax.random.key(0), (3, len(ODD) + len(more)))
  return plain.at[0].set(jnp.array([*ODD, *more])).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ascending(x64, dtype):
  # The minus of a NaN is one with its sign bit set.
  values = rows(dtype, NAN).at[1, 2].set(-jnp.asarray(NAN, dtype))
  ours = jax.jit(order_statistics.ascending)(values)
  assert ours.dtype == values.dtype
  np.testing.assert_array_equal(
    np.asarray(ours, float), np.asarray(jnp.sort(values, 1), float)
  )


def test_ascending_has_the_derivatives_of_a_sort(x64):
  values = jax.random.normal(jax.random.key(0), (3, 9))
  weights = jnp.arange(9.0)[None] ** 2

  def weighted(sort):
    return lambda values: jnp.sum(jnp.sin(sort(values)) * weights)

  plain = weighted(lambda values: jnp.sort(values, axis=1))
  ours = weighted(order_statistics.ascending)
  for derive in (jax.grad, jax.jacfwd, jax.hessian):
    np.testing.assert_array_equal(derive(ours)(values), derive(plain)(values))
  stack = jnp.stack([values, -values])
  np.testing.assert_array_equal(
    jax.vmap(order_statistics.ascending)(stack), jnp.sort(stack, axis=2)
  )


@pytest.mark.parametrize("dtype", DTYPES)
def test_kth_largest(x64, dtype):
  values = rows(dtype)
  size = values.shape[1]
  descending = np.sort(np.asarray(values, float), axis=1)[:, ::-1]
  find = jax.jit(order_statistics.kth_largest)
  for place in range(size):
    found = find(values, place + 1)
    assert found.shape == (3, 1)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(
      np.asarray(found, float)[:, 0], descending[:, place]
    )
  counts = jnp.array([[1], [5], [size]])
  np.testing.assert_array_equal(
    np.asarray(find(values, counts), float)[:, 0],
    descending[np.arange(3), counts[:, 0] - 1],
  )


def test_kth_largest_without_so_many():
  values = jnp.array([[NAN, 2.0, 1.0], [NAN, NAN, NAN]])
  for count, expected in ((1, [2, -INF]), (2, [1, -INF]), (3, [-INF, -INF])):
    found = order_statistics.kth_largest(values, count)
    np.testing.assert_array_equal(found[:, 0], expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bound", [0.3, -0.3, 1.0, 6e4, -6e4, INF])
def test_last_true_is_the_last(x64, dtype, bound):
  bound = jnp.full((2, 1), bound, dtype)
  at_most = order_statistics.last_true(lambda value: value <= bound, bound)
  below = order_statistics.last_true(lambda value: value < bound, bound)
  np.testing.assert_array_equal(at_most, bound)
  assert np.all(below < bound)
  np.testing.assert_array_equal(order_statistics.next_above(below), bound)


def test_last_true_at_zero_is_zero_or_taken_for_it():
  like = jnp.zeros((2, 1))
  found = np.asarray(order_statistics.last_true(lambda value: value <= 0, like))
  assert np.all((found >= 0) & (found <= np.finfo(np.float32).tiny))
  assert np.all(order_statistics.last_true(lambda value: value < 0, like) < 0)


def test_last_true_of_never():
  like = jnp.zeros((2, 1))
  never = order_statistics.last_true(lambda value: value < -INF, like)
  np.testing.assert_array_equal(never, -INF)


def test_largest_scores_with_ties_and_walls():
  scores = jnp.array([[1.0, 3, 2, 3, -INF], [0, 0, -0.0, 0, 0]])
  for count, first, second in (
    (0, [], []),
    (1, [1], [0]),
    (2.9, [1, 3], [0, 1]),
    (3, [1, 2, 3], [0, 1, 2]),
    (5, range(5), range(5)),
    (9, range(5), range(5)),
  ):
    chosen = l0.largest(scores, jnp.full((1, 1), count))
    for row, expected in zip(chosen, (first, second), strict=True):
      assert np.flatnonzero(row).tolist() == list(expected), count


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
@pytest.mark.parametrize("upper", [1.0, INF])
def test_steps_onto_a_plane_at_the_edges(norm, upper):
  room = Room(jnp.zeros((1, 1)), jnp.full((1, 1), upper))
  point = jnp.full((4, 3), 0.5)
  slope = jnp.array([[2.0, 2.0, 1.0]] * 3 + [[0.0, 0.0, 0.0]])
  gap = jnp.array([0.0, 1e-30, 2.0, 1.0])
  step = hyperplane.project_onto_hyperplane(
    point, slope, gap, room, (Block(norm, point.shape[1]),)
  )
  gained = jnp.sum(slope * step, 1)
  np.testing.assert_allclose(gained, [0, 1e-30, 2, 0], rtol=1e-6, atol=1e-33)
  assert np.all(np.asarray(step) >= 0)
  # Of equal slopes the first is filled first; it has room for 1 in the box.
  if norm == 1:
    expected = [0.5, 0.5, 0] if upper == 1 else [1, 0, 0]
    np.testing.assert_allclose(step[2], expected, rtol=1e-6)


def steps_in(norm):
  slope, room = jnp.ones((4, 64)), Room(jnp.zeros((1, 1)), jnp.ones((1, 1)))
  blocks = (Block(norm, 64),)
  return lambda x: hyperplane.project_onto_hyperplane(
    x, slope * x, x[:, 0], room, blocks
  )


@pytest.mark.parametrize(
  "step",
  [
    *map(steps_in, (np.inf, 2, 1)),
    lambda x: attacks.l1(1.0).project(x, jnp.zeros_like(x)),
    lambda x: attacks.l1(1.0).ascent(x, x),
    lambda x: attacks.l0(3).project(x[:, None, :], x[:, None, :] * 0),
  ],
)
def test_attack_steps_compile_without_a_sort(step):
  values = jax.random.uniform(jax.random.key(0), (4, 64))
  program = jax.jit(step).lower(values).compile().as_text()
  assert " sort(" not in program
  assert "TopK" not in program
