"""Numbers of an evaluation: accuracies, success rates, the worst case."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from snnjax.evaluation.records import Evaluation, Outcome
from snnjax.intervals import Interval, wilson


class UnjudgedError(ValueError):
  """An evaluation has results that could not be judged."""


class Worst(NamedTuple):
  """The strongest result per example over all attacks.

  Attributes:
    robust: [N] correct on the clean input and under every attack.
    prediction: [N] the class at the worst input.
    loss: [N] the cross-entropy there, in nats.
    attack: [N] the position of the attack that found it; -1 where the clean
      input stands, because it is misclassified or nothing was attempted.
  """

  robust: np.ndarray
  prediction: np.ndarray
  loss: np.ndarray
  attack: np.ndarray


class AttackSummary(NamedTuple):
  """One attack in numbers.

  Attributes:
    attempted: how many examples it was run on.
    broken: how many of them, correct before, it broke.
    alone: accuracy over all examples under this attack alone, or None where
      it was not run on every correct example (survivors only).
    remaining: accuracy over all examples after this and all earlier attacks.
    outside: outputs outside ball or box.
    non_finite: outputs that are not finite, or whose logits are not.
    disagreeing: examples whose own claim of success `classify` contradicts.
    zero_gradient: the fraction of exactly zero gradients; None if unmeasured.
    distance: median distance of the successful outputs; None without any.
  """

  attempted: int
  broken: int
  alone: Interval | None
  remaining: Interval
  outside: int
  non_finite: int
  disagreeing: int
  zero_gradient: float | None
  distance: float | None


class Summary(NamedTuple):
  """An evaluation in numbers, intervals by Wilson.

  Attributes:
    examples: how many there are, N.
    clean: accuracy on the clean inputs, over all examples.
    robust: worst-case accuracy, over all examples; see `summarize` for where
      it is NaN.
    success: the attacks' success rate, over the correct examples; NaN too.
    unrepeatable: examples whose second forward pass differed.
    non_finite: clean examples with logits that are not finite.
    attacks: one summary per attack, in the order they were run.
    skipped: by attack that was asked for and could not run, why.
  """

  examples: int
  clean: Interval
  robust: Interval
  success: Interval
  unrepeatable: int
  non_finite: int
  attacks: Mapping[str, AttackSummary]
  skipped: Mapping[str, str] = MappingProxyType({})


def worst(evaluation: Evaluation) -> Worst:
  """Returns the per-example worst case over all attacks.

  A success beats a failure; among equals the larger loss is worse.

  Raises:
    UnjudgedError: the worst case is unknown: an output lies outside ball or box
      or is not finite; or there is no attack; or an attack did not meet an
      example that withstood all others.
  """
  refuse_outside(evaluation)
  unmet = _count_unmet(evaluation)
  if unmet or not evaluation.attacks:
    raise UnjudgedError(
      "the attacks must have met every example that withstands them; got "
      + (
        "; ".join(f"{name!r} without {n} of them" for name, n in unmet.items())
        or "no attack"
      )
      + ". Finish the evaluation, and leave no attack out whose survivors "
      "another one met"
    )
  clean = evaluation.clean
  robust = clean.correct.copy()
  prediction, loss = clean.prediction.copy(), clean.loss.copy()
  attack = np.full(len(loss), -1, np.int32)
  # One pass in the order of attack: a later one takes an example over only
  # where its result is worse.
  for position, outcome in enumerate(evaluation.attacks.values()):
    valid = outcome.attempted & outcome.contained & clean.correct
    # Success first; among outcomes of the same kind the larger loss.
    louder = (outcome.loss > loss) & (outcome.success == ~robust)
    take = valid & ((outcome.success & robust) | louder)
    prediction[take] = outcome.prediction[take]
    loss[take] = outcome.loss[take]
    attack[take] = position
    # What was not met and had not fallen before is unknown, never robust.
    robust &= outcome.attempted & ~(valid & outcome.success)
  return Worst(robust, prediction, loss, attack)


def summarize(evaluation: Evaluation, confidence: float = 0.95) -> Summary:
  """Returns accuracies over all examples and success over the correct ones.

  Logits that are not finite count as a wrong prediction, on the clean input and
  on an attack's output. The robust accuracy and the attacks' success are NaN,
  with the interval [0, 1], where they are unknown: without any attack or
  example, and where an example that no attack broke was not met by all of them.
  That is so in an unfinished evaluation, and in a selection of the attacks of
  one in which each met only the survivors of others. For a network that is not
  repeatable all is true of the draws that were made; see `unrepeatable`.

  Args:
    evaluation: from `evaluate` or `collect`.
    confidence: coverage of the intervals, strictly between 0 and 1.

  Raises:
    ValueError: if `confidence` is out of range.
    UnjudgedError: if an attack's output lies outside ball or box or is not
      finite.
  """
  refuse_outside(evaluation)
  clean = evaluation.clean
  count, correct = len(evaluation.labels), int(clean.correct.sum())
  standing = int(_survivors(evaluation).sum())
  judged = bool(evaluation.attacks) and not _count_unmet(evaluation)
  unknown = wilson(0, 0, confidence)
  return Summary(
    examples=count,
    # Wilson intervals, which cover well even where nothing or all is right.
    clean=wilson(correct, count, confidence),
    robust=wilson(standing, count, confidence) if judged else unknown,
    success=(
      wilson(correct - standing, correct, confidence) if judged else unknown
    ),
    unrepeatable=int(np.sum(~clean.repeatable)),
    non_finite=int(np.sum(~clean.finite)),
    attacks=summarize_attacks(evaluation, confidence),
    skipped=evaluation.skipped,
  )


def summarize_attacks(
  evaluation: Evaluation, confidence: float = 0.95
) -> Mapping[str, AttackSummary]:
  """Returns the numbers of each attack, by name.

  It raises nothing for outputs outside ball or box: it counts them.

  Args:
    evaluation: from `evaluate` or `collect`.
    confidence: coverage of the intervals, strictly between 0 and 1.
  """
  correct = evaluation.clean.correct
  robust = correct.copy()
  attacks = {}
  for name, outcome in evaluation.attacks.items():
    before = robust.copy()
    # What was not met and had not fallen before is unknown, never robust.
    robust &= outcome.attempted & ~outcome.success
    attacks[name] = _summarize_attack(
      outcome, correct, before, robust, confidence
    )
  return attacks


def refuse_outside(evaluation: Evaluation) -> None:
  """Raises UnjudgedError if an attack's output could not be judged.

  The message names the attack, its box and radius, and the share of such
  outputs: outside ball or box, or not finite. Counted as failures of the
  attack they would look like a defence.
  """
  for name, outcome in evaluation.attacks.items():
    lost = outcome.attempted & ~outcome.contained
    if not lost.any():
      continue
    budget = evaluation.budgets.get(name, "box and radius not recorded")
    raise UnjudgedError(
      f"every output of the attack {name!r} must be finite and lie inside its "
      f"ball and box ({budget}); {lost.sum()} of {outcome.attempted.sum()} "
      f"({np.mean(lost[outcome.attempted]):.0%}) do not, at distances up to "
      f"{np.max(outcome.distance[lost]):.6g}: they cannot be judged, and do "
      "not count as a defence. Clean inputs must lie in the box, and an attack "
      "without a budget belongs under `attacks.within`"
    )


def _survivors(evaluation: Evaluation) -> np.ndarray:
  """Returns which examples are right and broken by no attack, [N]."""
  standing = evaluation.clean.correct.copy()
  for outcome in evaluation.attacks.values():
    standing &= ~outcome.success
  return standing


def _count_unmet(evaluation: Evaluation) -> dict[str, int]:
  """Returns by attack how many survivors of all attacks it did not meet."""
  standing = _survivors(evaluation)
  counts = {
    name: int(np.sum(standing & ~outcome.attempted))
    for name, outcome in evaluation.attacks.items()
  }
  return {name: count for name, count in counts.items() if count}


def _summarize_attack(
  outcome: Outcome,
  correct: np.ndarray,
  before: np.ndarray,
  after: np.ndarray,
  confidence: float,
) -> AttackSummary:
  attempted = outcome.attempted
  alone = None
  if np.all(attempted[correct]):
    survivors = int(np.sum(correct & ~outcome.success))
    alone = wilson(survivors, len(correct), confidence)
  measured = attempted & ~np.isnan(outcome.zero_gradient)
  successes = outcome.success & correct
  # What left the ball is counted as such; its claim is not held against it.
  judged = attempted & outcome.contained
  return AttackSummary(
    attempted=int(attempted.sum()),
    broken=int(np.sum(before & outcome.success)),
    alone=alone,
    remaining=wilson(int(after.sum()), len(correct), confidence),
    outside=int(np.sum(attempted & ~outcome.contained)),
    non_finite=int(np.sum(attempted & ~outcome.finite)),
    disagreeing=int(np.sum(judged & (outcome.claimed != outcome.success))),
    zero_gradient=(
      float(outcome.zero_gradient[measured].mean()) if measured.any() else None
    ),
    distance=float(np.median(outcome.distance[successes]))
    if successes.any()
    else None,
  )
