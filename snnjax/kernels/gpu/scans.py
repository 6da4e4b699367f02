"""The scan of a neuron's steps, and its derivatives, by JAX's own operations.

The plain form of the kernels in `triton`, on the same arrays. Of G groups of M
neurons each, over T steps:

    constants [G or 1, M or 1], the state [G, M],
    inputs [G or 1, T, M or 1], what is charged and outputs [G, T, M].
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from snnjax.interfaces import Array
from snnjax.kernels.gpu.elementwise import evaluate
from snnjax.kernels.gpu.steps import (
  Derivative,
  Moved,
  Size,
  Some,
  Step,
  fill,
  pick,
)


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
    carry = (
      _over_neurons(after, size),
      _over_neurons([a + b for a, b in zip(sums, own, strict=True)], size),
    )
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
