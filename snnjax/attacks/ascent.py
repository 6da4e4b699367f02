"""Gradient ascent by optax steppers, as a proposer of the one loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from snnjax import prng
from snnjax.arguments import describe
from snnjax.attacks.candidates import Keep, success_then_loss
from snnjax.attacks.loop import (
  Memory,
  Point,
  Proposer,
  Record,
  RecordedAttack,
  Until,
  search,
  search_recorded,
  with_restarts,
)
from snnjax.attacks.oracles import Source
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.interfaces import Attack, AttackResult, Inputs, Key, Labels, PyTree
from snnjax.losses import LogitsLoss
from snnjax.validation import check_count

Start = Callable[[Key, Inputs], Inputs]


class Destination(NamedTuple):
  """What a stepper may return in place of a step: the next iterate itself.

  For a step that does not start at the current iterate, or whose result must
  not be rounded by an addition.

  Attributes:
    inputs: where to go; the loop still projects it.
  """

  inputs: Inputs


def ascend(
  source: Source,
  stepper: optax.GradientTransformation,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  restarts: int = 1,
  start: Start | None = None,
  keep: Keep = success_then_loss,
  until: Until | None = None,
) -> Attack:
  r"""Returns the attack ``x <- project(x + step(gradient(x)))``.

  The clean input, every iterate and the final point are candidates; `keep`
  chooses among them for each example, so that with `success_then_loss` or
  `best_loss` the result is never worse than where the attack began. A run
  tries steps + 1 points, and the clean input before them if it starts
  elsewhere; it computes a gradient at each, though the steps need none at the
  clean input and the final point (see `search`). Restarts are compared by
  `success_then_loss`.

  Args:
    source: a logits function, or an oracle.
    stepper: turns gradients into steps that are *added*, or names the next
      iterate as a `Destination`; it is given the iterate as `params` and
      `value`, `correct` and `origin` as extra arguments, in float32 at least.
      Built on `threat` as a rule.
    threat: where the iterates may go.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many gradient steps; 0 only tries the starting points.
    restarts: how many independent runs.
    start: ``(key, clean) -> first iterate``, projected before it is tried;
      `threat.sample` as a rule. None starts at the clean input.
    keep: chooses among the points of a run.
    until: as in `search`.

  Returns:
    ``(key, inputs, labels) -> AttackResult``.

  Raises:
    ValueError: if an argument is something else; from the attack, if inputs
      or labels do not fit, see `check_inputs`.
  """
  _check_stepper(stepper)
  run = search(
    source,
    _stepper_proposer(stepper, start),
    threat,
    loss=loss,
    steps=_tried_points(steps, start),
    keep=keep,
    until=until,
  )
  return with_restarts(run, restarts)


def ascend_recorded(
  source: Source,
  stepper: optax.GradientTransformation,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  record: Record,
  start: Start | None = None,
  keep: Keep = success_then_loss,
) -> RecordedAttack:
  """Returns `ascend` with one run that also records every iterate.

  Args:
    source: a logits function, or an oracle.
    stepper: as in `ascend`.
    threat: where the iterates may go.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many gradient steps.
    record: ``(inputs, probe) -> pytree``, called on the first iterate and
      after every step: sparsity along the attack is
      ``lambda inputs, probe: gini(probe.gradient)``.
    start: as in `ascend`.
    keep: as in `ascend`.

  Returns:
    ``(key, inputs, labels) -> (AttackResult, records)``, each record with a
    leading axis of steps + 1. With the same key the result is that of
    `ascend`.

  Raises:
    ValueError: as `ascend`.
  """
  _check_stepper(stepper)
  run = search_recorded(
    source,
    _stepper_proposer(stepper, start),
    threat,
    loss=loss,
    steps=_tried_points(steps, start),
    record=record,
    keep=keep,
  )
  # The clean input is no iterate of a run that starts elsewhere.
  before = 0 if start is None else 1

  def attack(
    key: Key, inputs: Inputs, labels: Labels
  ) -> tuple[AttackResult, PyTree]:
    keys = prng.example_keys(key, prng.batch_size(inputs))
    # As the first run of `ascend`.
    result, records = run(prng.fold_in(keys, 0), inputs, labels)
    return result, jax.tree.map(lambda leaf: leaf[before:], records)

  return attack


def choose_start(
  threat: Threat, random_start: bool, restarts: int
) -> Start | None:
  """Returns the random start of so many runs, or None for the clean input.

  Raises:
    ValueError: if the threat is none; if several runs would all start at the
      clean input.
  """
  check_threat(threat)
  if restarts != 1 and not random_start:
    raise ValueError(
      f"restarts must be 1 without a random start; got {restarts}"
    )
  return threat.sample if random_start else None


def _tried_points(steps: int, start: Start | None) -> int:
  """Returns how many points a run tries beside the clean input."""
  check_count("steps", steps, least=0)
  return steps if start is None else steps + 1


def _check_stepper(stepper: Any) -> None:
  """Raises ValueError unless this is a stepper, and not what makes one."""
  if not (hasattr(stepper, "init") and hasattr(stepper, "update")):
    raise ValueError(
      "stepper must be an optax transformation; got "
      f"{describe(stepper)}. attacks.steppers.steepest(threat) is one"
    )


def _stepper_proposer(
  stepper: optax.GradientTransformation, start: Start | None
) -> Proposer:
  """Returns the proposer that goes where a stepper leads."""
  stepper = optax.with_extra_args_support(stepper)

  def init(
    keys: Key, origin: Inputs, labels: Labels
  ) -> tuple[Inputs | None, Memory]:
    del labels
    if start is None:
      return None, stepper.init(origin)
    first = start(keys, origin)
    return first, stepper.init(ravel.widen(first))

  def propose(keys: Key, point: Point, memory: Memory) -> tuple[Inputs, Memory]:
    del keys
    update, memory = stepper.update(
      point.probe.gradient,
      memory,
      point.inputs,
      value=point.probe.loss,
      correct=point.probe.correct,
      origin=point.origin,
    )
    if isinstance(update, Destination):
      return update.inputs, memory
    return jax.tree.map(jnp.add, point.inputs, update), memory

  return Proposer(init, propose)
