"""A small smooth network, random but fixed, on images [B, 4, 4, 1]."""

import jax
import jax.numpy as jnp
import numpy as np

CLASSES = 5


def logits(key, inputs):
  del key
  rng = np.random.default_rng(0)
  flat = inputs.reshape(inputs.shape[0], -1)
  hidden = flat @ (rng.normal(size=(16, 20)) / 2).astype(np.float32)
  return jax.nn.softplus(hidden) @ rng.normal(size=(20, CLASSES)).astype(
    np.float32
  )


def batch(rows):
  """Images with the classes that the network gives them."""
  rng = np.random.default_rng(1)
  inputs = jnp.asarray(rng.random((rows, 4, 4, 1)), jnp.float32)
  return inputs, jnp.argmax(logits(None, inputs), 1)


def keys(rows):
  return jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(7), jnp.arange(rows)
  )


def assert_batch_does_not_matter(attack, rows=5):
  """Alone, permuted and together: the same results."""
  inputs, labels = batch(rows)
  # Two shapes to compile; unoptimised code costs half.
  fast = {"xla_backend_optimization_level": 0}
  run, own = jax.jit(attack, compiler_options=fast), keys(rows)
  whole = run(own, inputs, labels)
  order = np.arange(rows)[::-1]
  shuffled = run(own[order], inputs[order], labels[order])
  close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4)  # noqa: E731
  jax.tree.map(lambda a, b: close(a, b[order]), shuffled, whole)
  alone = run(own[2:3], inputs[2:3], labels[2:3])
  jax.tree.map(lambda a, b: close(a, b[2:3]), alone, whole)
