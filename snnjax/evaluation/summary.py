"""Numbers of an evaluation: accuracies, success rates, the worst case."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from snnjax.evaluation.records import Evaluation, Outcome
from snnjax.statistics import Interval, wilson


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
    robust: worst-case accuracy, over all examples.
    success: the attacks' success rate, over the correct examples.
    unrepeatable: examples whose second forward pass differed.
    non_finite: clean examples with logits that are not finite.
    attacks: one summary per attack, in the order they were run.
  """

  examples: int
  clean: Interval
  robust: Interval
  success: Interval
  unrepeatable: int
  non_finite: int
  attacks: Mapping[str, AttackSummary]


def worst(evaluation: Evaluation) -> Worst:
  """Returns the per-example worst case over all attacks.

  A success beats a failure; among equals the larger loss is worse. Outputs
  outside ball or box, or not finite, do not count.
  """
  clean = evaluation.clean
  robust = clean.correct.copy()
  prediction, loss = clean.prediction.copy(), clean.loss.copy()
  attack = np.full(len(loss), -1, np.int32)
  for position, outcome in enumerate(evaluation.attacks.values()):
    valid = outcome.attempted & outcome.contained & clean.correct
    louder = (outcome.loss > loss) & (outcome.success == ~robust)
    take = valid & ((outcome.success & robust) | louder)
    prediction[take] = outcome.prediction[take]
    loss[take] = outcome.loss[take]
    attack[take] = position
    robust &= ~(valid & outcome.success)
  return Worst(robust, prediction, loss, attack)


def summarize(evaluation: Evaluation, confidence: float = 0.95) -> Summary:
  """Returns accuracies over all examples and success over the correct ones.

  Args:
    evaluation: from `evaluate` or `collect`.
    confidence: coverage of the intervals, strictly between 0 and 1.

  Raises:
    ValueError: if `confidence` is out of range.
  """
  clean = evaluation.clean
  count, correct = len(evaluation.labels), int(clean.correct.sum())
  robust = clean.correct.copy()
  attacks = {}
  for name, outcome in evaluation.attacks.items():
    before = robust.copy()
    robust &= ~outcome.success
    attacks[name] = _attack(outcome, clean.correct, before, robust, confidence)
  standing = int(robust.sum())
  return Summary(
    examples=count,
    clean=wilson(correct, count, confidence),
    robust=wilson(standing, count, confidence),
    success=wilson(correct - standing, correct, confidence),
    unrepeatable=int(np.sum(~clean.repeatable)),
    non_finite=int(np.sum(~clean.finite)),
    attacks=attacks,
  )


def _attack(
  outcome: Outcome,
  correct: np.ndarray,
  before: np.ndarray,
  after: np.ndarray,
  confidence: float,
) -> AttackSummary:
  tried = outcome.attempted
  alone = None
  if np.all(tried[correct]):
    kept = int(np.sum(correct & ~outcome.success))
    alone = wilson(kept, len(correct), confidence)
  measured = tried & ~np.isnan(outcome.zero_gradient)
  won = outcome.success & correct
  # What left the ball is counted as such; its claim is not held against it.
  judged = tried & outcome.contained
  return AttackSummary(
    attempted=int(tried.sum()),
    broken=int(np.sum(before & outcome.success)),
    alone=alone,
    remaining=wilson(int(after.sum()), len(correct), confidence),
    outside=int(np.sum(tried & ~outcome.contained)),
    non_finite=int(np.sum(tried & ~outcome.finite)),
    disagreeing=int(np.sum(judged & (outcome.claimed != outcome.success))),
    zero_gradient=(
      float(outcome.zero_gradient[measured].mean()) if measured.any() else None
    ),
    distance=float(np.median(outcome.distance[won])) if won.any() else None,
  )
