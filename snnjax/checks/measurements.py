"""Each question about an attack, asked of a network: one function for each.

They fill some fields of `Measurements`. Those that compare with the reported
attack take what it did, if that is known, and run it otherwise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import attacks, losses, prng
from snnjax.attacks.threats.threat import UNIT_BOX
from snnjax.checks.alarms import Measurements
from snnjax.checks.compiled_attacks import by_hop_skip_jump, by_noise, by_square
from snnjax.checks.target import (
  LOSSES,
  Examples,
  Judged,
  Subject,
  attacked,
  logits_at,
  most_frequent,
  searched,
  starts,
)
from snnjax.validation import check_count

LARGE_RADIUS = 0.5
_SAME = 1e-3  # relative difference of losses that rounding may make
_DETERMINISTIC = "two forward passes are equal: one draw is all there is"


def measure_one_step(
  subject: Subject, examples: Examples, reported: Judged | None = None
) -> Measurements:
  """Compares one step of the whole radius with many."""
  single = subject._replace(steps=1, step_share=1.0)
  many = reported or attacked(subject, examples)
  return Measurements(
    one_step_robust=attacked(single, examples).robust,
    many_steps_robust=many.robust,
  )


def measure_steps(
  subject: Subject, examples: Examples, reported: Judged | None = None
) -> Measurements:
  """Lets the attack climb as many steps again, from the best point it found.

  Its first run is judged as well: what left ball or box or is not finite, and
  what the attack claims and the judge denies.
  """
  many = reported or attacked(subject, examples)
  again = attacked(subject, examples, first=many.inputs)
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
  subject: Subject, examples: Examples, reported: Judged | None = None
) -> Measurements:
  """Attacks within a half, one and two radii."""
  many = reported or attacked(subject, examples)
  largest = max(float(np.max(r)) for r in jax.tree.leaves(subject.radius))
  found = {1.0: many.robust}
  for factor in (0.5, 2.0):
    scaled = jax.tree.map(lambda r, f=factor: f * r, subject.radius)
    other = attacked(subject._replace(radius=scaled), examples)
    found[factor] = other.robust
  return Measurements(
    epsilons=[factor * largest for factor in sorted(found)],
    epsilon_robust=[found[factor] for factor in sorted(found)],
  )


def measure_large(subject: Subject, examples: Examples) -> Measurements:
  """Attacks within half the range, in linf."""
  unit = subject.box is UNIT_BOX  # then one function for all subjects
  threat = (
    attacks.linf if unit else functools.partial(attacks.linf, box=subject.box)
  )
  far = subject._replace(threat=threat, radius=LARGE_RADIUS)
  return Measurements(
    large_epsilon_robust=attacked(far, examples).robust,
    constant_correct=most_frequent(np.asarray(examples.labels)),
  )


def measure_noise(
  subject: Subject,
  examples: Examples,
  reported: Judged | None = None,
  *,
  draws: int = 320,
) -> Measurements:
  """Attacks by random samples, and with the gradient."""
  white = reported or attacked(subject, examples)
  random_ones = searched(subject, examples, by_noise, draws)
  return Measurements(
    white_box_robust=white.robust,
    gradient_free_robust={"random": random_ones.robust},
  )


def measure_gradient_free(
  subject: Subject,
  examples: Examples,
  reported: Judged | None = None,
  *,
  pairs: int = 32,
) -> Measurements:
  """Attacks along differences of the margin (SPSA), and with the gradient."""
  check_count("pairs", pairs)
  white = reported or attacked(subject, examples)
  free = attacked(
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
  reported: Judged | None = None,
  *,
  queries: int = 640,
) -> Measurements:
  """Attacks by Square, by HopSkipJump, and with the gradient.

  Square needs a norm ball, or one for each modality; under another threat it
  is left out of the accuracies.
  """
  white = reported or attacked(subject, examples)
  searches = {"hop_skip_jump": by_hop_skip_jump}
  if subject.threat(subject.radius).norm is not None:
    searches["square"] = by_square
  found = {
    name: searched(subject, examples, search, queries).robust
    for name, search in searches.items()
  }
  return Measurements(white_box_robust=white.robust, gradient_free_robust=found)


def measure_rules(
  subject: Subject, examples: Examples, reported: Judged | None = None
) -> Measurements:
  """Attacks under every rule, and takes the worst for each example."""
  own = (reported or attacked(subject, examples)).robust
  worst = own.copy()
  for logits_fn in list(subject.rules.values())[1:]:
    worst &= attacked(subject, examples, logits_fn=logits_fn).robust
  return Measurements(
    own_rule_robust=own,
    all_rules_robust=worst,
    rules=len(subject.rules),
  )


def measure_losses(
  subject: Subject, examples: Examples, reported: Judged | None = None
) -> Measurements:
  """Attacks with cross-entropy, margin and, of three classes, DLR."""
  own = reported or attacked(subject, examples)
  shape = logits_at(subject, examples, examples.inputs, "clean").shape
  found = {}
  for name, loss in LOSSES.items():
    if loss is losses.dlr and shape[1] < 3:
      continue
    same = loss is subject.loss
    judged = own if same else attacked(subject, examples, loss=loss)
    found[name] = judged.robust
  return Measurements(loss_robust=found, reported_robust=own.robust)


def measure_restarts(
  subject: Subject, examples: Examples, *, restarts: int = 10
) -> Measurements:
  """Attacks from one random start, and what withstands it from many.

  Only what no start has broken is attacked again, packed into full batches.
  """
  check_count("restarts", restarts)

  def run(some: Examples, number: np.ndarray) -> np.ndarray:
    restart = prng.fold_in_name(some.keys, "restart")
    keys = jax.vmap(jax.random.fold_in)(restart, jnp.asarray(number))
    own = some._replace(key=keys)
    return attacked(subject, own, first=starts(subject, own)).robust

  count = len(examples.labels)
  one = run(examples, np.full(count, 1))
  robust = one.copy()
  left = [
    (row, number)
    for number in range(2, restarts + 1)
    for row in np.flatnonzero(robust).tolist()
  ]
  while left:
    size = subject.batch or count
    now, left = left[:size], left[size:]
    rows, numbers = (np.array(column) for column in zip(*now, strict=True))
    # Filled up, so that every batch has the shape that is compiled.
    full = np.resize(np.arange(len(now)), size)
    found = run(examples.taken(rows[full]), numbers[full])
    robust[rows[full][~found]] = False
    left = [pair for pair in left if robust[pair[0]]]
  return Measurements(one_restart_robust=one, ten_restarts_robust=robust)


def measure_batch(
  subject: Subject,
  examples: Examples,
  reported: Judged | None = None,
  *,
  alone: int = 4,
) -> Measurements:
  """Attacks the first examples on their own and among the others.

  On its own an example has copies of itself beside it, which keeps the shape
  that is compiled.
  """
  check_count("alone", alone)
  whole = reported or attacked(subject, examples)
  count = len(examples.labels)
  differing, tried = 0, min(alone, count)
  for row in range(tried):
    copies = examples.taken(np.full(subject.batch or count, row))
    single = attacked(subject, copies)
    same = np.isclose(
      single.loss[0], whole.loss[row], rtol=_SAME, atol=_SAME, equal_nan=True
    )
    differing += not (same and single.robust[0] == whole.robust[row])
  return Measurements(differing_alone=differing, attacked_alone=tried)


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
  ten, twenty = (
    attacked(subject, examples, draws=draws).robust for draws in (10, 20)
  )
  return Measurements(
    differing_forwards=differing,
    forwards=len(first),
    ten_draws_robust=ten,
    twenty_draws_robust=twenty,
  )
