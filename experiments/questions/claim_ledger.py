"""The ledger: every claim, the evidence on it, and the verdict.

A claim is general. It is verified where every number that decides verifies
it, refuted where one refutes it, and undecided otherwise: also where a number
that must decide was not measured. All paired contrasts over seeds are corrected
together by Holm's method, whichever claim they belong to; other numbers (closed
forms, shares of examples, times) within their claim.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.command.exits import UsageError
from experiments.configuration.study import Claim, Study
from experiments.questions import (
  committed_evidence,
  contrasts,
  network_evidence,
  theory_evidence,
)
from experiments.questions.claim_evidence import (
  Context,
  Evidence,
  Row,
)
from snnjax import replication
from snnjax.replication import Conclusion, Estimate, Rule

# What measures each claim of a study.
EVIDENCE: Mapping[str, Evidence] = {
  "random_linear": theory_evidence.random_linear,
  "random_networks": theory_evidence.random_networks,
  "adversarial_linear": theory_evidence.adversarial_linear,
  "adversarial_networks": theory_evidence.adversarial_networks,
  "norms_compared": network_evidence.norms_compared,
  "random_resilience": network_evidence.random_resilience,
  "bound_where_linear": theory_evidence.bound_where_linear,
  "bound_everywhere": theory_evidence.bound_everywhere,
  "sr_weak_attacks": network_evidence.weak_attacks,
  "sr_strong_attacks": network_evidence.strong_attacks,
  "sr_modalities": network_evidence.strong_attacks,
  "sr_notable": network_evidence.strong_attacks,
  "hire_cost": committed_evidence.hire_cost,
  "hire_against_no_noise": network_evidence.strong_attacks,
  "hire_against_conventional": network_evidence.strong_attacks,
  "overestimated": committed_evidence.overestimated,
}
_CONTRASTS = "contrasts"
_OPPOSITE = {
  Conclusion.VERIFIED: Conclusion.REFUTED,
  Conclusion.REFUTED: Conclusion.VERIFIED,
  Conclusion.UNDECIDED: Conclusion.UNDECIDED,
}


class Weighed(NamedTuple):
  """A row with what it says of its claim.

  Attributes:
    row: the number.
    conclusion: on the claim; None where it does not decide. One that decides
      and was not measured is undecided.
    reason: in words.
    p: the corrected p value that the conclusion rests on; None without a test.
    change: what would change the conclusion, in words.
  """

  row: Row
  conclusion: Conclusion | None
  reason: str
  p: float | None
  change: str


class Entry(NamedTuple):
  """One claim with its verdict.

  Attributes:
    name: in the study.
    claim: with its rule.
    rows: the evidence.
    conclusion: on the claim.
    turning: the row that the verdict turns on: the one that refutes it most
      clearly, the one that hardly verifies it, or the first that is undecided;
      None of a claim that nothing decides.
  """

  name: str
  claim: Claim
  rows: Sequence[Weighed]
  conclusion: Conclusion
  turning: Weighed | None


def rule_of(name: str, claim: Claim) -> Rule:
  """Returns the rule of the effect that decides a claim, or its contrary.

  Raises:
    UsageError: it makes no sense.
  """
  return contrasts.decision_rule(f"claims[{name!r}]", claim, claim.alpha)


def ledger(context: Context) -> list[Entry]:
  """Returns the verdict on every claim of a study.

  Args:
    context: the study, its networks, and what is committed beside.

  Raises:
    UsageError: the study has no claims, or one that nothing here measures.
    DataError: a committed file is damaged.
  """
  claims = _check_claims(context.study)
  rows = {
    name: EVIDENCE[name](context, claim) for name, claim in claims.items()
  }
  families: dict[str, dict[str, tuple[str, Estimate]]] = {}
  for name, own in rows.items():
    for row in own:
      if row.decides and row.estimate is not None:
        contrast = isinstance(row.estimate, replication.Contrast)
        family = _CONTRASTS if contrast else name
        families.setdefault(family, {})[f"{name}: {row.name}"] = (
          name,
          row.estimate,
        )
  weighed: dict[str, _Judgement] = {}
  for members in families.values():
    weighed |= _decide(claims, members)
  return [
    _entry(name, claims[name], [_weigh(name, row, weighed) for row in own])
    for name, own in rows.items()
  ]


def _check_claims(study: Study) -> Mapping[str, Claim]:
  if not study.claims:
    raise UsageError("the study must have claims; got none")
  for name, claim in study.claims.items():
    if name not in EVIDENCE:
      raise UsageError(
        f"claims must be among {', '.join(EVIDENCE)}; got {name!r}"
      )
    unknown = [arm for arm in claim.arms if arm not in study.arms]
    if unknown:
      raise UsageError(
        f"claims[{name!r}].arms must be among {', '.join(study.arms)}; got "
        f"{', '.join(unknown)}"
      )
    rule_of(name, claim)
  return study.claims


class _Judgement(NamedTuple):
  """Of one number: as `Weighed`."""

  conclusion: Conclusion
  reason: str
  p: float
  change: str


def _decide(
  claims: Mapping[str, Claim], members: Mapping[str, tuple[str, Estimate]]
) -> dict[str, _Judgement]:
  """Decides the numbers that are corrected together."""
  estimates = {key: estimate for key, (_, estimate) in members.items()}
  rules = {
    key: rule_of(name, claims[name]) for key, (name, _) in members.items()
  }
  verdicts = replication.decide(estimates, rules)
  result = {}
  for key, verdict in verdicts.items():
    claim = claims[members[key][0]]
    conclusion, reason = verdict.conclusion, verdict.reason
    turns = replication.what_would_change(estimates, rules, key).sentence
    refutes = conclusion == Conclusion.REFUTED
    p = verdict.p_smallest if refutes else verdict.p_effect
    if claim.contrary:
      conclusion = _OPPOSITE[conclusion]
      turns = f"The contrary of the claim: {turns[0].lower()}{turns[1:]}"
    result[key] = _Judgement(conclusion, reason, p, turns)
  return result


def _weigh(
  name: str, row: Row, judgements: Mapping[str, _Judgement]
) -> Weighed:
  if not row.decides:
    return Weighed(row, None, row.note, None, "")
  if row.estimate is None:
    reason = row.note or "not measured"
    return Weighed(
      row, Conclusion.UNDECIDED, reason, None, f"To measure it: {reason}."
    )
  own = judgements[f"{name}: {row.name}"]
  reason = "; ".join(filter(None, (own.reason, row.note)))
  return Weighed(row, own.conclusion, reason, own.p, own.change)


def _entry(name: str, claim: Claim, rows: Sequence[Weighed]) -> Entry:
  by_word: dict[Conclusion, list[Weighed]] = {word: [] for word in Conclusion}
  for row in rows:
    if row.conclusion is not None:
      by_word[row.conclusion].append(row)
  refuting, open_ones = (
    by_word[word] for word in (Conclusion.REFUTED, Conclusion.UNDECIDED)
  )
  verifying = by_word[Conclusion.VERIFIED]
  if refuting:
    turning = min(refuting, key=_p)
    return Entry(name, claim, rows, Conclusion.REFUTED, turning)
  if open_ones or not verifying:
    measured = [each for each in open_ones if each.row.estimate is not None]
    first = next(iter([*measured, *open_ones]), None)
    return Entry(name, claim, rows, Conclusion.UNDECIDED, first)
  return Entry(name, claim, rows, Conclusion.VERIFIED, max(verifying, key=_p))


def _p(weighed: Weighed) -> float:
  return 1.0 if weighed.p is None else weighed.p


def describe(name: str, claim: Claim) -> str:
  """Returns a claim's decision rule as a sentence."""
  said = replication.describe(rule_of(name, claim))
  if claim.contrary:
    said = f"Tested is the contrary, which must be refuted: {said}"
  return (
    f"{said} Every number that decides must verify it, one suffices to refute."
  )
