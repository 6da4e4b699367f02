"""A small smooth network, random but fixed, on images [B, 4, 4, 1]."""

import jax
import jax.numpy as jnp
import numpy as np

CLASSES = 5


def fastest():
  """Options for a hundred tiny programs: compiling them is all the work."""
  options = {"xla_backend_optimization_level": 0}
  more = options | {"xla_cpu_use_fusion_emitters": False}
  try:
    jax.jit(lambda x: x, compiler_options=more)(0.0)
  except jax.errors.JaxRuntimeError:  # An XLA without that option.
    return options
  return more


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
