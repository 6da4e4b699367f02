"""What would change a verdict: more seeds, or other thresholds."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from scipy import special

from snnjax.replication.estimates import Estimate
from snnjax.replication.rules import Rule, in_unit
from snnjax.replication.verdicts import Conclusion, Verdict, decide

_MOST = 1 << 14  # no larger number of replicates is recommended


class Sensitivity(NamedTuple):
  """Where a verdict turns, all other claims of its question as they are.

  Attributes:
    replicates: of an undecided claim, the least number that would decide it,
      were estimate and spread to stay; None for others, without any spread,
      and where more than 16,384 would be needed.
    smallest_effect: the smallest effect that matters at which the verdict
      turns: a verified claim is no longer so above it, a refuted one no longer
      at it or below, an undecided one is refuted above it. None where none
      above 0 turns it.
    alpha: of a decided claim, the level below which it is undecided; None for
      others.
    sentence: all this, for a reader.
  """

  replicates: int | None
  smallest_effect: float | None
  alpha: float | None
  sentence: str


def what_would_change(
  estimates: Mapping[str, Estimate], rules: Mapping[str, Rule], name: str
) -> Sensitivity:
  """Returns what would change the verdict on one claim of a question.

  Every number comes from deciding the whole question again with one thing
  changed, so Holm's correction is in it.

  Args:
    estimates: what was measured for each claim, see `decide`.
    rules: the rule of each claim.
    name: of the claim.

  Raises:
    ValueError: if there is no such claim, or `decide` refuses the others.
  """
  if name not in estimates:
    raise ValueError(
      f"name must be one of {', '.join(estimates)}; got {name!r}"
    )
  estimate, rule = estimates[name], rules[name]

  def again(
    estimate: Estimate = estimate, smallest: float = rule.smallest_effect
  ) -> Conclusion:
    changed = dataclasses.replace(rule, smallest_effect=smallest)
    return decide({**estimates, name: estimate}, {**rules, name: changed})[
      name
    ].conclusion

  verdict = decide(estimates, rules)[name]
  if estimate.standard_error == 0:
    return Sensitivity(
      None,
      None,
      None,
      "Nothing that these replicates tell: they do not differ.",
    )
  if verdict.conclusion == Conclusion.VERIFIED:
    return _of_verified(estimate, rule, verdict)
  turn = _bisect(
    lambda smallest: again(smallest=smallest) == Conclusion.REFUTED,
    _surely_refuted(estimate, rule, len(estimates)),
  )
  if verdict.conclusion == Conclusion.REFUTED:
    return _of_refuted(rule, verdict, turn)
  replicates = _least_that_decides(estimate, again)
  return _of_undecided(estimate, rule, verdict, turn, replicates)


def _surely_refuted(estimate: Estimate, rule: Rule, claims: int) -> float:
  """A smallest effect that even Bonferroni's correction rejects."""
  quantile = special.stdtrit(
    estimate.degrees_of_freedom, 1 - rule.alpha / (2 * claims)
  )
  size = rule.size(estimate.estimate)
  least = size + float(quantile) * estimate.standard_error
  return max(least, rule.smallest_effect) * (1 + 1e-9)


def _bisect(holds: Callable[[float], bool], high: float) -> float | None:
  """The number above which something holds; None if above 0 it always does."""
  low = 1e-12 * high
  if holds(low):
    return None
  while high - low > 1e-12 * high:
    middle = (low + high) / 2
    low, high = (low, middle) if holds(middle) else (middle, high)
  return high


def _least_that_decides(
  estimate: Estimate, conclusion: Callable[[Estimate], Conclusion]
) -> int | None:
  def undecided(replicates: int) -> bool:
    projected = _projected(estimate, replicates)
    return conclusion(projected) == Conclusion.UNDECIDED

  # The tests sharpen with every replicate: once decided, it stays so.
  low, high = estimate.replicates, 2 * estimate.replicates
  while undecided(high):
    low, high = high, 2 * high
    if high > _MOST:
      return None
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (middle, high) if undecided(middle) else (low, middle)
  return high


def _projected(estimate: Estimate, replicates: int) -> Estimate:
  """The same estimate and spread over another number of replicates."""
  more = replicates / estimate.replicates
  freedom = (replicates - 1) / (estimate.replicates - 1)
  return Estimate(
    estimate=estimate.estimate,
    standard_error=estimate.standard_error / math.sqrt(more),
    degrees_of_freedom=estimate.degrees_of_freedom * freedom,
    replicates=replicates,
  )


def _of_verified(
  estimate: Estimate, rule: Rule, verdict: Verdict
) -> Sensitivity:
  size, alpha = rule.size(estimate.estimate), verdict.p_effect
  return Sensitivity(
    None,
    size,
    alpha,
    f"Not verified if the smallest effect were above {in_unit(size, rule)}, or "
    f"alpha below {alpha:.2g}.",
  )


def _of_refuted(
  rule: Rule, verdict: Verdict, turn: float | None
) -> Sensitivity:
  alpha = verdict.p_smallest
  threshold = "Not refuted"
  if turn is None:
    threshold += " by any smallest effect above 0; only"
  else:
    threshold += (
      f" if the smallest effect were {in_unit(turn, rule)} or less, or"
    )
  return Sensitivity(None, turn, alpha, f"{threshold} alpha below {alpha:.2g}.")


def _of_undecided(
  estimate: Estimate,
  rule: Rule,
  verdict: Verdict,
  turn: float | None,
  replicates: int | None,
) -> Sensitivity:
  size, now = rule.size(estimate.estimate), estimate.replicates
  large = size >= rule.smallest_effect
  becomes = Conclusion.VERIFIED if large else Conclusion.REFUTED
  parts = [f"{becomes.value.capitalize()} by more than {_MOST} replicates only"]
  if replicates is not None:
    parts = [
      f"{becomes.value.capitalize()} by {replicates} replicates of this mean "
      f"and spread, {replicates - now} more"
    ]
  if turn is not None:
    parts.append(
      f"refuted if the smallest effect were above {in_unit(turn, rule)}"
    )
  if verdict.p_effect <= rule.alpha:
    parts.append(f"verified if it were at most {in_unit(size, rule)}")
  elif large:
    parts.append(f"verified at an alpha of {verdict.p_effect:.2g}")
  return Sensitivity(replicates, turn, None, "; ".join(parts) + ".")
