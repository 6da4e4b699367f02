"""The torch libraries' side of every task."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from experiments.benchmarks import problems
from experiments.benchmarks.measurement import Prepared
from experiments.benchmarks.tasks import Task
from experiments.benchmarks.torch_network import Network
from experiments.benchmarks.torch_neurons import LAYERS, Layer


def prepare(library: str, task: Task) -> Prepared:
  """Prepares a task of any kind, with a thread for every core allowed."""
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  if library != "plain_torch" and task.net != "none":
    LAYERS[library]()  # an absent library is an error here, not later
  return _KINDS[task.kind](library, task)


class Setup(NamedTuple):
  """A network and one batch.

  Attributes:
    network: with the benchmark's weights.
    images: [B, C, H, W].
    labels: [B].
  """

  network: Network
  images: Any
  labels: Any


def _setup(library: str, task: Task, train: bool = False) -> Setup:
  images, labels = problems.batch(task)
  network = Network(library, task).train(train)
  return Setup(
    network,
    torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
    torch.from_numpy(labels.astype(np.int64)),
  )


def _logits(setup: Setup, images: Any, steps: int) -> Any:
  """Logits from rest."""
  setup.network.forget()
  return setup.network(images, steps)


# Row A.


def _lif(library: str, task: Task) -> tuple[Layer, Any, Any]:
  layer = LAYERS[library]()
  currents, cotangents = problems.currents(task)
  return (
    layer,
    torch.from_numpy(currents) * layer.gain,
    torch.from_numpy(cotangents),
  )


def _lif_evidence(
  layer: Layer, currents: Any, cotangents: Any
) -> dict[str, np.ndarray]:
  first_neurons = currents[:, :1024].clone().requires_grad_()
  layer.forget()
  spikes = layer(first_neurons)
  (gradient,) = torch.autograd.grad(spikes, first_neurons, cotangents[:, :1024])
  layer.forget()
  return {
    "spikes": spikes.detach().numpy(),
    "gradient": gradient.numpy() * layer.gain,
  }


def _lif_forward(library: str, task: Task) -> Prepared:
  layer, currents, cotangents = _lif(library, task)

  def call() -> None:
    with torch.no_grad():
      layer.forget()
      layer(currents)

  return Prepared(call, _lif_evidence(layer, currents, cotangents))


def _lif_gradient(library: str, task: Task) -> Prepared:
  layer, currents, cotangents = _lif(library, task)
  evidence = _lif_evidence(layer, currents, cotangents)
  currents.requires_grad_()

  def call() -> None:
    layer.forget()
    torch.autograd.grad(layer(currents), currents, cotangents)

  return Prepared(call, evidence)


# Networks.


def _sr_loss(setup: Setup, task: Task) -> Any:
  """SR's loss: two forward passes, one backward pass for the direction."""
  images = setup.images.clone().requires_grad_()
  logits = _logits(setup, images, task.steps)
  # The rival is chosen at the clean image and stays for the second pass, as
  # in our regulariser: the difference quotient needs one function.
  others = logits.detach().scatter(1, setup.labels[:, None], -torch.inf)
  rival = others.argmax(1)
  confidence = _confidence(logits, setup.labels, rival)
  (gradient,) = torch.autograd.grad(confidence.sum(), images, retain_graph=True)
  moved = setup.images + problems.STEP * gradient.sign()
  again = _confidence(_logits(setup, moved, task.steps), setup.labels, rival)
  slope = (again - confidence) / problems.STEP
  entropy = functional.cross_entropy(logits, setup.labels)
  return entropy + problems.WEIGHT * slope.square().mean()


def _confidence(logits: Any, labels: Any, rival: Any) -> Any:
  """The probability of the label against its rival."""
  correct = logits.gather(1, labels[:, None])
  other = logits.gather(1, rival[:, None])
  return torch.sigmoid(correct - other)[:, 0]


