"""The decision of each alarm: a pure function of measured numbers.

Accuracies, fractions and rates are in [0, 1]; one point is 0.01. What numbers
cannot decide is `Undecided`, with the reason.

References:
  F. Croce, M. Hein (2020), Reliable evaluation of adversarial robustness with
  an ensemble of diverse parameter-free attacks, arXiv 2003.01690.
  A. Athalye, N. Carlini, D. Wagner (2018), Obfuscated gradients give a false
  sense of security, arXiv 1802.00420.
  N. Carlini et al. (2019), On evaluating adversarial robustness, arXiv
  1902.06705.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

_POINT = 0.01
# Accuracies are quotients of counts: differences below this are rounding.
_ROUNDING = 1e-9
MINIMUM_RULES = 4


def _exceeds(value: float, limit: float) -> bool:
  # NaN exceeds: a number that could not be computed must not look safe.
  return not value <= limit + _ROUNDING


def _named(accuracies: Mapping[str, float]) -> dict[str, float]:
  return {f"{name}_accuracy": value for name, value in accuracies.items()}


class Finding(NamedTuple):
  """Whether an alarm fires, and the numbers that say so."""

  fired: bool
  evidence: Mapping[str, float]


class Undecided(NamedTuple):
  """Why the numbers given do not decide the question, in words."""

  reason: str


def one_step_beats_many(
  one_step_accuracy: float, many_step_accuracy: float
) -> Finding:
  """Fires if many steps leave over half a point more than one step does."""
  return Finding(
    _exceeds(many_step_accuracy - one_step_accuracy, 0.5 * _POINT),
    {
      "one_step_accuracy": one_step_accuracy,
      "many_step_accuracy": many_step_accuracy,
    },
  )


def steps_not_converged(
  accuracy: float, doubled_steps_accuracy: float
) -> Finding:
  """Fires if twice the steps change the accuracy by over one point."""
  return Finding(
    _exceeds(abs(accuracy - doubled_steps_accuracy), _POINT),
    {"accuracy": accuracy, "doubled_steps_accuracy": doubled_steps_accuracy},
  )


def accuracy_rises(
  epsilons: Sequence[float], epsilon_accuracies: Sequence[float]
) -> Finding | Undecided:
  """Fires if the accuracy at one radius exceeds that at a smaller one.

  Raises:
    ValueError: if the sequences differ in length or an accuracy is NaN.
  """
  if len(epsilons) != len(epsilon_accuracies):
    raise ValueError(
      "epsilons and epsilon_accuracies must have the same length; got "
      f"{len(epsilons)} and {len(epsilon_accuracies)}"
    )
  if any(math.isnan(accuracy) for accuracy in epsilon_accuracies):
    raise ValueError(
      f"epsilon_accuracies must be numbers; got {list(epsilon_accuracies)}"
    )
  if len(set(epsilons)) < 2:
    return Undecided("there is only one radius")
  worst = 0.0
  evidence: dict[str, float] = {"radii": len(set(epsilons))}
  pairs = sorted(zip(epsilons, epsilon_accuracies, strict=True))
  for smaller, before in pairs:
    for larger, after in pairs:
      if larger > smaller and _exceeds(after - before, worst):
        worst = after - before
        evidence = {
          "smaller_epsilon": smaller,
          "accuracy_at_smaller": before,
          "larger_epsilon": larger,
          "accuracy_at_larger": after,
        }
  return Finding(worst > 0, evidence)


def survives_any_epsilon(
  large_epsilon_accuracy: float, chance: float
) -> Finding:
  """Fires if linf 0.5 leaves more than chance plus two points."""
  return Finding(
    _exceeds(large_epsilon_accuracy, chance + 2 * _POINT),
    {"large_epsilon_accuracy": large_epsilon_accuracy, "chance": chance},
  )


def gradient_free_beats_white_box(
  white_box_accuracy: float, gradient_free_accuracies: Mapping[str, float]
) -> Finding | Undecided:
  """Fires if an attack without the gradient leaves less than the white box."""
  if not gradient_free_accuracies:
    return Undecided("no attack without a gradient was run")
  return Finding(
    _exceeds(white_box_accuracy, min(gradient_free_accuracies.values())),
    {
      "white_box_accuracy": white_box_accuracy,
      **_named(gradient_free_accuracies),
    },
  )


def gradients_vanish(zero_gradient_fraction: float) -> Finding:
  """Fires if over 1 % of the input gradients are exactly zero."""
  return Finding(
    _exceeds(zero_gradient_fraction, _POINT),
    {"zero_gradient_fraction": zero_gradient_fraction},
  )


def own_rule_is_weak(
  own_rule_accuracy: float, all_rules_accuracy: float, rules: int
) -> Finding | Undecided:
  """Fires if the worst over four or more rules is over five points below one.

  The one is the rule whose result would be reported alone, usually that of
  training. With fewer than four rules nothing can be said.
  """
  if rules < MINIMUM_RULES:
    return Undecided(
      f"fewer than {MINIMUM_RULES} backward rules were tried: {rules}"
    )
  return Finding(
    _exceeds(own_rule_accuracy - all_rules_accuracy, 5 * _POINT),
    {
      "own_rule_accuracy": own_rule_accuracy,
      "all_rules_accuracy": all_rules_accuracy,
      "rules": rules,
    },
  )


def gradient_points_elsewhere(finite_difference_cosine: float) -> Finding:
  """Fires if its cosine with a finite-difference estimate is below 0.2."""
  return Finding(
    not finite_difference_cosine >= 0.2,
    {"finite_difference_cosine": finite_difference_cosine},
  )


def too_few_draws(
  ten_draws_accuracy: float, twenty_draws_accuracy: float
) -> Finding:
  """Fires if EOT over 10 and over 20 draws differ by over one point."""
  return Finding(
    _exceeds(abs(ten_draws_accuracy - twenty_draws_accuracy), _POINT),
    {
      "ten_draws_accuracy": ten_draws_accuracy,
      "twenty_draws_accuracy": twenty_draws_accuracy,
    },
  )


def forwards_differ(differing_forwards: int) -> Finding:
  """Fires if the logits of any example changed in a second forward pass."""
  return Finding(
    differing_forwards > 0, {"differing_forwards": differing_forwards}
  )


def statistics_moved(statistics_change: float) -> Finding:
  """Fires if an attack changed a normalisation statistic at all."""
  return Finding(statistics_change != 0, {"largest_change": statistics_change})


def outputs_invalid(outside: int, non_finite: int) -> Finding:
  """Fires if any output left ball or box or is not finite."""
  return Finding(
    outside > 0 or non_finite > 0,
    {"outside": outside, "non_finite": non_finite},
  )


def too_few_restarts(
  one_restart_accuracy: float, ten_restarts_accuracy: float
) -> Finding:
  """Fires if ten restarts leave over one point less than one restart."""
  return Finding(
    _exceeds(one_restart_accuracy - ten_restarts_accuracy, _POINT),
    {
      "one_restart_accuracy": one_restart_accuracy,
      "ten_restarts_accuracy": ten_restarts_accuracy,
    },
  )


def losses_disagree(
  loss_accuracies: Mapping[str, float], reported_accuracy: float
) -> Finding | Undecided:
  """Fires if losses disagree and more than their minimum was reported."""
  if len(loss_accuracies) < 2:
    return Undecided("fewer than two losses were tried")
  least, most = min(loss_accuracies.values()), max(loss_accuracies.values())
  return Finding(
    _exceeds(most, least) and _exceeds(reported_accuracy, least),
    {"reported_accuracy": reported_accuracy, **_named(loss_accuracies)},
  )


def batch_matters(differing_alone: int) -> Finding:
  """Fires if any example attacked alone fares other than in its batch."""
  return Finding(differing_alone > 0, {"differing_alone": differing_alone})


def tuned_on_the_reported(
  tuning_indices: Collection[int], reported_indices: Collection[int]
) -> Finding:
  """Fires if the attack was tuned on examples that are reported."""
  shared = set(tuning_indices) & set(reported_indices)
  return Finding(
    bool(shared),
    {
      "shared_examples": len(shared),
      "reported_examples": len(reported_indices),
    },
  )


def claims_disagree(disagreeing_claims: int) -> Finding:
  """Fires if an attack's own claims contradict the independent judge."""
  return Finding(
    disagreeing_claims > 0, {"disagreeing_claims": disagreeing_claims}
  )
