"""Verdicts at and around every threshold, and what would change them."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from snnjax.replication import (
  Estimate,
  Rule,
  decide,
  describe,
  paired_contrast,
  what_would_change,
)

T = float(stats.t.ppf(0.975, 7))
RULE = Rule(smallest_effect=2.0, unit="points")


def measured(estimate, low):
  """Over eight seeds, with a 95 % interval that begins at `low`."""
  return Estimate(
    estimate=estimate,
    standard_error=(estimate - low) / T,
    degrees_of_freedom=7,
    replicates=8,
  )


# An estimate, the half width of its interval, and the verdicts on an effect of
# 2 that is above 0, below 0, and either.
CASES = [
  (5.0, 1.0, "verified", "refuted", "verified"),  # all of it large
  (3.0, 2.9, "verified", "refuted", "verified"),  # part of it small
  (3.0, 3.1, "undecided", "refuted", "undecided"),  # 0 is in it
  (2.01, 2.0, "verified", "refuted", "verified"),
  (2.0, 1.99, "verified", "refuted", "verified"),  # m itself is enough
  (1.9, 1.8, "undecided", "refuted", "undecided"),  # an effect, too small?
  (1.0, 0.9, "refuted", "refuted", "refuted"),  # an effect, too small
  (1.0, 1.1, "undecided", "refuted", "undecided"),
  (0.0, 1.99, "refuted", "refuted", "refuted"),  # as good as none
  (0.0, 2.01, "undecided", "undecided", "undecided"),
  (0.5, 2.6, "undecided", "undecided", "undecided"),
  (0.5, 2.4, "undecided", "refuted", "undecided"),
  (0.5, 1.6, "undecided", "refuted", "undecided"),
  (0.5, 1.4, "refuted", "refuted", "refuted"),
]


@pytest.mark.parametrize(
  ("estimate", "half", "above", "below", "either"), CASES
)
def test_the_verdict_of_an_interval(estimate, half, above, below, either):
  for sign in (1, -1):
    shown = measured(sign * estimate, sign * estimate - half)
    for alternative, want in (
      ("greater", above if sign > 0 else below),
      ("less", below if sign > 0 else above),
      ("two-sided", either),
    ):
      rule = dataclasses.replace(RULE, alternative=alternative)
      verdict = decide({"it": shown}, {"it": rule})["it"]
      assert verdict.conclusion == want, (alternative, verdict)
      assert 0 <= min(verdict[2:]) <= max(verdict[2:]) <= 1


def test_p_values_are_scipys():
  treated = dict(enumerate(np.random.default_rng(0).normal(0.3, 1, 8)))
  contrast = paired_contrast(treated, dict.fromkeys(treated, 0.0))
  values = list(treated.values())
  test = stats.ttest_1samp(values, 0, alternative="greater").pvalue
  assert RULE.p_effect(contrast) == pytest.approx(min(1, 2 * test))
  test = stats.ttest_1samp(values, 2, alternative="less").pvalue
  assert RULE.p_smallest(contrast) == pytest.approx(2 * test)
  less = dataclasses.replace(RULE, alternative="less")
  test = stats.ttest_1samp(values, -2, alternative="greater").pvalue
  assert less.p_smallest(contrast) == pytest.approx(2 * test)
  two = dataclasses.replace(RULE, alternative="two-sided")
  assert two.p_effect(contrast) == pytest.approx(contrast.p_value)


@pytest.mark.parametrize(
  ("changed", "want"),
  [
    ({}, "verified"),
    ({"smallest_effect": 3.01}, "undecided"),
    ({"smallest_effect": 4.99}, "undecided"),
    ({"smallest_effect": 5.01}, "refuted"),
    ({"alpha": 0.001}, "undecided"),
    ({"alternative": "less"}, "refuted"),
  ],
)
def test_one_threshold_changes_the_verdict(changed, want):
  rule = dataclasses.replace(RULE, **changed)
  shown = measured(3.0, 1.0)
  assert decide({"it": shown}, {"it": rule})["it"].conclusion == want


def test_more_claims_need_more_of_each():
  clear, close, small = measured(4, 3), measured(3, 0.1), measured(1, 0.1)
  together = {"clear": clear, "close": close, "small": small}
  rules = dict.fromkeys(together, RULE)
  alone = {n: decide({n: e}, {n: RULE})[n] for n, e in together.items()}
  verdicts = decide(together, rules)
  assert list(verdicts) == list(together)
  assert [v.conclusion for v in alone.values()] == [
    "verified",
    "verified",
    "refuted",
  ]
  # Holm: .0465 is the largest of p_effect, so it is multiplied by 1 or 2.
  p = {name: RULE.p_effect(e) for name, e in together.items()}
  assert verdicts["close"].p_effect == pytest.approx(2 * p["small"])
  assert [v.conclusion for v in verdicts.values()] == [
    "verified",
    "undecided",
    "undecided",
  ]
  assert "verified without the correction" in verdicts["close"].reason
  assert "without" not in verdicts["clear"].reason


@pytest.mark.parametrize(
  ("shown", "words"),
  [
    (
      measured(3, 2.5),
      "3 points [2.5, 3.5] over 8 replicates: 0 is rejected (p = ",
    ),
    (measured(3, 1.5), "), an effect below 2 points is not"),
    (measured(1, 0.5), ", a smaller one is there (p = "),
    (measured(-1, -1.5), ", and the effect is of the other sign"),
    (measured(1.5, 0.5), "but so small an estimate does not verify"),
    (
      measured(1, -1),
      "0 is not rejected (p = 0.28), nor is an effect of 2 points",
    ),
    (measured(3, 3), "all agree to the last digit"),
  ],
)
def test_the_reason_tells_what_decided(shown, words):
  assert words in decide({"it": shown}, {"it": RULE})["it"].reason


@pytest.mark.parametrize("estimate", [0.0, 5.0])
def test_without_spread_there_is_no_verdict(estimate):
  shown = measured(estimate, estimate)
  assert decide({"it": shown}, {"it": RULE})["it"].conclusion == "undecided"
  told = what_would_change({"it": shown}, {"it": RULE}, "it")
  assert told[:3] == (None, None, None)
  assert "they do not differ" in told.sentence


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"smallest_effect": 0.0}, "smallest_effect must be positive .* got 0.0"),
    ({"smallest_effect": math.inf}, "smallest_effect .* got inf"),
    ({"smallest_effect": 1.0, "alpha": 5}, "alpha must lie .* got 5"),
    (
      {"smallest_effect": 1.0, "alternative": "more"},
      "greater, less, two-sided; got 'more'",
    ),
  ],
)
def test_rules_that_decide_nothing_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    Rule(**arguments)


def test_every_claim_has_an_estimate_and_a_rule():
  shown = measured(3, 1)
  with pytest.raises(ValueError, match=r"rules must have .* missing: b"):
    decide({"a": shown, "b": shown}, {"a": RULE})
  with pytest.raises(ValueError, match=r"estimates must have .* missing: c"):
    decide({"a": shown}, {"a": RULE, "c": RULE})
  with pytest.raises(ValueError, match="name must be one of a; got 'z'"):
    what_would_change({"a": shown}, {"a": RULE}, "z")


@pytest.mark.parametrize(
  ("alternative", "words"),
  [
    ("greater", "it is at least 2 points and the test rejects 0 or less"),
    ("less", "refuted if the test rejects -2 points or less, otherwise"),
    ("two-sided", "both 2 points or more and -2 points or less"),
  ],
)
def test_a_rule_is_one_sentence(alternative, words):
  rule = dataclasses.replace(RULE, alternative=alternative, alpha=0.01)
  assert words in describe(rule)
  assert "two-sided at 0.01" in describe(rule)
  assert describe(rule).count(".") == 2  # one in 0.01


OTHERS = {"other": measured(0.4, 0.1), "third": measured(4, 1)}


@pytest.mark.parametrize("others", [{}, OTHERS], ids=["alone", "of three"])
@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
@pytest.mark.parametrize(("estimate", "half"), [case[:2] for case in CASES])
def test_what_is_said_to_change_the_verdict_does(
  estimate, half, alternative, others
):
  shown = {"it": measured(estimate, estimate - half), **others}
  rule = dataclasses.replace(RULE, alternative=alternative)

  def conclusion(estimates=shown, **changed):
    changed = {"it": dataclasses.replace(rule, **changed)}
    return decide(estimates, {**dict.fromkeys(others, RULE), **changed})[
      "it"
    ].conclusion

  now = conclusion()
  told = what_would_change(
    shown, {"it": rule, **dict.fromkeys(others, RULE)}, "it"
  )
  if told.smallest_effect is None:
    assert now == "refuted"
    assert conclusion(smallest_effect=1e-9) == "refuted"
  else:
    above = conclusion(smallest_effect=told.smallest_effect * 1.0001)
    below = conclusion(smallest_effect=told.smallest_effect * 0.9999)
    assert above != below
    assert now == (below if now == "verified" else now)
    assert above == ("refuted" if now != "verified" else "undecided")
  if now == "undecided":
    grown = [more(shown, told.replicates - 1), more(shown, told.replicates)]
    assert [conclusion(one) == now for one in grown] == [True, False]
    assert f"by {told.replicates} replicates" in told.sentence
    assert told.alpha is None
  else:
    assert told.replicates is None
    assert conclusion(alpha=told.alpha * 1.0001) == now
    assert conclusion(alpha=told.alpha * 0.9999) == "undecided"


def more(estimates, count):
  old = estimates["it"]
  new = Estimate(
    estimate=old.estimate,
    standard_error=old.standard_error * math.sqrt(8 / count),
    degrees_of_freedom=count - 1,
    replicates=count,
  )
  return {**estimates, "it": new}


def test_a_claim_too_close_asks_for_no_number():
  close = {"it": measured(1.99999, -9)}
  told = what_would_change(close, {"it": RULE}, "it")
  assert told.replicates is None
  assert "by more than 16384 replicates only" in told.sentence


@pytest.mark.parametrize("truth", [0.0, 2.0])
def test_a_question_is_seldom_answered_wrongly(truth):
  """Three claims whose tests share half their noise; alpha/2 is 2.5 %."""
  generator = np.random.default_rng(1)
  common = generator.normal(size=(1000, 8, 1))
  noise = 1.2 * (common + generator.normal(size=(1000, 8, 3)))
  wrong = "verified" if truth == 0 else "refuted"
  rules = dict.fromkeys(range(3), RULE)
  mistaken = 0
  for sample in truth + noise:
    errors = sample.std(0, ddof=1) / math.sqrt(8)
    estimates = {
      place: Estimate(
        estimate=float(mean),
        standard_error=float(error),
        degrees_of_freedom=7,
        replicates=8,
      )
      for place, (mean, error) in enumerate(
        zip(sample.mean(0), errors, strict=True)
      )
    }
    verdicts = decide(estimates, rules)
    mistaken += any(v.conclusion == wrong for v in verdicts.values())
  assert 0 < mistaken < 25 + 3 * 5
