"""Two-dimensional convolution, NHWC with HWIO kernels."""

from collections.abc import Sequence

from jax import lax

from snnjax.types import Array

Padding = str | Sequence[tuple[int, int]]


def convolve(
  inputs: Array,
  kernel: Array,
  *,
  strides: tuple[int, int] = (1, 1),
  padding: Padding = "SAME",
) -> Array:
  """Convolves inputs [N, H, W, C] with a kernel [kh, kw, C, O]."""
  return lax.conv_general_dilated(
    inputs,
    kernel,
    strides,
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
