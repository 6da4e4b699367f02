"""Order statistics of rows, without the comparison sorts a CPU is slow at.

XLA's CPU backend sorts floats, and whatever has a second operand, by calls of
a comparison: 64 rows of 784 take 13 ms, their ranks 30. Integers alone sort
in 2.5 ms, and a bisection finds one place of the order in 0.8. Beware of a
slice of `jax.lax.top_k`: XLA makes it the slice of a whole sort.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnjax.interfaces import Array


@jax.custom_jvp
def ascending(values: Array) -> Array:
  """Returns each row in ascending order, NaN last; as ``jnp.sort``.

  Args:
    values: [B, D], of a floating type.
  """
  # NaNs have many bit patterns, of both signs: one of them is put in place of
  # all, so that they sort to the end.
  canonical = jnp.where(jnp.isnan(values), jnp.nan, values)
  return _float_of(jnp.sort(_place_of(canonical), axis=1), values.dtype)


@ascending.defjvp
def _ascending_jvp(
  primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
  # Integers have no derivative; the plain sort has.
  return jax.jvp(lambda values: jnp.sort(values, axis=1), primals, tangents)


def last_true(holds: Callable[[Array], Array], like: Array) -> Array:
  """Returns the largest float at which a condition holds, for each row.

  Bisection over the floats in their order, to the last digit, in as many
  evaluations as the type has bits; infinities are among them. Where the
  processor takes subnormal numbers for zero, one may stand for zero.

  Args:
    holds: ``floats -> booleans``, of the shape of `like`: true up to some
      float and false beyond it, and false for NaN.
    like: of the result's shape and floating type; its values do not matter.

  Returns:
    The floats; -infinity where the condition holds nowhere above it.
  """
  # A condition is monotone in the floats, and so in their places: integers of
  # as many bits, in the same order.
  signed = _integer(like.dtype)
  bits = jnp.iinfo(signed).bits

  def decide(index: Array, place: Array) -> Array:
    # Bits are tried from the top, and a bit stays set if the condition still
    # holds: binary search without comparisons of floats. The first is the
    # sign; `lowest` starts with it set, so that flipping it means "not
    # negative".
    bit = lax.shift_left(
      jnp.ones((), signed), (bits - 1 - index).astype(signed)
    )
    trial = place ^ bit
    return jnp.where(holds(_float_of(trial, like.dtype)), trial, place)

  # The place below that of -infinity: a NaN, should the condition hold nowhere.
  lowest = jnp.full_like(like, jnp.iinfo(signed).min, signed)
  floats = _float_of(lax.fori_loop(0, bits, decide, lowest), like.dtype)
  return jnp.where(jnp.isnan(floats), -jnp.inf, floats)


def kth_largest(values: Array, count: Array | int) -> Array:
  """Returns the `count`-th largest value of each row, [B, 1].

  Args:
    values: [B, D], of a floating type; NaN counts for nothing.
    count: at least 1: a number, [1, 1] or [B, 1]; may be traced.

  Returns:
    The values; -infinity where a row has fewer.
  """

  def enough(floats: Array) -> Array:
    # At most 2^24 of a row: whole numbers are exact in float32.
    reach = jnp.sum(values >= floats, 1, keepdims=True)
    return reach.astype(jnp.result_type(count)) >= count

  values_at_rank = last_true(enough, values[:, :1])
  return jnp.where(values_at_rank == 0, 0, values_at_rank)


def next_above(values: Array) -> Array:
  """Returns the next larger float of each, all of a floating type."""
  return jnp.nextafter(values, jnp.full_like(values, jnp.inf))


def _integer(dtype: jnp.dtype) -> np.dtype:
  return np.dtype(f"int{8 * jnp.dtype(dtype).itemsize}")


def _place_of(values: Array) -> Array:
  """Returns integers in the order of the floats."""
  return _flip(lax.bitcast_convert_type(values, _integer(values.dtype)))


def _float_of(places: Array, dtype: jnp.dtype) -> Array:
  return lax.bitcast_convert_type(_flip(places), dtype)


def _flip(integers: Array) -> Array:
  """Reverses the negative ones, whose floats have sign and magnitude."""
  return jnp.where(
    integers < 0, integers ^ jnp.iinfo(integers.dtype).max, integers
  )
