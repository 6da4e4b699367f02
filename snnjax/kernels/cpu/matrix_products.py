"""Stride-1 convolutions in the forms that XLA's CPU backend runs fast.

Each function takes one problem, no leading axis. The thresholds were measured
on two cores; on the wrong side of one, a form is slower, never different.
"""

import functools
import itertools
import operator

import jax.numpy as jnp
from jax import lax

from snnjax.interfaces import Array
from snnjax.kernels.cpu import winograd
from snnjax.kernels.cpu.winograd import Pads
from snnjax.kernels.isolate import isolated
from snnjax.precision import Exactness

LAYOUT = ("NHWC", "HWIO", "NHWC")

# A 3x3 filter bank of at most this many C * O pairs is cheaper as a sum of
# shifted images: the library's packing costs more than the arithmetic.
_SHIFTED_PAIRS = 64
# To at most this many output channels, one matrix product for all taps, then
# shifted sums, which an attack would repeat for every use of its gradient.
_FEW_OUTPUTS = 3
# From this many channels on either side, and tiles, Winograd's transforms cost
# less than the products that they save: 1.2 to 2 times faster from 128
# channels, level at 64, and half as fast at 16.
_WINOGRAD_CHANNELS = 64
_WINOGRAD_TILES = 64
# XLA gives a convolution with more than this many channels on a side to
# YNNPACK, with its neighbours, unless the image grows. With as many on both
# sides and few taps its older form, Eigen's, takes 0.5 to 0.8 of the time. One
# row more, dropped again, makes the image grow: 0.6 to 1.1 by itself, 0.85 to
# 0.95 of whole steps; too much of a small image.
_YNNPACK_CHANNELS = 16
_FEW_TAPS = 9
_ENOUGH_ROWS = 7
# The weight gradient's patch matrix stays in cache at about this many output
# positions per part; more parts only lengthen compilation.
_POSITIONS = 2048
_MOST_PARTS = 32


def convolution(
  inputs: Array,
  kernel: Array,
  pads: Pads,
  precision: Exactness,
  *,
  transposed: bool,
) -> Array:
  """Convolves [N, H, W, C] with [kh, kw, C, O], or O to C if transposed."""
  if _suits_winograd(inputs, kernel.shape, pads):
    return winograd.convolution(
      inputs, kernel, pads, precision, transposed=transposed
    )
  if transposed:
    kernel = reverse(kernel)
  channels, outputs = kernel.shape[2:]
  if min(min(pair) for pair in pads) >= 0:
    if channels < 4 and channels * outputs <= _SHIFTED_PAIRS:
      return _shifted_inputs(inputs, kernel, pads)
    if outputs <= _FEW_OUTPUTS < channels:
      return isolated(
        functools.partial(_shifted_outputs, pads=pads, precision=precision)
      )(inputs, kernel)
    if inputs.shape[1] < kernel.shape[0] or inputs.shape[2] < kernel.shape[1]:
      # The library takes a plain loop, 10 to 60 times slower, for an image
      # smaller than the kernel.
      inputs, pads = _pad(inputs, pads), ((0, 0), (0, 0))
  if _suits_eigen(inputs, kernel, pads):
    (above, below), columns = pads
    grown = ((above, below + 1), columns)
    return _library(inputs, kernel, grown, precision)[:, :-1]
  return _library(inputs, kernel, pads, precision)


def _library(
  inputs: Array, kernel: Array, pads: Pads, precision: Exactness
) -> Array:
  return lax.conv_general_dilated(
    inputs, kernel, (1, 1), pads, dimension_numbers=LAYOUT, precision=precision
  )


def reverse(kernel: Array) -> Array:
  """Returns the kernel of the transposed convolution."""
  return jnp.swapaxes(kernel[::-1, ::-1], 2, 3)


