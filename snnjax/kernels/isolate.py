"""Functions that XLA compiles apart, not fused with the code around them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from snnjax.interfaces import PyTree
from snnjax.kernels.cpu import switch


def isolated(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
  """Returns a function whose results are computed once, for all who use them.

  XLA's CPU backend fuses elementwise work into each of its consumers, which
  repeat it: a sum over taps for every use of a gradient, a slice of stacked
  weights for every element. It drops `jax.lax.optimization_barrier` before it
  fuses. A call that it may not inline stays one: operands and results are
  arrays in memory, and nothing is fused across.

  It is meant for work that only a CPU does; on other platforms XLA chooses
  better by itself. Under every transformation it is `jax.jit`. Where
  `cpu.switch` is off, calls are inlined as all others are.

  Args:
    function: of arrays or trees of them.
  """

  def inside(*operands: Any) -> PyTree:
    # The mark would otherwise reach the calls within.
    with set_xla_metadata(inlineable="true"):
      return function(*operands)

  compiled = jax.jit(inside)

  @functools.wraps(function)
  def call(*operands: Any) -> PyTree:
    if not switch.enabled():
      return function(*operands)
    with set_xla_metadata(inlineable="false"):
      return compiled(*operands)

  return call
