"""SA-PGD: steps that are long where the gradient is stable.

Where one gradient resembles those before it, their momentum is large against
the root of their mean square, and the step is whole; where they turn, short.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnjax import vectors
from snnjax.attacks.ascent import ascend, choose_start
from snnjax.attacks.candidates import Keep, success_then_loss
from snnjax.attacks.gradient.schedule import halvings
from snnjax.attacks.oracles import Oracle, Source, as_oracle
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.interfaces import Array, Attack, Inputs
from snnjax.losses import LogitsLoss

MOMENTUM = 0.5
MEMORY = 0.8
_TINY = 1e-12


class StableState(NamedTuple):
  """What the stepper remembers.

  Attributes:
    steps_made: how many steps were made.
    momentum: m, like the inputs.
    square: w, like the inputs for `stable_steps`, [B] for `stable_directions`.
  """

  steps_made: Array
  momentum: Inputs
  square: Any


def stable_steps(
  step_size: ravel.Amounts, steps: int
) -> optax.GradientTransformation:
  """Returns the published stepper: every coordinate has its own step length.

  ``m <- 0.5 m + g/mean|g|``, ``w <- 0.8 w + g^2/mean g^2``, and the step is
  ``clip(eta m/(sqrt(w) + 1e-12), -eta, eta)``, eta halved at the
  `schedule.checkpoints`.

  Args:
    step_size: the first eta, for all inputs or for each modality.
    steps: the number of steps the schedule is made for.

  Raises:
    ValueError: if `steps` is not a positive whole number.

  References:
    Wang et al. 2025, arXiv 2512.22522.

  Differs from the released code by leaving an example without a gradient
    where it is; the code divides zero by zero.
  """
  schedule = halvings(steps)

  def init(params: Inputs) -> StableState:
    zeros = jax.tree.map(jnp.zeros_like, params)
    return StableState(jnp.zeros((), int), zeros, zeros)

  def update(
    gradient: Inputs, state: StableState, params: Inputs | None = None
  ) -> tuple[Inputs, StableState]:
    del params
    # Largest entry 1, so that squares neither vanish nor overflow; the means
    # below take the scale out again.
    units = jax.tree.map(lambda g: vectors.over_largest(g)[0], gradient)
    momentum = jax.tree.map(
      lambda m, g: MOMENTUM * m + _over_mean(g, jnp.abs(g)),
      state.momentum,
      units,
    )
    square = jax.tree.map(
      lambda w, g: MEMORY * w + _over_mean(g * g, g * g), state.square, units
    )

    def step(m: Array, pair: tuple[Array, Array]) -> Array:
      w, eta = pair
      return jnp.clip(eta * m / (jnp.sqrt(w) + _TINY), -eta, eta)

    sizes = _sizes(step_size, schedule, state.steps_made, gradient)
    moves = jax.tree.map(
      lambda m, w, eta: step(m, (w, eta)), momentum, square, sizes
    )
    return moves, StableState(state.steps_made + 1, momentum, square)

  return optax.GradientTransformation(init, update)


def stable_directions(
  threat: Threat, step_size: ravel.Amounts, steps: int
) -> optax.GradientTransformation:
  """Returns our form of the stepper for any norm: one step length per example.

  With ``|g|* = <ascent(g), g>`` the dual norm of the threat::

    m <- 0.5 m + g/|g|*,   w <- 0.8 w + 1
    step = eta min(1, |m|*/sqrt(w)) ascent(m)

  Gradients that agree make a whole step and gradients that turn a short one,
  as in the published rule, but along the threat's own steepest direction:
  rescaling single coordinates is right for linf only.

  Args:
    threat: whose norm the steps are made in.
    step_size: the first eta, for all inputs or for each modality.
    steps: the number of steps the schedule is made for.

  Raises:
    ValueError: if `steps` is not a positive whole number.

  References:
    Wang et al. 2025, arXiv 2512.22522, for linf; this extension is ours.
  """
  schedule = halvings(steps)

  def init(params: Inputs) -> StableState:
    matrix = ravel.ravel_examples(params)[0]
    zeros = jax.tree.map(jnp.zeros_like, params)
    return StableState(jnp.zeros((), int), zeros, jnp.zeros_like(matrix[:, 0]))

  def dual(gradient: Inputs, params: Inputs) -> Array:
    along = ravel.ravel_examples(threat.ascent(gradient, params))[0]
    return jnp.sum(along * ravel.ravel_examples(gradient)[0], 1)

  def update(
    gradient: Inputs, state: StableState, params: Inputs | None = None
  ) -> tuple[Inputs, StableState]:
    if params is None:
      raise ValueError("params must be the current inputs; got None")
    matrix, restore = ravel.ravel_examples(gradient)
    # A gradient is used up to its scale only, which may be tiny or huge.
    unit = restore(vectors.over_largest(matrix)[0])
    size = dual(unit, params)
    scale = jnp.where(size > 0, size, 1)
    momentum = jax.tree.map(
      lambda m, g: MOMENTUM * m + g / vectors.column(scale, g),
      state.momentum,
      unit,
    )
    # A unit gradient has the square 1; an example without one adds nothing.
    square = MEMORY * state.square + (size > 0).astype(size.dtype)
    steady = dual(momentum, params) / jnp.sqrt(jnp.maximum(square, _TINY))
    # At most a whole step, as the published rule clips each coordinate.
    share = jnp.clip(steady, 0, 1)
    sizes = _sizes(step_size, schedule, state.steps_made, gradient)
    moves = jax.tree.map(
      lambda d, eta: eta * vectors.column(share, d) * d,
      threat.ascent(momentum, params),
      sizes,
    )
    return moves, StableState(state.steps_made + 1, momentum, square)

  return optax.GradientTransformation(init, update)


def sa_pgd(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  random_start: bool = True,
  restarts: int = 1,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns SA-PGD as published, for linf threats.

  Args:
    source: a logits function, or an oracle; `snnjax.attacks.assg` as a rule.
    threat: the budget, whose radius is the first step.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many.
    random_start: whether each run starts at a sample of the threat.
    restarts: how many runs to choose from.
    keep: see `ascend`; the authors return the last misclassified iterate.

  Raises:
    ValueError: if a count is below one.

  References:
    Wang et al. 2025, arXiv 2512.22522.

  Differs from: see `stable_steps`; and among several misclassified iterates
    the one of highest loss is returned, not the last.
  """
  check_threat(threat)
  stepper = stable_steps(threat.radius, steps)
  oracle = as_oracle(source, loss)
  return _attack(oracle, stepper, threat, steps, random_start, restarts, keep)


