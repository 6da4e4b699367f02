"""Two primitives, closed under differentiation and vmap.

    convolution(x, k), or with ``transposed`` its transpose in x, given k;
    weight_gradient(x, y), its transpose in k.

Both are linear in each argument, and each one's transposes are among the
three. Every operand has a leading axis V of independent problems: it is 1 but
under vmap over both arguments, which would otherwise leave the set.

On a CPU they lower to `matrix_products`; elsewhere to what `jax.lax` emits
for a convolution and its gradients.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad, batching, mlir

from snnjax.interfaces import Array
from snnjax.kernels.cpu import matrix_products
from snnjax.kernels.cpu.matrix_products import LAYOUT
from snnjax.kernels.cpu.winograd import Pads
from snnjax.precision import Exactness


class Geometry(NamedTuple):
  """The static half of a stride-1 convolution.

  Attributes:
    pads: rows and columns added before and after; negative ones crop.
    size: (kh, kw) of the kernel.
    precision: as `jax.lax.conv_general_dilated` takes it.
  """

  pads: Pads
  size: tuple[int, int]
  precision: Exactness

  def transpose(self) -> "Geometry":
    """Returns the geometry of the transposed convolution.

    With pads p of a kernel of k taps the transpose has pads k - 1 - p: an
    output reaches back to every input that it was computed from.
    """
    (top, bottom), (left, right) = self.pads
    kh, kw = self.size
    pads = ((kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right))
    return self._replace(pads=pads)


def convolution(
  inputs: Array, kernel: Array, *, geometry: Geometry, transposed: bool
) -> Array:
  """Convolves V problems.

  Args:
    inputs: [V, N, H, W, C], or [V, N, H, W, O] if transposed.
    kernel: [V, kh, kw, C, O].
    geometry: of this convolution, not of the one it transposes.
    transposed: apply the reversed kernel, from O channels to C.

  Returns:
    [V, N, H', W', O], or [V, N, H', W', C] if transposed.
  """
  return _convolution.bind(
    inputs, kernel, geometry=geometry, transposed=transposed
  )


def weight_gradient(
  inputs: Array, outputs: Array, *, geometry: Geometry
) -> Array:
  """Transposes V convolutions in their kernels.

  Args:
    inputs: [V, N, H, W, C].
    outputs: cotangents, [V, N, H', W', O].
    geometry: of the convolution from inputs to outputs.

  Returns:
    [V, kh, kw, C, O].
  """
  return _weight_gradient.bind(inputs, outputs, geometry=geometry)


def _convolution_aval(
  inputs: Any, kernel: Any, *, geometry: Geometry, transposed: bool
) -> jax.core.ShapedArray:
  (top, bottom), (left, right) = geometry.pads
  problems, batch, height, width, _ = inputs.shape
  shape = (
    problems,
    batch,
    height + top + bottom - geometry.size[0] + 1,
    width + left + right - geometry.size[1] + 1,
    kernel.shape[3 if transposed else 4],
  )
  return jax.core.ShapedArray(shape, inputs.dtype)


def _weight_gradient_aval(
  inputs: Any, outputs: Any, *, geometry: Geometry
) -> jax.core.ShapedArray:
  shape = (inputs.shape[0], *geometry.size, inputs.shape[4], outputs.shape[4])
  return jax.core.ShapedArray(shape, inputs.dtype)


# What jax.lax emits, gradients included.


def _lax_convolution(
  inputs: Array, kernel: Array, *, geometry: Geometry
) -> Array:
  return lax.conv_general_dilated(
    inputs,
    kernel,
    (1, 1),
    geometry.pads,
    dimension_numbers=LAYOUT,
    precision=geometry.precision,
  )


def _lax_transposed(
  inputs: Array, kernel: Array, *, geometry: Geometry
) -> Array:
  aval = _convolution_aval(
    inputs[None], kernel[None], geometry=geometry, transposed=True
  )
  forward = functools.partial(
    _lax_convolution, kernel=kernel, geometry=geometry.transpose()
  )
  # Only the shape is asked for: what is linear is transposed without a point.
  primal = jax.ShapeDtypeStruct(aval.shape[1:], aval.dtype)
  return jax.linear_transpose(forward, primal)(inputs)[0]


def _lax_weight_gradient(
  inputs: Array, outputs: Array, *, geometry: Geometry
) -> Array:
  aval = _weight_gradient_aval(inputs[None], outputs[None], geometry=geometry)
  forward = functools.partial(_lax_convolution, inputs, geometry=geometry)
  primal = jax.ShapeDtypeStruct(aval.shape[1:], aval.dtype)
  return jax.linear_transpose(forward, primal)(outputs)[0]


def _anywhere_convolution(
  inputs: Array, kernel: Array, *, geometry: Geometry, transposed: bool
) -> Array:
  convolve_one = _lax_transposed if transposed else _lax_convolution
  return _over_problems(
    jax.vmap, functools.partial(convolve_one, geometry=geometry), inputs, kernel
  )


def _anywhere_weight_gradient(
  inputs: Array, outputs: Array, *, geometry: Geometry
) -> Array:
  correlate_one = functools.partial(_lax_weight_gradient, geometry=geometry)
  return _over_problems(jax.vmap, correlate_one, inputs, outputs)


# What a CPU runs fast.


def _cpu_convolution(
  inputs: Array, kernel: Array, *, geometry: Geometry, transposed: bool
) -> Array:
  def convolve_one(inputs: Array, kernel: Array) -> Array:
    return matrix_products.convolution(
      inputs, kernel, geometry.pads, geometry.precision, transposed=transposed
    )

  return _over_problems(_one_by_one, convolve_one, inputs, kernel)


def _cpu_weight_gradient(
  inputs: Array, outputs: Array, *, geometry: Geometry
) -> Array:
  def correlate_one(inputs: Array, outputs: Array) -> Array:
    return matrix_products.weight_gradient(
      inputs, outputs, geometry.size, geometry.pads, geometry.precision
    )

  return _over_problems(_one_by_one, correlate_one, inputs, outputs)


def _over_problems(
  mapped: Callable[[Callable[..., Array]], Callable[..., Array]],
  solve: Callable[[Array, Array], Array],
  first: Array,
  second: Array,
) -> Array:
  """Solves every problem; a single one without the cost of a mapping."""
  if first.shape[0] == 1:
    return solve(first[0], second[0])[None]
  return mapped(solve)(first, second)


def _one_by_one(
  solve: Callable[[Array, Array], Array],
) -> Callable[[Array, Array], Array]:
  """Maps in a loop: XLA's CPU backend has no quick grouped convolution."""
  return lambda first, second: lax.map(
    lambda pair: solve(*pair), (first, second)
  )


