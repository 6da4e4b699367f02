"""The one loop all iterative attacks share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from snnjax import prng
from snnjax.arguments import as_labels
from snnjax.attacks.admission import admitted, taken
from snnjax.attacks.candidates import (
  Keep,
  known,
  last,
  nothing,
  probed,
  settled,
  strongest,
)
from snnjax.attacks.oracles import Oracle, OracleState, Probe, check_oracle
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.interfaces import (
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
  PyTree,
)
from snnjax.validation import check_count

Start = Callable[[Key, Inputs], Inputs]
Record = Callable[[Inputs, Probe], PyTree]
Until = Callable[[AttackResult], Array]


class Destination(NamedTuple):
  """What a stepper may return in place of a step: the next iterate itself.

  For a step that does not start at the current iterate, or whose result must
  not be rounded by an addition.

  Attributes:
    inputs: where to go; the loop still projects it.
  """

  inputs: Inputs


def ascend(
  oracle: Oracle,
  stepper: optax.GradientTransformation,
  threat: Threat,
  *,
  steps: int,
  restarts: int = 1,
  start: Start | None = None,
  keep: Keep = strongest,
  until: Until | None = None,
) -> Attack:
  r"""Returns the attack ``x <- project(x + step(gradient(x)))``.

  The clean input, every iterate and the final point are candidates; `keep`
  chooses among them for each example, so that with `strongest` or `best_loss`
  the result is never worse than where the attack began. Restarts are compared
  by `strongest`.

  Args:
    oracle: the losses and gradients.
    stepper: turns gradients into steps that are *added*, or names the next
      iterate as a `Destination`; it is given the iterate as `params` and
      `value`, `correct` and `origin` as extra arguments, in float32 at least.
      Built on `threat` as a rule.
    threat: where the iterates may go.
    steps: how many gradient steps; 0 only tries the starting points.
    restarts: how many independent runs.
    start: ``(key, clean) -> first iterate``, `threat.sample` as a rule; None
      starts at the clean input.
    keep: ``(held, new) -> [B]``, whether the new candidate replaces the held
      one.
    until: ``held -> [B]``, which examples are done: they keep what they hold,
      and a run ends when all of its batch are, which makes it a loop without
      a reverse derivative. None takes every step.

  Returns:
    ``(key, inputs, labels) -> AttackResult``.

  Raises:
    ValueError: if `steps` or `restarts` are not such counts; from the attack,
      if inputs or labels do not fit, see `check_inputs`.
  """
  check_count("restarts", restarts)
  run = _single_run(oracle, stepper, threat, steps, start, keep, until=until)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    labels = taken(threat, inputs, labels)
    keys = prng.example_keys(key, prng.batch_size(inputs))
    held = restarted(lambda *given: run(*given)[0], restarts)(
      keys, inputs, labels
    )
    if start is not None:
      last_keys = prng.fold_in(keys, restarts)
      clean = _probe_clean(oracle, last_keys, inputs, labels)
      held = settled(keep, clean, held)
    return admitted(threat, held, inputs)

  return attack


def sampled(threat: Threat, random_start: bool, restarts: int) -> Start | None:
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


def restarted(attack: Attack, restarts: int, keep: Keep = strongest) -> Attack:
  """Returns the best of independent runs of an attack, under different keys.

  Args:
    attack: what to run.
    restarts: how often.
    keep: ``(held, new) -> [B]``, whether a run's result replaces the best of
      the runs before.

  Raises:
    ValueError: if `restarts` is not a positive whole number.
  """
  check_count("restarts", restarts)

  def repeated(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    size = prng.batch_size(inputs)
    keys, labels = prng.example_keys(key, size), as_labels(labels, size)

    def again(held: AttackResult, index: Array) -> tuple[AttackResult, None]:
      new = attack(prng.fold_in(keys, index), inputs, labels)
      return settled(keep, held, new), None

    if restarts == 1:
      return attack(prng.fold_in(keys, 0), inputs, labels)
    # From nothing, not from a first run: that would compile the attack twice.
    none = nothing(inputs, labels)
    return known(jax.lax.scan(again, none, jnp.arange(restarts))[0])

  return repeated


class _Carry(NamedTuple):
  inputs: Inputs
  stepper: optax.OptState
  oracle: OracleState
  held: AttackResult


def ascend_recorded(
  oracle: Oracle,
  stepper: optax.GradientTransformation,
  threat: Threat,
  *,
  steps: int,
  record: Record,
  start: Start | None = None,
  keep: Keep = strongest,
) -> Callable[[Key, Inputs, Labels], tuple[AttackResult, PyTree]]:
  """Returns `ascend` with one run that also records every iterate.

  Args:
    oracle: the losses and gradients.
    stepper: as in `ascend`.
    threat: where the iterates may go.
    steps: how many gradient steps.
    record: ``(inputs, probe) -> pytree``, called on the first iterate and
      after every step: sparsity along the attack is
      ``lambda inputs, probe: gini(probe.gradient)``.
    start: as in `ascend`.
    keep: as in `ascend`; the clean input is a candidate only where the run
      starts.

  Returns:
    ``(key, inputs, labels) -> (AttackResult, records)``, each record with a
    leading axis of steps + 1. With the same key the result is that of
    `ascend` up to the clean candidate.

  Raises:
    ValueError: if `steps` is not a whole number of at least 0.
  """
  run = _single_run(oracle, stepper, threat, steps, start, keep, record)

  def attack(
    key: Key, inputs: Inputs, labels: Labels
  ) -> tuple[AttackResult, PyTree]:
    labels = taken(threat, inputs, labels)
    keys = prng.example_keys(key, prng.batch_size(inputs))
    held, records = run(prng.fold_in(keys, 0), inputs, labels)
    return admitted(threat, held, inputs), records

  return attack


def _single_run(
  oracle: Oracle,
  stepper: optax.GradientTransformation,
  threat: Threat,
  steps: int,
  start: Start | None,
  keep: Keep,
  record: Record = lambda inputs, probe: (),
  until: Until | None = None,
) -> Callable[[Key, Inputs, Labels], tuple[AttackResult, PyTree]]:
  """Returns one run from one starting point: [B] keys in, best point out."""
  check_oracle(oracle)
  check_threat(threat)
  check_count("steps", steps, least=0)
  stepper = optax.with_extra_args_support(stepper)

  def run(
    keys: Key, inputs: Inputs, labels: Labels
  ) -> tuple[AttackResult, PyTree]:
    def step(carry: _Carry, index: Array) -> tuple[_Carry, PyTree]:
      here = carry.inputs
      carry, probe = _visit(oracle, keep, keys, labels, carry, index)
      point = ravel.widened(here)
      update, memory = stepper.update(
        jax.tree.map(_usable, ravel.widened(probe.gradient)),
        carry.stepper,
        point,
        value=probe.loss,
        correct=probe.correct,
        origin=ravel.widened(inputs),
      )
      if isinstance(update, Destination):
        moved = jax.tree.map(_finite, update.inputs, point)
      else:
        moved = jax.tree.map(_move, point, update)
      moved = threat.project(moved, inputs)
      return carry._replace(inputs=moved, stepper=memory), record(here, probe)

    # Key 0 starts, key i probes the i-th iterate.
    first = inputs if start is None else start(prng.fold_in(keys, 0), inputs)
    carry = _Carry(
      first,
      stepper.init(ravel.widened(first)),
      oracle.init(first),
      nothing(first, labels),
    )
    if until is not None:
      return _stopped(until, step, carry, steps + 1).held, ()
    carry, past = jax.lax.scan(step, carry, jnp.arange(1, steps + 1))
    carry, probe = _visit(oracle, keep, keys, labels, carry, steps + 1)
    records = jax.tree.map(
      lambda early, end: jnp.concatenate([early, end[None]]),
      past,
      record(carry.inputs, probe),
    )
    return carry.held, records

  return run


def _stopped(
  until: Until,
  step: Callable[[_Carry, Array], tuple[_Carry, PyTree]],
  carry: _Carry,
  visits: int,
) -> _Carry:
  """Returns the loop's end, after so many visits or when all are done."""

  def going(state: tuple[Array, _Carry]) -> Array:
    index, carry = state
    return (index <= visits) & ~jnp.all(until(carry.held))

  def advance(state: tuple[Array, _Carry]) -> tuple[Array, _Carry]:
    index, before = state
    after, _ = step(before, index)
    # An example's result must not depend on how long its batch goes on.
    held = ravel.select_examples(until(before.held), before.held, after.held)
    return index + 1, after._replace(held=held)

  return jax.lax.while_loop(going, advance, (jnp.asarray(1), carry))[1]


