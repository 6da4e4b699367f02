"""The neuron's scan as primitives: under grad one kernel each way.

    forward    -> the last state, outputs, and what is charged
    tangents   of these, linear; its transpose is
    cotangents of what they were computed from

On CUDA `forward` and `cotangents` are the kernels of `triton`. Everything else
is the plain form, `scans`: other platforms, forward derivatives, and whatever
is differentiated twice. Under vmap the mapped axis joins the groups.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from snnjax.interfaces import Array
from snnjax.kernels.gpu import scans, triton
from snnjax.kernels.gpu.steps import Flags, Moved, Size, Step, fill, pick


class Task(NamedTuple):
  """What all three primitives have to know.

  Attributes:
    step: one step.
    size: of the arrays.
    interpret: whether the kernels run without a GPU, for tests.
  """

  step: Step
  size: Size
  interpret: bool = False


def forward(
  task: Task,
  constants: Sequence[Array],
  state: Sequence[Array],
  inputs: Sequence[Array],
) -> tuple[list[Array], list[Array]]:
  """Returns the last state and the outputs.

  Args:
    task: what is computed.
    constants: [G or 1, M or 1] each.
    state: [G, M] each.
    inputs: [G or 1, T, M or 1] each.
  """
  step = task.step
  states, outputs = len(step.state), len(step.outputs)
  wanted = (True,) * (states + outputs) + (False,) * len(step.charged)
  results = _forward.bind(*constants, *state, *inputs, task=task, wanted=wanted)
  return results[:states], results[states:]


# Shapes.


def _shapes(size: Size, kinds: Sequence[Any], long: bool) -> list[Any]:
  middle = (size.steps,) if long else ()
  shape = (size.groups, *middle, size.width)
  return [jax.core.ShapedArray(shape, kind) for kind in kinds]


def _results(task: Task) -> list[Any]:
  step, size = task.step, task.size
  return [
    *_shapes(size, step.state, long=False),
    *_shapes(size, [*step.outputs, *step.charged], long=True),
  ]


def _forward_avals(*_: Any, task: Task, wanted: Flags) -> list[Any]:
  return pick(_results(task), wanted)


def _tangents_avals(
  *_: Any, task: Task, needed: Flags, moved: Moved, wanted: Flags
) -> list[Any]:
  return pick(_results(task), wanted)


def _cotangents_avals(
  *_: Any, task: Task, needed: Flags, moved: Moved, given: Flags
) -> list[Any]:
  step, size = task.step, task.size
  return [
    *_shapes(size, pick(step.constants, moved.constants), long=False),
    *_shapes(size, pick(step.state, moved.state), long=False),
    *_shapes(size, pick(step.inputs, moved.inputs), long=True),
  ]


# What is computed.


def _anywhere_forward(
  *operands: Array, task: Task, wanted: Flags
) -> list[Array]:
  if task.interpret:
    return _cuda_forward(*operands, task=task, wanted=wanted)
  parts = _split(operands, *_operands(task.step))
  results = scans.forward(task.step, task.size, *parts)
  return pick([value for group in results for value in group], wanted)


def _cuda_forward(*operands: Array, task: Task, wanted: Flags) -> list[Array]:
  parts = _split(operands, *_operands(task.step))
  return triton.forward(
    task.step, task.size, wanted, parts, interpret=task.interpret
  )


def _compute_tangents(
  *operands: Array, task: Task, needed: Flags, moved: Moved, wanted: Flags
) -> list[Array]:
  at, moving = _point(operands, task.step, needed)
  parts = _split(moving, *(pick(flags, flags) for flags in moved))
  results = scans.tangents(task.step, task.size, moved, at, parts)
  return pick([value for group in results for value in group], wanted)


def _anywhere_cotangents(
  *operands: Array, task: Task, needed: Flags, moved: Moved, given: Flags
) -> list[Array]:
  if task.interpret:
    return _cuda_cotangents(
      *operands, task=task, needed=needed, moved=moved, given=given
    )
  at, parts = _pulled(operands, task.step, needed, given)
  results = scans.cotangents(task.step, task.size, moved, at, parts)
  return [value for group in results for value in group]


def _cuda_cotangents(
  *operands: Array, task: Task, needed: Flags, moved: Moved, given: Flags
) -> list[Array]:
  at, parts = _pulled(operands, task.step, needed, given)
  return triton.cotangents(
    task.step, task.size, moved, at, parts, interpret=task.interpret
  )


def _pulled(
  operands: Sequence[Array], step: Step, needed: Flags, given: Flags
) -> Any:
  """The point, and cotangents of all results, None where there is none."""
  at, some = _point(operands, step, needed)
  cotangents = fill([None] * len(given), given, some)
  return at, _split(cotangents, step.state, step.outputs, step.charged)


def _operands(step: Step) -> tuple[list[Any], list[Any], list[Any]]:
  return step.constants, step.state, step.inputs


def _point(operands: Sequence[Array], step: Step, needed: Flags) -> Any:
  """Constants, first state, inputs and what is charged; and the rest."""
  inputs = pick(needed, needed)
  *parts, rest = _split(
    operands, step.constants, step.state, inputs, step.charged, None
  )
  parts[2] = fill([None] * len(needed), needed, parts[2])
  return tuple(parts), rest


# Differentiation.


def _differentiate_forward(
  primals: Sequence[Array],
  tangents: Sequence[Any],
  *,
  task: Task,
  wanted: Flags,
) -> tuple[list[Array], list[Any]]:
  step = task.step
  ends = len(wanted) - len(step.charged)
  # What is charged is kept for the derivative.
  kept = (*wanted[:ends], *(True for _ in step.charged))
  results = _forward.bind(*primals, task=task, wanted=kept)
  charged = results[len(results) - len(step.charged) :]
  parts = _split(tangents, *_operands(step))
  moved = Moved(
    *(tuple(not isinstance(t, ad.Zero) for t in part) for part in parts)
  )
  needed = step.derivative(moved, (True,) * len(step.outputs)).inputs
  constants, state, inputs = _split(primals, *_operands(step))
  moving = [t for t in tangents if not isinstance(t, ad.Zero)]
  moves = _tangents.bind(
    *constants,
    *state,
    *pick(inputs, needed),
    *charged,
    *moving,
    task=task,
    needed=needed,
    moved=moved,
    wanted=wanted,
  )
  names = fill([None] * len(wanted), kept, results)
  return pick(names, wanted), list(moves)


def _transpose_tangents(
  given: Sequence[Any],
  *operands: Any,
  task: Task,
  needed: Flags,
  moved: Moved,
  wanted: Flags,
) -> list[Any]:
  cotangents = fill([ad.Zero(a) for a in _results(task)], wanted, given)
  there = tuple(not isinstance(y, ad.Zero) for y in cotangents)
  moving = sum(map(sum, moved))
  fixed, linear = operands[:-moving], operands[-moving:]
  if not any(there):
    return [None] * len(operands)
  results = _cotangents.bind(
    *fixed,
    *pick(cotangents, there),
    task=task,
    needed=needed,
    moved=moved,
    given=there,
  )
  sums = [
    _sum_to(result, x.aval.shape) if ad.is_undefined_primal(x) else None
    for result, x in zip(results, linear, strict=True)
  ]
  return [None] * len(fixed) + sums


def _sum_to(values: Array, shape: tuple[int, ...]) -> Array:
  """Sums over the axes along which an operand was one value for all."""
  axes = tuple(
    axis
    for axis, (size, own) in enumerate(zip(values.shape, shape, strict=True))
    if size != own
  )
  return jnp.sum(values, axes, keepdims=True) if axes else values


def _differentiate_plainly(
  primitive: Primitive,
  compute: Callable[..., list[Array]],
  primals: Sequence[Array],
  tangents: Sequence[Any],
  *,
  task: Task,
  **parameters: Any,
) -> tuple[list[Array], list[Array]]:
  """Differentiates the plain form, which is made of JAX's own operations."""
  results = primitive.bind(*primals, task=task, **parameters)
  task = task._replace(interpret=False)
  plain = functools.partial(compute, task=task, **parameters)
  moving = [ad.instantiate_zeros(t) for t in tangents]
  return results, jax.jvp(plain, list(primals), moving)[1]


