r"""The distance of a threat as a norm of rows, for attacks that need the norm.

One norm ball is its own gauge, in raw (or, for a joint budget, weighted)
units. Where every modality has a budget of its own, the gauge is the largest
share of a budget that is spent, ``max_m ||delta_m|| / r_m``: the rows are
inputs over radii, each modality's a block with a norm of its own, and the
threat is the unit ball. For linf blocks this is one weighted linf ball. A
modality of radius 0, which may be traced, has no slope, so that it stays.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from snnjax.attacks.threats import blocks, ravel
from snnjax.attacks.threats.balls import Room
from snnjax.attacks.threats.threat import Geometry, Threat, check_threat
from snnjax.interfaces import Array, Inputs, PyTree
from snnjax.validation import in_box

T = TypeVar("T")


class Gauge(NamedTuple):
  """A threat's distance as a norm of rows.

  Attributes:
    rows: ``inputs -> (matrix [B, D], restore)``.
    slopes: ``gradient -> matrix [B, D]``, with respect to the rows.
    room: ``inputs -> Room``, the box of the rows.
    blocks: ``inputs -> Blocks``, the columns of the rows with their norms.
  """

  rows: Callable[[Inputs], tuple[Array, Callable[[Array], Inputs]]]
  slopes: Callable[[Inputs], Array]
  room: Callable[[Inputs], Room]
  blocks: Callable[[Inputs], blocks.Blocks]

  def distance(self, candidate: Inputs, origin: Inputs) -> Array:
    """Returns how far candidates are from their origins, [B]."""
    delta = self.rows(candidate)[0] - self.rows(origin)[0]
    return blocks.norm(delta, self.blocks(origin))


def geometry_of(threat: Threat) -> Geometry:
  """Returns the threat's geometry.

  Raises:
    ValueError: if it is no threat; if the threat is not one norm ball.
  """
  check_threat(threat)
  if threat.geometry is None:
    raise ValueError(
      "threat must be one norm ball (linf, l2, l1 or a joint budget) for an "
      "attack that needs the norm itself; got a threat without a geometry"
    )
  return threat.geometry


def gauge_of(threat: Threat) -> Gauge:
  """Returns the gauge of a norm ball, or of one ball for each modality.

  Raises:
    ValueError: if it is no threat; if the threat, or that of a modality, is not
      a norm ball.
  """
  check_threat(threat)
  if threat.parts is None:
    return _whole(geometry_of(threat))
  parts = {}
  for name, part in sorted(threat.parts.items()):
    if part.geometry is None:
      raise ValueError(
        "threat must be one norm ball (linf, l2 or l1) for each modality for "
        f"an attack that needs the norm itself; that of {name!r} is not"
      )
    parts[name] = _Part(part.geometry, part.radius)
  return _modal(parts)


def clipped(box: Any, inputs: Any) -> Any:
  """Returns the inputs moved into a threat's box, to the bit.

  Args:
    box: ``Threat.box``.
    inputs: [B, ...] or a mapping of such arrays.
  """
  if isinstance(box, Mapping):
    return {name: clipped(box[name], inputs[name]) for name in inputs}
  lower, upper = (
    ravel.broadcast_modalities("box", bound, inputs) for bound in box
  )
  return ravel.map_modalities(_clip, inputs, lower, upper)


def _clip(leaf: Array, lower: ravel.Amounts, upper: ravel.Amounts) -> Array:
  bounds = (
    jnp.broadcast_to(jnp.asarray(bound, leaf.dtype), leaf.shape[1:])[None]
    for bound in (lower, upper)
  )
  return jnp.clip(leaf, *bounds)


def box_rows(box: Any, inputs: Inputs) -> tuple[Array, Array]:
  """Returns a threat's box as matrices (lower, upper), each [B, D].

  Args:
    box: ``Threat.box``.
    inputs: [B, ...] or a mapping of such arrays.
  """
  ends = (
    jax.tree.map(lambda leaf, e=end: jnp.full_like(leaf, e), inputs)
    for end in (-jnp.inf, jnp.inf)
  )
  lower, upper = (ravel.ravel_examples(clipped(box, end))[0] for end in ends)
  return lower, upper


def unit_of(threat: Threat, inputs: Inputs) -> Inputs:
  """Returns what one unit of the gauge is in raw units, like the inputs.

  Each modality's radius where each has its own, 1 elsewhere.

  Args:
    threat: the threat.
    inputs: [B, ...] or a mapping of such arrays.
  """

  def one(leaf: Array, radius: float | Array) -> Array:
    return jnp.broadcast_to(_column(radius, leaf), leaf.shape)

  radii = 1.0 if threat.parts is None else threat.radius
  return ravel.map_modalities(
    one, inputs, ravel.broadcast_modalities("radius", radii, inputs)
  )


def _column(radius: float | Array, leaf: Array) -> Array:
  """Returns radii [] or [B] so that they broadcast against [B, ...]."""
  return jnp.reshape(
    jnp.asarray(radius, leaf.dtype), (-1, *[1] * (leaf.ndim - 1))
  )


def _whole(geometry: Geometry) -> Gauge:
  def columns(inputs: Inputs) -> blocks.Blocks:
    width = geometry.rows(inputs)[0].shape[1]
    return (blocks.Block(geometry.order, width),)

  return Gauge(geometry.rows, geometry.slopes, geometry.room, columns)


class _Part(NamedTuple):
  """One modality's ball; its rows are raw ones over the radius."""

  geometry: Geometry
  radius: float | Array

  def unit(self, matrix: Array) -> Array:
    """Returns the radius, [1 or B, 1]; 1 where nothing may change."""
    radius = _column(self.radius, matrix)
    return jnp.where(radius > 0, radius, 1)

  def block(self, leaf: Array) -> blocks.Block:
    """Returns the modality's columns."""
    return blocks.Block(self.geometry.order, leaf[0].size)

  def rows(self, leaf: Array) -> tuple[Array, Callable[[Array], Inputs]]:
    """Returns the rows, and the way back."""
    matrix, back = self.geometry.rows(leaf)
    unit = self.unit(matrix)
    return matrix / unit, lambda changed: back(changed * unit)

  def slopes(self, gradient: Array) -> Array:
    """Returns the gradient with respect to the rows; 0 where the radius is."""
    matrix = self.geometry.slopes(gradient)
    radius = _column(self.radius, matrix)
    # Not by multiplication alone: a radius of 0 must win over an infinity.
    return jnp.where(radius > 0, matrix * radius, 0)

  def room(self, leaf: Array) -> Room:
    """Returns the box of the rows."""
    matrix = self.geometry.rows(leaf)[0]
    bounds = self.geometry.room(leaf)
    return Room(
      *(jnp.broadcast_to(b / self.unit(matrix), matrix.shape) for b in bounds)
    )


