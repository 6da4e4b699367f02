"""Pooling equals the sliding reductions, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.kernels.pooling import (
  average_pool,
  average_pool_reference,
  max_pool,
)


@pytest.mark.parametrize("window", [(2, 2), (3, 2)])
@pytest.mark.parametrize("size", [(7, 9)])
def test_average_equals_the_reference(size, window, x64):
  inputs = jax.random.normal(jax.random.key(0), (2, *size, 3))

  def with_gradient(pool):
    result, pull = jax.vjp(lambda x: pool(x, window), inputs)
    return result, pull(jnp.sin(result))[0]

  results = zip(
    with_gradient(average_pool),
    with_gradient(average_pool_reference),
    strict=True,
  )
  for ours, plain in results:
    np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-14)


def test_by_hand():
  inputs = jnp.array([[1.0, 2, 9], [3, 6, 9]]).reshape(1, 2, 3, 1)
  np.testing.assert_array_equal(average_pool(inputs, (2, 2)).ravel(), [3])
  np.testing.assert_array_equal(max_pool(inputs, (2, 2)).ravel(), [6])
  _, pull = jax.vjp(lambda x: max_pool(x, (2, 2)), inputs)
  np.testing.assert_array_equal(
    pull(jnp.ones((1, 1, 1, 1)))[0].ravel(), [0, 0, 0, 0, 1, 0]
  )


@pytest.mark.parametrize("pool", [average_pool, max_pool])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_keeps_its_type_under_strict_promotion(dtype, pool):
  with jax.numpy_dtype_promotion("strict"):
    result, pull = jax.vjp(
      lambda x: pool(x, (2, 2)), jnp.ones((1, 4, 4, 1), dtype)
    )
    assert result.dtype == dtype
    assert pull(result)[0].dtype == dtype


@pytest.mark.parametrize("pool", [average_pool, max_pool])
@pytest.mark.parametrize(
  ("shape", "size", "name"),
  [
    ((4, 4, 1), (2, 2), "inputs"),
    ((1, 4, 4, 1), (2, 0), "pool"),
    ((1, 4, 4, 1), (2, 5), "pool"),
  ],
)
def test_bad_arguments(pool, shape, size, name):
  with pytest.raises(ValueError, match=name):
    pool(jnp.ones(shape), size)