# Differentiation: both are bilinear.


def _transpose_inputs(
  cotangent: Array,
  _: Any,
  kernel: Array,
  *,
  geometry: Geometry,
  transposed: bool,
) -> Array:
  return convolution(
    cotangent,
    kernel,
    geometry=geometry.transpose(),
    transposed=not transposed,
  )


def _transpose_kernel(
  cotangent: Array,
  inputs: Array,
  _: Any,
  *,
  geometry: Geometry,
  transposed: bool,
) -> Array:
  # <y, x *' k> = <x, y * k>: the transposed convolution exchanges the roles of
  # its inputs and outputs.
  if transposed:
    return weight_gradient(cotangent, inputs, geometry=geometry.transpose())
  return weight_gradient(inputs, cotangent, geometry=geometry)


def _transpose_images(
  cotangent: Array, _: Any, outputs: Array, *, geometry: Geometry
) -> Array:
  return convolution(
    outputs, cotangent, geometry=geometry.transpose(), transposed=True
  )


def _transpose_outputs(
  cotangent: Array, inputs: Array, _: Any, *, geometry: Geometry
) -> Array:
  return convolution(inputs, cotangent, geometry=geometry, transposed=False)


# Batching: an axis over one argument joins an axis of that argument that the
# result keeps; an axis over both joins the problems.


