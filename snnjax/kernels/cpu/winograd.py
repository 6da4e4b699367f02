"""Winograd's minimal filtering of 3x3 kernels, in tiles of 2x2 outputs.

    y = A' [(G k G') . (B' x B)] A

for one tile of 4x4 inputs (Winograd, 1980; Lavin and Gray, 2015,
arXiv:1509.09308): 16 products where the sum over taps takes 36. Over all
tiles and channels the products are 16 matrix products. Being bilinear, the
form has the kernel's gradient with the same tables transposed.
"""

import functools
import operator
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from snnjax.interfaces import Array
from snnjax.precision import Exactness

Table = Sequence[Sequence[float]]
Grid = list[list[Array]]
Pads = tuple[tuple[int, int], tuple[int, int]]

_INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))  # B'
_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))  # G
_OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))  # A'
_REVERSED = (3, 1, 2, 0)
_TILE, _OVERLAP = 2, 2


def convolution(
  inputs: Array,
  kernel: Array,
  pads: Pads,
  precision: Exactness,
  *,
  transposed: bool,
) -> Array:
  """Convolves [N, H, W, C] with [3, 3, C, O]; pads are not negative.

  With `transposed`, from O channels to C with the reversed kernel. Its
  transform is the kernel's own with the first and last entries exchanged:
  computed once for a convolution and its gradient.
  """
  # Grids of 4 x 4 arrays: entry (i, j) is that coefficient of every tile and
  # channel, so that the products of one entry are one matrix product.
  images = _both(_INPUT, _cut(inputs, pads))
  filters = _both(_KERNEL, [list(row) for row in kernel])
  if transposed:
    filters = [[filters[i][j] for j in _REVERSED] for i in _REVERSED]
  contracted = ((3,), (1 if transposed else 0,))
  products = _products(images, filters, contracted, precision)
  corners = [jnp.stack(row, 3) for row in _both(_OUTPUT, products)]
  merged = jnp.stack(corners, 2)  # [N, h, 2, w, 2, O]
  batch, rows, _, columns, _, channels = merged.shape
  outputs = merged.reshape(batch, rows * _TILE, columns * _TILE, channels)
  # The last tiles may reach beyond outputs of odd extent.
  height, width = (_extent(inputs.shape, pads, axis) for axis in (0, 1))
  return outputs[:, :height, :width]


def weight_gradient(
  inputs: Array, outputs: Array, pads: Pads, precision: Exactness
) -> Array:
  """Correlates inputs [N, H, W, C] with cotangents [N, H', W', O]."""
  # The convolution cropped its last tiles; its transpose fills them with zeros.
  odd = [(0, -extent % _TILE) for extent in outputs.shape[1:3]]
  outputs = jnp.pad(outputs, ((0, 0), *odd, (0, 0)))
  corners = [
    [outputs[:, row::_TILE, column::_TILE] for column in range(_TILE)]
    for row in range(_TILE)
  ]
  images = _both(_INPUT, _cut(inputs, pads))
  cotangents = _both(_transpose(_OUTPUT), corners)
  # XLA runs the product of two matrices faster than that of two tensors.
  flat_images, flat_cotangents = (
    [[a.reshape(-1, a.shape[-1]) for a in row] for row in grid]
    for grid in (images, cotangents)
  )
  products = _products(flat_images, flat_cotangents, ((0,), (0,)), precision)
  gradient = _both(_transpose(_KERNEL), products)
  return jnp.stack([jnp.stack(row) for row in gradient])


def tiles(shape: tuple[int, ...], pads: Pads) -> int:
  """The number of tiles that cover a convolution's outputs."""
  rows, columns = (_count(shape, pads, axis) for axis in (0, 1))
  return shape[0] * rows * columns


def _products(
  first: Grid,
  second: Grid,
  contracted: tuple[tuple[int, ...], tuple[int, ...]],
  precision: Exactness,
) -> Grid:
  """Multiplies the grids entry by entry, each entry a matrix product."""
  multiply = functools.partial(
    lax.dot_general,
    dimension_numbers=(contracted, ((), ())),
    precision=precision,
  )
  return [
    list(map(multiply, *rows)) for rows in zip(first, second, strict=True)
  ]


def _cut(inputs: Array, pads: Pads) -> Grid:
  """Cuts padded inputs: entry (a, b) holds that pixel of every tile."""
  counts = [_count(inputs.shape, pads, axis) for axis in (0, 1)]
  # Tiles overlap by two pixels, and the padding ends where the last one does.
  widths = [
    (before, count * _TILE + _OVERLAP - before - extent)
    for (before, _), count, extent in zip(
      pads, counts, inputs.shape[1:3], strict=True
    )
  ]
  padded = jnp.pad(inputs, ((0, 0), *widths, (0, 0)))
  height, width = (count * _TILE for count in counts)
  return [
    [
      padded[:, row : row + height : _TILE, column : column + width : _TILE]
      for column in range(_TILE + _OVERLAP)
    ]
    for row in range(_TILE + _OVERLAP)
  ]


def _extent(shape: tuple[int, ...], pads: Pads, axis: int) -> int:
  """The outputs' height or width."""
  return shape[1 + axis] + sum(pads[axis]) - _OVERLAP


def _count(shape: tuple[int, ...], pads: Pads, axis: int) -> int:
  """The tiles that cover the outputs along an axis."""
  return -(-_extent(shape, pads, axis) // _TILE)


def _both(table: Table, grid: Grid) -> Grid:
  """Applies a table to the rows and to the columns of a grid."""
  columns = [_apply(table, column) for column in zip(*grid, strict=True)]
  return [_apply(table, row) for row in zip(*columns, strict=True)]


def _apply(table: Table, values: Sequence[Array]) -> list[Array]:
  # Zeros are left out and ones not multiplied: most entries are one of them.
  return [
    functools.reduce(
      operator.add,
      (
        value if weight == 1 else weight * value
        for weight, value in zip(row, values, strict=True)
        if weight
      ),
    )
    for row in table
  ]


def _transpose(table: Table) -> Table:
  return tuple(zip(*table, strict=True))
