"""Elementwise functions as programs of scalars, which run at any shape.

A kernel computes a block of neurons at a time, and a function of whole arrays
cannot be traced at the shape of a block: its constants have shapes of their
own. What is computed of constants alone is therefore done before, as ever, and
the rest must act on every element alike. `Recording` tells the two apart and
keeps the rest; `program` makes a program of scalars of it, and `evaluate` runs
one on arrays of any one shape.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from snnjax.interfaces import Array
from snnjax.lost_derivatives import describe_source

Shape = tuple[int, ...]

# What Pallas lowers for CUDA, and what is nothing to an element.
_ELEMENTWISE = frozenset(
  " ".join(
    [
      "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil",
      "clamp convert_element_type cos cosh div eq exp exp2 expm1 floor ge gt",
      "integer_pow is_finite le log log1p logistic lt max min mul ne neg",
      "nextafter not or pow rem replace_derivative rsqrt select_n sign sin",
      "sinh sqrt square stop_gradient sub tan tanh xor",
    ]
  ).split()
)
_COPIES = frozenset(["copy", "copy_p"])
# Of their operands' values they are the first.
_FOR_DERIVATIVES = frozenset(["replace_derivative", "stop_gradient", *_COPIES])
_MOVES = frozenset(["broadcast_in_dim", "reshape", "squeeze", "expand_dims"])
_CALLS = frozenset(
  ["jit", "pjit", "closed_call", "core_call", "core_closed_call"]
)
_HALVES = (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16))


class NotElementwiseError(ValueError):
  """A function does not act on every neuron alike; it says where."""


class _Known(NamedTuple):
  """A value that does not depend on the operands, and the shape it stands for.

  Its own shape is narrower where it was only spread along axes.
  """

  value: Any
  shape: Shape


class _Element(NamedTuple):
  """A value of each neuron: which of those that a program computes."""

  place: int
  shape: Shape


class _Operation(NamedTuple):
  primitive: Any
  parameters: dict[str, Any]
  operands: tuple[_Element | _Known, ...]
  places: tuple[int, ...]


class Recording:
  """What a function does to each element, and the constants that it takes.

  Args:
    function: traced once.
    operands: arrays or their shapes: those of the neurons, or others that
      broadcast to them.
    shape: the neurons'.
    constants: those of functions recorded before; its own are added.

  Attributes:
    tree: of the function's results.

  Raises:
    NotElementwiseError: it does something else than act on elements.
  """

  def __init__(
    self,
    function: Callable[..., Any],
    operands: Any,
    shape: Shape,
    constants: list[Array],
  ) -> None:
    """Traces the function."""
    self._shape = shape
    self._constants = constants
    self._operations: list[_Operation] = []
    leaves = jax.tree.leaves(operands)
    self._count = self._places = len(leaves)
    closed, results = jax.make_jaxpr(function, return_shape=True)(*operands)
    self.tree: Any = jax.tree.structure(results)
    self.kinds = [leaf.dtype for leaf in jax.tree.leaves(results)]
    for leaf in jax.tree.leaves(results):
      if leaf.shape != shape:
        raise NotElementwiseError(
          f"it must return arrays of the neurons' shape {shape}; got "
          f"{leaf.shape}"
        )
    arguments = [_Element(i, a.shape) for i, a in enumerate(leaves)]
    known = [_Known(value, jnp.shape(value)) for value in closed.consts]
    results = self._walk(closed.jaxpr, known, arguments)
    self._results = [self._operand(result) for result in results]

  def program(self, kinds: Sequence[Any]) -> ClosedJaxpr:
    """Returns it as a program of scalars: (*constants, *operands) -> results.

    Args:
      kinds: types of all constants, then of the operands.
    """
    constants = len(kinds) - self._count

    def run(*scalars: Array) -> list[Array]:
      values: dict[int, Array] = dict(enumerate(scalars[constants:]))

      def read(operand: _Element | _Known) -> Any:
        if isinstance(operand, _Element):
          return values[operand.place]
        known = operand.value
        return scalars[known] if isinstance(known, int) else known

      for operation in self._operations:
        operands = [read(operand) for operand in operation.operands]
        results = _bind(operation.primitive, operation.parameters, operands)
        values |= zip(operation.places, results, strict=True)
      return [jnp.asarray(read(result)) for result in self._results]

    return trace(run, kinds)

  def _walk(
    self,
    program: Jaxpr,
    constants: Sequence[_Known | _Element],
    arguments: Sequence[_Known | _Element],
  ) -> list[_Known | _Element]:
    values: dict[Any, _Known | _Element] = {}
    values |= zip(program.constvars, constants, strict=True)
    values |= zip(program.invars, arguments, strict=True)

    def read(atom: Any) -> _Known | _Element:
      if isinstance(atom, Literal):
        return _Known(_literal(atom), np.shape(atom.val))
      return values[atom]

    for equation in program.eqns:
      operands = [read(atom) for atom in equation.invars]
      results = self._step(equation, operands)
      values |= zip(equation.outvars, results, strict=True)
    return [read(atom) for atom in program.outvars]

  def _step(
    self, equation: Any, operands: list[_Known | _Element]
  ) -> Sequence[_Known | _Element]:
    name = equation.primitive.name
    if not equation.outvars:  # it acts on something else, such as a screen
      raise NotElementwiseError(_refusal(equation))
    if name in _MOVES and _keeps_elements(equation, operands[0]):
      return [operands[0]._replace(shape=equation.outvars[0].aval.shape)]
    known = [value for value in operands if isinstance(value, _Known)]
    if len(known) == len(operands):
      return _compute(equation, known)
    if name in _CALLS:
      inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
      consts = [_Known(value, jnp.shape(value)) for value in inner.consts]
      return self._walk(inner.jaxpr, consts, operands)
    if name in _COPIES:
      return [operands[0]]
    if name not in _ELEMENTWISE:
      raise NotElementwiseError(_refusal(equation))
    place = self._places
    self._places += 1
    read = tuple(self._operand(operand) for operand in operands)
    self._operations.append(
      _Operation(equation.primitive, equation.params, read, (place,))
    )
    return [_Element(place, equation.outvars[0].aval.shape)]

  def _operand(self, value: _Known | _Element) -> _Known | _Element:
    """The element itself; of what is known a number, or a constant's place."""
    if isinstance(value, _Element):
      return value
    if np.size(value.value) == 1 and not isinstance(
      value.value, jax.core.Tracer
    ):
      kind = jnp.result_type(value.value)
      return _Known(np.asarray(value.value).astype(kind).reshape(())[()], ())
    if jnp.broadcast_shapes(jnp.shape(value.value), self._shape) != self._shape:
      raise NotElementwiseError(
        f"it takes a constant of shape {jnp.shape(value.value)}, which does "
        f"not broadcast to the neurons' {self._shape}"
      )
    for place, other in enumerate(self._constants):
      if other is value.value:
        return _Known(place, ())
    self._constants.append(value.value)
    return _Known(len(self._constants) - 1, ())


