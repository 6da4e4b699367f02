"""Checks of concrete arguments; traced values pass, their caller knows them."""

from collections.abc import Iterable

import jax
import numpy as np

from snnjax.types import Array

Constant = float | Array


def is_concrete(value: Constant) -> bool:
  """Returns whether `value` is known now, not only when a program runs."""
  return not isinstance(value, jax.core.Tracer)


def check_range(name: str, value: Constant, low: float, high: float) -> None:
  """Raises ValueError unless a concrete `value` lies in [low, high]."""
  if is_concrete(value):
    values = np.asarray(value)
    if not bool(np.all((values >= low) & (values <= high))):
      raise ValueError(f"{name} must lie in [{low}, {high}]; got {value}")


def check_positive(name: str, value: Constant) -> None:
  """Raises ValueError unless a concrete `value` is positive."""
  if is_concrete(value) and not bool(np.all(np.asarray(value) > 0)):
    raise ValueError(f"{name} must be positive; got {value}")


def check_counts(name: str, values: Iterable[int], least: int = 1) -> None:
  """Raises ValueError unless every one of `values` is such a whole number."""
  for value in values:
    check_count(name, value, least)


def check_count(name: str, value: int, least: int = 1) -> None:
  """Raises ValueError unless `value` is a whole number of at least `least`."""
  whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if not whole or value < least:
    raise ValueError(
      f"{name} must be a whole number of at least {least}; got {value!r}"
    )
