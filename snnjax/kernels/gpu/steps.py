"""One step of a neuron as programs of scalars, and the scans made of it.

Forward, with the state v, inputs x, what is charged h and outputs y:

    h_t = charge(v_{t-1}, x_t)
    v_t, y_t = fire(h_t, x_t)

All derivatives are taken at the h_t, which are kept, and at v_{t-1}, which is
computed of h_{t-1} again where one needs it. The scans here are the plain form
of the kernels in `triton`, on the same arrays. Of G groups and M neurons each:

    constants [G or 1, M or 1], the state [G, M],
    inputs [G or 1, T, M or 1], what is charged and outputs [G, T, M].
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
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


def forward(
  step: Step, size: Size, constants: Some, state: Some, inputs: Some
) -> tuple[list[Array], list[Array], list[Array]]:
  """Returns the last state, the outputs, and what is charged."""
  fixed = _over_neurons(constants, size)

  def body(state: list[Array], now: list[Array]) -> Any:
    charged = evaluate(step.charge, [*fixed, *state, *now])
    results = evaluate(step.fire, [*fixed, *charged, *now])
    results = _over_neurons(results, size)
    return results[: len(state)], (
      results[len(state) :],
      _over_neurons(charged, size),
    )

  last, (outputs, charged) = lax.scan(
    body, _over_neurons(state, size), _steps_first(inputs, size)
  )
  return last, _steps_second(outputs), _steps_second(charged)


def tangents(
  step: Step,
  size: Size,
  moved: Moved,
  at: tuple[Some, Some, Some, Some],
  moving: tuple[Some, Some, Some],
) -> tuple[list[Array], list[Array], list[Array]]:
  """Returns the tangents of what `forward` returns.

  Args:
    step: one step.
    size: of the arrays.
    moved: what is differentiated.
    at: constants, the first state, inputs (None where not needed), and what is
      charged.
    moving: tangents of what is moved.
  """
  constants, state, inputs, charged = at
  derivative = step.derivative(moved)
  fixed = _over_neurons(constants, size)
  steps = (
    _before(step, derivative, size, at),
    _steps_first(charged, size),
    _steps_first(inputs, size),
    _steps_first(moving[2], size),
  )
  still = _over_neurons(moving[0], size)

  def body(carry: list[Array], x: Any) -> Any:
    before, charged, now, moving = x
    middle, results = step.push(
      derivative, fixed, before, charged, now, (still, carry, moving)
    )
    results = _over_neurons(results, size)
    return results[: len(carry)], (
      results[len(carry) :],
      _over_neurons(middle, size),
    )

  first = fill([jnp.zeros_like(v) for v in state], moved.state, moving[1])
  first = _over_neurons(first, size)
  last, (outputs, middle) = lax.scan(body, first, steps)
  return last, _steps_second(outputs), _steps_second(middle)


def cotangents(
  step: Step,
  size: Size,
  moved: Moved,
  at: tuple[Some, Some, Some, Some],
  given: tuple[Some, Some, Some],
) -> tuple[list[Array], list[Array], list[Array]]:
  """Returns the cotangents of what is moved, [G, M] or [G, T, M] each.

  Args:
    step: one step.
    size: of the arrays.
    moved: what is differentiated.
    at: constants, the first state, inputs (None where not needed), and what is
      charged.
    given: cotangents of what `forward` returns; None where there is none.
  """
  constants, state, inputs, charged = at
  last, outputs, kept = given
  derivative = step.derivative(moved, tuple(y is not None for y in outputs))
  fixed = _over_neurons(constants, size)
  steps = (
    _before(step, derivative, size, at),
    _steps_first(charged, size),
    _steps_first(inputs, size),
    _steps_first([y for y in outputs if y is not None], size),
    _steps_first(kept, size),
  )

  def body(carry: Any, x: Any) -> Any:
    after, sums = carry
    before, charged, now, outputs, kept = x
    own, after, moving = step.pull(
      derivative, fixed, before, charged, now, (after, outputs, kept)
    )
    carry = _over_neurons(after, size), _over_neurons(_sums(sums, own), size)
    return carry, _over_neurons(moving, size)

  shape = size.groups, size.width
  first = [
    jnp.zeros_like(v) if w is None else w
    for v, w in zip(state, last, strict=True)
  ]
  first = _over_neurons(first, size)
  kinds = pick(step.constants, moved.constants)
  sums = [jnp.zeros(shape, kind) for kind in kinds]
  (first, sums), moving = lax.scan(body, (first, sums), steps, reverse=True)
  return sums, pick(first, moved.state), _steps_second(moving)


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


def _before(
  step: Step,
  derivative: Derivative,
  size: Size,
  at: tuple[Some, Some, Some, Some],
) -> list[Array | None]:
  """The states before each step, [T, G, M], if they are needed."""
  constants, state, inputs, charged = at
  if not derivative.previous:
    return [None] * len(state)
  whole = size.steps, size.groups, size.width
  fixed = [jnp.broadcast_to(value, whole) for value in constants]
  charged, inputs = _steps_first(charged, size), _steps_first(inputs, size)
  results = evaluate(step.fire, [*fixed, *charged, *inputs])
  after = [jnp.broadcast_to(v, whole) for v in results[: len(state)]]
  return [
    jnp.concatenate([jnp.broadcast_to(first, whole[1:])[None], states[:-1]])
    for first, states in zip(state, after, strict=True)
  ]


def _over_neurons(values: Some, size: Size) -> list[Any]:
  shape = size.groups, size.width
  return [jnp.broadcast_to(value, shape) for value in values]


def _steps_first(values: Some, size: Size) -> list[Any]:
  """[G, T, M], or what broadcasts to it, as [T, G, M]; None stays."""
  whole = size.groups, size.steps, size.width
  return [
    None
    if value is None
    else jnp.moveaxis(jnp.broadcast_to(value, whole), 1, 0)
    for value in values
  ]


def _steps_second(values: Sequence[Array]) -> list[Array]:
  return [jnp.moveaxis(value, 0, 1) for value in values]


def _sums(first: Some, second: Some) -> list[Any]:
  return [a + b for a, b in zip(first, second, strict=True)]
