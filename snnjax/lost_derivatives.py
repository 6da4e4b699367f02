"""Finds and refuses derivatives that differentiating twice would lose.

A loss that holds an input gradient (a gradient penalty, a regularised saliency
map, an attack whose loss is descended) is differentiated twice, first with
respect to the inputs, then to the weights. Two kinds of rules do not survive
that in JAX: `jax.custom_jvp` inside a loop (`lax.scan`, `lax.while_loop`,
`lax.map`), which partial evaluation drops, and `jax.custom_vjp` or
`jax.custom_gradient` anywhere, whose forward rule is then differentiated as it
stands. For a spike the outer gradient is then that of the raw step: zero below
it, without a word.

Every reverse pass of the library is watched by `guard`. A single
differentiation is right and passes; the second one is a ValueError that names
the function. `surrogates.spike` and `derivatives.replace_derivative` are safe.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive
from jax.interpreters import ad, batching, mlir

from snnjax.interfaces import Array, PyTree

_LOOPS = ("scan", "while")
_JAX = os.path.dirname(jax.__file__)
# Where `jax.custom_gradient` wraps what others define.
_WRAPPING = "custom_derivatives.py"


def guard(
  function: Callable[..., PyTree], *operands: PyTree
) -> Callable[[PyTree], PyTree]:
  """Returns an identity that refuses a second, wrong differentiation.

  Wrap the results of a reverse pass of `function` in it. Nothing happens unless
  they are differentiated again; then, if `function` has derivatives that this
  would lose, a ValueError names the function that defines them.

  Args:
    function: traced once; never run.
    operands: its arguments.

  Returns:
    ``tree -> tree``, for all that ``jax.vjp(function, *operands)`` gives:
    values, auxiliary ones, gradients. Differentiating its result, without a
    `lax.stop_gradient`, is a ValueError.
  """
  lost = lost_derivatives(jax.make_jaxpr(function)(*operands))
  if not lost:
    return lambda tree: tree
  return lambda tree: jax.tree.map(
    lambda leaf: _watch_leaf(leaf, lost[0]), tree
  )


def lost_derivatives(program: ClosedJaxpr) -> list[str]:
  """Returns a sentence for every function whose rule would be lost.

  Functions of JAX itself are left out, `jax.nn.relu` or `jnp.logaddexp`: the
  derivative of what they compute is that of their rule.

  Args:
    program: from `jax.make_jaxpr`.
  """
  return list(dict.fromkeys(_find_lost(program.jaxpr, looped=False)))


def _find_lost(program: Jaxpr, looped: bool) -> Iterator[str]:
  # A custom_vjp is lost anywhere; a custom_jvp only within a loop, since
  # partial evaluation of the loop's body drops its rule.
  for equation in program.eqns:
    name = equation.primitive.name
    reverse = name.startswith("custom_vjp_call")
    if reverse or (looped and name == "custom_jvp_call"):
      source = describe_source(equation.params)
      if not source.startswith("JAX"):
        yield _sentence(source, reverse)
    for inner in _programs(equation.params):
      yield from _find_lost(inner, looped or name in _LOOPS)


def _programs(parameters: dict[str, Any]) -> Iterator[Jaxpr]:
  """The programs among an equation's parameters."""
  for value in parameters.values():
    for program in value if isinstance(value, tuple | list) else (value,):
      if isinstance(program, ClosedJaxpr):
        yield program.jaxpr
      elif isinstance(program, Jaxpr):
        yield program


def describe_source(parameters: dict[str, Any]) -> str:
  """Where a function with a rule of its own was defined: "f at file:line"."""
  inner = next(_programs(parameters), None)
  debug_info = getattr(inner, "debug_info", None)
  source = str(getattr(debug_info, "func_src_info", "") or "a function")
  if _WRAPPING in source:
    return "a function"
  return f"JAX's {source}" if _JAX in source else source


def _sentence(source: str, reverse: bool) -> str:
  kind = (
    "jax.custom_vjp or jax.custom_gradient" if reverse else "jax.custom_jvp"
  )
  where = "" if reverse else " inside a loop (scan, while, map)"
  return (
    f"{source}: this derivative, made with {kind}{where}, is lost when a "
    "gradient is differentiated again, as in a gradient penalty: what is below "
    "it would get the gradient of the raw function, zero for a spike. Make a "
    "spike with snnjax.surrogates.spike, anything else with "
    "snnjax.derivatives.replace_derivative, or put lax.stop_gradient around "
    "what is only looked at"
  )


def _watch_leaf(leaf: Array, says: str) -> Array:
  """The leaf, whose derivative is refused with this sentence."""
  if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
    return leaf
  return _watch.bind(leaf, says=says)


def _refuse(*operands: Any, says: str) -> Any:
  raise ValueError(says)


# An identity, and its derivative: linear, and refused once anyone needs it. A
# tangent that `lax.stop_gradient` drops later is never transposed.
_watch = Primitive("watched_gradient")
_watch.def_impl(lambda leaf, says: leaf)
_watch.def_abstract_eval(lambda leaf, says: leaf)
mlir.register_lowering(_watch, lambda context, leaf, says: [leaf])
_lost = Primitive("lost_derivative")
_lost.def_impl(_refuse)
_lost.def_abstract_eval(lambda tangent, says: tangent)
mlir.register_lowering(_lost, lambda context, *_, says: _refuse(says=says))
ad.deflinear2(_lost, lambda cotangent, *operands, says: _refuse(says=says))


def _jvp(primals: tuple, tangents: tuple, *, says: str) -> tuple:
  result = _watch.bind(*primals, says=says)
  (tangent,) = tangents
  if isinstance(tangent, ad.Zero):
    return result, tangent
  return result, _lost.bind(tangent, says=says)


ad.primitive_jvps[_watch] = _jvp
for _primitive in (_watch, _lost):
  batching.primitive_batchers[_primitive] = (
    lambda operands, axes, says, p=_primitive: (
      p.bind(*operands, says=says),
      axes[0],
    )
  )
