"""Numbers and names as a picture has room for them."""

import math
from collections.abc import Iterable

from snnjax.intervals import Interval
from snnjax.replication import Estimate

_FROM = 20  # letters of a name that is broken in two


def as_interval(value: Interval | Estimate, confidence: float) -> Interval:
  """Returns an estimate with its ends; an `Estimate` at this confidence."""
  return value.interval(confidence) if isinstance(value, Estimate) else value


def decimals(values: Iterable[float], digits: int = 3) -> int:
  """Returns the decimals that give the largest value its significant digits.

  Args:
    values: shown beside each other; those that are not finite do not count.
    digits: significant digits of the largest.
  """
  largest = max((abs(v) for v in values if math.isfinite(v)), default=1.0)
  if largest == 0:
    return 0
  return min(max(digits - 1 - math.floor(math.log10(largest)), 0), 6)


def signed(value: float, places: int) -> str:
  """Returns a number with its sign, a true minus, and so many decimals."""
  text = f"{value:+.{places}f}".replace("-", "\u2212")
  return text if float(f"{value:.{places}f}") else text[1:]


def with_ends(value: Interval, places: int) -> str:
  """Returns an estimate and its interval, signed; without ends it has none."""
  if math.isnan(value.estimate):
    return "no number"
  text = signed(value.estimate, places)
  if math.isnan(value.low) or math.isnan(value.high):
    return f"{text} (no interval)"
  return f"{text} [{signed(value.low, places)}, {signed(value.high, places)}]"


def percent(share: float) -> str:
  """Returns a share in percent, which no line ends within."""
  return f"{100 * share:.4g}\u00a0%"


def few(items: list[str]) -> str:
  """Returns the first three as a list, and how many more there are."""
  more = f" and {len(items) - 3} more" if len(items) > 3 else ""
  return "; ".join(items[:3]) + more


def two_lines(label: str, longest: int = _FROM) -> str:
  """Returns a long label broken at the space or stroke nearest its middle.

  Args:
    label: any.
    longest: letters that stay on one line.
  """
  breaks = [n for n, letter in enumerate(label) if letter in " _-/,+"]
  breaks = [n for n in breaks if 2 < n < len(label) - 3]
  if len(label) <= longest or not breaks:
    return label
  place = min(breaks, key=lambda n: abs(n - len(label) / 2))
  end = place if label[place] == " " else place + 1
  return f"{label[:end]}\n{label[place + 1 :]}"
