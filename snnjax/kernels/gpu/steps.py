"""One step of a neuron as programs of scalars, and its derivatives.

Forward, with the state v, inputs x, what is charged h and outputs y:

    h_t = charge(v_{t-1}, x_t)
    v_t, y_t = fire(h_t, x_t)

Derivatives are taken at the h_t, which are kept, and at v_{t-1}, which is
computed of h_{t-1} again where one needs it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr

from snnjax.interfaces import Array
from snnjax.kernels.gpu.elementwise import evaluate, reads, trace

Flags = tuple[bool, ...]
Some = Sequence[Any]  # None is zero, or not needed


class Size(NamedTuple):
  """How many neurons and steps: G groups, T steps, M neurons a group."""

  groups: int
  steps: int
  width: int


class Moved(NamedTuple):
  """What is differentiated: constants, the first state's arrays, inputs."""

  constants: Flags
  state: Flags
  inputs: Flags


class Derivative(NamedTuple):
  """A step's derivative, of one direction.

  Attributes:
    moved: what is differentiated.
    fire: of (*constants, *charged, *inputs, *tangents or cotangents).
    charge: of (*constants, *state, *inputs, *tangents or cotangents).
    previous: whether `charge` needs the state.
    inputs: which inputs are needed.
  """

  moved: Moved
  fire: ClosedJaxpr
  charge: ClosedJaxpr
  previous: bool
  inputs: Flags


class Step:
  """One step. Two are the same only if they are one object.

  Args:
    charge: (*constants, *state, *inputs) -> what is charged.
    fire: (*constants, *charged, *inputs) -> the state, then outputs.
    kinds: types of the constants, of the state and of the inputs.
  """

  def __init__(
    self,
    charge: ClosedJaxpr,
    fire: ClosedJaxpr,
    kinds: tuple[Sequence[Any], Sequence[Any], Sequence[Any]],
  ) -> None:
    """Keeps the programs."""
    self.charge, self.fire = charge, fire
    self.constants, self.state, self.inputs = map(list, kinds)
    self.charged = [aval.dtype for aval in charge.out_avals]
    self.outputs = [aval.dtype for aval in fire.out_avals[len(self.state) :]]
    self._derivatives: dict[Any, Derivative] = {}

  def derivative(self, moved: Moved, given: Flags | None = None) -> Derivative:
    """Returns the derivative in reverse, or forward if nothing is given.

    Args:
      moved: what is differentiated.
      given: the outputs that have a cotangent.
    """
    if (moved, given) not in self._derivatives:
      self._derivatives[moved, given] = self._differentiate(moved, given)
    return self._derivatives[moved, given]

  def _differentiate(self, moved: Moved, given: Flags | None) -> Derivative:
    states, charged = len(self.state), len(self.charged)
    used = (True,) * states + (given or ())
    pairs = ((self.fire, self.charged, used), (self.charge, self.state, None))
    fire, charge = (
      _differentiated(
        program,
        (*moved.constants, *(True for _ in middle), *moved.inputs),
        [*self.constants, *middle, *self.inputs],
        None if given is None else flags or (True,) * charged,
      )
      for program, middle, flags in pairs
    )
    first, last = len(self.constants), len(self.inputs)
    previous = any(reads(charge)[first : first + states])
    needs = [
      reads(fire)[first + charged :][:last],
      reads(charge)[first + states :][:last],
    ]
    if previous:
      needs.append(reads(self.fire)[first + charged :])
    inputs = tuple(map(any, zip(*needs, strict=True)))
    return Derivative(moved, fire, charge, previous, inputs)

  def pull(
    self,
    derivative: Derivative,
    constants: Some,
    before: Some,
    charged: Some,
    now: Some,
    cotangents: tuple[Some, Some, Some],
    *,
    values_only: bool = False,
  ) -> tuple[list[Any], list[Any], list[Any]]:
    """Returns the cotangents of one step's operands.

    Args:
      derivative: in reverse.
      constants: as in the programs.
      before: the state before, if it is needed.
      charged: what is charged.
      now: the inputs.
      cotangents: of the state after, of the given outputs, and of what is
        charged (None where there is none).
      values_only: see `elementwise.evaluate`.

    Returns:
      Those of moved constants, of the state before, of moved inputs.
    """
    after, outputs, more = cotangents
    fixed = sum(derivative.moved.constants)
    middle = fixed + len(charged)
    own = evaluate(
      derivative.fire,
      [*constants, *charged, *now, *after, *outputs],
      values_only=values_only,
    )
    kept = [
      value if extra is None else value + extra
      for value, extra in zip(own[fixed:middle], more, strict=True)
    ]
    earlier = evaluate(
      derivative.charge,
      [*constants, *before, *now, *kept],
      values_only=values_only,
    )
    states = fixed + len(before)
    return (
      _sums(own[:fixed], earlier[:fixed]),
      earlier[fixed:states],
      _sums(own[middle:], earlier[states:]),
    )

  def push(
    self,
    derivative: Derivative,
    constants: Some,
    before: Some,
    charged: Some,
    now: Some,
    tangents: tuple[Some, Some, Some],
  ) -> tuple[list[Any], list[Any]]:
    """Returns the tangents of one step's results.

    Args:
      derivative: forward.
      constants: as in the programs.
      before: the state before, if it is needed.
      charged: what is charged.
      now: the inputs.
      tangents: of moved constants, of the state before, of moved inputs.

    Returns:
      Those of what is charged; of the state after and then all outputs.
    """
    fixed, state, moving = tangents
    middle = evaluate(
      derivative.charge,
      [*constants, *before, *now, *fixed, *state, *moving],
    )
    results = evaluate(
      derivative.fire,
      [*constants, *charged, *now, *fixed, *middle, *moving],
    )
    return middle, results


def pick(values: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
  """Returns the values that have a flag."""
  return [value for value, flag in zip(values, flags, strict=True) if flag]


def fill(
  values: Sequence[Any], flags: Sequence[bool], some: Sequence[Any]
) -> list[Any]:
  """Returns the values, those that have a flag replaced in order."""
  rest = iter(some)
  return [
    next(rest) if flag else value
    for value, flag in zip(values, flags, strict=True)
  ]


def _differentiated(
  program: ClosedJaxpr,
  flags: Flags,
  kinds: Sequence[Any],
  used: Flags | None,
) -> ClosedJaxpr:
  """A program's derivative in its flagged operands.

  Args:
    program: of scalars.
    flags: an operand's.
    kinds: the operands' types.
    used: the results whose cotangents are pulled back; None pushes tangents.
  """
  more = (
    pick(kinds, flags)
    if used is None
    else [aval.dtype for aval in pick(program.out_avals, used)]
  )

  def run(*scalars: Array) -> list[Array]:
    operands, moving = scalars[: len(kinds)], scalars[len(kinds) :]

    def value(*some: Array) -> list[Array]:
      results = evaluate(program, fill(operands, flags, some))
      return results if used is None else pick(results, used)

    here = pick(operands, flags)
    if used is None:
      return list(jax.jvp(value, here, list(moving))[1])
    return list(jax.vjp(value, *here)[1](list(moving)))

  return trace(run, [*kinds, *more])


def _sums(first: Some, second: Some) -> list[Any]:
  return [a + b for a, b in zip(first, second, strict=True)]
