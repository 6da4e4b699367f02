"""The decision of each alarm: a pure function of its measurements.

Arrays named ``..._robust`` are booleans [N], one per example: it was classified
correctly and withstood the attack. Two such arrays of one check must be about
the same examples, in the same order, since they are compared as pairs. Every
limit is compared with a confidence interval (see `decisions`): with too few
examples a check is undecided, it does not pass. One point is 0.01.

Checks that count accidents (`outputs_invalid`, `forwards_differ`, ...) need no
interval: one accident is enough.

References:
  F. Croce, M. Hein (2020), Reliable evaluation of adversarial robustness with
  an ensemble of diverse parameter-free attacks, arXiv 2003.01690.
  A. Athalye, N. Carlini, D. Wagner (2018), Obfuscated gradients give a false
  sense of security, arXiv 1802.00420.
  N. Carlini et al. (2019), On evaluating adversarial robustness, arXiv
  1902.06705.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from snnjax.checks.decisions import (
  POINT,
  Decision,
  Finding,
  Undecided,
  Unmeasured,
  check_paired,
  difference_above,
  share_above,
)

MINIMUM_RULES = 4
_LEAST_COSINE = 0.2
_NO_GRADIENT = Unmeasured("no gradient was looked at")


def one_step_beats_many(
  one_step_robust: np.ndarray, many_steps_robust: np.ndarray
) -> Decision:
  """Fires if many steps leave over half a point more accuracy than one step."""
  one_step, many_steps = check_paired(
    one_step_robust=one_step_robust, many_steps_robust=many_steps_robust
  )
  accuracies = {
    "one_step_accuracy": _share(one_step),
    "many_steps_accuracy": _share(many_steps),
  }
  return difference_above(many_steps, one_step, POINT / 2, accuracies)


def steps_not_converged(
  steps_robust: np.ndarray, doubled_steps_robust: np.ndarray
) -> Decision:
  """Fires if twice the steps break over one point more of the examples."""
  return _broken_beyond(
    {"steps": steps_robust}, {"doubled_steps": doubled_steps_robust}
  )


def accuracy_rises(
  epsilons: Sequence[float], epsilon_robust: Sequence[np.ndarray]
) -> Decision:
  """Fires if an accuracy is over half a point above that at a smaller radius.

  With R radii there are R (R - 1) / 2 pairs: the confidence in each is such
  that all intervals together are right 95 times of 100.

  Raises:
    ValueError: if the sequences differ in length.
  """
  if len(epsilons) != len(epsilon_robust):
    raise ValueError(
      "epsilons and epsilon_robust must have the same length; got "
      f"{len(epsilons)} and {len(epsilon_robust)}"
    )
  if len(set(epsilons)) < 2:
    return Unmeasured("there is only one radius")
  names = [f"epsilon_robust[{place}]" for place in range(len(epsilons))]
  arrays = check_paired(**dict(zip(names, epsilon_robust, strict=True)))
  rows = sorted(zip(epsilons, arrays, strict=True), key=lambda row: row[0])
  # A radius asked for twice says nothing about growth.
  pairs = [
    pair for pair in itertools.combinations(rows, 2) if pair[0][0] < pair[1][0]
  ]
  return _gravest(
    [
      (
        "difference",
        difference_above(
          after,
          before,
          POINT / 2,
          {
            "smaller_epsilon": smaller,
            "accuracy_at_smaller": _share(before),
            "larger_epsilon": larger,
            "accuracy_at_larger": _share(after),
          },
          # Bonferroni: one error in twenty over all pairs together.
          confidence=1 - 0.05 / len(pairs),
        ),
      )
      for (smaller, before), (larger, after) in pairs
    ]
  )


def survives_any_epsilon(
  large_epsilon_robust: np.ndarray, constant_correct: np.ndarray
) -> Decision:
  """Fires if linf 0.5 leaves over two points above a constant answer.

  The constant is the most frequent class, and `constant_correct` says of
  which examples it is the label.
  """
  large, constant = check_paired(
    large_epsilon_robust=large_epsilon_robust, constant_correct=constant_correct
  )
  return difference_above(
    large,
    constant,
    2 * POINT,
    {"large_epsilon_accuracy": _share(large), "chance": _share(constant)},
  )


def gradient_free_beats_white_box(
  white_box_robust: np.ndarray, gradient_free_robust: Mapping[str, np.ndarray]
) -> Decision:
  """Fires if attacks without gradients break over one point of the survivors.

  Survivors withstand the attack with the gradient; the point is of all
  examples.
  """
  if not gradient_free_robust:
    return Unmeasured("no attack without a gradient was run")
  return _broken_beyond({"white_box": white_box_robust}, gradient_free_robust)


def gradients_vanish(zero_gradient: Mapping[str, np.ndarray]) -> Decision:
  """Fires if over 1 % of the examples have an input gradient of exactly zero.

  Args:
    zero_gradient: by place, [N] of which examples it is zero there: at the
      clean input, at a point of the ball, along the attack. One place counts.
  """
  if not zero_gradient:
    return _NO_GRADIENT
  arrays = check_paired(**zero_gradient)
  shares = {
    f"{place}_zero_fraction": _share(zero)
    for place, zero in zip(zero_gradient, arrays, strict=True)
  }
  # An attack that is blocked at one place of its way stops there.
  anywhere = np.logical_or.reduce(arrays)
  return share_above(anywhere, POINT, "zero_gradient_fraction", shares)


def own_rule_is_weak(
  own_rule_robust: np.ndarray, all_rules_robust: np.ndarray, rules: int
) -> Decision:
  """Fires if four or more rules together break over five points more.

  More than the rule whose result would be reported alone, usually that of
  training. With fewer than four rules the check is not measured.
  """
  if rules < MINIMUM_RULES:
    return Unmeasured(
      f"fewer than {MINIMUM_RULES} backward rules were tried: {rules}"
    )
  return _broken_beyond(
    {"own_rule": own_rule_robust},
    {"all_rules": all_rules_robust},
    5 * POINT,
    {"rules": rules},
  )


def gradient_points_elsewhere(
  finite_difference_cosines: Mapping[str, np.ndarray],
) -> Decision:
  """Fires if anywhere the median cosine with finite differences is below 0.2.

  All intervals together are right 95 times of 100, as in `accuracy_rises`.

  Args:
    finite_difference_cosines: by place and loss, such as "ball_margin", [K]
      of the examples whose differences are not all zero; 0 where the gradient
      is. NaN counts as below.
  """
  compared = {
    name: np.asarray(values, float)
    for name, values in finite_difference_cosines.items()
    if len(values)
  }
  if not compared:
    return Unmeasured("the loss of no example changes nearby")
  medians = {
    f"{name}_median_cosine": float(np.median(values))
    for name, values in compared.items()
  }
  return _gravest(
    [
      (
        f"{name}_fraction_below",
        # The median is below a value if over half of the examples are. Not
        # `<`: a NaN must count as below.
        share_above(
          ~(values >= _LEAST_COSINE),
          0.5,
          f"{name}_fraction_below",
          {
            **medians,
            "least_cosine": _LEAST_COSINE,
            "gradients_compared": len(values),
          },
          confidence=1 - 0.05 / len(compared),
        ),
      )
      for name, values in compared.items()
    ]
  )


def too_few_draws(
  ten_draws_robust: np.ndarray, twenty_draws_robust: np.ndarray
) -> Decision:
  """Fires if EOT over 10 and over 20 draws differ by over one point."""
  # Either way: too few draws may make an attack weaker or luckier.
  ten, twenty = check_paired(
    ten_draws_robust=ten_draws_robust, twenty_draws_robust=twenty_draws_robust
  )
  accuracies = {
    "ten_draws_accuracy": _share(ten),
    "twenty_draws_accuracy": _share(twenty),
  }
  return difference_above(ten, twenty, POINT, accuracies, either=True)


def forwards_differ(differing_forwards: int, forwards: int) -> Decision:
  """Fires if the logits of any example changed in a second forward pass."""
  return _none_of("differing_forwards", differing_forwards, forwards)


def statistics_moved(statistics_change: float) -> Decision:
  """Fires if an attack changed a normalisation statistic at all."""
  return Finding(statistics_change != 0, {"largest_change": statistics_change})


def products_rounded(product_bits: int) -> Decision:
  """Fires if factors of products had fewer bits than float32's 24."""
  return Finding(product_bits < 24, {"bits_of_factors": product_bits})