def _check(library: str, task: Task) -> Prepared:
  setup = _setup(library, task, train=task.net == "vgg")
  images = setup.images.clone().requires_grad_()
  setup.network.forget()
  logits, spikes = setup.network.run_traced(images, task.steps)
  second = setup.network.convolutions[1].weight
  gain = 1.0 if task.net == "vgg" else setup.network.gain
  loss = functional.cross_entropy(logits, setup.labels, reduction="sum")
  pixel, weight = torch.autograd.grad(loss, (images, second))
  total = _sr_loss(setup, task)
  (slope,) = torch.autograd.grad(total, second)
  evidence = {
    "spikes": spikes[:, :2].permute(0, 1, 3, 4, 2),
    "logits": logits,
    "input_gradient": pixel.permute(0, 2, 3, 1),
    "weight_gradient": weight.permute(2, 3, 1, 0) * gain,
    "sr_loss": total,
    "sr_gradient": slope.permute(2, 3, 1, 0) * gain,
  }
  return Prepared(
    lambda: None, {n: a.detach().numpy() for n, a in evidence.items()}
  )


def _infer(library: str, task: Task) -> Prepared:
  setup = _setup(library, task)

  def call() -> None:
    with torch.no_grad():
      _logits(setup, setup.images, task.steps)

  return Prepared(call)


def _optimizer(setup: Setup) -> Any:
  return torch.optim.SGD(
    setup.network.parameters(), lr=problems.RATE, momentum=problems.MOMENTUM
  )


def _train(library: str, task: Task) -> Prepared:
  setup = _setup(library, task, train=True)
  optimizer = _optimizer(setup)

  def call() -> None:
    optimizer.zero_grad(set_to_none=True)
    if task.kind == "sr":
      loss = _sr_loss(setup, task)
    else:
      logits = _logits(setup, setup.images, task.steps)
      loss = functional.cross_entropy(logits, setup.labels)
    loss.backward()
    optimizer.step()

  return Prepared(call)


def _hire(library: str, task: Task) -> Prepared:
  setup = _setup(library, task, train=True)
  optimizer = _optimizer(setup)

  def call() -> None:
    noise = torch.zeros_like(setup.images)
    setup.network.forget()
    for period in range(problems.PERIODS):
      if period:
        setup.network.detach()
      noise.requires_grad_()
      inputs = (setup.images + noise).clamp(0, 1)
      logits = setup.network(inputs, task.steps // problems.PERIODS)
      loss = functional.cross_entropy(logits, setup.labels)
      optimizer.zero_grad(set_to_none=True)
      loss.backward()
      optimizer.step()
      moved = noise.detach() + problems.ATTACK_STEP * noise.grad.sign()
      noise = moved.clamp(-problems.RADIUS, problems.RADIUS)

  return Prepared(call)


def _pgd(library: str, task: Task) -> Prepared:
  setup = _setup(library, task)
  low = (setup.images - problems.RADIUS).clamp(min=0)
  high = (setup.images + problems.RADIUS).clamp(max=1)

  def call() -> None:
    points = setup.images
    for _ in range(task.iterations):
      points = points.detach().requires_grad_()
      logits = _logits(setup, points, task.steps)
      loss = functional.cross_entropy(logits, setup.labels, reduction="sum")
      (gradient,) = torch.autograd.grad(loss, points)
      moved = points.detach() + problems.ATTACK_STEP * gradient.sign()
      points = torch.minimum(torch.maximum(moved, low), high)

  return Prepared(call)


def _sgemm(library: str, task: Task) -> Prepared:
  del library
  square = torch.ones(task.iterations, task.iterations)
  return Prepared(lambda: _discard(square @ square))


def _copy(library: str, task: Task) -> Prepared:
  del library
  array = torch.ones(task.iterations, task.iterations)
  moved = 2 * array.numel() * array.element_size() / 1e9
  return Prepared(lambda: _discard(array + 1), notes={"gigabytes": moved})


def _discard(result: Any) -> None:
  del result


_KINDS: dict[str, Callable[[str, Task], Prepared]] = {
  "lif_forward": _lif_forward,
  "lif_gradient": _lif_gradient,
  "check": _check,
  "infer": _infer,
  "train": _train,
  "sr": _train,
  "hire": _hire,
  "pgd": _pgd,
  "sgemm": _sgemm,
  "copy": _copy,
}
