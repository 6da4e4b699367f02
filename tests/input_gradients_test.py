"""Input gradients against each other and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import input_gradients, losses
from snnjax.prng import example_keys, split

KEYS = jax.random.split(jax.random.key(0), 8)
W_IMAGE = jax.random.normal(KEYS[0], (6, 4))
W_SOUND = jax.random.normal(KEYS[1], (5, 4))
INPUTS = {
  "image": jax.random.normal(KEYS[2], (3, 2, 3)),
  "sound": jax.random.normal(KEYS[3], (3, 5)),
}
DIRECTION = {
  "image": jax.random.normal(KEYS[4], (3, 2, 3)),
  "sound": jax.random.normal(KEYS[5], (3, 5)),
}
LABELS = jnp.array([0, 3, 1])


def fusion(key, inputs):
  """A smooth two-branch network whose noise is drawn per example."""
  size = inputs["image"].shape[0]
  first, second = split(key)
  image = inputs["image"].reshape(size, -1)
  noise = jax.vmap(lambda k: jax.random.uniform(k, (4,)))
  hidden = jnp.tanh(image @ W_IMAGE + inputs["sound"] @ W_SOUND)
  hidden = hidden + 0.3 * noise(example_keys(first, size))
  return hidden * (2 + 0.3 * noise(example_keys(second, size)))


LOSS = losses.composed(fusion, losses.cross_entropy)


def assert_trees_close(left, right, rtol=1e-5, atol=1e-6):
  assert jax.tree.structure(left) == jax.tree.structure(right)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol),
    left,
    right,
  )


@pytest.mark.parametrize("batched_keys", [False, True])
def test_per_example_equals_summed_without_coupling(batched_keys):
  key = jax.random.key(7)
  if batched_keys:
    key = jax.random.split(key, 3)

  def fresh():
    return jax.random.clone(key)

  alone, own = jax.jit(input_gradients.value_and_per_example(LOSS))(
    fresh(), INPUTS, LABELS
  )
  total, all_ = jax.jit(input_gradients.value_and_summed(LOSS))(
    fresh(), INPUTS, LABELS
  )
  np.testing.assert_allclose(alone, total, rtol=1e-5)
  assert_trees_close(own, all_)
  for gradients in (input_gradients.per_example, input_gradients.summed):
    again = jax.jit(gradients(LOSS))(fresh(), INPUTS, LABELS)
    assert_trees_close(own, again)


def test_batch_statistics_couple_the_summed_gradient_only():
  def normalised(key, inputs, labels):
    del key, labels
    centred = inputs - inputs.mean(axis=0, keepdims=True)
    return (centred**2).sum(axis=1)

  x = jnp.array([[1.0, 2.0], [3.0, -1.0]])
  labels = jnp.array([0, 0])
  key = jax.random.key(0)
  alone = jax.jit(input_gradients.per_example(normalised))(key, x, labels)
  together = input_gradients.summed(normalised)(key, x, labels)
  np.testing.assert_array_equal(alone, jnp.zeros_like(x))
  np.testing.assert_allclose(together, 2 * (x - x.mean(0, keepdims=True)))


def test_directional_derivative_is_the_inner_product():
  gradients = input_gradients.summed(LOSS)(jax.random.key(1), INPUTS, LABELS)
  slope = input_gradients.directional_derivative(LOSS)(
    jax.random.key(1), INPUTS, LABELS, DIRECTION
  )
  inner = sum(
    (gradients[name] * DIRECTION[name]).reshape(3, -1).sum(1) for name in INPUTS
  )
  np.testing.assert_allclose(slope, inner, rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_finite_difference_converges_at_first_order():
  inputs, direction = jax.tree.map(
    lambda leaf: leaf.astype(jnp.float64), (INPUTS, DIRECTION)
  )
  exact = input_gradients.directional_derivative(LOSS)(
    jax.random.key(1), inputs, LABELS, direction
  )
  errors = [
    np.abs(
      input_gradients.finite_difference(LOSS, step)(
        jax.random.key(1), inputs, LABELS, direction
      )
      - exact
    )
    for step in (1e-3, 1e-4)
  ]
  assert (errors[1] < 1e-3).all()
  np.testing.assert_allclose(errors[0] / errors[1], 10, rtol=0.1)


def test_all_forms_survive_jit_and_vmap_over_the_weights():
  key = jax.random.key(2)

  def slopes(scale):
    def loss(k, x, y):
      return losses.cross_entropy(scale * fusion(k, x), y)

    gradients = input_gradients.per_example(loss)(key, INPUTS, LABELS)
    return (
      gradients["sound"],
      input_gradients.finite_difference(loss, 0.01)(
        key, INPUTS, LABELS, DIRECTION
      ),
    )

  scales = jnp.array([0.5, 2.0])
  mapped = jax.jit(jax.vmap(slopes))(scales)
  for index in range(2):
    single = slopes(scales[index])
    assert_trees_close(
      jax.tree.map(lambda leaf, i=index: leaf[i], mapped),
      single,
      rtol=1e-3,
      atol=1e-4,
    )


def test_bad_arguments_are_named():
  with pytest.raises(ValueError, match=r"step must be positive.*-0.1"):
    input_gradients.finite_difference(LOSS, -0.1)
  wrong = DIRECTION | {"sound": DIRECTION["sound"][:1]}
  for slope in (
    input_gradients.directional_derivative(LOSS),
    input_gradients.finite_difference(LOSS, 0.01),
  ):
    with pytest.raises(ValueError, match="direction must be like"):
      slope(jax.random.key(0), INPUTS, LABELS, wrong)
    with pytest.raises(ValueError, match="direction must be like"):
      slope(jax.random.key(0), INPUTS, LABELS, DIRECTION["image"])
  with pytest.raises(ValueError, match="one common leading batch axis"):
    input_gradients.summed(LOSS)(
      jax.random.key(0), INPUTS | {"sound": jnp.ones((2, 5))}, LABELS
    )