def _visit(
  oracle: Oracle,
  keep: Keep,
  keys: Key,
  labels: Labels,
  carry: _Carry,
  index: Array | int,
) -> tuple[_Carry, Probe]:
  """Probes the current iterate and lets it compete."""
  probe, memory = oracle.grad(
    prng.fold_in(keys, index), carry.oracle, carry.inputs, labels
  )
  new = probed(carry.inputs, probe.loss, ~probe.correct)
  held = settled(keep, carry.held, new)
  return carry._replace(oracle=memory, held=held), probe


def _usable(gradient: Array) -> Array:
  """Zeroes what is not finite: it must not spoil the whole direction."""
  return jnp.where(jnp.isfinite(gradient), gradient, 0)


def _probe_clean(
  oracle: Oracle, keys: Key, inputs: Inputs, labels: Labels
) -> AttackResult:
  """Returns the clean input as a candidate."""
  probe, _ = oracle.grad(keys, oracle.init(inputs), inputs, labels)
  new = probed(inputs, probe.loss, ~probe.correct)
  return settled(last, nothing(inputs, labels), new)


def _move(inputs: Array, update: Array) -> Array:
  return _finite(inputs + update, inputs)


def _finite(moved: Array, inputs: Array) -> Array:
  return jnp.where(jnp.isfinite(moved), moved, inputs)
