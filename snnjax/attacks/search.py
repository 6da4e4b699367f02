"""The loop of attacks that propose points by other means than a step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnjax import prng
from snnjax.attacks.admission import admitted, taken
from snnjax.attacks.candidates import Keep, nothing, probed, settled, strongest
from snnjax.attacks.oracles import Oracle, OracleState, Probe, check_oracle
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.interfaces import Array, Attack, AttackResult, Inputs, Key, Labels
from snnjax.validation import check_count

Memory = Any


class Visit(NamedTuple):
  """One point as a search sees it, in float32 at least.

  Attributes:
    inputs: the point.
    probe: what the oracle says there.
    origin: the clean input.
    labels: [B].
    tried: how many points were tried before this one, the clean input first.
  """

  inputs: Inputs
  probe: Probe
  origin: Inputs
  labels: Labels
  tried: Array


class Search(NamedTuple):
  """How points are proposed.

  Attributes:
    begin: ``(keys, origin, labels) -> (first point, memory)``.
    move: ``(keys, visit, memory) -> (next point, memory)``.
  """

  begin: Callable[[Key, Inputs, Labels], tuple[Inputs, Memory]]
  move: Callable[[Key, Visit, Memory], tuple[Inputs, Memory]]


class _Carry(NamedTuple):
  inputs: Inputs
  memory: Memory
  oracle: OracleState
  held: AttackResult


def explore(
  oracle: Oracle,
  search: Search,
  threat: Threat,
  *,
  steps: int,
  keep: Keep = strongest,
) -> Attack:
  """Returns the attack that tries the clean input and `steps` proposals.

  Every point is projected before it is tried, and competes by `keep`. The
  network is compiled once, and where the search makes no use of the gradient,
  none is computed under `jit`.

  Args:
    oracle: the losses and gradients.
    search: proposes points; its keys are [B] and differ in every call.
    threat: where the points may lie.
    steps: how many points to try beside the clean input.
    keep: as in `ascend`.

  Raises:
    ValueError: if `steps` is not a positive whole number; from the attack, if
      inputs or labels do not fit, see `check_inputs`.
  """
  check_oracle(oracle)
  check_threat(threat)
  check_count("steps", steps)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    labels = taken(threat, inputs, labels)
    keys = prng.example_keys(key, prng.batch_size(inputs))
    origin = ravel.widened(inputs)
    first, memory = search.begin(prng.fold_in(keys, 0), origin, labels)

    def step(carry: _Carry, index: Array) -> tuple[_Carry, None]:
      asked, moved = prng.split(prng.fold_in(keys, index + 1))
      probe, state = oracle.grad(asked, carry.oracle, carry.inputs, labels)
      new = probed(carry.inputs, probe.loss, ~probe.correct)
      held = settled(keep, carry.held, new)
      point, slope = ravel.widened((carry.inputs, probe.gradient))
      seen = probe._replace(gradient=slope)
      visit = Visit(point, seen, origin, labels, index)
      point, memory = search.move(moved, visit, carry.memory)
      # The clean input is the first point, and no proposal's outcome.
      clean = index == 0
      point, memory = jax.tree.map(
        lambda begun, proposed: jnp.where(clean, begun, proposed),
        (first, carry.memory),
        (point, memory),
      )
      point = threat.project(point, inputs)
      return _Carry(point, memory, state, held), None

    start = _Carry(inputs, memory, oracle.init(inputs), nothing(inputs, labels))
    held = jax.lax.scan(step, start, jnp.arange(steps + 1))[0].held
    return admitted(threat, held, inputs)

  return attack