def _modal(parts: Mapping[str, _Part]) -> Gauge:
  """Returns the gauge of modalities; theirs is the order of sorted names."""

  def leaves(inputs: Inputs) -> list[Array]:
    if not isinstance(inputs, Mapping) or set(inputs) != set(parts):
      given = sorted(inputs) if isinstance(inputs, Mapping) else "one array"
      raise ValueError(
        f"threats are given for the modalities {sorted(parts)}; the inputs "
        f"have {given}"
      )
    return [inputs[name] for name in parts]

  def each(act: Callable[[_Part, Array], T], tree: Inputs) -> list[T]:
    return [
      act(part, leaf)
      for part, leaf in zip(parts.values(), leaves(tree), strict=True)
    ]

  def columns(inputs: Inputs) -> blocks.Blocks:
    return tuple(each(_Part.block, inputs))

  def rows(inputs: Inputs) -> tuple[Array, Callable[[Array], Inputs]]:
    found = each(_Part.rows, inputs)

    def restore(matrix: Array) -> PyTree:
      pieces = blocks.split(matrix, columns(inputs))
      return {
        name: back(piece)
        for name, (_, back), piece in zip(parts, found, pieces, strict=True)
      }

    return jnp.concatenate([matrix for matrix, _ in found], 1), restore

  def slopes(gradient: Inputs) -> Array:
    return jnp.concatenate(each(_Part.slopes, gradient), 1)

  def room(inputs: Inputs) -> Room:
    bounds = zip(*each(_Part.room, inputs), strict=True)
    return Room(*(jnp.concatenate(walls, 1) for walls in bounds))

  return Gauge(rows, slopes, room, columns)


def boxed(threat: Threat) -> Threat:
  """Returns the threat without its ball: the box alone binds.

  It still contains nothing of an origin that is outside the box.
  """

  def contains(candidate: Inputs, origin: Inputs) -> Array:
    return _in_box(threat.box, candidate) & threat.contains(origin, origin)

  return threat._replace(
    project=lambda candidate, origin: ravel.stored(
      clipped(threat.box, candidate), origin
    ),
    contains=contains,
  )


def _in_box(box: Any, inputs: Any) -> Array:
  """Returns which examples lie in a threat's box, [B]."""
  if isinstance(box, Mapping):
    each = [_in_box(box[name], inputs[name]) for name in inputs]
    return jnp.all(jnp.stack(each), 0)
  matrix = ravel.ravel_examples(inputs)[0]
  lower, upper = (ravel.row(end, inputs).astype(matrix.dtype) for end in box)
  return jnp.all(in_box(matrix, lower, upper, ravel.coarsest(inputs)), 1)
