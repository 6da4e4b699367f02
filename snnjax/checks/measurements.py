"""One function for each question about an attack.

Each attacks the subject in the ways that its question needs, and returns the
fields of `Measurements` that answer it; all others are None. A function that
compares with the reported attack takes its result as `reported`, and runs the
attack itself where that is None.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import attacks, losses, prng
from snnjax.arguments import with_key
from snnjax.attacks.threats.threat import UNIT_BOX
from snnjax.checks.alarms import Measurements
from snnjax.checks.compiled_attacks import by_hop_skip_jump, by_noise, by_square
from snnjax.checks.target import (
  LOSSES,
  Examples,
  Judgement,
  Subject,
  logits_at,
  most_frequent,
  random_starts,
  run_attack,
  run_search,
)
from snnjax.evaluation.steps import logits_of, partial
from snnjax.precision import fewest_bits
from snnjax.validation import check_count

LARGE_RADIUS = 0.5
_SAME = 1e-3  # relative difference of losses that rounding may make
_DETERMINISTIC = "two forward passes are equal: one draw is all there is"


def measure_one_step(
  subject: Subject, examples: Examples, reported: Judgement | None = None
) -> Measurements:
  """Compares one step of the whole radius with many."""
  # Alike in all but the number of steps: both may use the whole radius.
  single = subject._replace(steps=1, step_share=1.0)
  many = reported or run_attack(subject, examples)
  return Measurements(
    one_step_robust=run_attack(single, examples).robust,
    many_steps_robust=many.robust,
  )


def measure_steps(
  subject: Subject, examples: Examples, reported: Judgement | None = None
) -> Measurements:
  """Runs the attack for as many steps again, from the best point it found.

  Counts of its first run, too: outputs that left ball or box, or whose logits
  are not finite, and examples on which the attack's own claim of success and
  the judge disagree.
  """
  many = reported or run_attack(subject, examples)
  # Not one run of twice the steps: this one has its first half for free.
  again = run_attack(subject, examples, first=many.inputs)
  return Measurements(
    steps_robust=many.robust,
    doubled_steps_robust=many.robust & again.robust,
    outside=int(np.sum(many.outside)),
    non_finite=int(np.sum(many.non_finite)),
    outputs=len(many.robust),
    disagreeing_claims=int(
      np.sum((many.claimed == many.robust) & ~many.outside)
    ),
  )


def measure_radii(
  subject: Subject, examples: Examples, reported: Judgement | None = None
) -> Measurements:
  """Attacks within a half, one and two radii."""
  many = reported or run_attack(subject, examples)
  # Several modalities grow together; the largest radius names the ball.
  largest = max(float(np.max(r)) for r in jax.tree.leaves(subject.radius))
  robust = {1.0: many.robust}
  for factor in (0.5, 2.0):
    scaled = jax.tree.map(lambda r, f=factor: f * r, subject.radius)
    other = run_attack(subject._replace(radius=scaled), examples)
    robust[factor] = other.robust
  return Measurements(
    epsilons=[factor * largest for factor in sorted(robust)],
    epsilon_robust=[robust[factor] for factor in sorted(robust)],
  )


def measure_large(subject: Subject, examples: Examples) -> Measurements:
  """Attacks within linf 0.5, where any network must fail on a unit box."""
  unit = subject.box is UNIT_BOX  # then one function for all subjects
  threat = (
    attacks.linf if unit else functools.partial(attacks.linf, box=subject.box)
  )
  far = subject._replace(threat=threat, radius=LARGE_RADIUS)
  return Measurements(
    large_epsilon_robust=run_attack(far, examples).robust,
    constant_correct=most_frequent(np.asarray(examples.labels)),
  )


def measure_noise(
  subject: Subject,
  examples: Examples,
  reported: Judgement | None = None,
  *,
  draws: int = 320,
) -> Measurements:
  """Attacks by random samples, and with the gradient."""
  white = reported or run_attack(subject, examples)
  random = run_search(subject, examples, by_noise, draws)
  return Measurements(
    white_box_robust=white.robust,
    gradient_free_robust={"random": random.robust},
  )


def measure_gradient_free(
  subject: Subject,
  examples: Examples,
  reported: Judgement | None = None,
  *,
  pairs: int = 32,
) -> Measurements:
  """Attacks along differences of the margin (SPSA), and with the gradient."""
  check_count("pairs", pairs)
  white = reported or run_attack(subject, examples)
  free = run_attack(
    subject,
    examples,
    logits_fn=subject.classify,
    loss=losses.margin_loss,
    pairs=pairs,
  )
  return Measurements(
    white_box_robust=white.robust,
    gradient_free_robust={"spsa": free.robust},
  )


def measure_search(
  subject: Subject,
  examples: Examples,
  reported: Judgement | None = None,
  *,
  queries: int = 640,
) -> Measurements:
  """Attacks by Square, by HopSkipJump, and with the gradient.

  Square needs a norm ball, or one for each modality; under another threat it
  is left out of the accuracies.
  """
  white = reported or run_attack(subject, examples)
  searches = {"hop_skip_jump": by_hop_skip_jump}
  if subject.threat(subject.radius).norm is not None:
    searches["square"] = by_square
  robust = {
    name: run_search(subject, examples, search, queries).robust
    for name, search in searches.items()
  }
  return Measurements(
    white_box_robust=white.robust, gradient_free_robust=robust
  )


def measure_rules(
  subject: Subject, examples: Examples, reported: Judgement | None = None
) -> Measurements:
  """Attacks under every rule, and takes the worst for each example."""
  robust = (reported or run_attack(subject, examples)).robust
  worst = robust.copy()
  # The first rule is the reported one, and already there.
  for logits_fn in list(subject.rules.values())[1:]:
    worst &= run_attack(subject, examples, logits_fn=logits_fn).robust
  return Measurements(
    own_rule_robust=robust,
    all_rules_robust=worst,
    rules=len(subject.rules),
  )


def measure_losses(
  subject: Subject, examples: Examples, reported: Judgement | None = None
) -> Measurements:
  """Attacks with cross-entropy, margin and, of three classes, DLR."""
  first = reported or run_attack(subject, examples)
  shape = logits_at(subject, examples, examples.inputs, "clean").shape
  robust = {}
  for name, loss in LOSSES.items():
    if loss is losses.dlr and shape[1] < 3:
      continue
    same = loss is subject.loss
    judged = first if same else run_attack(subject, examples, loss=loss)
    robust[name] = judged.robust
  return Measurements(loss_robust=robust, reported_robust=first.robust)


def measure_restarts(
  subject: Subject, examples: Examples, *, restarts: int = 10
) -> Measurements:
  """Attacks from one random start, and from `restarts` of them.

  An example is attacked again until one start breaks it. The examples left
  are packed into full batches, whatever their start's number.
  """
  check_count("restarts", restarts)

  def run(chosen: Examples, number: np.ndarray) -> np.ndarray:
    restart = prng.fold_in_name(chosen.keys, "restart")
    keys = jax.vmap(jax.random.fold_in)(restart, jnp.asarray(number))
    restarted = chosen._replace(key=keys)
    return run_attack(
      subject, restarted, first=random_starts(subject, restarted)
    ).robust

  count = len(examples.labels)
  single = run(examples, np.full(count, 1))
  robust = single.copy()
  # Sorted by the start's number: an example that an early start breaks is
  # dropped before its later ones are run.
  left = [
    (row, number)
    for number in range(2, restarts + 1)
    for row in np.flatnonzero(robust).tolist()
  ]
  while left:
    size = subject.batch or count
    batch, left = left[:size], left[size:]
    rows, numbers = (np.array(column) for column in zip(*batch, strict=True))
    # Filled up, so that every batch has the shape that is compiled.
    filled = np.resize(np.arange(len(batch)), size)
    withstood = run(examples.take(rows[filled]), numbers[filled])
    robust[rows[filled][~withstood]] = False
    left = [pair for pair in left if robust[pair[0]]]
  return Measurements(one_restart_robust=single, ten_restarts_robust=robust)


def measure_batch(
  subject: Subject,
  examples: Examples,
  reported: Judgement | None = None,
  *,
  alone: int = 4,
) -> Measurements:
  """Attacks the first examples on their own and among the others.

  "On its own" is a batch of copies of the example: of the shape that is
  compiled already, and without any other example.
  """
  check_count("alone", alone)
  together = reported or run_attack(subject, examples)
  count = len(examples.labels)
  differing, tried = 0, min(alone, count)
  for row in range(tried):
    copies = examples.take(np.full(subject.batch or count, row))
    single = run_attack(subject, copies)
    same = np.isclose(
      single.loss[0], together.loss[row], rtol=_SAME, atol=_SAME, equal_nan=True
    )
    differing += not (same and single.robust[0] == together.robust[row])
  return Measurements(differing_alone=differing, attacked_alone=tried)


def measure_products(subject: Subject, examples: Examples) -> Measurements:
  """Looks for the coarsest product of the network, judged and attacked."""
  one = examples.take(np.zeros(1, int))
  return Measurements(
    product_bits=min(
      fewest_bits(logits_of, partial(with_key(function)), one.keys, one.inputs)
      for function in (subject.classify, *subject.rules.values())
    )
  )


def measure_randomness(subject: Subject, examples: Examples) -> Measurements:
  """Runs the network twice; if that differs, attacks 10 and 20 draws."""
  first, second = (
    logits_at(subject, examples, examples.inputs, draw)
    for draw in ("first forward", "second forward")
  )
  differing = int(np.sum(np.any(first != second, 1)))
  if not differing:
    fields = ("ten_draws_robust", "twenty_draws_robust")
    return Measurements(
      differing_forwards=0,
      forwards=len(first),
      reasons=dict.fromkeys(fields, _DETERMINISTIC),
    )
  # Only where something is random: otherwise all draws are the same.
  ten, twenty = (
    run_attack(subject, examples, draws=draws).robust for draws in (10, 20)
  )
  return Measurements(
    differing_forwards=differing,
    forwards=len(first),
    ten_draws_robust=ten,
    twenty_draws_robust=twenty,
  )
