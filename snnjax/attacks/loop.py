"""The one loop of all iterative attacks.

A `Proposer` says where to look next; the loop projects that point into the
threat, asks the oracle there, and keeps the best point of each example. The
network stands once in the program, whatever the proposer and the number of
steps: compiling it is what an attack takes longest for.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnjax import prng
from snnjax.arguments import as_labels
from snnjax.attacks.admission import admit_result, checked_labels
from snnjax.attacks.candidates import (
  Keep,
  candidate,
  check_keep,
  keep_better,
  mark_unknown,
  no_candidate,
  success_then_loss,
)
from snnjax.attacks.oracles import (
  Oracle,
  OracleState,
  Probe,
  Source,
  as_oracle,
)
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
from snnjax.losses import LogitsLoss
from snnjax.validation import check_count

Memory = Any
Record = Callable[[Inputs, Probe], PyTree]
Until = Callable[[AttackResult], Array]
RecordedAttack = Callable[[Key, Inputs, Labels], tuple[AttackResult, PyTree]]


class Point(NamedTuple):
  """A point that was tried, as a proposer sees it.

  Attributes:
    inputs: the point, in float32 at least.
    probe: what the oracle says there; gradients in float32 at least, and 0
      where they are not finite.
    origin: the clean input, in float32 at least.
    labels: [B].
    tried: how many points were tried before this one, the clean input first.
  """

  inputs: Inputs
  probe: Probe
  origin: Inputs
  labels: Labels
  tried: Array


class Proposer(NamedTuple):
  """Where an attack looks next: a pair of pure functions.

  The keys of both are [B] and differ in every call. The loop projects what
  they return; values that are not finite stay what they are at the point.

  Attributes:
    init: ``(keys, origin, labels) -> (first point, memory)``; None in place of
      a point if the walk begins at the clean input.
    propose: ``(keys, point, memory) -> (next point, memory)``.
  """

  init: Callable[[Key, Inputs, Labels], tuple[Inputs | None, Memory]]
  propose: Callable[[Key, Point, Memory], tuple[Inputs, Memory]]


def search(
  source: Source,
  proposer: Proposer,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  keep: Keep = success_then_loss,
  until: Until | None = None,
) -> Attack:
  """Returns the attack that tries the clean input and `steps` other points.

  Every point is projected before it is tried, and competes by `keep`. Where
  the proposer makes no use of the gradient, none is computed under `jit`.
  Where it does, the price of having the network only once in the program is
  a gradient of the last point, and of the clean input if the walk begins
  elsewhere, that nobody asks for.

  Args:
    source: a logits function, or an oracle. The oracle's state starts anew at
      the first point if the walk does not begin at the clean input.
    proposer: proposes the points.
    threat: where they may lie.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many points to try beside the clean input.
    keep: chooses among the points, for each example.
    until: ``best -> [B]``, which examples are done: they keep what they have,
      and the search ends when all of its batch are, which makes it a loop
      without a reverse derivative. None takes every step.

  Raises:
    ValueError: if an argument is something else, or `steps` is not a whole
      number of at least 0; from the attack, if inputs or labels do not fit,
      see `check_inputs`.
  """
  oracle = as_oracle(source, loss)
  run = _loop(oracle, proposer, threat, steps, keep, _no_record, until)
  return lambda key, inputs, labels: run(key, inputs, labels)[0]


def search_recorded(
  source: Source,
  proposer: Proposer,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  record: Record,
  keep: Keep = success_then_loss,
) -> RecordedAttack:
  """Returns `search` that also records every point it tries.

  Args:
    source: as in `search`.
    proposer: as in `search`.
    threat: as in `search`.
    loss: as in `search`.
    steps: as in `search`.
    record: ``(inputs, probe) -> pytree``, called on every point; it sees the
      gradient as the oracle gave it.
    keep: as in `search`.

  Returns:
    ``(key, inputs, labels) -> (AttackResult, records)``, each record with a
    leading axis of steps + 1, that of the clean input first.

  Raises:
    ValueError: as `search`.
  """
  oracle = as_oracle(source, loss)
  return _loop(oracle, proposer, threat, steps, keep, record, None)


def with_restarts(
  attack: Attack, restarts: int, keep: Keep = success_then_loss
) -> Attack:
  """Returns the best of independent runs of an attack, under different keys.

  Args:
    attack: what to run.
    restarts: how often.
    keep: chooses among the results of the runs.

  Raises:
    ValueError: if `restarts` is not a positive whole number or `keep` no rule.
  """
  check_count("restarts", restarts)
  check_keep(keep)

  def runs(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    size = prng.batch_size(inputs)
    keys, labels = prng.example_keys(key, size), as_labels(labels, size)
    if restarts == 1:
      return attack(prng.fold_in(keys, 0), inputs, labels)

    def again(best: AttackResult, index: Array) -> tuple[AttackResult, None]:
      new = attack(prng.fold_in(keys, index), inputs, labels)
      return keep_better(keep, best, new), None

    # From nothing, not from a first run: that would compile the attack twice.
    none = no_candidate(inputs, labels)
    return mark_unknown(jax.lax.scan(again, none, jnp.arange(restarts))[0])

  return runs


class _Carry(NamedTuple):
  inputs: Inputs  # the point to try
  memory: Memory  # the proposer's
  oracle: OracleState
  best: AttackResult


def _loop(
  oracle: Oracle,
  proposer: Proposer,
  threat: Threat,
  steps: int,
  keep: Keep,
  record: Record,
  until: Until | None,
) -> RecordedAttack:
  check_threat(threat)
  check_count("steps", steps, least=0)
  check_keep(keep)

  def attack(
    key: Key, inputs: Inputs, labels: Labels
  ) -> tuple[AttackResult, PyTree]:
    labels = checked_labels(threat, inputs, labels)
    keys = prng.example_keys(key, prng.batch_size(inputs))
    origin = ravel.widen(inputs)
    first, memory = proposer.init(prng.fold_in(keys, 0), origin, labels)

    def step(carry: _Carry, index: Array) -> tuple[_Carry, PyTree]:
      probe_keys, proposer_keys = prng.split(prng.fold_in(keys, index + 1))
      probe, state = oracle.grad(probe_keys, carry.oracle, carry.inputs, labels)
      new = candidate(carry.inputs, probe.loss, ~probe.correct)
      best = keep_better(keep, carry.best, new)
      here = ravel.widen(carry.inputs)
      point = Point(here, _zero_infinite(probe), origin, labels, index)
      ahead, after = proposer.propose(proposer_keys, point, carry.memory)
      # A step that is not finite is none; the rest of the example still moves.
      ahead = jax.tree.map(_finite_or, ahead, here)
      # The clean input is always tried first; where the walk begins elsewhere,
      # its first point follows, and not what was proposed from the clean input.
      clean = index == 0
      if first is not None:
        ahead, after = _select(clean, (first, memory), (ahead, after))
      ahead = threat.project(ahead, inputs)
      if first is not None:
        # The oracle's memory of the clean input is no memory of the walk.
        state = _select(clean, oracle.init(ahead), state)
      return _Carry(ahead, after, state, best), record(carry.inputs, probe)

    none = no_candidate(inputs, labels)
    start = _Carry(inputs, memory, oracle.init(inputs), none)
    if until is not None:
      best, records = _run_until(until, step, start, steps).best, ()
    else:
      end, records = jax.lax.scan(step, start, jnp.arange(steps + 1))
      best = end.best
    return admit_result(threat, best, inputs), records

  return attack


def _run_until(
  until: Until,
  step: Callable[[_Carry, Array], tuple[_Carry, PyTree]],
  start: _Carry,
  steps: int,
) -> _Carry:
  """Returns the loop's end, after all steps or when all examples are done."""

  def going(state: tuple[Array, _Carry]) -> Array:
    index, carry = state
    return (index <= steps) & ~jnp.all(until(carry.best))

  def advance(state: tuple[Array, _Carry]) -> tuple[Array, _Carry]:
    index, before = state
    after, _ = step(before, index)
    # An example's result must not depend on how long its batch goes on.
    best = ravel.select_examples(until(before.best), before.best, after.best)
    return index + 1, after._replace(best=best)

  return jax.lax.while_loop(going, advance, (jnp.asarray(0), start))[1]


def _no_record(inputs: Inputs, probe: Probe) -> tuple[()]:
  del inputs, probe
  return ()


def _zero_infinite(probe: Probe) -> Probe:
  """Zeroes what is not finite: it must not spoil the whole direction."""
  slope = jax.tree.map(
    lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, 0),
    ravel.widen(probe.gradient),
  )
  return probe._replace(gradient=slope)


def _finite_or(moved: Array, here: Array) -> Array:
  """Returns `moved` where it is finite, `here` elsewhere."""
  return jnp.where(jnp.isfinite(moved), moved, here)


def _select(take: Array, new: PyTree, old: PyTree) -> PyTree:
  return jax.tree.map(
    lambda fresh, stale: jnp.where(take, fresh, stale), new, old
  )