def sa_pgd_steepest(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  random_start: bool = True,
  restarts: int = 1,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns our extension of SA-PGD to l2, l1 and every other threat.

  Args:
    source: as in `sa_pgd`.
    threat: the budget, whose radius is the first step.
    loss: as in `sa_pgd`.
    steps: how many.
    random_start: whether each run starts at a sample of the threat.
    restarts: how many runs to choose from.
    keep: see `ascend`.

  Raises:
    ValueError: if a count is below one.

  References:
    Wang et al. 2025, arXiv 2512.22522, for linf; see `stable_directions`.
  """
  check_threat(threat)
  stepper = stable_directions(threat, threat.radius, steps)
  oracle = as_oracle(source, loss)
  return _attack(oracle, stepper, threat, steps, random_start, restarts, keep)


def _attack(
  oracle: Oracle,
  stepper: optax.GradientTransformation,
  threat: Threat,
  steps: int,
  random_start: bool,
  restarts: int,
  keep: Keep,
) -> Attack:
  return ascend(
    oracle,
    stepper,
    threat,
    steps=steps,
    restarts=restarts,
    start=choose_start(threat, random_start, restarts),
    keep=keep,
  )


def _over_mean(values: Array, sizes: Array) -> Array:
  """Returns values over their example's mean size; unchanged where it is 0."""
  axes = tuple(range(1, values.ndim))
  mean = jnp.mean(sizes, axes, keepdims=True)
  return values / jnp.where(mean > 0, mean, 1)


def _sizes(
  step_size: ravel.Amounts, schedule: np.ndarray, count: Array, inputs: Inputs
) -> Any:
  """Returns the step size now, broadcasting against every modality."""
  factor = jnp.asarray(0.5**schedule, float)[count]
  amounts = ravel.broadcast_modalities("step_size", step_size, inputs)

  def spread(leaf: Array, size: float | Array) -> Array:
    amount = jnp.asarray(size, leaf.dtype) * factor.astype(leaf.dtype)
    return jnp.broadcast_to(vectors.column(amount, leaf), leaf.shape)

  return ravel.map_modalities(spread, inputs, amounts)
