"""The two kernels, in Pallas for CUDA: `forward` and `cotangents`.

They compute what the functions of the same names in `scans` do, on the same
arrays, each in one pass: a program holds the state of a block of neurons and
walks over the steps, so that every array is read or written once. This file is
all that knows Pallas: another language would replace these two functions.

**They have never run on a GPU**: see BUILD_NOTES, "The neuron's kernels".
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pallas_triton

from snnjax.interfaces import Array
from snnjax.kernels.gpu.elementwise import evaluate
from snnjax.kernels.gpu.steps import Flags, Moved, Size, Some, Step, fill, pick

# Guesses, which the first run on a GPU has to measure.
MOST_NEURONS = 1024  # of a block
MOST_SPELLED_OUT = 8  # steps; more of them are a loop
_WARPS = 4


def forward(
  step: Step,
  size: Size,
  wanted: Flags,
  operands: tuple[Some, Some, Some],
  *,
  interpret: bool = False,
) -> list[Array]:
  """Returns what is wanted of the last state, the outputs and the charged.

  Args:
    step: one step.
    size: of the arrays.
    wanted: a flag for each of the three, in this order.
    operands: constants, the first state, inputs.
    interpret: run it without a GPU, slowly.
  """
  block = _Block(size)
  states, ends = len(step.state), len(step.state) + len(step.outputs)

  def kernel(ins: list[Any], outs: list[Any]) -> None:
    references = fill([None] * len(wanted), wanted, outs)
    constants, state, inputs = _split(ins, operands)
    constants, state = map(block.load, (constants, state))

    def body(t: Any, state: list[Any]) -> list[Any]:
      now = block.load(inputs, t)
      charged = evaluate(
        step.charge, [*constants, *state, *now], values_only=True
      )
      block.store(references[ends:], charged, t)
      results = evaluate(
        step.fire, [*constants, *charged, *now], values_only=True
      )
      block.store(references[states:ends], results[states:], t)
      return block.wide(results[:states], step.state)

    state = block.wide(state, step.state)
    state = block.loop(body, state)
    block.store(references[:states], state)

  kinds = [
    *((kind, False) for kind in step.state),
    *((kind, True) for kind in (*step.outputs, *step.charged)),
  ]
  return block.call(
    kernel,
    [value for group in operands for value in group],
    pick(kinds, wanted),
    interpret,
  )


def cotangents(
  step: Step,
  size: Size,
  moved: Moved,
  at: tuple[Some, Some, Some, Some],
  given: tuple[Some, Some, Some],
  *,
  interpret: bool = False,
) -> list[Array]:
  """Returns the cotangents of moved constants, first states and inputs.

  Args:
    step: one step.
    size: of the arrays.
    moved: what is differentiated.
    at: constants, the first state, inputs (None where not needed), and what is
      charged.
    given: cotangents of the last state, the outputs and of what is charged;
      None where there is none.
    interpret: run it without a GPU, slowly.

  Returns:
    [G, M] or [G, T, M] each: of what broadcasts, not summed yet.
  """
  block = _Block(size)
  derivative = step.derivative(moved, tuple(y is not None for y in given[1]))
  groups = (*at, *given)
  fixed, moving = sum(moved.constants), sum(moved.inputs)

  def kernel(ins: list[Any], outs: list[Any]) -> None:
    parts = _split(ins, groups)
    constants, state = map(block.load, parts[:2])
    inputs, charged = parts[2:4]
    outputs = [y for y in parts[5] if y is not None]

    def before(t: Any) -> list[Any]:
      if not derivative.previous:
        return [None] * len(state)
      if isinstance(t, np.integer) and t == 0:
        return state
      # In a loop, of the first step it is computed too, and dropped.
      past = t - 1 if isinstance(t, np.integer) else jnp.maximum(t - 1, 0)
      results = evaluate(
        step.fire,
        [*constants, *block.load(charged, past), *block.load(inputs, past)],
        values_only=True,
      )
      after = block.wide(results[: len(state)], step.state)
      if isinstance(t, np.integer):
        return after
      first = block.wide(state, step.state)
      return [
        jnp.where(t > 0, *pair) for pair in zip(after, first, strict=True)
      ]

    def body(turn: Any, carry: tuple[list[Any], list[Any]]) -> Any:
      t = _index(size.steps - 1) - turn
      after, sums = carry
      own, after, now = step.pull(
        derivative,
        constants,
        before(t),
        block.load(charged, t),
        block.load(inputs, t),
        (after, block.load(outputs, t), block.load(parts[6], t)),
        values_only=True,
      )
      block.store(outs[len(outs) - moving :], now, t)
      sums = [a + b for a, b in zip(sums, own, strict=True)]
      return block.wide(after, step.state), sums

    last = [
      0 if cotangent is None else cotangent
      for cotangent in block.load(parts[4])
    ]
    kinds = pick(step.constants, moved.constants)
    first = block.wide(last, step.state), block.wide([0] * fixed, kinds)
    after, sums = block.loop(body, first)
    block.store(outs[:fixed], sums)
    block.store(outs[fixed : len(outs) - moving], pick(after, moved.state))

  kinds = [
    *((kind, False) for kind in pick(step.constants, moved.constants)),
    *((kind, False) for kind in pick(step.state, moved.state)),
    *((kind, True) for kind in pick(step.inputs, moved.inputs)),
  ]
  return block.call(
    kernel, [value for group in groups for value in group], kinds, interpret
  )


class _Block:
  """Which neurons a program computes, and its way to their values."""

  def __init__(self, size: Size) -> None:
    self._size = size
    # Triton's blocks have powers of two.
    self._width = min(MOST_NEURONS, pl.next_power_of_2(size.width))
    self._columns = pl.cdiv(size.width, self._width)
    self._inside: Array | None = None  # within a kernel: which neurons exist

  def call(
    self,
    kernel: Callable[[list[Any], list[Any]], None],
    operands: Some,
    results: Sequence[tuple[Any, bool]],
    interpret: bool,
  ) -> list[Array]:
    """Runs a kernel over all neurons.

    Args:
      kernel: of references to operands, None where there is none, and to
        results.
      operands: arrays, or None.
      results: a type for each, and whether it has steps.
      interpret: run it without a GPU.
    """
    there = [value is not None for value in operands]
    present = pick(operands, there)
    groups, steps, width = self._size
    shapes = [
      jax.ShapeDtypeStruct(
        (groups, steps, width) if long else (groups, width), kind
      )
      for kind, long in results
    ]

    def body(*references: Any) -> None:
      # Here, not in a loop: the interpreter knows of no program inside one.
      self._inside = self._mask()
      ins, outs = references[: len(present)], references[len(present) :]
      kernel(fill(operands, there, ins), list(outs))

    called = pl.pallas_call(
      body,
      out_shape=shapes,
      grid=(groups * self._columns,),
      in_specs=[self._part(value.shape) for value in present],
      out_specs=[self._part(shape.shape) for shape in shapes],
      compiler_params=pallas_triton.CompilerParams(num_warps=_WARPS),
      interpret=interpret,
      name="snnjax_neurons",
    )
    return list(called(*present))

  def load(self, references: Some, t: Any = None) -> list[Any]:
    """Returns the block's values, of step t; scalars where one is for all."""
    return [
      None if reference is None else self._load(reference, t)
      for reference in references
    ]

  def _load(self, reference: Any, t: Any) -> Any:
    at = () if t is None else (t,)
    if reference.shape[-1] == 1:
      return reference[(*at, 0)]
    return pallas_triton.load(
      reference.at[(*at, slice(None))],
      mask=self._inside,
      other=None if self._inside is None else 0,
    )

  def store(self, references: Some, values: Some, t: Any = None) -> None:
    """Writes the block's values, where there is a reference."""
    at = () if t is None else (t,)
    for reference, value in zip(references, values, strict=True):
      if reference is None:
        continue
      (value,) = self.wide([value], [reference.dtype])
      if self._width == 1:
        reference[(*at, 0)] = value[0]
      else:
        pallas_triton.store(
          reference.at[(*at, slice(None))], value, mask=self._inside
        )

  def wide(self, values: Some, kinds: Sequence[Any]) -> list[Any]:
    """Returns values for each neuron of the block, of these types."""
    return [
      jnp.broadcast_to(jnp.asarray(value, kind), (self._width,))
      for value, kind in zip(values, kinds, strict=True)
    ]

  def loop(self, body: Callable[[Any, Any], Any], carry: Any) -> Any:
    """Runs ``carry = body(t, carry)`` for all steps."""
    if self._size.steps > MOST_SPELLED_OUT:
      return jax.lax.fori_loop(0, self._size.steps, body, carry)
    for t in range(self._size.steps):
      carry = body(_index(t), carry)
    return carry

  def _mask(self) -> Array | None:
    """Which neurons of the block there are; None if all are."""
    if self._size.width % self._width == 0:
      return None
    first = self._column(pl.program_id(0)) * self._width
    return first + jnp.arange(self._width) < self._size.width

  def _part(self, shape: tuple[int, ...]) -> pl.BlockSpec:
    groups, *steps, width = shape
    return pl.BlockSpec(
      (None, *steps, 1 if width == 1 else self._width),
      functools.partial(self._place, groups > 1, width > 1, len(steps)),
    )

  def _place(self, group: bool, column: bool, steps: int, i: Any) -> Any:
    return (
      (jax.lax.div(i, jnp.int32(self._columns)) if self._columns > 1 else i)
      if group
      else 0,
      *([0] * steps),
      self._column(i) if column else 0,
    )

  def _column(self, i: Any) -> Any:
    if self._columns == 1:
      return 0
    if self._size.groups == 1:
      return i
    return jax.lax.rem(i, jnp.int32(self._columns))


def _index(t: int) -> Any:
  """A step as the interpreter takes it: with a shape and JAX's own type."""
  return np.asarray(t, jnp.result_type(int))[()]


def _split(values: Sequence[Any], groups: Sequence[Some]) -> list[list[Any]]:
  """Splits values into groups as long as the given ones."""
  rest = iter(values)
  return [[next(rest) for _ in group] for group in groups]
