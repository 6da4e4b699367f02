"""Backward rules: how drive becomes spikes and how gradients flow back.

A rule is an argument of ``Network.apply``, never a property of a model: the
spikes, hence the logits, are bit-identical under all of them; only what
differentiation sees changes. An attacker swaps rules, not models.

A rule of your own fires with `surrogates.spike`, or replaces a derivative with
`derivatives.replace_derivative`: rules made with `jax.custom_jvp` in a loop, or
with `jax.custom_vjp`, are lost in gradient penalties, which refuse them; see
`snnjax.lost_derivatives`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnjax.arguments import check_takes
from snnjax.derivatives import average_gradient, with_gradient_of
from snnjax.interfaces import Array, BackwardRule, State, Trace
from snnjax.kernels.scan import neuron_scan
from snnjax.neurons import Neuron, check_neuron
from snnjax.surrogates import Surrogate, spike, straight_through
from snnjax.validation import Constant, check_positive, check_range


def check_rule(rule: Any, name: str = "rule") -> None:
  """Raises ValueError unless this is a backward rule.

  Args:
    rule: what a caller gave; a surrogate alone is none.
    name: of the argument, for the message.
  """
  check_takes(
    name,
    rule,
    ("neuron", "currents", "state", "layer"),
    "backward.Bptt(surrogates.atan()) is a rule",
  )


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=["surrogate"],
  meta_fields=["detach_reset", "per_step"],
)
@dataclasses.dataclass(frozen=True)
class Bptt:
  """Back-propagation through time with a surrogate at every step (STBP).

  Attributes:
    surrogate: stands in for ds/du.
    detach_reset: whether the reset is held constant (ASSG's and HIRE's) or
      differentiated (SR's).
    per_step: whether the surrogate's parameters have a leading axis T, one
      value per step (adaptive sharpness).

  References:
    Wu et al. 2018 (STBP), arXiv 1706.02609.
  """

  surrogate: Surrogate
  detach_reset: bool = False
  per_step: bool = False

  def __call__(
    self,
    neuron: Neuron,
    currents: Array,
    state: State | None = None,
    layer: str = "",
  ) -> Trace:
    """Runs `neuron` over currents [T, B, ...] from `state` (None: rest)."""
    del layer
    return _run(
      neuron,
      currents,
      state,
      self.surrogate,
      per_step=self.per_step,
      detach_reset=self.detach_reset,
    )


@functools.partial(
  jax.tree_util.register_dataclass, data_fields=[], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class StraightThrough:
  """Treats each spike as its own step's current: ds_t/dI_t = 1.

  There is no temporal path (backward pass differentiable approximation).

  References:
    Bengio, Leonard, Courville 2013, arXiv 1308.3432; Athalye, Carlini, Wagner
    2018, arXiv 1802.00420.
  """

  def __call__(
    self,
    neuron: Neuron,
    currents: Array,
    state: State | None = None,
    layer: str = "",
  ) -> Trace:
    """Runs `neuron` over currents [T, B, ...] from `state` (None: rest)."""
    del layer
    return _replace(neuron, currents, state, jnp.ones_like)


@functools.partial(
  jax.tree_util.register_dataclass, data_fields=[], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Bptr:
  """Back-propagation through rates: ds_t/dI_t = 1[the neuron ever fires].

  References:
    Ding et al. 2022 (SNN-RAT), "SNN-RAT: Robustness-enhanced spiking neural
    network through regularized adversarial training", NeurIPS 2022.

  Differs from: SR's released attacks call `Rga` by this name.
  """

  def __call__(
    self,
    neuron: Neuron,
    currents: Array,
    state: State | None = None,
    layer: str = "",
  ) -> Trace:
    """Runs `neuron` over currents [T, B, ...] from `state` (None: rest)."""
    del layer

    # Firing at any step opens the way for all of them: rates have no time.
    def slope(spikes: Array) -> Array:
      return (jnp.mean(spikes, axis=0, keepdims=True) > 0).astype(spikes.dtype)

    return _replace(neuron, currents, state, slope)


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=["leak", "threshold", "width"],
  meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Rga:
  """Rate gradient approximation: ds_t/dI_t = h(mean over time of I).

  With x the mean current, h is piecewise constant: 0.2 on
  [0, (1 - tau) theta], (1 - 0.2 theta + 0.2 theta tau) / ((tau + beta - 1)
  theta) on ((1 - tau) theta, beta theta], and 0 elsewhere. The constants are
  the rule's own: give it those of the neuron that it runs, per layer through
  `PerLayer` where they differ.

  Attributes:
    leak: tau in [0, 1], multiplicative.
    threshold: theta.
    width: beta, the saturating current in thresholds.

  References:
    Bu et al. 2023, "Rate gradient approximation attack threats deep spiking
    neural networks", CVPR 2023.
  """

  leak: Constant = 0.5
  threshold: Constant = 1.0
  width: Constant = 2.0

  def __post_init__(self) -> None:
    if all(isinstance(v, float | int) for v in (self.leak, self.threshold)):
      check_range("leak", self.leak, 0, 1)
      check_positive("threshold", self.threshold)

  def __call__(
    self,
    neuron: Neuron,
    currents: Array,
    state: State | None = None,
    layer: str = "",
  ) -> Trace:
    """Runs `neuron` over currents [T, B, ...] from `state` (None: rest)."""
    del layer
    tau, theta, beta = self.leak, self.threshold, self.width
    # The rate as a function of the mean current: silent up to the knee, where
    # a constant current first reaches the threshold, then a straight line to
    # saturation. The small slope below the knee is the authors': zero would
    # block all silent neurons.
    mean = jnp.mean(currents, axis=0, keepdims=True)
    knee = (1 - tau) * theta
    steep = (1 - 0.2 * knee) / ((tau + beta - 1) * theta)
    below = (mean >= 0) & (mean <= knee) & (knee > 0)
    above = (mean >= 0) & ~below & (mean <= beta * theta)
    slope = jnp.where(below, 0.2, jnp.where(above, steep, 0.0))
    slope = slope.astype(currents.dtype)
    return _replace(neuron, currents, state, lambda spikes: slope)


@functools.partial(
  jax.tree_util.register_dataclass, data_fields=["surrogate"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Hart:
  """Hybrid rate gradient: local surrogates, then their mean over time.

  The potential carried between steps is detached, each step applies the
  surrogate, and every step's current receives the mean over T of the steps'
  gradients.

  Attributes:
    surrogate: stands in for ds/du.

  References:
    Hao et al. 2024, "Threaten spiking neural networks through combining rate
    and temporal information", ICLR 2024.
  """

  surrogate: Surrogate

  def __call__(
    self,
    neuron: Neuron,
    currents: Array,
    state: State | None = None,
    layer: str = "",
  ) -> Trace:
    """Runs `neuron` over currents [T, B, ...] from `state` (None: rest)."""
    del layer
    return _run(
      neuron,
      # The identity forward; backward every step receives the mean over T.
      average_gradient(currents),
      state,
      self.surrogate,
      detach_reset=True,
      detach_state=True,
    )


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=["rules", "default"],
  meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class PerLayer:
  """A rule per layer name, and one for all others.

  Attributes:
    rules: rules by layer name, as in ``Forward.traces``.
    default: the rule of layers not named.
  """

  rules: Mapping[str, BackwardRule]
  default: BackwardRule

  def __call__(
    self,
    neuron: Neuron,
    currents: Array,
    state: State | None = None,
    layer: str = "",
  ) -> Trace:
    """Runs `neuron` over currents [T, B, ...] from `state` (None: rest)."""
    rule = self.rules.get(layer, self.default)
    check_rule(rule, f"the rule of layer {layer!r}")
    return rule(neuron, currents, state, layer)

  @property
  def batch_statistics(self) -> bool:
    """Whether one of the rules takes them."""
    return any(map(depends_on_batch, (self.default, *self.rules.values())))


def depends_on_batch(rule: BackwardRule) -> bool:
  """Returns whether a gradient under a rule depends on the batch it is in.

  A rule whose gradient of one example takes statistics of the others says so
  by an attribute ``batch_statistics``; one that says nothing takes none. What
  a network computes never depends on its rule.

  Args:
    rule: any.
  """
  return bool(getattr(rule, "batch_statistics", False))


def _run(
  neuron: Neuron,
  currents: Array,
  state: State | None,
  surrogate: Surrogate,
  *,
  per_step: bool = False,
  detach_reset: bool = False,
  detach_state: bool = False,
) -> Trace:
  """Scans a neuron over time, firing through the surrogate at every step."""
  check_neuron(neuron, trainable=False)

  def charge(
    state: State, inputs: tuple[Array, Mapping[str, Constant] | None]
  ) -> State:
    # Cut between steps, not within: the current's own path stays open.
    if detach_state:
      state = lax.stop_gradient(state)
    return neuron.integrate(state, inputs[0])

  def fire(
    charged: State, inputs: tuple[Array, Mapping[str, Constant] | None]
  ) -> tuple[State, tuple[Array, Array]]:
    drive = neuron.drive(charged)
    # One step's parameters, sliced by the scan as its inputs are.
    now = surrogate
    if inputs[1] is not None:
      now = Surrogate(surrogate.derivative, inputs[1])
    spikes = spike(drive, now, neuron.strict)
    resets = lax.stop_gradient(spikes) if detach_reset else spikes
    return neuron.reset(charged, resets), (spikes, drive)

  if state is None:
    state = neuron.init(currents[0])
  varying = surrogate.parameters if per_step else None
  state, (spikes, drive) = neuron_scan(
    charge, fire, state, (currents, varying), kernel=neuron.kernel
  )
  return Trace(spikes, drive, state)


def _replace(
  neuron: Neuron,
  currents: Array,
  state: State | None,
  slope: Callable[[Array], Array],
) -> Trace:
  """Returns true spikes with gradient ``slope(spikes)`` times the current's."""
  # Any surrogate will do: nothing of this pass is differentiated.
  trace = _run(neuron, lax.stop_gradient(currents), state, straight_through())
  trace = lax.stop_gradient(trace)
  carrier = currents * lax.stop_gradient(slope(trace.spikes))
  return trace._replace(spikes=with_gradient_of(trace.spikes, carrier))
