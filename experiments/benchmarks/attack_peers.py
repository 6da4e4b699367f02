"""Foolbox and torchattacks on the analog network, in torch."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from experiments.benchmarks import problems
from experiments.benchmarks.measurement import Prepared
from experiments.benchmarks.problems import Kind
from experiments.benchmarks.tasks import Task

# As in `own_attacks`, which these modules cannot import: it needs JAX.
_L2_RADIUS = 1.0
_L2_STEP = 0.25


def prepare(library: str, task: Task) -> Prepared:
  """Prepares FGSM, or PGD under linf or l2, all from the clean image."""
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  images, labels = problems.batch(task)
  inputs = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  classes = torch.from_numpy(labels.astype(np.int64))
  attack = _LIBRARIES[library](_model(task), task)
  found = attack(inputs, classes).detach().numpy().transpose(0, 2, 3, 1)

  def call() -> None:
    attack(inputs, classes)

  return Prepared(call, {"adversarial": found})


def _model(task: Task) -> Any:
  """The network of `own_attacks.logits`."""
  values = problems.weights(task)
  made: list[Any] = []
  flat = None
  for layer in problems.layers(task):
    if layer.kind is Kind.CONVOLUTION:
      kernel = values[layer.name]["kernel"].transpose(3, 2, 0, 1)
      made.append(
        nn.Conv2d(layer.inputs, layer.outputs, 3, padding=1, bias=False)
      )
    elif layer.kind is Kind.DENSE:
      rows = values[layer.name]["kernel"].T
      if flat is not None:
        image = rows.reshape(-1, flat.side, flat.side, flat.inputs)
        rows = image.transpose(0, 3, 1, 2).reshape(rows.shape)
      kernel, flat = rows, None
      made.append(nn.Linear(layer.inputs, layer.outputs, bias=False))
    else:
      flat = layer if layer.kind is Kind.FLATTEN else flat
      made.append(_PLAIN[layer.kind]())
      continue
    with torch.no_grad():
      made[-1].weight.copy_(torch.from_numpy(kernel.copy()))
  return nn.Sequential(*made).eval()


_PLAIN: dict[Kind, Callable[[], Any]] = {
  Kind.SPIKE: nn.ReLU,
  Kind.POOL: lambda: nn.AvgPool2d(2),
  Kind.FLATTEN: nn.Flatten,
}


def _foolbox(model: Any, task: Task) -> Callable[[Any, Any], Any]:
  import foolbox

  wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
  radius = problems.RADIUS
  attack: Any
  if task.kind == "analog_fgsm":
    attack = foolbox.attacks.FGSM()
  elif task.kind == "analog_pgd":
    attack = foolbox.attacks.LinfPGD(
      abs_stepsize=problems.ATTACK_STEP,
      steps=task.iterations,
      random_start=False,
    )
  else:
    radius = _L2_RADIUS
    attack = foolbox.attacks.L2PGD(
      abs_stepsize=_L2_STEP, steps=task.iterations, random_start=False
    )

  def run(images: Any, labels: Any) -> Any:
    return attack(wrapped, images, labels, epsilons=radius)[1]

  return run


def _torchattacks(model: Any, task: Task) -> Callable[[Any, Any], Any]:
  import torchattacks

  if task.kind == "analog_fgsm":
    return torchattacks.FGSM(model, eps=problems.RADIUS)
  if task.kind == "analog_pgd":
    return torchattacks.PGD(
      model,
      eps=problems.RADIUS,
      alpha=problems.ATTACK_STEP,
      steps=task.iterations,
      random_start=False,
    )
  return torchattacks.PGDL2(
    model,
    eps=_L2_RADIUS,
    alpha=_L2_STEP,
    steps=task.iterations,
    random_start=False,
  )


_LIBRARIES: dict[str, Callable[[Any, Task], Callable[[Any, Any], Any]]] = {
  "foolbox": _foolbox,
  "torchattacks": _torchattacks,
}
