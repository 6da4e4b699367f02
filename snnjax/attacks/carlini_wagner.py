"""Carlini-Wagner and EAD: distance plus penalty, its weight by bisection."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnjax import losses, random
from snnjax.attacks import flat
from snnjax.attacks.ascent import (
  Destination,
  Keep,
  ascend,
  nothing,
)
from snnjax.attacks.minimal import (
  MinimalAttack,
  MinimalResult,
  finished,
  judged,
)
from snnjax.attacks.nearest import closest, geometry_of, predicts
from snnjax.attacks.oracle import Oracle, OracleState, Probe
from snnjax.attacks.threat import Geometry, Threat, linf
from snnjax.types import (
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
  LogitsFn,
)
from snnjax.validation import (
  check_count,
  check_positive,
  check_range,
  is_concrete,
)

_INSIDE = 0.999999  # keeps arctanh finite at the walls of the box
_LARGEST = 1e30  # a radius that bounds nothing

Search = Callable[[Array], Attack]  # weight [B] of the penalty -> attack


class _Weight(NamedTuple):
  """The penalty's weight c of each example, [B], and its bracket."""

  weight: Array
  low: Array
  high: Array


class _Momentum(NamedTuple):
  previous: Array  # [B, D], the iterate before
  step: Array  # how many steps were taken