def _fold(operand: Array, axis: int, into: int) -> Array:
  """Merges a mapped axis, as the slower one, into axis `into` of the rest."""
  moved = jnp.moveaxis(operand, axis, into)
  shape = moved.shape
  return moved.reshape(
    *shape[:into], shape[into] * shape[into + 1], *shape[into + 2 :]
  )


def _unfold(result: Array, size: int, axis: int) -> tuple[Array, int]:
  shape = result.shape
  split = (size, shape[axis] // size)
  return result.reshape(*shape[:axis], *split, *shape[axis + 1 :]), axis


def _batch_convolution(
  operands: tuple[Array, Array],
  axes: tuple[int | None, int | None],
  *,
  geometry: Geometry,
  transposed: bool,
) -> tuple[Array, int]:
  into = {0: 1, 1: 3 if transposed else 4}  # N; the result's channels
  result_axis = {0: 1, 1: 4}
  run = functools.partial(convolution, geometry=geometry, transposed=transposed)
  return _batch(run, operands, axes, into, result_axis)


def _batch_weight_gradient(
  operands: tuple[Array, Array],
  axes: tuple[int | None, int | None],
  *,
  geometry: Geometry,
) -> tuple[Array, int]:
  into = {0: 4, 1: 4}  # C; O
  result_axis = {0: 3, 1: 4}
  run = functools.partial(weight_gradient, geometry=geometry)
  return _batch(run, operands, axes, into, result_axis)


def _batch(
  run: Callable[[Array, Array], Array],
  operands: tuple[Array, Array],
  axes: tuple[int | None, int | None],
  into: dict[int, int],
  result_axis: dict[int, int],
) -> tuple[Array, int]:
  mapped = {i: axis for i, axis in enumerate(axes) if axis is not None}
  # Mapped over one argument: the axis may join another one of that argument,
  # and there is still one problem. Mapped over both: as many problems.
  alone = len(mapped) == 1
  folded = list(operands)
  for i, axis in mapped.items():
    size = operands[i].shape[axis]
    folded[i] = _fold(operands[i], axis, into[i] if alone else 0)
  return _unfold(run(*folded), size, result_axis[i] if alone else 0)


@functools.cache
def _compile(
  primitive: jax.extend.core.Primitive, **parameters: Any
) -> Callable[..., Array]:
  return jax.jit(functools.partial(primitive.bind, **parameters))


def _run_compiled(
  primitive: jax.extend.core.Primitive, *operands: Array, **parameters: Any
) -> Array:
  # Compiled also where `jax.disable_jit` asks for a run step by step: this is
  # one step, and the function is nothing but this primitive.
  with jax.disable_jit(False):
    return _compile(primitive, **parameters)(*operands)


def _make(
  name: str,
  aval: Callable[..., jax.core.ShapedArray],
  transposes: tuple[Callable[..., Array], Callable[..., Array]],
  batch: Callable[..., tuple[Array, int]],
  lowerings: tuple[Callable[..., Array], Callable[..., Array]],
) -> jax.extend.core.Primitive:
  """Builds a primitive; `lowerings` are for any platform and for the CPU."""
  primitive = jax.extend.core.Primitive(name)
  primitive.def_abstract_eval(aval)
  primitive.def_impl(functools.partial(_run_compiled, primitive))
  ad.defbilinear(primitive, *transposes)
  batching.primitive_batchers[primitive] = batch
  anywhere, cpu = (mlir.lower_fun(f, multiple_results=False) for f in lowerings)
  mlir.register_lowering(primitive, anywhere)
  mlir.register_lowering(primitive, cpu, platform="cpu")
  return primitive


_convolution = _make(
  "snnjax_convolution",
  _convolution_aval,
  (_transpose_inputs, _transpose_kernel),
  _batch_convolution,
  (_anywhere_convolution, _cpu_convolution),
)
_weight_gradient = _make(
  "snnjax_weight_gradient",
  _weight_gradient_aval,
  (_transpose_images, _transpose_outputs),
  _batch_weight_gradient,
  (_anywhere_weight_gradient, _cpu_weight_gradient),
)