def trace(function: Callable[..., Any], kinds: Sequence[Any]) -> ClosedJaxpr:
  """Returns a program of scalars of these types.

  Args:
    function: of scalars, to scalars.
    kinds: their types.
  """
  scalars = [jax.ShapeDtypeStruct((), kind) for kind in kinds]
  return jax.make_jaxpr(function)(*scalars)


def evaluate(
  program: ClosedJaxpr, operands: Sequence[Any], *, values_only: bool = False
) -> list[Any]:
  """Runs a program of scalars on arrays.

  Args:
    program: from `Recording.program` or `trace`.
    operands: arrays of one shape, and scalars. What the program does not read
      may be None.
    values_only: for a kernel, which is not differentiated: derivatives that
      were replaced are left out, and what is of half precision is computed in
      single precision and rounded after each operation.

  Returns:
    Arrays of that shape, or scalars where nothing else was read.
  """
  return _evaluate(program.jaxpr, program.consts, operands, values_only)


def reads(program: ClosedJaxpr) -> list[bool]:
  """Returns which operands a program's results depend on."""
  read = {v for v in program.jaxpr.outvars if not isinstance(v, Literal)}
  for equation in reversed(program.jaxpr.eqns):
    if read & set(equation.outvars):
      read |= {v for v in equation.invars if not isinstance(v, Literal)}
  return [v in read for v in program.jaxpr.invars]


