"""Verdicts: what a rule makes of an estimate."""

import enum
from collections.abc import Mapping
from typing import NamedTuple

from snnjax.replication.corrections import holm
from snnjax.replication.estimates import Estimate
from snnjax.replication.rules import Rule, in_unit


class Conclusion(enum.StrEnum):
  """What a claim is after the measurement."""

  VERIFIED = "verified"
  REFUTED = "refuted"
  UNDECIDED = "undecided"


class Verdict(NamedTuple):
  """A conclusion and what it stands on.

  Attributes:
    conclusion: verified, refuted or undecided.
    reason: one sentence with the estimate, its interval of confidence
      1 - alpha, and the p values that decided.
    p_effect: corrected, of "no such effect".
    p_smallest: corrected, of "at least the smallest effect that matters".
  """

  conclusion: Conclusion
  reason: str
  p_effect: float
  p_smallest: float


def decide(
  estimates: Mapping[str, Estimate], rules: Mapping[str, Rule]
) -> dict[str, Verdict]:
  """Decides all claims of a question by their rules, see `Rule`.

  They come together since their p values are corrected together: a question
  that asks more needs more of each answer.

  Args:
    estimates: what was measured for each claim: a contrast, or a coefficient
      of a regression.
    rules: the rule of each claim, fixed before the measurement.

  Returns:
    A verdict for each claim, in the order of `estimates`.

  Raises:
    ValueError: if a claim has no rule, or a rule no estimate; the message
      names it.
  """
  for name, one, other in (
    ("estimates", rules, estimates),
    ("rules", estimates, rules),
  ):
    missing = [claim for claim in one if claim not in other]
    if missing:
      raise ValueError(
        f"{name} must have every claim of the question; missing: "
        f"{', '.join(missing)}"
      )
  effects = holm({n: rules[n].p_effect(e) for n, e in estimates.items()})
  smallest = holm({n: rules[n].p_smallest(e) for n, e in estimates.items()})
  return {
    name: _verdict(estimate, rules[name], effects[name], smallest[name])
    for name, estimate in estimates.items()
  }


def _verdict(
  estimate: Estimate, rule: Rule, p_effect: float, p_smallest: float
) -> Verdict:
  conclusion = _conclude(estimate, rule, p_effect, p_smallest)
  _, low, high = estimate.interval(rule.confidence)
  reason = (
    f"{in_unit(estimate.estimate, rule)} [{low:.4g}, {high:.4g}] over "
    f"{estimate.replicates} replicates: "
  )
  if estimate.standard_error == 0:
    reason += (
      "all agree to the last digit, and without spread there is no test (a "
      "floor, a ceiling, or one run copied)"
    )
  else:
    reason += _REASONS[conclusion](estimate, rule, p_effect, p_smallest)
    uncorrected = _conclude(
      estimate, rule, rule.p_effect(estimate), rule.p_smallest(estimate)
    )
    if uncorrected != conclusion:
      reason += f"; {uncorrected.value} without the correction"
  return Verdict(conclusion, reason, p_effect, p_smallest)


def _conclude(
  estimate: Estimate, rule: Rule, p_effect: float, p_smallest: float
) -> Conclusion:
  large = rule.size(estimate.estimate) >= rule.smallest_effect
  if large and p_effect <= rule.alpha:
    return Conclusion.VERIFIED
  return (
    Conclusion.REFUTED if p_smallest <= rule.alpha else Conclusion.UNDECIDED
  )


def _sizes(estimate: Estimate, rule: Rule) -> tuple[float, float]:
  """The smallest and the largest effect at the ends of the interval."""
  _, low, high = estimate.interval(rule.confidence)
  ends = rule.size(low), rule.size(high)
  return min(ends), max(ends)


def _why_verified(
  estimate: Estimate, rule: Rule, p_effect: float, p_smallest: float
) -> str:
  del p_smallest
  reason = f"0 is rejected (p = {p_effect:.2g})"
  if _sizes(estimate, rule)[0] < rule.smallest_effect:
    least = in_unit(rule.smallest_effect, rule)
    reason += f", an effect below {least} is not"
  return reason


def _why_refuted(
  estimate: Estimate, rule: Rule, p_effect: float, p_smallest: float
) -> str:
  least = in_unit(rule.smallest_effect, rule)
  reason = f"an effect of {least} is rejected (p = {p_smallest:.2g})"
  if p_effect <= rule.alpha:
    reason += f", a smaller one is there (p = {p_effect:.2g})"
  elif _sizes(estimate, rule)[1] < 0:
    reason += ", and the effect is of the other sign"
  return reason


def _why_undecided(
  estimate: Estimate, rule: Rule, p_effect: float, p_smallest: float
) -> str:
  del estimate
  least = in_unit(rule.smallest_effect, rule)
  also_open = f"an effect of {least} (p = {p_smallest:.2g})"
  if p_effect <= rule.alpha:
    return (
      f"0 is rejected (p = {p_effect:.2g}), but so small an estimate does not "
      f"verify, and does not reject {also_open}"
    )
  return f"0 is not rejected (p = {p_effect:.2g}), nor is {also_open}"


_REASONS = {
  Conclusion.VERIFIED: _why_verified,
  Conclusion.REFUTED: _why_refuted,
  Conclusion.UNDECIDED: _why_undecided,
}
