"""Makes the lowering of programs cheaper, for tests alone."""

import inspect

try:
  from jax._src.interpreters import mlir
except ImportError:  # JAX's own: it may be elsewhere
  mlir = None

# What is unique in a context stays in it: after so many programs a new one.
PROGRAMS = 500


def share_contexts():
  """Lets many programs be lowered in one MLIR context.

  JAX makes a context for each program, loads all its dialects and drops it:
  6 of the 20 ms that a program of one operation takes, and the tests have
  tens of thousands of them. The function is JAX's own: where it has another
  name, or takes arguments, nothing is changed.
  """
  make = getattr(mlir, "make_ir_context", None)
  if make is None or inspect.signature(make).parameters:
    return
  lent = []

  def share():
    if len(lent) % PROGRAMS == 0:
      lent[:] = [make()]
    else:
      lent.append(lent[-1])
    return lent[-1]

  mlir.make_ir_context = share
