"""The LIF layer as each torch library has it: currents [T, B, ...] to spikes.

All of them keep their state between calls, until `forget`; `detach` cuts the
gradient there, for training in periods.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch

from experiments.benchmarks import problems


class Layer(Protocol):
  """One spiking layer."""

  gain: float  # what its currents must be multiplied with

  def __call__(self, currents: Any) -> Any:
    """Spikes [T, B, ...] of currents [T, B, ...], from the present state."""

  def forget(self) -> None:
    """Goes back to rest."""

  def detach(self) -> None:
    """Makes the state a constant."""


class _Triangle(torch.autograd.Function):
  """A step whose derivative is max(0, 1 - |u|)."""

  @staticmethod
  def forward(context: Any, drive: Any) -> Any:
    context.save_for_backward(drive)
    return (drive >= 0).to(drive.dtype)

  @staticmethod
  def backward(context: Any, *cotangents: Any) -> Any:
    (drive,) = context.saved_tensors
    return cotangents[0] * (1 - drive.abs()).clamp(min=0)


class Plain:
  """A loop in torch alone, as SR's released code has it."""

  gain = 1.0

  def __init__(self) -> None:
    self._potential: Any = None

  def __call__(self, currents: Any) -> Any:
    """Runs the layer."""
    last = self._potential
    potential = torch.zeros_like(currents[0]) if last is None else last
    spikes = []
    for current in currents:
      potential = problems.LEAK * potential + current
      fired = _Triangle.apply(potential - problems.THRESHOLD)
      potential = (1 - fired) * potential
      spikes.append(fired)
    self._potential = potential
    return torch.stack(spikes)

  def forget(self) -> None:
    """Goes back to rest."""
    self._potential = None

  def detach(self) -> None:
    """Makes the state a constant."""
    self._potential = self._potential.detach()


class SpikingJelly:
  """`LIFNode` in multi-step mode; on a CPU it has the torch backend alone."""

  gain = 1.0

  def __init__(self) -> None:
    from spikingjelly.activation_based import neuron, surrogate

    self._node = neuron.LIFNode(
      tau=1 / (1 - problems.LEAK),
      decay_input=False,
      v_threshold=problems.THRESHOLD,
      v_reset=0.0,
      surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0),
      detach_reset=False,
      step_mode="m",
    )

  def __call__(self, currents: Any) -> Any:
    """Runs the layer."""
    return self._node(currents)

  def forget(self) -> None:
    """Goes back to rest."""
    self._node.reset()

  def detach(self) -> None:
    """Makes the state a constant."""
    self._node.v = self._node.v.detach()


class SnnTorch:
  """`Leaky` with a reset to zero, in the loop over steps its users write."""

  gain = 1.0

  def __init__(self) -> None:
    import snntorch
    from snntorch import surrogate

    def derivative(drive: Any, cotangent: Any, spikes: Any) -> Any:
      del spikes
      return cotangent * (1 - drive.abs()).clamp(min=0)

    self._leaky = snntorch.Leaky(
      beta=problems.LEAK,
      threshold=problems.THRESHOLD,
      spike_grad=surrogate.custom_surrogate(derivative),
      reset_mechanism="zero",
    )
    self._potential: Any = None

  def __call__(self, currents: Any) -> Any:
    """Runs the layer."""
    last = self._potential
    potential = torch.zeros_like(currents[0]) if last is None else last
    spikes = []
    for current in currents:
      fired, potential = self._leaky(current, potential)
      spikes.append(fired)
    self._potential = potential
    return torch.stack(spikes)

  def forget(self) -> None:
    """Goes back to rest."""
    self._potential = None

  def detach(self) -> None:
    """Makes the state a constant."""
    self._potential = self._potential.detach()


class Norse:
  """`lif_box_feed_forward_step`, a convex leak of half the current."""

  gain = 1 / (1 - problems.LEAK)

  def __init__(self) -> None:
    from norse.torch.functional import lif_box

    self._step = lif_box.lif_box_feed_forward_step
    self._state = lif_box.LIFBoxFeedForwardState
    self._parameters = lif_box.LIFBoxParameters(
      tau_mem_inv=torch.as_tensor(1 - problems.LEAK),
      v_th=torch.as_tensor(problems.THRESHOLD),
      method="triangle",
      alpha=1.0,
    )
    self._last_state: Any = None

  def __call__(self, currents: Any) -> Any:
    """Runs the layer."""
    state = self._last_state
    if state is None:
      state = self._state(v=torch.zeros_like(currents[0]))
    spikes = []
    for current in currents:
      fired, state = self._step(current, state, self._parameters, dt=1.0)
      spikes.append(fired)
    self._last_state = state
    return torch.stack(spikes)

  def forget(self) -> None:
    """Goes back to rest."""
    self._last_state = None

  def detach(self) -> None:
    """Makes the state a constant."""
    self._last_state = self._state(v=self._last_state.v.detach())


LAYERS: dict[str, Callable[[], Layer]] = {
  "plain_torch": Plain,
  "spikingjelly": SpikingJelly,
  "snntorch": SnnTorch,
  "norse": Norse,
}