def carlini_wagner(
  logits_fn: LogitsFn,
  threat: Threat,
  *,
  steps: int = 1000,
  searches: int = 9,
  step_size: float = 0.01,
  weight: float = 1e-3,
  confidence: float = 0.0,
  targeted: bool = False,
) -> MinimalAttack:
  """Returns the l2 attack of Carlini and Wagner.

  Adam on u, x = box(tanh u), minimises
  ``||x - x0||_2^2 + c max(z_y - z_r + confidence, 0)``; c grows tenfold
  until it succeeds and is then bisected, for each example.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.
    threat: an l2 threat, for its box; its radius is not used.
    steps: of Adam, for each c.
    searches: how many values of c.
    step_size: of Adam, in units of u.
    weight: the first c.
    confidence: the margin, in logits, that a success must have.
    targeted: whether labels are targets to be predicted.

  Raises:
    ValueError: if an argument is out of range, the threat is not l2, or its
      box is not finite.

  References:
    Nicholas Carlini, David Wagner, 2017, "Towards evaluating the robustness
    of neural networks", arXiv 1608.04644.

  Differs from the authors' code in that no search is aborted early: that
  would make an example's result depend on its batch.
  """
  _check(steps, searches, step_size, weight, confidence)
  geometry = _geometry(threat, 2)
  if all(map(is_concrete, jax.tree.leaves(threat.box))) and not all(
    np.all(np.isfinite(bound)) for bound in jax.tree.leaves(threat.box)
  ):
    raise ValueError(f"threat must have a finite box; got {threat.box}")
  stepper = optax.chain(optax.scale_by_adam(), optax.scale(step_size))

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    rows, restore = geometry.rows(inputs)
    room = geometry.room(inputs)
    middle, half = (room.upper + room.lower) / 2, (room.upper - room.lower) / 2

    def at(u: Inputs) -> Array:
      return middle + half * jnp.tanh(_matrix(u))

    first = jnp.arctanh(_INSIDE * (rows - middle) / half)

    def keep(held: AttackResult, new: AttackResult) -> Array:
      before, after = (
        jnp.sum((at(found.inputs) - rows) ** 2, 1) for found in (held, new)
      )
      return new.success & (~held.success | (after < before))

    def search(weights: Array) -> Attack:
      oracle = _penalised(
        logits_fn,
        lambda u: (at(u), restore(at(u))),
        at(first),
        weights,
        confidence,
        targeted,
      )
      run = ascend(oracle, stepper, _anywhere(), steps=steps, keep=keep)

      def one(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
        found = run(key, first, labels)
        return found._replace(inputs=restore(at(found.inputs)))

      return one

    return _bisected(search, logits_fn, geometry, searches, weight, targeted)(
      key, inputs, labels
    )

  return attack


def ead(
  logits_fn: LogitsFn,
  threat: Threat,
  *,
  steps: int = 1000,
  searches: int = 9,
  step_size: float = 0.01,
  weight: float = 1e-3,
  shrinkage: float = 0.01,
  confidence: float = 0.0,
  targeted: bool = False,
) -> MinimalAttack:
  """Returns the elastic-net attack, for small l1 distances.

  FISTA minimises ``c max(z_y - z_r + confidence, 0) + ||x - x0||_2^2 +
  shrinkage ||x - x0||_1`` in the box: a gradient step of the smooth part at
  the extrapolated iterate, then soft thresholding; the step size falls as the
  square root of what is left of the run. c is chosen as in `carlini_wagner`.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.
    threat: an l1 threat, for its box; its radius is not used.
    steps: of FISTA, for each c.
    searches: how many values of c.
    step_size: the first one, in input units.
    weight: the first c.
    shrinkage: the weight of the l1 norm, which is also the threshold.
    confidence: the margin, in logits, that a success must have.
    targeted: whether labels are targets to be predicted.

  Raises:
    ValueError: if an argument is out of range or the threat is not l1.

  References:
    Pin-Yu Chen, Yash Sharma, Huan Zhang, Jinfeng Yi, Cho-Jui Hsieh, 2018,
    "EAD: elastic-net attacks to deep neural networks via adversarial
    examples", arXiv 1709.04114.

  As in the authors' code the threshold is `shrinkage` itself, not multiplied
  by the step size; of their two decision rules this is the l1 one. Differs
  in that no search is aborted early.
  """
  _check(steps, searches, step_size, weight, confidence)
  check_range("shrinkage", shrinkage, 0.0, np.finfo(np.float64).max)
  geometry = _geometry(threat, 1)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    rows, restore = geometry.rows(inputs)
    room = geometry.room(inputs)

    def shrunk(moved: Array) -> Array:
      delta = moved - rows
      small = jnp.sign(delta) * jnp.maximum(jnp.abs(delta) - shrinkage, 0)
      return jnp.clip(rows + small, room.lower, room.upper)

    def keep(held: AttackResult, new: AttackResult) -> Array:
      before, after = (
        jnp.sum(jnp.abs(_matrix(found.inputs) - rows), 1)
        for found in (held, new)
      )
      return new.success & (~held.success | (after < before))

    stepper = _shrinking(shrunk, step_size, steps)

    def search(weights: Array) -> Attack:
      smooth = _penalised(
        logits_fn,
        lambda matrix: (matrix, restore(matrix)),
        rows,
        weights,
        confidence,
        targeted,
      )
      run = ascend(
        _looking_ahead(smooth), stepper, _anywhere(), steps=steps, keep=keep
      )

      def one(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
        found = run(key, rows, labels)
        return found._replace(inputs=restore(_matrix(found.inputs)))

      return one

    return _bisected(search, logits_fn, geometry, searches, weight, targeted)(
      key, inputs, labels
    )

  return attack


def _penalised(
  logits_fn: LogitsFn,
  at: Callable[[Array], tuple[Array, Inputs]],
  center: Array,
  weights: Array,
  confidence: float,
  targeted: bool,
) -> Oracle:
  """Returns the oracle of -(distance^2 + c max(confidence - margin, 0)).

  `at` maps what is searched to rows, whose distance from `center` counts, and
  to inputs. Success needs a margin of at least `confidence`.
  """

  def grad(
    key: Key, state: OracleState, point: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    def total(point: Array) -> tuple[Array, tuple[Array, Array]]:
      rows, inputs = at(point)
      logits = logits_fn(key, inputs)
      margin = losses.margin_loss(logits, labels)
      margin = -margin if targeted else margin
      lacking = jnp.maximum(confidence - margin, 0)
      loss = -jnp.sum((rows - center) ** 2, 1) - weights * lacking
      won = (predicts(logits, labels) == targeted) & (margin >= confidence)
      return jnp.sum(loss), (loss, won)

    slope, (loss, won) = jax.grad(total, has_aux=True)(_matrix(point))
    return Probe(loss, slope, ~won), state

  return Oracle(init=lambda point: None, grad=grad)


def _ahead(point: Array, memory: _Momentum) -> Array:
  """Returns FISTA's extrapolation from the last two iterates."""
  step = memory.step.astype(point.dtype)
  return point + (step - 1) / (step + 2) * (point - memory.previous)


def _looking_ahead(oracle: Oracle) -> Oracle:
  """Returns the oracle that judges the iterate, but looks ahead for slopes."""

  def init(point: Inputs) -> OracleState:
    return _Momentum(_matrix(point), jnp.zeros((), int))

  def grad(
    key: Key, memory: OracleState, point: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    keys = random.split(key)
    matrix = _matrix(point)
    here, _ = oracle.grad(keys[0], None, matrix, labels)
    ahead, _ = oracle.grad(keys[1], None, _ahead(matrix, memory), labels)
    probe = here._replace(gradient=ahead.gradient)
    return probe, _Momentum(matrix, memory.step + 1)

  return Oracle(init, grad)


def _shrinking(
  shrunk: Callable[[Array], Array], step_size: float, steps: int
) -> optax.GradientTransformationExtraArgs:
  def init(point: Array) -> _Momentum:
    return _Momentum(point, jnp.zeros((), int))

  def update(
    gradient: Array,
    memory: _Momentum,
    params: Array,
    *,
    value: Array,
    correct: Array,
    origin: Array,
  ) -> tuple[Destination, _Momentum]:
    del value, correct, origin
    left = 1 - memory.step.astype(params.dtype) / steps
    moved = _ahead(params, memory) + step_size * jnp.sqrt(left) * gradient
    return Destination(shrunk(moved)), _Momentum(params, memory.step + 1)

  return optax.GradientTransformationExtraArgs(init, update)


def _bisected(
  search: Search,
  logits_fn: LogitsFn,
  geometry: Geometry,
  searches: int,
  weight: float,
  targeted: bool,
) -> MinimalAttack:
  """Returns the nearest success over values of c, each example with its own."""

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    keys = random.example_keys(key, random.batch_size(inputs))
    keep: Keep = closest(geometry, inputs)
    none = nothing(inputs, labels)
    zero = jnp.zeros_like(none.loss)

    def again(
      carry: tuple[_Weight, AttackResult], index: Array
    ) -> tuple[tuple[_Weight, AttackResult], None]:
      c, held = carry
      new = search(c.weight)(random.fold_in(keys, index), inputs, labels)
      new = new._replace(loss=new.loss.astype(zero.dtype))
      held = flat.choose(keep(held, new), new, held)
      return (_narrowed(c, new.success), held), None

    start = _Weight(zero + weight, zero, zero + jnp.inf)
    clean = judged(logits_fn, random.fold_in(keys, 0), inputs, labels, targeted)
    clean = clean._replace(loss=clean.loss.astype(zero.dtype))
    (_, found), _ = jax.lax.scan(
      again, (start, clean), jnp.arange(1, searches + 1)
    )
    last = random.fold_in(keys, searches + 1)
    return finished(logits_fn, last, geometry, found, inputs, labels, targeted)

  return attack


def _narrowed(c: _Weight, success: Array) -> _Weight:
  low = jnp.where(success, c.low, c.weight)
  high = jnp.where(success, c.weight, c.high)
  middle = (low + jnp.where(jnp.isinf(high), low, high)) / 2
  return _Weight(jnp.where(jnp.isinf(high), 10 * c.weight, middle), low, high)


def _matrix(point: Inputs) -> Array:
  """Returns what is searched, which is always one matrix [B, D]."""
  return flat.flatten(point)[0]


def _anywhere() -> Threat:
  return linf(_LARGEST, (-jnp.inf, jnp.inf))


def _geometry(threat: Threat, order: float) -> Geometry:
  geometry = geometry_of(threat)
  if geometry.order != order:
    raise ValueError(
      f"threat must be of order {order}; got one of order {geometry.order}"
    )
  return geometry


def _check(
  steps: int,
  searches: int,
  step_size: float,
  weight: float,
  confidence: float,
) -> None:
  check_count("steps", steps)
  check_count("searches", searches)
  check_positive("step_size", step_size)
  check_positive("weight", weight)
  check_range("confidence", confidence, 0.0, np.finfo(np.float64).max)
