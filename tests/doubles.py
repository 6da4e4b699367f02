"""Double precision for a part of a test, on every supported version of JAX."""

import contextlib

import jax


@contextlib.contextmanager
def in_double_precision():
  """Runs the body with ``jax_enable_x64``.

  The option, not `jax.enable_x64`, which jax 0.7.2 lacks.
  """
  before = jax.config.jax_enable_x64
  jax.config.update("jax_enable_x64", True)
  try:
    yield
  finally:
    jax.config.update("jax_enable_x64", before)
