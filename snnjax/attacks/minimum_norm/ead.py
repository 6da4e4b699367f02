"""EAD: the elastic-net attack."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from snnjax import prng
from snnjax.attacks.ascent import Destination
from snnjax.attacks.minimum_norm.lagrangian import (
  Descent,
  Settings,
  matrix_of,
  minimise,
)
from snnjax.attacks.minimum_norm.minimum_norm import MinimalAttack
from snnjax.attacks.oracles import Oracle, OracleState, Probe
from snnjax.attacks.threats.norms import Room
from snnjax.attacks.threats.threat import Threat
from snnjax.interfaces import AnyLogitsFn, Array, Inputs, Key, Labels
from snnjax.validation import check_range


class _Momentum(NamedTuple):
  previous: Array  # [B, D], the iterate before
  step: Array  # how many steps were taken


def ead(
  logits_fn: AnyLogitsFn,
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
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
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
  check_range("shrinkage", shrinkage, 0.0, np.finfo(np.float64).max)

  def descent(rows: Array, room: Room) -> Descent:
    shrink = _soft_threshold(rows, room, shrinkage)
    return Descent(
      first=rows,
      decode=lambda matrix: matrix,
      stepper=_fista(shrink, step_size, steps),
      distance=lambda moved: jnp.sum(jnp.abs(moved - rows), 1),
      wrap_oracle=_extrapolated_oracle,
    )

  settings = Settings(steps, searches, step_size, weight, confidence, targeted)
  return minimise(logits_fn, threat, 1, descent, settings)


def _soft_threshold(
  rows: Array, room: Room, shrinkage: float
) -> Callable[[Array], Array]:
  """Returns the shrinkage step: each change smaller by so much, or zero."""

  def shrink(moved: Array) -> Array:
    delta = moved - rows
    small = jnp.sign(delta) * jnp.maximum(jnp.abs(delta) - shrinkage, 0)
    return jnp.clip(rows + small, room.lower, room.upper)

  return shrink


def _extrapolate(point: Array, memory: _Momentum) -> Array:
  """Returns FISTA's extrapolation from the last two iterates."""
  # FISTA's momentum weights t/(t + 3) for t = step - 1, which grow to 1.
  step = memory.step.astype(point.dtype)
  return point + (step - 1) / (step + 2) * (point - memory.previous)


def _extrapolated_oracle(oracle: Oracle) -> Oracle:
  """Returns the oracle with loss and success here, but FISTA's slope ahead.

  FISTA takes its gradient at the extrapolated point. That point is never
  returned: what counts as a result is the iterate itself.
  """

  def init(point: Inputs) -> OracleState:
    return _Momentum(matrix_of(point), jnp.zeros((), int))

  def grad(
    key: Key, memory: OracleState, point: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    keys = prng.split(key)
    matrix = matrix_of(point)
    here, _ = oracle.grad(keys[0], None, matrix, labels)
    ahead, _ = oracle.grad(keys[1], None, _extrapolate(matrix, memory), labels)
    probe = here._replace(gradient=ahead.gradient)
    return probe, _Momentum(matrix, memory.step + 1)

  return Oracle(init, grad)


def _fista(
  shrink: Callable[[Array], Array], step_size: float, steps: int
) -> optax.GradientTransformationExtraArgs:
  """Returns FISTA's stepper, with a step size that falls to zero."""

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
    # What is left of the run, of which the step size is the root.
    left = 1 - memory.step.astype(params.dtype) / steps
    moved = _extrapolate(params, memory) + step_size * jnp.sqrt(left) * gradient
    return Destination(shrink(moved)), _Momentum(params, memory.step + 1)

  return optax.GradientTransformationExtraArgs(init, update)
