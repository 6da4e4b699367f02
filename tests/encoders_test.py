import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import encoders, readouts

IMAGES = np.random.default_rng(0).uniform(size=(5, 4, 4, 1)).astype(np.float32)


def test_direct_is_one_step_for_all():
  encoder = encoders.direct(6)
  sequence = encoder.encode(None, jnp.asarray(IMAGES))
  assert encoder.steps == 6
  np.testing.assert_array_equal(sequence, IMAGES[None])


def test_poisson_rate_is_the_intensity():
  encoder = encoders.poisson(4000)
  sequence = encoder.encode(jax.random.key(0), jnp.asarray(IMAGES))
  assert set(np.unique(sequence)) == {0.0, 1.0}
  # five standard errors of a Bernoulli mean over 4000 draws, at most .04
  np.testing.assert_allclose(sequence.mean(0), IMAGES, atol=0.04)


def test_poisson_extremes_are_certain():
  data = jnp.stack([jnp.zeros((3, 3)), jnp.ones((3, 3))])
  sequence = encoders.poisson(50).encode(jax.random.key(1), data)
  assert float(sequence[:, 0].max()) == 0
  assert float(sequence[:, 1].min()) == 1


def test_poisson_example_does_not_depend_on_its_batch():
  encoder = encoders.poisson(8)
  keys = jax.random.split(jax.random.key(2), 5)
  together = encoder.encode(jax.random.clone(keys), jnp.asarray(IMAGES))
  alone = encoder.encode(keys[3:4], jnp.asarray(IMAGES[3:4]))
  np.testing.assert_array_equal(together[:, 3], alone[:, 0])


def test_poisson_gradient_is_the_expectation():
  def total(data):
    return jnp.sum(encoders.poisson(7).encode(jax.random.key(3), data))

  np.testing.assert_array_equal(
    jax.grad(total)(jnp.asarray(IMAGES)), np.full(IMAGES.shape, 7.0)
  )


def test_poisson_needs_a_key():
  with pytest.raises(ValueError, match="key is needed"):
    encoders.poisson(3).encode(None, jnp.asarray(IMAGES))


def test_latency_fires_once_and_earlier_for_stronger():
  data = jnp.array([[1.0, 0.5, 0.01, 0.0]])
  sequence = np.asarray(encoders.latency(5).encode(None, data))
  np.testing.assert_array_equal(sequence.sum(0), [[1, 1, 1, 0]])
  np.testing.assert_array_equal(sequence.argmax(0), [[0, 2, 4, 0]])


def test_latency_gradient_goes_to_the_step_of_the_spike():
  weights = jnp.arange(1.0, 6.0).reshape(5, 1, 1)

  def weighted(data):
    return jnp.sum(weights * encoders.latency(5).encode(None, data))

  gradient = jax.grad(weighted)(jnp.array([[1.0, 0.5, 0.0]]))
  np.testing.assert_array_equal(gradient, [[1.0, 3.0, 0.0]])


def test_frames_move_time_to_the_front():
  data = jnp.arange(24.0).reshape(2, 3, 4)
  sequence = encoders.frames(3).encode(None, data)
  np.testing.assert_array_equal(sequence, np.swapaxes(data, 0, 1))


def test_frames_must_be_as_many_as_steps():
  with pytest.raises(
    ValueError, match=r"inputs must be \[B, 5, \.\.\.\].*event frames"
  ):
    encoders.frames(5).encode(None, jnp.zeros((2, 3, 4)))


@pytest.mark.parametrize(
  "make",
  [encoders.direct, encoders.poisson, encoders.latency, encoders.frames],
)
@pytest.mark.parametrize("steps", [0, -1, 2.5])
def test_steps_must_be_a_positive_whole_number(make, steps):
  with pytest.raises(ValueError, match="steps must be a whole number"):
    make(steps)


def test_readouts_by_hand():
  outputs = jnp.array([[[1.0, 5.0]], [[3.0, 1.0]]])
  want = {
    readouts.mean: [[2.0, 3.0]],
    readouts.last: [[3.0, 1.0]],
    readouts.largest: [[3.0, 5.0]],
  }
  for make, logits in want.items():
    np.testing.assert_array_equal(make().reduce(outputs), logits)


def test_linear_readouts_commute_with_a_dense_layer(x64):
  rng = np.random.default_rng(1)
  spikes = jnp.asarray(rng.normal(size=(4, 3, 6)))
  kernel = jnp.asarray(rng.normal(size=(6, 2)))
  for make in (readouts.mean, readouts.last, readouts.largest):
    readout = make()
    commutes = np.allclose(
      readout.reduce(spikes @ kernel), readout.reduce(spikes) @ kernel
    )
    assert commutes == readout.linear