def _evaluate(
  program: Jaxpr,
  constants: Sequence[Any],
  operands: Sequence[Any],
  values_only: bool,
) -> list[Any]:
  values: dict[Any, Any] = dict(zip(program.constvars, constants, strict=True))
  values |= zip(program.invars, operands, strict=True)

  def read(atom: Any) -> Any:
    return _literal(atom) if isinstance(atom, Literal) else values[atom]

  for equation in program.eqns:
    name = equation.primitive.name
    inputs = [read(atom) for atom in equation.invars]
    if name in _CALLS:
      inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
      results = _evaluate(inner.jaxpr, inner.consts, inputs, values_only)
    elif name in _MOVES or (values_only and name in _FOR_DERIVATIVES):
      results = inputs[:1]
    elif any(value is None for value in inputs):
      results = [None] * len(equation.outvars)
    elif values_only:
      results = _bind_wide(equation, inputs)
    else:
      results = _bind(equation.primitive, equation.params, _spread(inputs))
    values |= zip(equation.outvars, results, strict=True)
  return [read(atom) for atom in program.outvars]


def _bind_wide(equation: Any, inputs: Sequence[Any]) -> list[Any]:
  """Computes halves in single precision: not every operation has a form."""
  wide = [
    value.astype(np.float32) if value.dtype in _HALVES else value
    for value in inputs
  ]
  results = _bind(equation.primitive, equation.params, _spread(wide))
  return [
    result.astype(atom.aval.dtype)
    for result, atom in zip(results, equation.outvars, strict=True)
  ]


def _spread(values: Sequence[Any]) -> list[Any]:
  """Scalars among arrays get their shape: some operations want one shape."""
  shape = jnp.broadcast_shapes(*map(jnp.shape, values))
  return [
    value if jnp.shape(value) == shape else jnp.broadcast_to(value, shape)
    for value in values
  ]


def _bind(
  primitive: Any, parameters: dict[str, Any], operands: Sequence[Any]
) -> list[Any]:
  # A pair in older versions of JAX: functions to bind as operands, and these.
  bound = primitive.get_bind_params(parameters)
  functions, rest = bound if isinstance(bound, tuple) else ((), bound)
  result = primitive.bind(*functions, *operands, **rest)
  return list(result) if primitive.multiple_results else [result]


def _compute(equation: Any, known: Sequence[_Known]) -> list[_Known]:
  """Computes what depends on no operand, at once where it is a number."""
  values = [
    each.value
    if jnp.shape(each.value) == each.shape
    else jnp.broadcast_to(each.value, each.shape)
    for each in known
  ]
  if any(isinstance(value, jax.core.Tracer) for value in values):
    results = _bind(equation.primitive, equation.params, values)
  else:
    with jax.ensure_compile_time_eval():
      results = _bind(equation.primitive, equation.params, values)
  return [_Known(result, jnp.shape(result)) for result in results]


def _keeps_elements(equation: Any, operand: _Known | _Element) -> bool:
  """Whether axes are only added in front, or those of one place spread."""
  before, after = operand.shape, equation.outvars[0].aval.shape
  if equation.primitive.name == "broadcast_in_dim":
    skipped = len(after) - len(before)
    axes = tuple(equation.params["broadcast_dimensions"])
    return axes == tuple(range(skipped, len(after)))
  # What is known may be narrower than its shape: it is computed, not renamed.
  return isinstance(operand, _Element) and _trimmed(before) == _trimmed(after)


def _literal(atom: Any) -> Any:
  return np.asarray(atom.val).astype(atom.aval.dtype)[()]


def _trimmed(shape: Shape) -> Shape:
  """The shape without leading axes of length 1."""
  first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
  return shape[first:]


def _refusal(equation: Any) -> str:
  name = equation.primitive.name
  if name.startswith(("custom_jvp", "custom_vjp")):
    return (
      f"{describe_source(equation.params)} has a derivative of its own, which "
      "a kernel would lose: make a spike with snnjax.surrogates.spike, "
      "anything else with snnjax.derivatives.replace_derivative"
    )
  return f"{name!r} is none of the operations on single elements that it has"