def outputs_invalid(outside: int, non_finite: int, outputs: int) -> Decision:
  """Fires if any output left ball or box or is not finite."""
  counts = {"outside": outside, "non_finite": non_finite}
  if not (outputs or any(counts.values())):
    return Unmeasured("no attack was run")
  return Finding(any(counts.values()), {**counts, "outputs": outputs})


def too_few_restarts(
  one_restart_robust: np.ndarray, ten_restarts_robust: np.ndarray
) -> Decision:
  """Fires if ten restarts break over one point more than one restart."""
  return _broken_beyond(
    {"one_restart": one_restart_robust}, {"ten_restarts": ten_restarts_robust}
  )


def losses_disagree(
  loss_robust: Mapping[str, np.ndarray], reported_robust: np.ndarray
) -> Decision:
  """Fires if other losses break over one point beyond what was reported."""
  if len(loss_robust) < 2:
    return Unmeasured("fewer than two losses were tried")
  return _broken_beyond({"reported": reported_robust}, loss_robust)


def batch_matters(differing_alone: int, attacked_alone: int) -> Decision:
  """Fires if the attack's result on any example depends on its batch."""
  return _none_of("differing_alone", differing_alone, attacked_alone)


def tuned_on_the_reported(
  tuning_indices: Collection[int], reported_indices: Collection[int]
) -> Decision:
  """Fires if the attack was tuned on examples that are reported."""
  if not len(reported_indices):
    return Unmeasured("no example is reported")
  # One is enough: it was chosen by looking at the answer.
  shared = set(tuning_indices) & set(reported_indices)
  return Finding(
    bool(shared),
    {
      "shared_examples": len(shared),
      "reported_examples": len(reported_indices),
    },
  )


