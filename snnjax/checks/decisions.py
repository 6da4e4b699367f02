"""Decides from examples whether a limit is exceeded, kept, or neither.

The share of N examples has a confidence interval. If all of it is above the
limit the alarm fires; if all of it is at or below the limit the check passes.
If the limit lies inside, the check is undecided, and says how many examples
would decide it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from snnjax.arguments import check_array
from snnjax.intervals import Interval, clopper_pearson, paired_difference

POINT = 0.01
_MOST = 1 << 20  # no larger number of examples is recommended


class Finding(NamedTuple):
  """Whether an alarm fires, and the numbers that say so."""

  fired: bool
  evidence: Mapping[str, float]


class Undecided(NamedTuple):
  """The numbers do not decide; `reason` says what would, in words."""

  reason: str
  evidence: Mapping[str, float]


class Unmeasured(NamedTuple):
  """Nothing was measured to decide by; `reason` says why, in words."""

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


def check_paired(**values: Any) -> list[np.ndarray]:
  """Returns several arrays of booleans that are about the same examples.

  Raises:
    ValueError: some are no booleans [N], or differ in N.
  """
  arrays = [flags(name, flagged) for name, flagged in values.items()]
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
  """Decides whether more than a share `limit` of all examples is marked.

  Args:
    marked: [N] which of the examples.
    limit: the share.
    name: of the share of `marked`, in the evidence.
    evidence: what else was measured.
    confidence: of the interval.
  """
  count, total = int(marked.sum()), len(marked)

  def interval(size: int) -> Interval:
    # Of another size, with the same share: for the recommendation.
    scaled = min(round(count * size / total), size)
    return clopper_pearson(scaled, size, confidence)

  return _decide(interval, total, limit, name, evidence)


def difference_above(
  first: np.ndarray,
  second: np.ndarray,
  limit: float,
  evidence: Mapping[str, float],
  *,
  either: bool = False,
  confidence: float = 0.95,
) -> Decision:
  """Decides whether one thing is true more often than another, by `limit`.

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
    # Two-sided by looking at the larger share; `_verdict` looks both ways.
    first, second = second, first
  # Examples on which both agree say nothing about which is larger.
  only = int(np.sum(first & ~second)), int(np.sum(second & ~first))

  def interval(size: int) -> Interval:
    forward, backward = (round(count * size / total) for count in only)
    forward, backward = (
      min(forward, size),
      min(backward, size - min(forward, size)),
    )
    return paired_difference(forward, backward, size, confidence)

  return _decide(interval, total, limit, "difference", evidence, either)


def _decide(
  interval: Callable[[int], Interval],
  total: int,
  limit: float,
  name: str,
  evidence: Mapping[str, float],
  either: bool = False,
) -> Decision:
  if not total:
    return Unmeasured("no example was looked at")
  shown = interval(total)
  numbers = {
    **evidence,
    name: shown.estimate,
    f"{name}_low": shown.low,
    f"{name}_high": shown.high,
    "limit": limit,
  }
  if _verdict(shown, limit, either) is not None:
    return Finding(shown.low > limit, numbers)
  return Undecided(_remedy(interval, total, limit, either), numbers)


def _verdict(shown: Interval, limit: float, either: bool) -> bool | None:
  """Whether the limit is exceeded; None where the interval holds it."""
  if shown.low > limit:
    return True
  within = shown.high <= limit and not (either and shown.low < -limit)
  return False if within else None


def _remedy(
  interval: Callable[[int], Interval], total: int, limit: float, either: bool
) -> str:
  """Says how many examples would decide, if their shares stayed the same."""
  size = total
  # Doubling, then bisection: whether an interval of `size` examples decides
  # is monotone in the size but for rounding.
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
