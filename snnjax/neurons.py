"""Neuron models as forward physics: charge and reset, no spike, no gradient.

A neuron is elementwise over any leading axes. It says how a current moves its
state and how a spike resets it; a backward rule (`snnjax.backward`) decides
when it fires and what is differentiated. Leak conventions:

- *multiplicative*: v <- tau v + I (SR, SNN-RAT, RGA); tau = 1 integrates.
- *convex*: v <- v + k (I - v) (ASSG, SpikingJelly).

References:
  Gerstner, Kistler, Naud, Paninski 2014, "Neuronal Dynamics".
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.interfaces import Array, PyTree, State
from snnjax.validation import Constant, check_positive, check_range

Reset = Callable[[Array, Array, Constant], Array]


class Neuron(NamedTuple):
  """A spiking neuron as three pure functions.

  Attributes:
    init: one step's current -> the resting state.
    charge: (state, current) -> (state, drive); the drive is the potential
      minus the threshold, in the neuron's own units.
    reset: (state, spikes) -> state.
    strict: whether it fires at drive > 0 instead of drive >= 0. It is part of
      the forward law, so every backward rule obeys it.
    drive: charged state -> the drive that `charge` returned with it. It is
      optional: a long scan of a neuron that has it carries and keeps the state
      alone.
  """

  init: Callable[[Array], State]
  charge: Callable[[State, Array], tuple[State, Array]]
  reset: Callable[[State, Array], State]
  strict: bool = False
  drive: Callable[[State], Array] | None = None

  def halves(
    self,
  ) -> tuple[
    Callable[[State, Array], PyTree],
    Callable[[PyTree], tuple[State, Array]],
  ]:
    """Returns `charge` in two, around what a scan has to carry.

    The first half takes (state, current), the second what the first returns,
    and returns (charged state, drive).
    """
    drive = self.drive
    if drive is None:
      return self.charge, lambda charged: charged
    return (
      lambda state, current: self.charge(state, current)[0],
      lambda state: (state, drive(state)),
    )


class Trainable(NamedTuple):
  """A neuron whose parameters a model owns and trains.

  Attributes:
    initial: initial value of each scalar parameter, by name.
    build: parameters -> `Neuron`.
  """

  initial: Mapping[str, float]
  build: Callable[[Mapping[str, Array]], Neuron]


def hard_reset(potential: Array, spikes: Array, threshold: Constant) -> Array:
  """Returns to rest after a spike: (1 - s) v."""
  del threshold
  return (1 - spikes) * potential


def soft_reset(potential: Array, spikes: Array, threshold: Constant) -> Array:
  """Subtracts the threshold at a spike: v - theta s."""
  return potential - threshold * spikes


def no_reset(potential: Array, spikes: Array, threshold: Constant) -> Array:
  """Keeps the potential: v."""
  del spikes, threshold
  return potential


def lif(
  leak: Constant = 0.5,
  threshold: Constant = 1.0,
  *,
  reset: Reset = hard_reset,
  strict: bool = False,
) -> Neuron:
  """Leaky integrate-and-fire, multiplicative leak: v <- tau v + I.

  Args:
    leak: tau in [0, 1], the share of the potential kept per step.
    threshold: theta > 0; u = v - theta.
    reset: `hard_reset`, `soft_reset` or `no_reset`.
    strict: fire at u > 0 instead of u >= 0.

  Raises:
    ValueError: if a constant is outside its range.
  """
  check_range("leak", leak, 0, 1)
  check_positive("threshold", threshold)

  return _membrane(
    lambda potential, current: leak * potential + current,
    lambda potential: potential - threshold,
    lambda potential, spikes: reset(potential, spikes, threshold),
    strict,
  )


def convex_lif(
  rate: Constant = 0.5,
  threshold: Constant = 0.5,
  *,
  reset: Reset = hard_reset,
  strict: bool = False,
) -> Neuron:
  """Leaky integrate-and-fire, convex leak: v <- v + k (I - v).

  Args:
    rate: k in (0, 1], SpikingJelly's 1/tau.
    threshold: theta > 0; u = v - theta.
    reset: `hard_reset`, `soft_reset` or `no_reset`.
    strict: fire at u > 0 instead of u >= 0 (ASSG's).

  Raises:
    ValueError: if a constant is outside its range.
  """
  check_range("rate", rate, 0, 1)
  check_positive("rate", rate)
  check_positive("threshold", threshold)

  return _membrane(
    lambda potential, current: potential + (current - potential) * rate,
    lambda potential: potential - threshold,
    lambda potential, spikes: reset(potential, spikes, threshold),
    strict,
  )


def integrate_and_fire(
  threshold: Constant = 1.0,
  *,
  reset: Reset = hard_reset,
  strict: bool = False,
) -> Neuron:
  """Integrate-and-fire without a leak: v <- v + I.

  Args:
    threshold: theta > 0; u = v - theta.
    reset: `hard_reset`, `soft_reset` or `no_reset`.
    strict: fire at u > 0 instead of u >= 0.

  Raises:
    ValueError: if the threshold is not positive.
  """
  return lif(1.0, threshold, reset=reset, strict=strict)


def plif(
  leak: float = 0.5,
  threshold: Constant = 1.0,
  *,
  reset: Reset = hard_reset,
  strict: bool = False,
) -> Trainable:
  """Parametric LIF: k = sigmoid(w) with w trained, v <- v + k (I - v).

  Args:
    leak: initial share of the potential kept per step, 1 - k, in (0, 1).
    threshold: theta > 0.
    reset: `hard_reset`, `soft_reset` or `no_reset`.
    strict: fire at u > 0 instead of u >= 0.

  Raises:
    ValueError: if a constant is outside its range.

  References:
    Fang et al. 2021, arXiv 2007.05785.
  """
  if not 0 < leak < 1:
    raise ValueError(f"leak must lie in (0, 1); got {leak}")
  check_positive("threshold", threshold)

  def build(parameters: Mapping[str, Array]) -> Neuron:
    rate = jax.nn.sigmoid(parameters["rate_logit"])
    return convex_lif(rate, threshold, reset=reset, strict=strict)

  initial = float(jnp.log((1 - leak) / leak))
  return Trainable({"rate_logit": initial}, build)


class AdaptiveState(NamedTuple):
  """State of `adaptive_lif`: both [B, ...].

  Attributes:
    potential: the membrane potential v.
    adaptation: the threshold's excess a.
  """

  potential: Array
  adaptation: Array


def adaptive_lif(
  leak: Constant = 0.5,
  threshold: Constant = 1.0,
  *,
  adaptation_leak: Constant = 0.9,
  adaptation_strength: Constant = 0.2,
  reset: Reset = soft_reset,
  strict: bool = False,
) -> Neuron:
  """LIF whose threshold rises with its own spikes (ALIF).

  v <- tau v + I, u = v - (theta + beta a), a <- rho a + s.

  Args:
    leak: tau in [0, 1].
    threshold: theta > 0, without spikes.
    adaptation_leak: rho in [0, 1].
    adaptation_strength: beta >= 0, the rise per spike.
    reset: `hard_reset`, `soft_reset` (subtracts theta) or `no_reset`.
    strict: fire at u > 0 instead of u >= 0.

  Raises:
    ValueError: if a constant is outside its range.

  References:
    Bellec et al. 2018, arXiv 1803.09574.
  """
  check_range("leak", leak, 0, 1)
  check_positive("threshold", threshold)
  check_range("adaptation_leak", adaptation_leak, 0, 1)
  check_range("adaptation_strength", adaptation_strength, 0, float("inf"))

  def init(current: Array) -> AdaptiveState:
    return AdaptiveState(jnp.zeros_like(current), jnp.zeros_like(current))

  def integrate(state: AdaptiveState, current: Array) -> AdaptiveState:
    return state._replace(potential=leak * state.potential + current)

  def drive(state: AdaptiveState) -> Array:
    level = threshold + adaptation_strength * state.adaptation
    return state.potential - level

  def fire(state: AdaptiveState, spikes: Array) -> AdaptiveState:
    return AdaptiveState(
      reset(state.potential, spikes, threshold),
      adaptation_leak * state.adaptation + spikes,
    )

  return _neuron(init, integrate, drive, fire, strict)


def hire(leak: float = 0.95, threshold: float = 1.0) -> Trainable:
  """HIRE's neuron: soft reset, trained leak and threshold per layer.

  v <- lambda v + I, u = v / theta - 1, v <- v - theta s.

  Args:
    leak: initial lambda in [0, 1].
    threshold: initial theta > 0.

  Raises:
    ValueError: if a constant is outside its range.

  References:
    Kundu et al. 2021, arXiv 2110.11417; Rathi, Roy 2020, arXiv 2008.03658.
  """
  check_range("leak", leak, 0, 1)
  check_positive("threshold", threshold)

  def build(parameters: Mapping[str, Array]) -> Neuron:
    kept, theta = parameters["leak"], parameters["threshold"]

    return _membrane(
      lambda potential, current: kept * potential + current,
      lambda potential: potential / theta - 1,
      lambda potential, spikes: soft_reset(potential, spikes, theta),
      strict=True,
    )

  return Trainable({"leak": leak, "threshold": threshold}, build)


def integrator(leak: Constant = 1.0) -> Neuron:
  """Output neuron that integrates and never fires: v <- tau v + I, u = v.

  Args:
    leak: tau in [0, 1]; 1 sums the currents.

  Raises:
    ValueError: if the leak is outside its range.
  """
  check_range("leak", leak, 0, 1)

  return _membrane(
    lambda potential, current: leak * potential + current,
    lambda potential: potential,
    lambda potential, spikes: potential,
    strict=False,
  )


def _membrane(
  integrate: Callable[[Array, Array], Array],
  drive: Callable[[Array], Array],
  reset: Callable[[Array, Array], Array],
  strict: bool,
) -> Neuron:
  """A neuron whose whole state is one potential, at rest at zero."""
  return _neuron(jnp.zeros_like, integrate, drive, reset, strict)


def _neuron(
  init: Callable[[Array], State],
  integrate: Callable[[State, Array], State],
  drive: Callable[[State], Array],
  reset: Callable[[State, Array], State],
  strict: bool,
) -> Neuron:
  """A neuron whose drive follows from its charged state."""

  def charge(state: State, current: Array) -> tuple[State, Array]:
    state = integrate(state, current)
    return state, drive(state)

  return Neuron(init, charge, reset, strict, drive)
