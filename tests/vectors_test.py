"""Lengths, directions and draws, at sizes where squares fail."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import vectors, vulnerability

SIZE = 6
ROWS = jnp.asarray(
  [[3e-30, -4e-30], [3e30, 4e30], [0, 0], [jnp.inf, 1], [jnp.nan, 1]]
)


def test_l2_norm_survives_tiny_and_huge_rows():
  np.testing.assert_allclose(
    vectors.l2_norm(ROWS), [5e-30, 5e30, 0, jnp.inf, jnp.nan], rtol=1e-6
  )


def test_unit_has_length_one_at_any_size_and_is_zero_at_zero():
  np.testing.assert_allclose(
    vectors.unit(ROWS[:3]), [[0.6, -0.8], [0.6, 0.8], [0, 0]], rtol=1e-6
  )


@pytest.mark.parametrize(("order", "dual"), [(np.inf, 1), (2, 2), (1, np.inf)])
def test_norms_are_numpys(order, dual):
  cube = jax.random.normal(jax.random.key(0), (3, 4, 2))
  rows = np.asarray(cube).reshape(3, -1)
  for size, p in ((vectors.norm, order), (vectors.dual_norm, dual)):
    np.testing.assert_allclose(
      size(cube, order), np.linalg.norm(rows, p, 1), rtol=1e-6
    )
  with pytest.raises(ValueError, match="infinity, 2 or 1; got 3"):
    vectors.norm(cube, 3)


@pytest.mark.parametrize("order", [np.inf, 2, 1])
def test_uniform_draws_fill_the_ball_evenly(order):
  draws = 4000
  keys = jax.random.split(jax.random.key(3), draws)
  points = np.asarray(
    jax.vmap(lambda key: vectors.uniform_in_ball(key, SIZE, order))(keys)
  )
  radii = np.linalg.norm(points, ord=order, axis=1)
  assert radii.max() <= 1 + 1e-6
  # Uniform in volume: the radius to the power d is uniform on [0, 1].
  volumes = np.sort(radii**SIZE)
  distance = np.abs(volumes - (np.arange(draws) + 0.5) / draws).max()
  assert distance < 1.95 / math.sqrt(draws)  # Kolmogorov-Smirnov, p = 0.001
  # Evenly in direction: no mean, no correlation, the known second moment.
  moment = vulnerability.first_order(jnp.eye(1, SIZE), order).random[0]
  error = np.sqrt(moment / draws)
  assert np.abs(points.mean(axis=0)).max() < 5 * error
  squares = points**2
  tolerance = 5 * squares.std(axis=0) / math.sqrt(draws)
  assert (np.abs(squares.mean(axis=0) - moment) < tolerance).all()
  products = points[:, :1] * points[:, 1:]
  tolerance = 5 * products.std(axis=0) / math.sqrt(draws)
  assert (np.abs(products.mean(axis=0)) < tolerance).all()
