"""Counts the examples of each class, and describes the counts in a line."""

from collections.abc import Sequence

import numpy as np

_LISTED = 12  # classes whose counts are told one by one


def per_class(labels: np.ndarray, num_classes: int) -> tuple[int, ...]:
  """Returns the number of examples of each class, C numbers.

  Args:
    labels: [N] integers in [0, C).
    num_classes: C.
  """
  return tuple(np.bincount(labels, minlength=num_classes).tolist())


def absent(counts: Sequence[int], classes: Sequence[str]) -> tuple[str, ...]:
  """Returns the names of the classes that have no example."""
  return tuple(
    name for name, count in zip(classes, counts, strict=True) if not count
  )


def describe(counts: Sequence[int], classes: Sequence[str]) -> str:
  """Returns a line such as ``1,000 of 10 classes, 100 each``.

  Few classes of different sizes are listed one by one.

  Args:
    counts: of each class.
    classes: their names.
  """
  head = f"{sum(counts):,} of {len(counts)} classes"
  if len(set(counts)) == 1:
    return f"{head}, {counts[0]:,} each"
  if len(counts) <= _LISTED:
    listed = (
      f"{name}: {count:,}" for name, count in zip(classes, counts, strict=True)
    )
    return f"{head} ({', '.join(listed)})"
  return f"{head}, {min(counts):,} to {max(counts):,} each"


def fault(counts: Sequence[int], classes: Sequence[str]) -> str:
  """Returns a warning if a class has no example; empty if all have one.

  Args:
    counts: of each class.
    classes: their names.
  """
  none = absent(counts, classes)
  present = len(counts) - len(none)
  if not none:
    return ""
  if present == 1:
    alone = classes[int(np.argmax(counts))]
    return f"all {sum(counts):,} examples are of one class, {alone!r}"
  shown = ", ".join(map(repr, none[:_LISTED]))
  more = len(none) - _LISTED
  return f"{len(none)} of {len(counts)} classes have no example: {shown}" + (
    f" and {more} more" if more > 0 else ""
  )
