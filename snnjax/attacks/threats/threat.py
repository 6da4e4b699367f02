"""Threats: what an attack may do to an input.

A threat is a norm ball around the clean input, intersected with the box that
data live in. Given a mapping of modalities, a threat made here measures all of
them together, as one long vector; `snnjax.attacks.threats.modalities` gives
every modality a budget of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import prng
from snnjax.arguments import check_per_example, described
from snnjax.attacks.threats import balls, ravel
from snnjax.interfaces import Array, Inputs, Key, PyTree
from snnjax.validation import (
  check_box,
  check_number,
  check_range,
  in_box,
  is_concrete,
)

Bounds = tuple[ravel.Amounts, ravel.Amounts]  # lower, upper
UNIT_BOX = (0.0, 1.0)


class Geometry(NamedTuple):
  """Inputs as rows of a matrix in which a threat is one norm ball and a box.

  For attacks that need the norm itself, where a threat's functions do not do.

  Attributes:
    order: p of the norm: infinity, 2 or 1.
    rows: ``inputs -> (matrix [B, D], restore)``; `restore` turns such a
      matrix back into inputs.
    slopes: ``gradient -> matrix [B, D]``, with respect to the rows.
    room: ``inputs -> Room``, the box of the rows.
  """

  order: float
  rows: Callable[[Inputs], tuple[Array, Callable[[Array], Inputs]]]
  slopes: Callable[[Inputs], Array]
  room: Callable[[Inputs], balls.Room]


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
      to what rounding does to the projection, `balls.slack`. Not finite is
      not contained. Of the origin itself it tells whether it is in the box.
    distance: ``(candidate, origin) -> [B]``, in the threat's norm.
    radius: the budget, for the array or for each modality.
    box: (lower, upper), for the array or for each modality.
    times: ``factor -> Threat``, the same with that many times the radius.
    geometry: the one norm ball this is, or None if it is not one.
    parts: the threat of each modality, where each has its own; else None.
  """

  project: Callable[[Inputs, Inputs], Inputs]
  sample: Callable[[Key, Inputs], Inputs]
  ascent: Callable[[Inputs, Inputs], Inputs]
  contains: Callable[[Inputs, Inputs], Array]
  distance: Callable[[Inputs, Inputs], Array]
  radius: PyTree
  box: PyTree
  times: Callable[[float | Array], "Threat"]
  geometry: Geometry | None = None
  parts: Mapping[str, "Threat"] | None = None


def linf(epsilon: float | Array, box: Bounds = UNIT_BOX) -> Threat:
  """Returns ``max_i |delta_i| <= epsilon``; its steps are signs.

  Args:
    epsilon: radius in raw input units, a scalar or [B]; may be traced.
    box: smallest and largest values of an input: scalars, arrays of one
      example's shape, or mappings of these by modality.

  Raises:
    ValueError: if a concrete radius or box makes no sense.
  """
  return _threat(balls.LINF, epsilon, box, np.inf)


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
  return _threat(balls.L2, epsilon, box, 2)


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
  return _threat(balls.l1_ball(fraction), epsilon, box, 1)


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
    f"{name} must be a threat; got {described(threat)}: {say}{example}"
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
  if isinstance(threat.box, Mapping):
    boxes = ravel.broadcast_modalities("the threat", threat.box, inputs)
    for modality, (lower, upper) in boxes.items():
      check_box(f"{name}[{modality!r}]", inputs[modality], lower, upper)
    return
  lowers, uppers = (
    ravel.broadcast_modalities("box", end, inputs) for end in threat.box
  )
  if not isinstance(inputs, Mapping):
    check_box(name, inputs, lowers, uppers)
    return
  for modality, leaf in inputs.items():
    check_box(f"{name}[{modality!r}]", leaf, lowers[modality], uppers[modality])


def _check(epsilon: float | Array, box: Bounds) -> None:
  check_range("epsilon", epsilon, 0.0, np.finfo(np.float64).max)
  if jnp.ndim(epsilon) > 1:
    raise ValueError(
      f"epsilon must be a scalar or [B]; got shape {jnp.shape(epsilon)}"
    )
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


def _threat(
  ball: balls.Ball, epsilon: float | Array, box: Bounds, order: float
) -> Threat:
  """Puts a ball of matrices around trees of inputs, inside a box."""
  _check(epsilon, box)

  def radius(like: Array) -> Array:
    check_per_example("epsilon", epsilon, like.shape[0])
    return jnp.reshape(jnp.asarray(epsilon, like.dtype), (-1, 1))

  def walls(inputs: Inputs) -> balls.Room:
    kind = ravel.wide(*jax.tree.leaves(inputs))
    lower, upper = (ravel.row(bound, inputs).astype(kind) for bound in box)
    return balls.Room(lower, upper)

  def room(inputs: Inputs) -> balls.Room:
    # A clean input that rounding put behind a wall may stay where it is.
    lower, upper = walls(inputs)
    matrix = ravel.ravel_examples(inputs)[0]
    inside = in_box(matrix, lower, upper, ravel.coarsest(inputs))
    return balls.Room(
      jnp.where(inside, jnp.minimum(lower, matrix), lower),
      jnp.where(inside, jnp.maximum(upper, matrix), upper),
    )

  def project(candidate: Inputs, origin: Inputs) -> Inputs:
    center, restore = ravel.ravel_examples(origin)
    moved = _finite(
      ravel.ravel_examples(candidate)[0].astype(center.dtype), center
    )
    near = ball.project(moved, center, room(origin), radius(center))
    return ravel.stored(restore(near), origin)

  def sample(key: Key, origin: Inputs) -> Inputs:
    center, restore = ravel.ravel_examples(origin)
    keys = prng.example_keys(key, center.shape[0])
    unit = prng.per_example(
      lambda k: ball.draw(k, center.shape[1], center.dtype), keys
    )
    moved = center + radius(center) * unit
    near = ball.project(moved, center, room(origin), radius(center))
    return ravel.stored(restore(near), origin)

  def ascent(gradient: Inputs, candidate: Inputs) -> Inputs:
    slope, restore = ravel.ravel_examples(gradient)
    here = ravel.ravel_examples(candidate)[0]
    return restore(ball.direction(slope, here, room(candidate)))

  def distance(candidate: Inputs, origin: Inputs) -> Array:
    return ball.norm(
      ravel.ravel_examples(candidate)[0] - ravel.ravel_examples(origin)[0]
    )

  def contains(candidate: Inputs, origin: Inputs) -> Array:
    moved, center = (
      ravel.ravel_examples(candidate)[0],
      ravel.ravel_examples(origin)[0],
    )
    limit = radius(moved)[:, 0]
    scale = jnp.maximum(limit, jnp.max(jnp.abs(center), 1))
    rounding = balls.slack(order, moved.shape[1], moved.dtype) * scale
    near = distance(candidate, origin) <= limit + rounding
    kind = ravel.coarsest(candidate)
    return near & jnp.all(in_box(moved, *walls(origin), kind), 1)

  return Threat(
    project,
    sample,
    ascent,
    contains,
    distance,
    epsilon,
    box,
    lambda factor: _threat(ball, factor * epsilon, box, order),
    Geometry(
      order,
      ravel.ravel_examples,
      lambda slope: ravel.ravel_examples(slope)[0],
      room,
    ),
  )