def claims_disagree(disagreeing_claims: int, outputs: int) -> Decision:
  """Fires if an attack's own claims contradict the independent judge."""
  return _none_of("disagreeing_claims", disagreeing_claims, outputs)


def _share(marked: np.ndarray) -> float:
  return float(marked.mean()) if len(marked) else float("nan")


def _none_of(name: str, count: int, total: int) -> Decision:
  """Fires if the count is above 0; unmeasured if nothing was looked at."""
  if not (total or count):
    return Unmeasured("nothing was looked at")
  return Finding(count > 0, {name: count, "of": total})


def _broken_beyond(
  before: Mapping[str, np.ndarray],
  others: Mapping[str, np.ndarray],
  limit: float = POINT,
  more: Mapping[str, float] | None = None,
) -> Decision:
  """Fires if other attacks break over a share of all that withstood one.

  Args:
    before: the attack that is examined, by name.
    others: attacks that are run beside it, by name; an example counts if any
      of them breaks it.
    limit: the share of all examples.
    more: further numbers for the evidence.
  """
  named = {
    name if name.endswith("_robust") else f"{name}_robust": values
    for name, values in {**before, **others}.items()
  }
  first, *rest = check_paired(**named)
  accuracies = {
    name.replace("_robust", "_accuracy"): _share(values)
    for name, values in zip(named, (first, *rest), strict=True)
  }
  # Of what the first attack left standing, whatever any other broke.
  broken = first & ~np.logical_and.reduce(rest)
  return share_above(
    broken, limit, "newly_broken_fraction", {**accuracies, **(more or {})}
  )


def _gravest(decisions: Sequence[tuple[str, Decision]]) -> Decision:
  """Returns the gravest of several decisions about one check.

  One that fired comes before an undecided one, and that before a passed one;
  among equals, the one with the largest number.

  Args:
    decisions: each with the name of the number, in its evidence, that is
      compared with the limit.
  """

  def rank(named: tuple[str, Decision]) -> tuple[int, float]:
    name, decision = named
    if isinstance(decision, Unmeasured):
      return 0, 0.0
    grave = 2 if isinstance(decision, Undecided) else 3 * decision.fired
    return max(grave, 1), decision.evidence[name]

  return max(decisions, key=rank)[1]