def weight_gradient(
  inputs: Array,
  outputs: Array,
  size: tuple[int, int],
  pads: Pads,
  precision: Exactness,
) -> Array:
  """Correlates inputs [N, H, W, C] with cotangents [N, H', W', O].

  The result is [kh, kw, C, O] for the `size` (kh, kw).

  The kernel's gradient is itself a convolution, of the inputs with N as
  their channels and the cotangents as the kernel. Spelling the transposes
  out keeps the library's layout. The sum over N is cut into parts. A part
  takes every P-th example, so that each device of a mesh that splits the
  batch into equal runs owns its share of every part.
  """
  kernel = (*size, inputs.shape[3], outputs.shape[3])
  if _suits_winograd(inputs, kernel, pads):
    return winograd.weight_gradient(inputs, outputs, pads, precision)
  batch = inputs.shape[0]
  parts = count_parts(batch, outputs.shape[1] * outputs.shape[2])

  def part(index: int) -> Array:
    images, cotangents = (
      a.reshape(batch // parts, parts, *a.shape[1:])[:, index]
      for a in (inputs, outputs)
    )
    gradient = lax.conv_general_dilated(
      jnp.transpose(images, (3, 1, 2, 0)),
      jnp.transpose(cotangents, (1, 2, 0, 3)),
      (1, 1),
      pads,
      dimension_numbers=LAYOUT,
      precision=precision,
    )
    return jnp.transpose(gradient, (1, 2, 0, 3))

  return functools.reduce(operator.add, map(part, range(parts)))


def count_parts(batch: int, positions: int) -> int:
  """The number of equal parts that suits the cache."""
  wanted = min(_MOST_PARTS, max(1, batch * positions // _POSITIONS))
  return max(p for p in range(1, wanted + 1) if batch % p == 0) if batch else 1


def _suits_winograd(inputs: Array, kernel: tuple[int, ...], pads: Pads) -> bool:
  """Whether Winograd's form exists, is exact enough and is faster."""
  return (
    kernel[:2] == (3, 3)
    and min(kernel[2:]) >= _WINOGRAD_CHANNELS
    and min(min(pair) for pair in pads) >= 0
    and winograd.tiles(inputs.shape, pads) >= _WINOGRAD_TILES
    and inputs.dtype in (jnp.float32, jnp.float64)
  )


def _suits_eigen(inputs: Array, kernel: Array, pads: Pads) -> bool:
  """Whether one more row gives the faster form, and none would not."""
  rows, columns, *channels = kernel.shape
  return (
    min(channels) >= _YNNPACK_CHANNELS < max(channels)
    and rows * columns <= _FEW_TAPS
    and inputs.shape[1] >= _ENOUGH_ROWS
    and sum(pads[0]) == rows - 1
    and sum(pads[1]) <= columns - 1
  )


def _pad(inputs: Array, pads: Pads) -> Array:
  return jnp.pad(inputs, ((0, 0), *pads, (0, 0)))


def _shifted_inputs(inputs: Array, kernel: Array, pads: Pads) -> Array:
  """Sums shifted, scaled copies of the inputs: one fused loop."""
  padded = _pad(inputs, pads)
  kh, kw, channels, _ = kernel.shape
  height, width = padded.shape[1] - kh + 1, padded.shape[2] - kw + 1

  def term(row: int, column: int, channel: int) -> Array:
    shifted = padded[:, row : row + height, column : column + width]
    taps = kernel[row, column, channel].reshape(1, 1, 1, -1)
    return shifted[..., channel : channel + 1] * taps

  taps = itertools.product(range(kh), range(kw), range(channels))
  return functools.reduce(operator.add, itertools.starmap(term, taps))


def _shifted_outputs(
  inputs: Array, kernel: Array, pads: Pads, precision: Exactness
) -> Array:
  """Applies all taps at once, then sums them where they belong."""
  kh, kw, channels, features = kernel.shape
  taps = jnp.transpose(kernel, (2, 0, 1, 3)).reshape(channels, -1)
  products = jnp.matmul(inputs, taps, precision=precision)
  products = _pad(products, pads)
  height, width = products.shape[1] - kh + 1, products.shape[2] - kw + 1

  def term(row: int, column: int) -> Array:
    first = (row * kw + column) * features
    shifted = products[:, row : row + height, column : column + width]
    return shifted[..., first : first + features]

  offsets = itertools.product(range(kh), range(kw))
  return functools.reduce(operator.add, itertools.starmap(term, offsets))
