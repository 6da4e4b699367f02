"""Two-dimensional convolution, NHWC with HWIO kernels.

XLA's CPU backend runs one layout fast. The gradients that `jax.lax` emits are
in others: the input gradient 20 and the weight gradient 70 times slower inside
a loop. `convolve` keeps them in the fast one (see `cpu.primitives`), and is
the plain operation away from the CPU, or where `cpu.switch` is off.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from snnjax.arguments import check_array
from snnjax.interfaces import Array
from snnjax.kernels.cpu import primitives, switch
from snnjax.kernels.cpu.matrix_products import LAYOUT
from snnjax.kernels.cpu.winograd import Pads
from snnjax.precision import Exactness, default
from snnjax.sharding import typed_axes

Padding = str | Sequence[tuple[int, int]]


def convolve(
  inputs: Array,
  kernel: Array,
  *,
  strides: tuple[int, int] = (1, 1),
  padding: Padding = "SAME",
  precision: Exactness | None = None,
) -> Array:
  """Convolves images with a bank of filters.

    y[n, i, j, o] = sum_abc x[n, s i + a - p, s j + b - p, c] k[a, b, c, o]

  Args:
    inputs: [N, H, W, C].
    kernel: [kh, kw, C, O], of the inputs' type.
    strides: rows and columns from one output to the next.
    padding: "SAME", "VALID", or ((top, bottom), (left, right)).
    precision: as `jax.lax` takes it, of the derivatives too; None is
      `precision.default`.

  Returns:
    [N, H', W', O].

  Raises:
    ValueError: if the shapes, the strides or the padding do not fit.
  """
  pads = _pads(inputs, kernel, strides, padding)
  # Part of the primitive, as `jax.lax` makes it part of its own: the context
  # that set it has ended when the primitive is lowered.
  exactness = default() if precision is None else precision
  # The primitives know stride 1 alone: it is what all networks here use.
  if tuple(strides) != (1, 1) or not _primitives_apply(inputs, kernel):
    return convolve_reference(
      inputs, kernel, strides=strides, padding=pads, precision=exactness
    )
  size = (kernel.shape[0], kernel.shape[1])
  geometry = primitives.Geometry(pads, size, exactness)
  return primitives.convolution(
    inputs[None], kernel[None], geometry=geometry, transposed=False
  )[0]


def convolve_reference(
  inputs: Array,
  kernel: Array,
  *,
  strides: tuple[int, int] = (1, 1),
  padding: Padding = "SAME",
  precision: Exactness | None = None,
) -> Array:
  """Does what `convolve` does, as `jax.lax` has it."""
  return lax.conv_general_dilated(
    inputs,
    kernel,
    strides,
    padding,
    dimension_numbers=LAYOUT,
    precision=default() if precision is None else precision,
  )


def _primitives_apply(inputs: Array, kernel: Array) -> bool:
  """Whether the primitives apply: switched on, one wide type, no mesh."""
  # Where mesh axes are part of types, `jax.lax` knows what its results are
  # typed with; the primitives do not.
  same = inputs.dtype == kernel.dtype
  floats = same and jnp.issubdtype(inputs.dtype, jnp.floating)
  # The CPU's forms add up in the type of their factors: of half precision too
  # coarse, where the library adds in single precision.
  wide = floats and jnp.finfo(inputs.dtype).bits >= 32
  placed = typed_axes(inputs) | typed_axes(kernel)
  return switch.enabled() and wide and not placed


def _pads(
  inputs: Array,
  kernel: Array,
  strides: tuple[int, int],
  padding: Padding,
) -> Pads:
  """Checks the arguments and spells the padding out."""
  channels = check_array("inputs", inputs, "[N, H, W, C]")["C"]
  check_array("kernel", kernel, "[kh, kw, C, O]", C=channels)
  if len(strides) != 2 or min(strides) < 1:
    raise ValueError(f"strides must be two positive integers; got {strides}")
  if isinstance(padding, str):
    if padding not in ("SAME", "VALID"):
      raise ValueError(
        f"padding must be 'SAME', 'VALID' or pairs; got {padding!r}"
      )
    padding = lax.padtype_to_pads(
      inputs.shape[1:3], kernel.shape[:2], strides, padding
    )
  if len(padding) != 2 or any(len(pair) != 2 for pair in padding):
    raise ValueError(
      f"padding must be ((top, bottom), (left, right)); got {padding}"
    )
  (top, bottom), (left, right) = padding
  pads = ((int(top), int(bottom)), (int(left), int(right)))
  for name, axis in (("rows", 0), ("columns", 1)):
    extent = inputs.shape[1 + axis] + sum(pads[axis])
    if extent < kernel.shape[axis]:
      raise ValueError(
        f"padding leaves {extent} {name} for a kernel of {kernel.shape[axis]}"
      )
  return pads