# Batching.


def _batch(
  primitive: Primitive,
  operands: Sequence[Array],
  axes: Sequence[int | None],
  *,
  task: Task,
  **parameters: Any,
) -> tuple[list[Array], list[int]]:
  """Makes groups of the mapped axis and the groups, which vary faster."""
  pairs = list(zip(operands, axes, strict=True))
  count = next(x.shape[axis] for x, axis in pairs if axis is not None)
  groups = task.size.groups
  joined = [_join(x, axis, count, groups) for x, axis in pairs]
  size = task.size._replace(groups=count * groups)
  results = primitive.bind(*joined, task=task._replace(size=size), **parameters)
  split = [y.reshape(count, groups, *y.shape[1:]) for y in results]
  return split, [0] * len(split)


def _join(x: Array, axis: int | None, count: int, groups: int) -> Array:
  """An operand of more groups; what is one for all of them stays so."""
  if axis is None:
    if x.shape[0] == 1:
      return x
    x = jnp.broadcast_to(x, (count, *x.shape))
  else:
    x = jnp.moveaxis(x, axis, 0)
  whole = jnp.broadcast_to(x, (count, groups, *x.shape[2:]))
  return whole.reshape(count * groups, *x.shape[2:])


def _drop_results(
  used: Sequence[bool], equation: Any
) -> tuple[list[bool], Any]:
  """Leaves out results that nobody reads, which a kernel would write."""
  if not any(used):
    return [False] * len(equation.invars), None
  wanted = equation.params["wanted"]
  fewer = tuple(fill([False] * len(wanted), wanted, used))
  kept = equation.replace(
    outvars=pick(equation.outvars, used),
    params=equation.params | {"wanted": fewer},
  )
  return [True] * len(equation.invars), kept


