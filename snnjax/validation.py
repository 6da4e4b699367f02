"""Checks of concrete arguments; traced values pass, their caller knows them."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.interfaces import Array

Constant = float | Array

_BOX_SLACK = 4  # units in the last place by which a wall may be missed


def is_concrete(value: Constant) -> bool:
  """Returns whether `value` is known now, not only when a program runs."""
  return not isinstance(value, jax.core.Tracer)


def check_number(name: str, value: Any) -> None:
  """Raises ValueError unless a concrete `value` is a number, or many.

  Args:
    name: of the argument, for the message.
    value: anything; 8/255 is a number, the text '8/255' is not.
  """
  if not is_concrete(value):
    return
  try:
    kind = np.asarray(value).dtype
  except ValueError:  # Rows of several lengths.
    kind = np.dtype(object)
  if not jnp.issubdtype(kind, np.number):
    hint = ", which is a text: leave out the quotes"
    raise ValueError(
      f"{name} must be a number, or an array of numbers; got {value!r}"
      f"{hint if isinstance(value, str) else ''}"
    )


def check_range(name: str, value: Constant, low: float, high: float) -> None:
  """Raises ValueError unless a concrete `value` lies in [low, high]."""
  check_number(name, value)
  if is_concrete(value):
    values = np.asarray(value)
    if not bool(np.all((values >= low) & (values <= high))):
      raise ValueError(f"{name} must lie in [{low}, {high}]; got {value}")


def check_positive(name: str, value: Constant) -> None:
  """Raises ValueError unless a concrete `value` is positive."""
  check_number(name, value)
  if is_concrete(value) and not bool(np.all(np.asarray(value) > 0)):
    raise ValueError(f"{name} must be positive; got {value}")


def check_counts(name: str, values: Iterable[int], least: int = 1) -> None:
  """Raises ValueError unless every one of `values` is such a whole number."""
  for value in values:
    check_count(name, value, least)


def check_count(name: str, value: int, least: int = 1) -> None:
  """Raises ValueError unless `value` is a whole number of at least `least`."""
  is_integer = isinstance(value, int | np.integer) and not isinstance(
    value, bool
  )
  if not is_integer or value < least:
    raise ValueError(
      f"{name} must be a whole number of at least {least}; got {value!r}"
    )


def in_box(values: Any, lower: Any, upper: Any, kind: Any = None) -> Any:
  """Returns which values are finite and within the walls, up to rounding.

  A wall that was computed in another way than the values, (0 - 0.13) / 0.31
  for instance, may be missed by some units in the last place.

  Args:
    values: of any shape; NumPy's or JAX's.
    lower: the smallest, broadcasting against the values.
    upper: the largest.
    kind: the type that the values were rounded to; their own by default.
  """
  slack = _BOX_SLACK * float(jnp.finfo(kind or values.dtype).eps)
  low, high = lower - slack * abs(lower), upper + slack * abs(upper)
  return (values >= low) & (values <= high) & (abs(values) < np.inf)


def check_box(name: str, values: Any, lower: Any, upper: Any) -> None:
  """Raises unless concrete inputs [B, ...] lie in their box.

  Every place of the library that takes inputs and a box asks here. Traced
  values pass: what is then computed must not be believed without asking
  `in_box`.

  Args:
    name: of the inputs, for the message.
    values: [B, ...]; values that this process cannot see pass as well.
    lower: the smallest value allowed, broadcasting against the inputs.
    upper: the largest.

  Raises:
    ValueError: if an input is outside its box or not finite.
  """
  known = all(map(is_concrete, (values, lower, upper)))
  if not known or not getattr(values, "is_fully_addressable", True):
    return
  array = np.asarray(values)
  if array.dtype.itemsize < 4:  # NumPy knows little of bfloat16.
    array = array.astype(np.float32)
  walls = np.asarray(lower), np.asarray(upper)
  inside = np.asarray(in_box(array, *walls, np.asarray(values).dtype))
  if inside.all():
    return
  rows = np.flatnonzero(~inside.reshape(len(array), -1).all(1))
  ends = tuple(
    float(f"{end:.6g}") for end in (float(np.min(lower)), float(np.max(upper)))
  )
  raise ValueError(
    f"{name} must lie in the box {ends}; they span [{array.min():.6g}, "
    f"{array.max():.6g}], and {len(rows)} of {len(array)} examples are outside "
    f"or not finite, the first {rows[0]}. If they are standardised or 0..255, "
    "put the normalisation inside the model, or give the box that they live in"
  )
