"""Decision rules, which stand before the numbers do."""

import dataclasses
import math
from typing import Literal, get_args

from snnjax.replication.estimates import Estimate

Alternative = Literal["greater", "less", "two-sided"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
  """What must be measured for a claim to be verified, or refuted.

  With e the estimate and m the smallest effect that matters, a claim of an
  effect above 0 ("greater") is

  - *verified* if e >= m and the test rejects that the effect is 0 or less,
  - *refuted* if the test rejects that it is m or more,
  - *undecided* otherwise.

  "less" is the same of -e. "two-sided" claims an effect of either sign: it is
  verified if |e| >= m and the test rejects 0, refuted if the test rejects m or
  more and -m or less as well (two one-sided tests, for equivalence).

  The test is Student's t at `alpha`, half of it on a side whatever is claimed.
  So without a correction, 0 or m is rejected exactly where the two-sided
  interval of confidence 1 - alpha leaves it out, and the figure that shows the
  interval shows the verdict. `decide` corrects the p values of a question by
  Holm's method, those of "no effect" and those of "the smallest effect" apart.
  Claims of one sign are then wrongly verified somewhere in a question with a
  chance of at most alpha/2, wrongly refuted with at most alpha/2, and so wrong
  anywhere with at most alpha; of two-sided ones the first is at most alpha.

  Attributes:
    smallest_effect: m, above 0, in the unit of the estimate.
    alpha: the level of the test, strictly between 0 and 1.
    alternative: the sign of the effect that is claimed.
    unit: of the effect, for sentences, such as "of accuracy".

  Raises:
    ValueError: from the constructor, if a number is out of range or the
      alternative is another.

  References:
    D. J. Schuirmann (1987), A comparison of the two one-sided tests procedure
    and the power approach for assessing the equivalence of average
    bioavailability, Journal of Pharmacokinetics and Biopharmaceutics 15.
    D. Lakens (2017), Equivalence tests, Social Psychological and Personality
    Science 8.
  """

  smallest_effect: float
  alpha: float = 0.05
  alternative: Alternative = "greater"
  unit: str = ""

  def __post_init__(self) -> None:
    if not 0 < self.smallest_effect < math.inf:
      raise ValueError(
        "smallest_effect must be positive and finite; got "
        f"{self.smallest_effect}. Effects below it do not matter, so 0 would "
        "leave nothing to refute"
      )
    if not 0 < self.alpha < 1:
      raise ValueError(
        f"alpha must lie strictly between 0 and 1; got {self.alpha}"
      )
    if self.alternative not in get_args(Alternative):
      raise ValueError(
        f"alternative must be one of {', '.join(get_args(Alternative))}; got "
        f"{self.alternative!r}"
      )

  @property
  def confidence(self) -> float:
    """Of the interval that shows the verdict, 1 - alpha."""
    return 1.0 - self.alpha

  def size(self, estimate: float) -> float:
    """Returns an estimate as the claim counts it: large is in its favour."""
    sizes = {"greater": estimate, "less": -estimate, "two-sided": abs(estimate)}
    return sizes[self.alternative]

  def p_effect(self, estimate: Estimate) -> float:
    """Returns the p value of "no such effect", before any correction.

    It is twice that of the one-sided test, at most 1; of a two-sided claim
    that of the two-sided test.
    """
    below, above = estimate.tails(0.0)
    tails = {"greater": above, "less": below, "two-sided": min(below, above)}
    return min(1.0, 2.0 * tails[self.alternative])

  def p_smallest(self, estimate: Estimate) -> float:
    """Returns the p value of "at least the smallest effect", as `p_effect`."""
    below, _ = estimate.tails(self.smallest_effect)
    _, above = estimate.tails(-self.smallest_effect)
    tails = {"greater": below, "less": above, "two-sided": max(below, above)}
    return min(1.0, 2.0 * tails[self.alternative])


def describe(rule: Rule) -> str:
  """Returns the rule as one sentence, to be printed before the numbers."""
  m = in_unit(rule.smallest_effect, rule)
  conditions = {
    "greater": (
      f"it is at least {m} and the test rejects 0 or less",
      f"the test rejects {m} or more",
    ),
    "less": (
      f"it is at most -{m} and the test rejects 0 or more",
      f"the test rejects -{m} or less",
    ),
    "two-sided": (
      f"it is at least {m} in size and the test rejects 0",
      f"the test rejects both {m} or more and -{m} or less",
    ),
  }
  verified, refuted = conditions[rule.alternative]
  return (
    f"Verified if {verified}, refuted if {refuted}, otherwise undecided; the "
    f"test is Student's t over replicates, two-sided at {rule.alpha:g}, its p "
    "values corrected by Holm's method within the question."
  )


def in_unit(value: float, rule: Rule) -> str:
  """Returns a number of a rule's unit, for a sentence."""
  return f"{value:.4g} {rule.unit}".rstrip()
