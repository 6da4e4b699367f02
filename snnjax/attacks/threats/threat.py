"""Threats: what an attack may do to an input.

A threat is a norm ball around the clean input, intersected with the box that
data live in. Given a mapping of modalities, a threat made here measures all of
them together, as one long vector; `snnjax.attacks.threats.modalities` gives
every modality a budget of its own.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import prng, vectors
from snnjax.arguments import check_per_example, describe
from snnjax.attacks.threats import norms, ravel
from snnjax.interfaces import Array, Inputs, Key, PyTree
from snnjax.validation import (
  check_box,
  check_number,
  check_range,
  in_box,
  is_concrete,
)

Bounds = tuple[ravel.Amounts, ravel.Amounts]  # lower, upper
# (gradient, candidate, room), all [B, D] -> a step of unit norm
Direction = Callable[[Array, Array, norms.Room], Array]
UNIT_BOX = (0.0, 1.0)


class Threat(NamedTuple):
  """What an attack may do, as pure functions of whole batches.

  Attributes:
    project: ``(candidate, origin) -> inputs`` inside ball and box, of the
      origin's type. A coordinate that is not finite goes back to its origin.
    sample: ``(key, origin) -> inputs``, uniform in the ball, then projected;
      one draw per example, whatever else is in the batch.
    ascent: ``(gradient, candidate) -> direction``, the unit step along which
      the gradient promises most; zero where the gradient is.
    contains: ``(candidate, origin) -> [B]`` booleans, inside ball and box up
      to the rounding of the projection, `norms.slack`. What is not finite is
      not contained. ``contains(origin, origin)``: is the origin in its box?
    distance: ``(candidate, origin) -> [B]``, in the threat's norm.
    radius: the budget, for the array or for each modality.
    box: (lower, upper), for the array or for each modality.
    times: ``factor -> Threat``, the same with that many times the radius.
    norm: the norm whose ball this is, with inputs as rows: one norm of all,
      or the mixed norm ``max_m ||d_m||_p / r_m`` of budgets per modality.
      None if it is no norm's ball.
    site_axes: of a threat that counts sites, how many trailing axes make one,
      for the array or for each modality; None of any other.
  """

  project: Callable[[Inputs, Inputs], Inputs]
  sample: Callable[[Key, Inputs], Inputs]
  ascent: Callable[[Inputs, Inputs], Inputs]
  contains: Callable[[Inputs, Inputs], Array]
  distance: Callable[[Inputs, Inputs], Array]
  radius: PyTree
  box: PyTree
  times: Callable[[float | Array], "Threat"]
  norm: norms.Norm | None = None
  site_axes: PyTree | None = None


def linf(epsilon: float | Array, box: Bounds = UNIT_BOX) -> Threat:
  """Returns ``max_i |delta_i| <= epsilon``; its steps are signs.

  Args:
    epsilon: radius in raw input units, a scalar or [B]; may be traced.
    box: smallest and largest values of an input: scalars, arrays of one
      example's shape, or mappings of these by modality.

  Raises:
    ValueError: if a concrete radius or box makes no sense.
  """
  return _ball(np.inf, _sign, epsilon, box)


def l2(epsilon: float | Array, box: Bounds = UNIT_BOX) -> Threat:
  """Returns ``||delta||_2 <= epsilon``; its steps are g/||g||_2.

  The projection scales the perturbation and then clips to the box: always
  inside both, though not always the nearest such point.

  Args:
    epsilon: radius in raw input units, a scalar or [B]; may be traced.
    box: smallest and largest values of an input, see `linf`.

  Raises:
    ValueError: if a concrete radius or box makes no sense.
  """
  return _ball(2, _unit, epsilon, box)


def l1(
  epsilon: float | Array, box: Bounds = UNIT_BOX, fraction: float = 0.01
) -> Threat:
  """Returns ``||delta||_1 <= epsilon``; its steps move few coordinates.

  The projection is onto ball and box *together*. A step of length one is
  spread evenly over the `fraction` of coordinates with the largest gradients,
  leaving out those that stand at the wall they would be pushed into.

  Args:
    epsilon: radius in raw input units, a scalar or [B]; may be traced.
    box: smallest and largest values of an input, see `linf`.
    fraction: share of coordinates one step moves, at least one coordinate;
      0 is the exact steepest direction.

  Raises:
    ValueError: if a concrete radius, box or fraction makes no sense.

  References:
    Florian Tramer, Dan Boneh, 2019, "Adversarial training and robustness for
    multiple perturbations" (SLIDE, the steps), arXiv 1904.13000.
    Francesco Croce, Matthias Hein, 2021, "Mind the box" (the projection),
    arXiv 2103.01208.
  """
  check_range("fraction", fraction, 0.0, 1.0)
  sparse = functools.partial(norms.sparse_direction, fraction=fraction)
  return _ball(1, sparse, epsilon, box)


def box_only(box: Any = UNIT_BOX) -> Threat:
  """Returns the threat that the box alone bounds.

  For searches that no budget limits. Its distance is linf's, and a sample is
  uniform between the walls; where one of them is infinite, it is the origin.

  Args:
    box: see `linf`; or such a box for each modality, as `Threat.box` is.

  Raises:
    ValueError: if a concrete box makes no sense.
  """
  ends = _ends(box)
  _check_box(ends)

  def sample(key: Key, origin: Inputs) -> Inputs:
    center, restore = ravel.ravel_examples(origin)
    keys = prng.example_keys(key, center.shape[0])
    bounds = walls(box, origin)
    closed = jnp.isfinite(bounds.lower) & jnp.isfinite(bounds.upper)
    lower, upper = (jnp.where(closed, bound, 0) for bound in bounds)
    points = norms.uniform_rows(keys, lower, upper)
    return ravel.store_like(restore(jnp.where(closed, points, center)), origin)

  return _around(np.inf, _sign, np.inf, ends)._replace(
    sample=sample,
    contains=lambda candidate, origin: (
      _inside(candidate, ends) & _inside(origin, ends)
    ),
    box=box,
    times=lambda factor: box_only(box),
  )


def norm_of(threat: Threat) -> norms.Norm:
  """Returns a threat's norm, for an attack that needs it.

  Raises:
    ValueError: if it is no threat, or not the ball of a norm.
  """
  check_threat(threat)
  if threat.norm is None:
    kind = "a threat without a norm"
    if isinstance(threat.radius, Mapping):
      kind = f"budgets for {sorted(threat.radius)}, not all of them such balls"
    raise ValueError(
      "threat must be one norm ball (linf, l2, l1 or a joint budget), or one "
      f"for each modality, for an attack that needs the norm itself; got {kind}"
    )
  return threat.norm


def orders_of(threat: Threat) -> tuple[float, ...]:
  """Returns the orders of a threat's norms, each once, the largest first.

  Of one that counts sites it is 0; there is none where the norm is not known.
  """
  if threat.site_axes is not None:
    return (0,)
  orders = threat.norm.orders if threat.norm else ()
  return tuple(sorted(set(orders), reverse=True))


def check_threat(threat: Any, name: str = "threat") -> None:
  """Raises ValueError unless this is a threat; every attack asks it.

  Args:
    threat: what a caller gave; a radius or a norm that was not called is not
      a threat.
    name: of the argument, for the message.
  """
  if isinstance(threat, Threat):
    return
  say = "give it its radius, " if callable(threat) else "a threat is "
  example = "attacks.linf(8 / 255)"
  if callable(threat) and hasattr(threat, "__name__"):
    example = f"attacks.{threat.__name__}(radius)"
  raise ValueError(
    f"{name} must be a threat; got {describe(threat)}: {say}{example}"
  )


def check_floating(inputs: Inputs, name: str = "inputs") -> None:
  """Raises ValueError unless inputs are arrays of floating-point numbers.

  Args:
    inputs: [B, ...], or a mapping of them.
    name: what to call them in the message.
  """
  prng.batch_size(inputs)
  for path, leaf in jax.tree_util.tree_leaves_with_path(inputs):
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
      raise ValueError(
        f"{name}{jax.tree_util.keystr(path)} must be floating point to be "
        f"attacked; got {jnp.result_type(leaf)}. An image of 0..255 is "
        "x.astype(jnp.float32) / 255 in the box (0, 1)"
      )


def check_inputs(threat: Threat, inputs: Inputs, name: str = "inputs") -> None:
  """Raises unless concrete clean inputs fit the threat and lie in its box.

  Every attack asks this of what it is called with. Traced inputs pass: an
  attack claims no success there, and `evaluation.summarize` refuses them.

  Args:
    threat: the threat that `inputs` are about to be attacked under.
    inputs: clean inputs [B, ...], or a mapping of them.
    name: what to call them in the error message.

  Raises:
    ValueError: if an input is not floating, not finite, or outside its box.
  """
  check_threat(threat)
  check_floating(inputs, name)
  lowers, uppers = (
    ravel.broadcast_modalities("the threat", end, inputs)
    for end in _ends(threat.box)
  )
  if not isinstance(inputs, Mapping):
    check_box(name, inputs, lowers, uppers)
    return
  for modality, leaf in inputs.items():
    check_box(f"{name}[{modality!r}]", leaf, lowers[modality], uppers[modality])


def walls(box: Any, inputs: Inputs) -> norms.Room:
  """Returns a threat's box as the rows of inputs see it, each wall [B, D].

  Args:
    box: ``Threat.box``.
    inputs: [B, ...], or a mapping of such arrays.
  """
  matrix = ravel.ravel_examples(inputs)[0]
  # Not broadcast_to: over a mesh a wall is spread as the inputs are.
  lower, upper = (
    jnp.zeros_like(matrix) + ravel.row(end, inputs).astype(matrix.dtype)
    for end in _ends(box)
  )
  return norms.Room(lower, upper)


def _ends(box: Any) -> Any:
  """Returns a box as one pair, where it is a pair for each modality."""
  if not isinstance(box, Mapping):
    return box
  return tuple(
    {name: pair[end] for name, pair in box.items()} for end in (0, 1)
  )


def _check_box(box: Any) -> None:
  if not isinstance(box, tuple) or len(box) != 2:
    raise ValueError(f"box must be a pair (lower, upper); got {box!r}")
  lowers, uppers = (jax.tree.leaves(bound) for bound in box)
  for bound in lowers + uppers:
    check_number("box", bound)
  if all(map(is_concrete, lowers + uppers)) and (
    len(lowers) != len(uppers)
    or not all(
      np.all(np.asarray(lower) < np.asarray(upper))
      for lower, upper in zip(lowers, uppers, strict=True)
    )
  ):
    raise ValueError(f"box must have lower < upper everywhere; got {box}")


def _finite(candidate: Array, origin: Array) -> Array:
  return jnp.where(jnp.isfinite(candidate), candidate, origin)


def _sign(gradient: Array, candidate: Array, room: norms.Room) -> Array:
  del candidate, room
  return jnp.sign(gradient)


def _unit(gradient: Array, candidate: Array, room: norms.Room) -> Array:
  del candidate, room
  return vectors.unit(gradient)


def _ball(
  order: float, direction: Direction, epsilon: float | Array, box: Bounds
) -> Threat:
  """Returns the ball of this order around trees of inputs, inside a box."""
  check_range("epsilon", epsilon, 0.0, np.finfo(np.float64).max)
  if jnp.ndim(epsilon) > 1:
    raise ValueError(
      f"epsilon must be a scalar or [B]; got shape {jnp.shape(epsilon)}"
    )
  _check_box(box)
  return _around(order, direction, epsilon, box)


def _around(
  order: float, direction: Direction, epsilon: float | Array, box: Bounds
) -> Threat:
  """Returns the ball of a radius that was checked, or of an infinite one."""

  def radius(like: Array) -> Array:
    check_per_example("epsilon", epsilon, like.shape[0])
    return jnp.reshape(jnp.asarray(epsilon, like.dtype), (-1, 1))

  def room(inputs: Inputs) -> norms.Room:
    # A clean input that rounding put behind a wall may stay where it is.
    lower, upper = walls(box, inputs)
    matrix = ravel.ravel_examples(inputs)[0]
    inside = in_box(matrix, lower, upper, ravel.coarsest_dtype(inputs))
    return norms.Room(
      jnp.where(inside, jnp.minimum(lower, matrix), lower),
      jnp.where(inside, jnp.maximum(upper, matrix), upper),
    )

  def project(candidate: Inputs, origin: Inputs) -> Inputs:
    center, restore = ravel.ravel_examples(origin)
    # A coordinate that is not finite has no nearest point: it stays at home.
    moved = _finite(
      ravel.ravel_examples(candidate)[0].astype(center.dtype), center
    )
    near = norms.project(moved, center, room(origin), radius(center), order)
    return ravel.store_like(restore(near), origin)

  def sample(key: Key, origin: Inputs) -> Inputs:
    center, restore = ravel.ravel_examples(origin)
    keys = prng.example_keys(key, center.shape[0])
    unit = prng.per_example(
      lambda k: vectors.uniform_in_ball(
        k, center.shape[1], order, center.dtype
      ),
      keys,
    )
    # Uniform in the ball first; what is outside the box is projected onto it,
    # and not drawn again, since that may never end.
    moved = center + radius(center) * unit
    near = norms.project(moved, center, room(origin), radius(center), order)
    return ravel.store_like(restore(near), origin)

  def ascent(gradient: Inputs, candidate: Inputs) -> Inputs:
    slope, restore = ravel.ravel_examples(gradient)
    here = ravel.ravel_examples(candidate)[0]
    return restore(direction(slope, here, room(candidate)))

  def distance(candidate: Inputs, origin: Inputs) -> Array:
    delta = ravel.ravel_examples(candidate)[0] - ravel.ravel_examples(origin)[0]
    return vectors.norm(delta, order)

  def contains(candidate: Inputs, origin: Inputs) -> Array:
    moved, center = (
      ravel.ravel_examples(candidate)[0],
      ravel.ravel_examples(origin)[0],
    )
    limit = radius(moved)[:, 0]
    # The projection's own rounding is no violation, see `norms.slack`.
    scale = jnp.maximum(limit, jnp.max(jnp.abs(center), 1))
    rounding = norms.slack(order, moved.shape[1], moved.dtype) * scale
    near = distance(candidate, origin) <= limit + rounding
    return near & _inside(candidate, box)

  def blocks(inputs: Inputs) -> norms.Blocks:
    leaves = jax.tree.leaves(inputs)
    width = sum(math.prod(leaf.shape[1:]) for leaf in leaves)
    return (norms.Block(order, width, len(leaves)),)

  return Threat(
    project=project,
    sample=sample,
    ascent=ascent,
    contains=contains,
    distance=distance,
    radius=epsilon,
    box=box,
    times=lambda factor: _ball(order, direction, factor * epsilon, box),
    norm=norms.Norm(
      orders=(order,),
      rows=ravel.ravel_examples,
      slopes=lambda gradient: ravel.ravel_examples(gradient)[0],
      room=room,
      blocks=blocks,
    ),
  )


def _inside(inputs: Inputs, box: Any) -> Array:
  """Returns which examples are finite and in a box, up to rounding, [B]."""
  matrix, kind = ravel.ravel_examples(inputs)[0], ravel.coarsest_dtype(inputs)
  return jnp.all(in_box(matrix, *walls(box, inputs), kind), 1)
