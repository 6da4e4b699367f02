"""Neuron models as forward physics: no spike, no gradient.

A neuron is elementwise over any leading axes. It says how a current moves its
state, how far that is from firing, and how a spike resets it; a backward rule
(`snnjax.backward`) fires it and decides what is differentiated. One of your
own is a few one-liners:

  synaptic = Neuron(
    init=lambda current: (jnp.zeros_like(current), jnp.zeros_like(current)),
    integrate=lambda s, current: (0.8 * s[0] + current, 0.9 * s[1] + s[0]),
    drive=lambda s: s[1] - 1.0,
    reset=lambda s, spikes: (s[0], (1 - spikes) * s[1]),
  )

Leak conventions:

- *multiplicative*: v <- tau v + I (SR, SNN-RAT, RGA); tau = 1 integrates.
- *convex*: v <- v + k (I - v) (ASSG, SpikingJelly).

A constant is a number, or an array over the current's last axes: [C] is one
value per channel.

References:
  Gerstner, Kistler, Naud, Paninski 2014, "Neuronal Dynamics".
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.arguments import describe
from snnjax.interfaces import Array, State
from snnjax.kernels.scan import check_kernel
from snnjax.validation import (
  Constant,
  check_number,
  check_positive,
  check_range,
)

# One step's feature axes, those of a current [B, ...] but the first -> value.
PerFeatures = Callable[[tuple[int, ...]], np.ndarray | Array]
Initial = Constant | np.ndarray | PerFeatures
Reset = Callable[[Array, Array, Constant], Array]


class Neuron(NamedTuple):
  """A spiking neuron as four pure functions, in the order of one step.

  Attributes:
    init: one step's current -> the resting state.
    integrate: (state, current) -> charged state.
    drive: charged state -> the potential minus the threshold, in the neuron's
      own units; of the current's shape.
    reset: (charged state, spikes) -> state.
    strict: whether it fires at drive > 0 instead of drive >= 0. It is part of
      the forward law, so every backward rule obeys it.
    kernel: how its scan over time is computed, see `with_kernel`.
  """

  # Integration and drive are apart because a long scan carries the charged
  # state alone and computes the drive again in its backward pass.
  init: Callable[[Array], State]
  integrate: Callable[[State, Array], State]
  drive: Callable[[State], Array]
  reset: Callable[[State, Array], State]
  strict: bool = False
  kernel: str = "auto"


class Trainable(NamedTuple):
  """A neuron whose constants a model owns and trains, per layer.

  Attributes:
    initial: initial value of each constant, by name: a number, an array, or a
      function of the layer's feature axes that returns one, for widths that
      differ between layers.
    build: constants, of the shapes of their initial values -> `Neuron`.
  """

  initial: Mapping[str, Initial]
  build: Callable[[Mapping[str, Array]], Neuron]


def with_kernel(neuron: Neuron | Trainable, kernel: str) -> Neuron | Trainable:
  """Returns the neuron with its scan over time computed in another way.

  Args:
    neuron: any, or one whose constants a model trains.
    kernel: "scan" computes it by JAX's own operations; "fused" by one kernel
      forward and one backward, on a CUDA GPU, for neurons whose functions act
      on every element alike, and is refused elsewhere; "auto" is "scan", as no
      GPU has tried the other. Values and derivatives are the same but for
      rounding. "fused" is for one device: of several each computes all.

  Raises:
    ValueError: if there is no such kernel, or the neuron is none.
  """
  check_neuron(neuron)
  check_kernel(kernel)
  if isinstance(neuron, Neuron):
    return neuron._replace(kernel=kernel)

  def build(parameters: Mapping[str, Array]) -> Neuron:
    return neuron.build(parameters)._replace(kernel=kernel)

  return neuron._replace(build=build)


def check_neuron(neuron: Any, *, trainable: bool = True) -> None:
  """Raises ValueError unless this is a neuron.

  Args:
    neuron: what a caller gave; a function that makes a neuron is none.
    trainable: whether it may be a `Trainable`.
  """
  if isinstance(neuron, Neuron) or (
    trainable and isinstance(neuron, Trainable)
  ):
    return
  if isinstance(neuron, Trainable):
    say = "make one by its build(parameters)"
  elif callable(neuron) and hasattr(neuron, "__name__"):
    say = f"call it, neurons.{neuron.__name__}()"
  else:
    say = "neurons.lif() is one"
  raise ValueError(f"neuron must be a Neuron; got {describe(neuron)}: {say}")


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

  return Neuron(
    jnp.zeros_like,
    lambda v, current: _along(leak, v) * v + current,
    lambda v: v - _along(threshold, v),
    lambda v, spikes: reset(v, spikes, _along(threshold, v)),
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

  return Neuron(
    jnp.zeros_like,
    lambda v, current: v + (current - v) * _along(rate, v),
    lambda v: v - _along(threshold, v),
    lambda v, spikes: reset(v, spikes, _along(threshold, v)),
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
  leak: Constant = 0.5,
  threshold: Constant = 1.0,
  *,
  per_channel: bool = False,
  reset: Reset = hard_reset,
  strict: bool = False,
) -> Trainable:
  """Parametric LIF: k = sigmoid(w) with w trained, v <- v + k (I - v).

  Args:
    leak: initial share of the potential kept per step, 1 - k, in (0, 1).
    threshold: theta > 0.
    per_channel: whether every channel, along the current's last axis, has a
      w of its own, or the layer has the one that `leak` gives.
    reset: `hard_reset`, `soft_reset` or `no_reset`.
    strict: fire at u > 0 instead of u >= 0.

  Raises:
    ValueError: if a constant is outside its range.

  References:
    Fang et al. 2021, arXiv 2007.05785.
  """
  check_number("leak", leak)
  if not np.all((np.asarray(leak) > 0) & (np.asarray(leak) < 1)):
    raise ValueError(f"leak must lie in (0, 1); got {leak}")
  check_positive("threshold", threshold)

  def build(parameters: Mapping[str, Array]) -> Neuron:
    rate = jax.nn.sigmoid(parameters["rate_logit"])
    return convex_lif(rate, threshold, reset=reset, strict=strict)

  initial = np.log((1 - leak) / leak)
  if not per_channel:
    return Trainable({"rate_logit": initial}, build)
  return Trainable(
    {"rate_logit": lambda features: np.full(features[-1:], initial)}, build
  )


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
    leaked = _along(leak, current) * state.potential
    return state._replace(potential=leaked + current)

  def drive(state: AdaptiveState) -> Array:
    excess = _along(adaptation_strength, state.adaptation) * state.adaptation
    return state.potential - (_along(threshold, excess) + excess)

  def fire(state: AdaptiveState, spikes: Array) -> AdaptiveState:
    leaked = _along(adaptation_leak, spikes) * state.adaptation
    return AdaptiveState(
      reset(state.potential, spikes, _along(threshold, spikes)),
      leaked + spikes,
    )

  return Neuron(init, integrate, drive, fire, strict)


def hire(leak: Constant = 0.95, threshold: Constant = 1.0) -> Trainable:
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
    decay, theta = parameters["leak"], parameters["threshold"]

    return Neuron(
      jnp.zeros_like,
      lambda v, current: _along(decay, v) * v + current,
      lambda v: v / _along(theta, v) - 1,
      lambda v, spikes: soft_reset(v, spikes, _along(theta, v)),
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

  return Neuron(
    jnp.zeros_like,
    lambda v, current: _along(leak, v) * v + current,
    lambda v: v,
    lambda v, spikes: v,
    strict=False,
  )


def _along(constant: Constant, values: Array) -> Constant:
  """Returns a constant over the last axes of `values`, with their rank."""
  # NumPy broadcasts from the back: only where ranks differ are axes added, so
  # that strict rank promotion has nothing to refuse.
  missing = jnp.ndim(values) - jnp.ndim(constant)
  if jnp.ndim(constant) == 0 or missing <= 0:
    return constant
  return jnp.reshape(constant, (1,) * missing + jnp.shape(constant))
