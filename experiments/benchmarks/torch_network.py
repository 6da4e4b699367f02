"""The benchmark's networks in torch, time-batched, any library's neurons."""

from typing import Any

import torch
from torch import nn

from experiments.benchmarks import problems
from experiments.benchmarks.problems import Kind
from experiments.benchmarks.tasks import Task
from experiments.benchmarks.torch_neurons import LAYERS, Layer


class Network(nn.Module):
  """Images [B, C, H, W] to logits [B, 10], the mean over time.

  Weights see all steps at once, in one batch [T * B, ...]; only the neurons
  loop. The image, the same at every step, meets the first convolution once,
  or T times where the task or the library's form says so.
  """

  def __init__(self, library: str, task: Task):
    """Builds the network with the benchmark's weights."""
    super().__init__()
    # SR's released code repeats the image first, whatever the task.
    self._reuse = task.reuse and library != "plain_torch"
    self._spiking: list[Layer] = []
    self._plan: list[tuple[Kind, Any]] = []
    self._registered = nn.ModuleList()
    values = problems.weights(task)
    layers = problems.layers(task)
    for layer in layers:
      if layer.kind is Kind.SPIKE:
        spiking = LAYERS[library]()
        self._spiking.append(spiking)
        self._plan.append((layer.kind, spiking))
        continue
      module = _module(layer, values)
      if isinstance(module, nn.Module):
        self._registered.append(module)
      self._plan.append((layer.kind, module))
    self.gain = LAYERS[library]().gain
    _fold_gain(self._plan, layers, self.gain)

  @property
  def convolutions(self) -> list[Any]:
    """The convolutions, first to last."""
    return [m for k, m in self._plan if k is Kind.CONVOLUTION]

  def forward(self, images: Any, steps: int) -> Any:
    """Logits after `steps` steps from the neurons' present state."""
    return self.run_traced(images, steps)[0]

  def run_traced(self, images: Any, steps: int) -> tuple[Any, Any]:
    """Logits, and the first layer's spikes [T, B, C, H, W]."""
    batch = images.shape[0]
    merged = images if self._reuse else images.repeat(steps, 1, 1, 1)
    time = 1 if self._reuse else steps
    first = None
    for kind, module in self._plan:
      if kind is not Kind.SPIKE:
        merged = module(merged)
        continue
      currents = merged.view(time, batch, *merged.shape[1:])
      currents = currents.expand(steps, *currents.shape[1:])
      spikes, time = module(currents), steps
      first = spikes if first is None else first
      merged = spikes.flatten(0, 1)
    return merged.view(steps, batch, -1).mean(0), first

  def forget(self) -> None:
    """Puts all neurons to rest."""
    for layer in self._spiking:
      layer.forget()

  def detach(self) -> None:
    """Makes all potentials constants."""
    for layer in self._spiking:
      layer.detach()


def _module(layer: problems.Layer, values: problems.Weights) -> Any:
  """The torch form of a layer without memory."""
  if layer.kind is Kind.POOL:
    return nn.AvgPool2d(2)
  if layer.kind is Kind.FLATTEN:
    return nn.Flatten()
  if layer.kind is Kind.NORM:
    return nn.BatchNorm2d(layer.outputs, momentum=0.1)
  kernel = values[layer.name]["kernel"]
  module: Any
  if layer.kind is Kind.CONVOLUTION:
    module = nn.Conv2d(layer.inputs, layer.outputs, 3, padding=1)
    weight = kernel.transpose(3, 2, 0, 1)
  else:
    module = nn.Linear(layer.inputs, layer.outputs)
    weight = kernel.T
  with torch.no_grad():
    module.weight.copy_(torch.from_numpy(weight.copy()))
    module.bias.copy_(torch.from_numpy(values[layer.name]["bias"]))
  return module


def _fold_gain(
  plan: list[tuple[Kind, Any]], layers: list[problems.Layer], gain: float
) -> None:
  """Puts the neurons' gain into the weights in front of them.

  Also turns the rows of the first dense layer from [H, W, C] to [C, H, W].
  """
  flat = next(layer for layer in layers if layer.kind is Kind.FLATTEN)
  dense = next(m for k, m in plan if k is Kind.DENSE)
  with torch.no_grad():
    rows = dense.weight.view(-1, flat.side, flat.side, flat.inputs)
    rows = rows.permute(0, 3, 1, 2).reshape(dense.weight.shape)
    dense.weight.copy_(rows.clone())
    for (_, module), layer in zip(plan, layers, strict=True):
      spiking = layer.name != "head"
      if spiking and layer.kind in _scaled(layers):
        module.weight.mul_(gain)
        module.bias.mul_(gain)


def _scaled(layers: list[problems.Layer]) -> tuple[Kind, ...]:
  """The layers whose outputs are currents: norms where there are any."""
  if any(layer.kind is Kind.NORM for layer in layers):
    return (Kind.NORM, Kind.DENSE)
  return (Kind.CONVOLUTION, Kind.DENSE)
