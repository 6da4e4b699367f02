"""An estimate with an estimated error, and what a t test says about it."""

import dataclasses
import math

from scipy import special

from snnjax.intervals import Interval, t_interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
  """A number, how far it may be off, and on how many repetitions it stands.

  Attributes:
    estimate: the number, in the unit of what was measured.
    standard_error: of the estimate, in its unit; 0 where the repetitions have
      no spread at all, which no test can be built on.
    degrees_of_freedom: of the standard error; a real number.
    replicates: how many independent repetitions (seeds, clusters).
    confidence: of `low` and `high`.

  Raises:
    ValueError: from the constructor, if a number is not finite, the error
      negative, the degrees of freedom not positive, there are fewer than two
      replicates, or the confidence is not strictly between 0 and 1.
  """

  estimate: float
  standard_error: float
  degrees_of_freedom: float
  replicates: int
  confidence: float = 0.95

  def __post_init__(self) -> None:
    if not math.isfinite(self.estimate):
      raise ValueError(f"estimate must be finite; got {self.estimate}")
    if not 0 <= self.standard_error < math.inf:
      raise ValueError(
        "standard_error must be finite and at least 0; got "
        f"{self.standard_error}"
      )
    if not 0 < self.degrees_of_freedom < math.inf:
      raise ValueError(
        "degrees_of_freedom must be finite and positive; got "
        f"{self.degrees_of_freedom}"
      )
    if self.replicates < 2:
      raise ValueError(
        f"replicates must be at least 2; got {self.replicates}. One says "
        "nothing of how the next one differs"
      )
    self.interval(self.confidence)  # checks the confidence

  @property
  def low(self) -> float:
    """The lower end of the t interval of `confidence`."""
    return self.interval(self.confidence).low

  @property
  def high(self) -> float:
    """The upper end of the t interval of `confidence`."""
    return self.interval(self.confidence).high

  @property
  def p_value(self) -> float:
    """Of the two-sided t test that the true number is 0; see `tails`."""
    return min(1.0, 2.0 * min(self.tails(0.0)))

  def interval(self, confidence: float) -> Interval:
    """Returns the t interval of another coverage.

    Args:
      confidence: the coverage wanted, strictly between 0 and 1.

    Raises:
      ValueError: if the confidence is out of range.
    """
    return t_interval(
      self.estimate, self.standard_error, self.degrees_of_freedom, confidence
    )

  def tails(self, truth: float) -> tuple[float, float]:
    """Returns how likely estimates as far or farther are, on either side.

    Args:
      truth: the true number that is assumed, in the estimate's unit.

    Returns:
      The chances of an estimate at most as large as this one (small: the true
      number is below `truth`), and of one at least as large (small: it is
      above). Both are 1 without any spread: nothing was learned of the error.
    """
    if self.standard_error == 0:
      return 1.0, 1.0
    t = (self.estimate - truth) / self.standard_error
    degrees = self.degrees_of_freedom
    return float(special.stdtr(degrees, t)), float(special.stdtr(degrees, -t))
