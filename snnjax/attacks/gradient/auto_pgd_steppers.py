"""The steppers of Auto-PGD: step sizes per example, restarts from the best.

Both remember each example's best iterate with its gradient, and at certain
checkpoints go on from there. The next iterate is named as a `Destination`:
it does not start at the current one, and an addition would round away the
exact zeros that the sparse stepper counts.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnjax import vectors
from snnjax.attacks.ascent import Destination
from snnjax.attacks.gradient.schedule import checkpoints
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.norms import Norm
from snnjax.attacks.threats.threat import Threat
from snnjax.interfaces import Array, Inputs
from snnjax.kernels import order_statistics

MOMENTUM = 0.25  # weight of the previous move
SHRINK = 1.5  # of the sparse stepper's step size
SMALLEST = 0.1  # the sparse stepper's least step, in radii


class Best(NamedTuple):
  """The best iterate of each example so far.

  Attributes:
    inputs: the iterates.
    gradient: the gradients there.
    loss: [B].
  """

  inputs: Inputs
  gradient: Inputs
  loss: Array


class _Dense(NamedTuple):
  """What `adaptive_steps` remembers."""

  updates: Array  # so far
  best: Best
  previous: Inputs  # where the last step started
  loss: Array  # [B], of the last iterate
  rises: Array  # [B], how often the loss rose since the checkpoint
  size: Array  # [B], step size in radii
  halved: Array  # [B], whether the last checkpoint halved it
  checked: Array  # [B], best loss at the last checkpoint


class _Sparse(NamedTuple):
  """What `adaptive_sparse` remembers."""

  updates: Array  # so far
  best: Best
  moving: Array  # [B], how many coordinates a step moves
  support: Array  # [B], how many the best iterate had changed when checked
  size: Array  # [B], step size in radii


def moving_counts(width: int) -> np.ndarray:
  """Returns [width + 1]: how many coordinates to move after so many changed.

  ``ceil(changed / 1.5)``, at least 1, in the authors' arithmetic: rounding
  makes it one more for some multiples of 3. A table has no rounding of its
  own, whatever the device.

  Args:
    width: the number of coordinates.
  """
  share = np.arange(width + 1) / width / 1.5
  place = np.clip((1 - share) * width, 0, width - 1)
  return width - place.astype(np.int32)


def adaptive_steps(
  threat: Threat, steps: int, rho: float
) -> optax.GradientTransformationExtraArgs:
  """Returns Auto-PGD's stepper for any threat that has an `ascent`.

  ``z = project(x + a r ascent(g))``, then
  ``project(x + 3/4 (z - x) + 1/4 (x - x'))`` with x' the iterate before and r
  the radius. a starts at 2. It halves at a checkpoint where, since the one
  before, the loss rose in at most a share `rho` of the steps, or neither a nor
  the best loss changed; the run then goes on from the best iterate.

  Args:
    threat: whose directions, projection and radius to use.
    steps: of the whole run.
    rho: the share of steps that must raise the loss.
  """
  periods = checkpoints(steps)
  ends = jnp.asarray(periods)
  # Whole numbers on both sides: "at most a share rho" must not hang on the
  # rounding of a quotient.
  ceilings = jnp.asarray(np.floor(rho * periods), int)

  def update(
    gradient: Inputs,
    state: _Dense,
    params: Inputs,
    *,
    value: Array,
    correct: Array,
    origin: Inputs,
  ) -> tuple[Destination, _Dense]:
    del correct
    loss = _comparable_loss(value, state.loss)
    best = _higher_loss(state.best, Best(params, gradient, loss))
    rises = state.rises + (loss > state.loss).astype(state.rises.dtype)
    period = ends[state.updates]
    checking = period > 0
    # The paper's second condition: nothing changed since the last checkpoint.
    idle = ~state.halved & (state.checked >= best.loss)
    halve = checking & ((rises <= ceilings[state.updates]) | idle)
    size = jnp.where(halve, state.size / 2, state.size)
    # A halved step goes on from the best iterate, with the gradient there.
    here, slope = ravel.select_examples(
      halve, (best.inputs, best.gradient), (params, gradient)
    )
    # The first step has no move behind it.
    weight = jnp.where(state.updates > 0, MOMENTUM, 0.0)
    target = _with_momentum(
      threat, here, slope, state.previous, origin, size, weight
    )
    return Destination(target), _Dense(
      state.updates + 1,
      best,
      here,
      # As in the authors' code: the first period compares with zero.
      jnp.where(state.updates == 0, 0, loss),
      jnp.where(checking, 0, rises),
      size,
      jnp.where(checking, halve, state.halved),
      jnp.where(checking, best.loss, state.checked),
    )

  return optax.GradientTransformationExtraArgs(_begin_dense, update)


def adaptive_sparse(
  threat: Threat, norm: Norm, steps: int, density: float | None
) -> optax.GradientTransformationExtraArgs:
  """Returns Auto-PGD's stepper for an l1 threat.

  ``project(x + a r sign(g_S)/|S|)``, S the share k of the coordinates with the
  largest gradients and r the radius. At every 4 % of the steps, k becomes the
  share of coordinates that the best iterate has changed over 1.5; where that
  fell by more than 5 %, a goes back to 1 and the run to the best iterate,
  elsewhere a is divided by 1.5, down to 0.1.

  Args:
    threat: the l1 threat.
    norm: its norm, l1.
    steps: of the whole run.
    density: the first k; None takes it from what the start has changed.
  """
  # Checkpoints come at a fixed distance, 4 % of the steps.
  period = max(int(0.04 * steps), 1)

  def update(
    gradient: Inputs,
    state: _Sparse,
    params: Inputs,
    *,
    value: Array,
    correct: Array,
    origin: Inputs,
  ) -> tuple[Destination, _Sparse]:
    del correct
    loss = _comparable_loss(value, state.best.loss)
    best = _higher_loss(state.best, Best(params, gradient, loss))
    rows = norm.rows(origin)[0]
    changed = norm.rows(best.inputs)[0] != rows
    support = jnp.sum(changed, 1)
    width = rows.shape[1]
    # As many coordinates as the best point needed, over 1.5: the search grows
    # sparser as long as that pays.
    fewer = jnp.asarray(moving_counts(width), int)[support]
    first_moving, first_support = fewer, support
    # A given density stands for a start that changed every coordinate.
    if density is not None:
      count = max(math.ceil(density * width), 1)
      first_moving = jnp.full_like(support, count)
      first_support = jnp.full_like(support, width)
    # The start is only known here, at the first update.
    fresh = state.updates == 0
    moving = jnp.where(fresh, first_moving, state.moving)
    before = jnp.where(fresh, first_support, state.support)
    checking = ~fresh & (state.updates % period == 0)
    # Support that fell by more than 5 % is progress: begin anew from the best
    # point with the whole step. Without progress the step shrinks instead.
    sparser = checking & (support.astype(float) < 0.95 * before.astype(float))
    shorter = jnp.maximum(state.size / SHRINK, SMALLEST)
    size = jnp.where(checking, jnp.where(sparser, 1, shorter), state.size)
    moving = jnp.where(checking, fewer, moving)
    here, slope = ravel.select_examples(
      sparser, (best.inputs, best.gradient), (params, gradient)
    )
    target = _sparse_step(threat, norm, here, slope, size, moving)
    return Destination(target), _Sparse(
      state.updates + 1,
      best,
      moving,
      jnp.where(checking, support, before),
      size,
    )

  return optax.GradientTransformationExtraArgs(_begin_sparse, update)


def _begin_dense(first: Inputs) -> _Dense:
  row = jnp.zeros_like(jax.tree.leaves(first)[0], shape=_batch(first))
  lowest = row - jnp.inf
  return _Dense(
    jnp.zeros((), int),
    Best(first, jax.tree.map(jnp.zeros_like, first), lowest),
    first,
    row + jnp.inf,
    jnp.zeros_like(row, int),
    row + 2,
    jnp.ones_like(row, bool),
    lowest,
  )


def _begin_sparse(first: Inputs) -> _Sparse:
  row = jnp.zeros_like(jax.tree.leaves(first)[0], shape=_batch(first))
  slopes = jax.tree.map(jnp.zeros_like, first)
  best = Best(first, slopes, row - jnp.inf)
  none = jnp.zeros_like(row, int)
  return _Sparse(jnp.zeros((), int), best, none, none, row + 1)


def _with_momentum(
  threat: Threat,
  here: Inputs,
  slope: Inputs,
  previous: Inputs,
  origin: Inputs,
  size: Array,
  weight: Array,
) -> Inputs:
  radii = ravel.broadcast_modalities("radius", threat.radius, here)
  step = ravel.map_modalities(
    lambda leaf, radius: (
      leaf * vectors.column(size * jnp.asarray(radius, leaf.dtype), leaf)
    ),
    threat.ascent(slope, here),
    radii,
  )
  ahead = threat.project(jax.tree.map(jnp.add, here, step), origin)
  blend = jax.tree.map(
    lambda x, z, old: (
      x
      + (z - x) * (1 - weight).astype(x.dtype)
      + (x - old) * weight.astype(x.dtype)
    ),
    here,
    ahead,
    previous,
  )
  return blend  # the loop projects it


def _sparse_step(
  threat: Threat,
  norm: Norm,
  here: Inputs,
  slope: Inputs,
  size: Array,
  moving: Array,
) -> Inputs:
  rows, restore = norm.rows(here)
  slopes = norm.slopes(slope)
  magnitude = jnp.abs(slopes)
  least = order_statistics.kth_largest(magnitude, moving[:, None])
  signs = jnp.where(magnitude >= least, jnp.sign(slopes), 0)
  count = jnp.maximum(jnp.sum(jnp.abs(signs), 1), 1)
  (radius,) = jax.tree.leaves(threat.radius)
  length = size * jnp.asarray(radius, rows.dtype) / count
  return restore(rows + signs * length[:, None])


def _batch(inputs: Inputs) -> tuple[int, ...]:
  return jax.tree.leaves(inputs)[0].shape[:1]


def _comparable_loss(value: Array, like: Array) -> Array:
  return jnp.where(jnp.isnan(value), -jnp.inf, value).astype(like.dtype)


def _higher_loss(best: Best, new: Best) -> Best:
  return ravel.select_examples(new.loss > best.loss, new, best)