def _split(values: Sequence[Any], *groups: Sequence[Any] | None) -> Any:
  """Splits values into groups as long as those given; None takes the rest."""
  rest = iter(values)
  return [
    list(rest) if group is None else [next(rest) for _ in group]
    for group in groups
  ]


def _run_compiled(
  primitive: Primitive, *operands: Array, **parameters: Any
) -> list[Array]:
  # Also where `jax.disable_jit` asks for a run step by step: this is one.
  with jax.disable_jit(False):
    run = jax.jit(functools.partial(primitive.bind, **parameters))
    results: list[Array] = run(*operands)
  return results


def _make(
  name: str,
  avals: Callable[..., list[Any]],
  anywhere: Callable[..., list[Array]],
  cuda: Callable[..., list[Array]],
) -> Primitive:
  primitive = Primitive(name)
  primitive.multiple_results = True
  primitive.def_abstract_eval(avals)
  primitive.def_impl(functools.partial(_run_compiled, primitive))
  batching.primitive_batchers[primitive] = functools.partial(_batch, primitive)
  ad.primitive_jvps[primitive] = functools.partial(
    _differentiate_plainly, primitive, anywhere
  )
  for platform, compute in ((None, anywhere), ("cuda", cuda)):
    rule = mlir.lower_fun(compute, multiple_results=True)
    mlir.register_lowering(primitive, rule, platform=platform)
  return primitive


_forward = _make(
  "snnjax_neurons", _forward_avals, _anywhere_forward, _cuda_forward
)
_tangents = _make(
  "snnjax_neuron_tangents",
  _tangents_avals,
  _compute_tangents,
  _compute_tangents,
)
_cotangents = _make(
  "snnjax_neuron_cotangents",
  _cotangents_avals,
  _anywhere_cotangents,
  _cuda_cotangents,
)
ad.primitive_jvps[_forward] = _differentiate_forward
ad.primitive_transposes[_tangents] = _transpose_tangents
pe.dce_rules[_forward] = _drop_results
pe.dce_rules[_tangents] = _drop_results
