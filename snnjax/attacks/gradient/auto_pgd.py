"""Auto-PGD: gradient ascent that chooses its step sizes by its own progress."""

import math
from collections.abc import Callable

from snnjax import losses, prng
from snnjax.arguments import logits_function
from snnjax.attacks.ascent import Start, ascend
from snnjax.attacks.candidates import Keep, best_loss, success_then_loss
from snnjax.attacks.gradient.auto_pgd_steppers import (
  adaptive_sparse,
  adaptive_steps,
)
from snnjax.attacks.loop import with_restarts
from snnjax.attacks.oracles import Oracle, Source, as_oracle, white_box
from snnjax.attacks.target_classes import over_targets
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
  Scored,
  ScoredLossFn,
)
from snnjax.losses import LogitsLoss
from snnjax.validation import check_count, check_range

TargetedLoss = Callable[[Array, Labels, Labels], Array]  # logits, label, target
MakeOracle = Callable[[ScoredLossFn], Oracle]


def auto_pgd(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int = 100,
  restarts: int = 1,
  start: Start | None = None,
  rho: float = 0.75,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns Auto-PGD: no step size to tune.

  The step size of each example halves where its loss stops rising, and the
  run goes on from the best iterate; see `adaptive_steps`. An l1 threat takes
  sparse steps instead, whose number of coordinates adapts; see
  `adaptive_sparse`. A threat with a budget per modality takes the first kind
  along the directions of each modality's own threat.

  Args:
    source: a logits function, or an oracle.
    threat: the budget.
    loss: of a logits function, see `Source`; None is the cross-entropy. The
      authors take that and DLR.
    steps: how many gradient steps.
    restarts: how many runs from random starts.
    start: ``(key, clean) -> first iterate``; None is `threat.sample`.
    rho: share of the steps between checkpoints that must raise the loss.
    keep: see `ascend`; `best_loss` gives the authors' second result, the
      iterate of highest loss.

  Raises:
    ValueError: if a count is below one or `rho` outside [0, 1].

  References:
    Francesco Croce, Matthias Hein, 2020, "Reliable evaluation of adversarial
    robustness with an ensemble of diverse parameter-free attacks",
    arXiv 2003.01690.
    Francesco Croce, Matthias Hein, 2021, "Mind the box: l1-APGD for sparse
    adversarial attacks on image classifiers", arXiv 2103.01208.

  Differs from the authors' code in the random start (uniform in the ball;
  theirs is pushed to its surface), in the l2 direction (theirs adds 1e-12 to
  the norm, so that it hardly moves where the gradient is that small), and in
  what is returned: the success of highest loss, where theirs is the last
  success. Follows it, and not the paper, in that the first period compares
  the loss after the first step with zero.
  """
  check_threat(threat)
  check_count("steps", steps)
  check_range("rho", rho, 0.0, 1.0)
  norm = threat.norm
  if norm is not None and norm.orders == (1.0,):
    density = 0.2 if start is None else None
    stepper = adaptive_sparse(threat, norm, steps, density)
  else:
    stepper = adaptive_steps(threat, steps, rho)
  return ascend(
    as_oracle(source, loss),
    stepper,
    threat,
    steps=steps,
    restarts=restarts,
    start=start or threat.sample,
    keep=keep,
  )


def shrinking_auto_pgd(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int = 100,
  restarts: int = 1,
  factors: tuple[float, ...] = (3.0, 2.0, 1.0),
) -> Attack:
  """Returns Auto-PGD in balls that shrink to the budget.

  Each stage starts at the best point of the one before, projected. AutoAttack
  does so under l1, where a run inside the small ball alone gets stuck.

  Args:
    source: a logits function, or an oracle.
    threat: the budget, l1 as a rule.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: of all stages together; the early ones take equal shares, 0.9 of
      what an even division gives, the last takes the rest.
    restarts: how many runs.
    factors: the radii over the budget's, the last of them 1.

  Raises:
    ValueError: if a count is below one, or `factors` do not end at 1.

  References:
    Croce, Hein 2021, arXiv 2103.01208.
  """
  check_threat(threat)
  oracle = as_oracle(source, loss)
  if not factors or factors[-1] != 1:
    raise ValueError(f"factors must end at 1; got {factors}")
  check_count("steps", steps, least=len(factors))
  # The authors' division; but every stage has a step, and they sum to `steps`.
  early = min(math.ceil(0.9 * steps / len(factors)), steps // len(factors))
  early = max(early, 1)
  counts = [early] * (len(factors) - 1)
  counts.append(steps - sum(counts))

  def staged_run(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    keys = prng.example_keys(key, prng.batch_size(inputs))
    point: Inputs | None = None
    for stage, (factor, count) in enumerate(zip(factors, counts, strict=True)):
      # The last stage is in the budget itself, not in one that was rounded.
      ball = threat if factor == 1 else threat.times(factor)
      result = auto_pgd(
        oracle,
        ball,
        steps=count,
        start=_start(ball, point),
        keep=success_then_loss if stage == len(factors) - 1 else best_loss,
      )(prng.fold_in(keys, stage), inputs, labels)
      point = result.inputs
    # Each early stage probed its iterates and the clean input; a success in a
    # larger ball ended nothing.
    before = sum(counts[:-1]) + 2 * len(counts[:-1])
    return result._replace(iterations=result.iterations + before)

  return with_restarts(staged_run, restarts)


def _start(threat: Threat, point: Inputs | None) -> Start:
  if point is None:
    return threat.sample
  return lambda key, origin: threat.project(point, origin)


def targeted_auto_pgd(
  logits_fn: AnyLogitsFn,
  threat: Threat,
  *,
  steps: int = 100,
  targets: int = 9,
  restarts: int = 1,
  loss: TargetedLoss = losses.targeted_dlr,
  oracle: MakeOracle = white_box,
  attack: Callable[[Oracle], Attack] | None = None,
) -> Attack:
  """Returns Auto-PGD towards each of the strongest rivals in turn (APGD-T).

  Labels are the true classes, and any wrong prediction is a success.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    threat: the budget.
    steps: how many gradient steps towards each rival.
    targets: how many rivals, ranked at the clean input; C - 1 if there are
      fewer.
    restarts: how many runs per rival.
    loss: ``(logits, labels, targets) -> [B]``; `targeted_dlr` needs four
      classes, `targeted_margin_loss` two.
    oracle: makes the oracle of a loss, e.g.
      ``lambda loss: eot(white_box(loss), 20)``.
    attack: makes the attack on one rival of an oracle; None is `auto_pgd`
      with `steps` and `restarts`.

  Raises:
    ValueError: if a count is below one.

  References:
    Croce, Hein 2020, arXiv 2003.01690.
  """
  check_threat(threat)
  logits_fn = logits_function(logits_fn)
  check_count("targets", targets)
  check_count("steps", steps)
  check_count("restarts", restarts)

  def plain(source: Oracle) -> Attack:
    return auto_pgd(source, threat, steps=steps, restarts=restarts)

  def towards(
    key: Key, inputs: Inputs, labels: Labels, rivals: Labels
  ) -> AttackResult:
    def scored(key: Key, points: Inputs, labels: Labels) -> Scored:
      logits = logits_fn(key, points)
      return Scored(loss(logits, labels, rivals), logits)

    return (attack or plain)(oracle(scored))(key, inputs, labels)

  return over_targets(logits_fn, towards, targets)
