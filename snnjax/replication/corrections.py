"""Corrections of p values for asking several things at once."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
  """Returns Holm's adjusted p values.

  The i-th smallest of k (i from 0) is ``max over j <= i of (k - j) p_j``, at
  most 1. To reject where it is at most alpha keeps the chance of any false
  rejection at or below alpha, however the tests depend on each other.

  Args:
    p_values: a p value for each name, in [0, 1].

  Returns:
    The adjusted ones, in the order of `p_values`.

  Raises:
    ValueError: if a p value is not in [0, 1]; the message names it. NaN is
      not: a test that was not done must not make the others easier.

  References:
    S. Holm (1979), A simple sequentially rejective multiple test procedure,
    Scandinavian Journal of Statistics 6.
  """
  for name, p in p_values.items():
    if not 0 <= p <= 1:
      raise ValueError(f"p_values of {name} must lie in [0, 1]; got {p}")
  ranked = sorted(p_values, key=lambda name: p_values[name])
  counts = np.arange(len(ranked), 0, -1)
  products = counts * np.array([p_values[name] for name in ranked])
  steps = np.minimum(np.maximum.accumulate(products), 1.0).tolist()
  adjusted = dict(zip(ranked, steps, strict=True))
  return {name: adjusted[name] for name in p_values}
