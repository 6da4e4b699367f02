"""Whether examples show that a limit is exceeded, or kept, or neither.

A share of N examples has an interval. All of it above the limit fires an
alarm, all of it at or below the limit passes the check; and where it holds
the limit the question is open, with how many examples would close it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from snnjax.arguments import check_array
from snnjax.intervals import Interval, clopper_pearson, paired_difference

POINT = 0.01
_MOST = 1 << 20  # examples; who needs more than these is not told how many


class Finding(NamedTuple):
  """Whether an alarm fires, and the numbers that say so."""

  fired: bool
  evidence: Mapping[str, float]


class Undecided(NamedTuple):
  """The numbers leave the question open; what would close it, in words."""

  reason: str
  evidence: Mapping[str, float]


class Unmeasured(NamedTuple):
  """There is nothing to decide by, and why, in words."""

  reason: str


Decision = Finding | Undecided | Unmeasured


def flags(name: str, values: Any) -> np.ndarray:
  """Returns one truth value per example, [N].

  Args:
    name: how to call them in an error.
    values: what came.

  Raises:
    ValueError: they are no booleans [N].
  """
  array = np.asarray(values)
  check_array(name, array, "booleans [N]", "There is one per example")
  return array


def alike(**values: Any) -> list[np.ndarray]:
  """Returns the truth values of several things for the same examples.

  Raises:
    ValueError: some are no booleans [N], or differ in N.
  """
  arrays = [flags(name, each) for name, each in values.items()]
  if len({len(array) for array in arrays}) > 1:
    sizes = {
      name: len(array) for name, array in zip(values, arrays, strict=True)
    }
    raise ValueError(
      f"{', '.join(values)} must be of the same examples; got {sizes}"
    )
  return arrays


def share_above(
  marked: np.ndarray,
  limit: float,
  name: str,
  evidence: Mapping[str, float],
  confidence: float = 0.95,
) -> Decision:
  """Decides whether more than a share of all examples is like these.

  Args:
    marked: [N] which of the examples.
    limit: the share.
    name: of the share of `marked`, in the evidence.
    evidence: what else was measured.
    confidence: of the interval.
  """
  count, total = int(marked.sum()), len(marked)

  def interval(size: int) -> Interval:
    scaled = min(round(count * size / total), size)
    return clopper_pearson(scaled, size, confidence)

  return _decided(interval, total, limit, name, evidence)


def difference_above(
  first: np.ndarray,
  second: np.ndarray,
  limit: float,
  evidence: Mapping[str, float],
  *,
  either: bool = False,
  confidence: float = 0.95,
) -> Decision:
  """Decides whether one thing holds more often than another, by so much.

  Args:
    first: [N] of which examples it holds.
    second: [N] of which of the same examples the other does.
    limit: to the difference of their shares.
    evidence: what else was measured.
    either: whether a difference the other way counts as well.
    confidence: of the interval.
  """
  total = len(first)
  if total and either and second.sum() > first.sum():
    first, second = second, first
  only = int(np.sum(first & ~second)), int(np.sum(second & ~first))

  def interval(size: int) -> Interval:
    one, other = (round(count * size / total) for count in only)
    one, other = min(one, size), min(other, size - min(one, size))
    return paired_difference(one, other, size, confidence)

  return _decided(interval, total, limit, "difference", evidence, either)


def _decided(
  interval: Callable[[int], Interval],
  total: int,
  limit: float,
  name: str,
  evidence: Mapping[str, float],
  either: bool = False,
) -> Decision:
  if not total:
    return Unmeasured("no example was looked at")
  found = interval(total)
  told = {
    **evidence,
    name: found.estimate,
    f"{name}_low": found.low,
    f"{name}_high": found.high,
    "limit": limit,
  }
  if _verdict(found, limit, either) is not None:
    return Finding(found.low > limit, told)
  return Undecided(_remedy(interval, total, limit, either), told)


def _verdict(found: Interval, limit: float, either: bool) -> bool | None:
  """Whether the limit is exceeded; None where the interval holds it."""
  if found.low > limit:
    return True
  kept = found.high <= limit and not (either and found.low < -limit)
  return False if kept else None


def _remedy(
  interval: Callable[[int], Interval], total: int, limit: float, either: bool
) -> str:
  """Says how many examples would decide, should the shares stay."""
  size = total
  while size < _MOST and _verdict(interval(size), limit, either) is None:
    size *= 2
  if size >= _MOST:
    return f"too close to the limit for {total} examples; it needs many more"
  low, high = size // 2, size
  while high - low > max(high // 50, 1):
    middle = (low + high) // 2
    if _verdict(interval(middle), limit, either) is None:
      low = middle
    else:
      high = middle
  rounded = high if high < 100 else -(-high // 10) * 10
  return (
    f"{total} examples cannot tell; about {rounded} would, should the shares "
    "stay"
  )
