"""What a value of a configuration may be, as a check and in words."""

import itertools
import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

_MOST = 2**31 - 1  # of a whole number without a bound of its own


class Allowed(Protocol):
  """Values that a key may have."""

  def holds(self, value: Any) -> bool:
    """Returns whether a value is allowed."""

  def told(self) -> str:
    """Returns which are, in words that follow "must be"."""


class OneOf(NamedTuple):
  """One of some names."""

  names: tuple[str, ...]

  def holds(self, value: Any) -> bool:
    """Returns whether a value is one of the names."""
    return isinstance(value, str) and value in self.names

  def told(self) -> str:
    """Returns the names."""
    return f"one of {', '.join(self.names)}"


class Number(NamedTuple):
  """A finite number within bounds.

  Attributes:
    low: the smallest allowed.
    high: the largest allowed.
    whole: whether it is a count.
    above: whether `low` itself is not allowed.
    below: whether `high` itself is not allowed.
  """

  low: float = -math.inf
  high: float = math.inf
  whole: bool = False
  above: bool = False
  below: bool = False

  def holds(self, value: Any) -> bool:
    """Returns whether a value is such a number."""
    kinds = int if self.whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
      return False
    over = value > self.low if self.above else value >= self.low
    under = value < self.high if self.below else value <= self.high
    # Python's whole numbers have no end, those of arrays do.
    counted = self.whole and self.high == math.inf
    most = _MOST if counted else sys.float_info.max
    return abs(value) <= most and over and under

  def told(self) -> str:
    """Returns the bounds."""
    kind = "a whole number" if self.whole else "a number"
    if self.high < math.inf:
      left, right = "(" if self.above else "[", ")" if self.below else "]"
      return f"{kind} in {left}{self.low:.10g}, {self.high:.10g}{right}"
    if self.low == -math.inf:
      return kind
    told = f"{kind} {'above' if self.above else 'of at least'} {self.low:g}"
    return f"{told} and below 2^31" if self.whole else told


class Listed(NamedTuple):
  """Values with commas between.

  Attributes:
    each: what each of them may be.
    least: how many there are at least.
    rising: whether each is above the one before.
    distinct: whether no value is there twice.
  """

  each: Allowed
  least: int = 0
  rising: bool = False
  distinct: bool = False

  def holds(self, value: Any) -> bool:
    """Returns whether a value is such a list."""
    if isinstance(value, str) or not isinstance(value, Sequence):
      return False
    if len(value) < self.least or not all(map(self.each.holds, value)):
      return False
    if self.distinct and len(set(value)) < len(value):
      return False
    pairs = itertools.pairwise(value)
    return not self.rising or all(a < b for a, b in pairs)

  def told(self) -> str:
    """Returns what each of the values may be."""
    order = "rising " if self.rising else "different " if self.distinct else ""
    some = f"{self.least} or more" if self.least else "any number of"
    return f"{some} {order}values with commas between, each {self.each.told()}"


class Text(NamedTuple):
  """Any text, or any but none."""

  needed: bool = False

  def holds(self, value: Any) -> bool:
    """Returns whether a value is a text."""
    return isinstance(value, str) and bool(value or not self.needed)

  def told(self) -> str:
    """Returns that it is a text."""
    return "a text that is not empty" if self.needed else "a text"


class Flag(NamedTuple):
  """True or false."""

  def holds(self, value: Any) -> bool:
    """Returns whether a value is one of the two."""
    return isinstance(value, bool)

  def told(self) -> str:
    """Returns the two."""
    return "true or false"
