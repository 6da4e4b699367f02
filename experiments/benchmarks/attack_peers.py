"""Foolbox and torchattacks on the analog network, in torch."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from experiments.benchmarks import problems
from experiments.benchmarks.measurement import Prepared
from experiments.benchmarks.problems import Kind
from experiments.benchmarks.tasks import EXACT, Task


def prepare(library: str, task: Task) -> Prepared:
  """Prepares one attack on the labels that the network gives itself."""
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  images, _ = problems.batch(task)
  inputs = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  model = _model(task)
  with torch.no_grad():
    classes = model(inputs).argmax(1)
  attack = _LIBRARIES[library](model, task)
  adversarial = attack(inputs, classes).detach()
  with torch.no_grad():
    wrong = (model(adversarial).argmax(1) != classes).float().mean()

  def call() -> None:
    attack(inputs, classes)

  evidence = {"fooled": wrong.numpy()}
  if task.kind in EXACT:
    evidence["adversarial"] = adversarial.numpy().transpose(0, 2, 3, 1)
  return Prepared(call, evidence, {"success": float(wrong)})


def _model(task: Task) -> Any:
  """The network of `own_attacks.logits`."""
  values = problems.weights(task)
  modules: list[Any] = []
  flat = None
  for layer in problems.layers(task):
    if layer.kind is Kind.CONVOLUTION:
      kernel = values[layer.name]["kernel"].transpose(3, 2, 0, 1)
      modules.append(
        nn.Conv2d(layer.inputs, layer.outputs, 3, padding=1, bias=False)
      )
    elif layer.kind is Kind.DENSE:
      rows = values[layer.name]["kernel"].T
      if flat is not None:
        image = rows.reshape(-1, flat.side, flat.side, flat.inputs)
        rows = image.transpose(0, 3, 1, 2).reshape(rows.shape)
      kernel, flat = rows, None
      modules.append(nn.Linear(layer.inputs, layer.outputs, bias=False))
    else:
      flat = layer if layer.kind is Kind.FLATTEN else flat
      modules.append(_PLAIN[layer.kind]())
      continue
    with torch.no_grad():
      modules[-1].weight.copy_(torch.from_numpy(kernel.copy()))
  return nn.Sequential(*modules).eval()


_PLAIN: dict[Kind, Callable[[], Any]] = {
  Kind.SPIKE: nn.ReLU,
  Kind.POOL: lambda: nn.AvgPool2d(2),
  Kind.FLATTEN: nn.Flatten,
}


def _foolbox(model: Any, task: Task) -> Callable[[Any, Any], Any]:
  import foolbox

  fb, steps = foolbox.attacks, task.iterations
  searches = problems.SEARCHES
  table: dict[str, tuple[float | None, Callable[[], Any]]] = {
    "analog_fgsm": (problems.RADIUS, fb.FGSM),
    "analog_pgd": (
      problems.RADIUS,
      lambda: fb.LinfPGD(
        abs_stepsize=problems.ATTACK_STEP, steps=steps, random_start=False
      ),
    ),
    "analog_pgd_l2": (
      problems.L2_RADIUS,
      lambda: fb.L2PGD(
        abs_stepsize=problems.L2_STEP, steps=steps, random_start=False
      ),
    ),
    "analog_slide": (
      problems.L1_RADIUS,
      lambda: fb.SparseL1DescentAttack(
        abs_stepsize=problems.L1_STEP, steps=steps
      ),
    ),
    # These look for the nearest example: no radius.
    "analog_carlini_wagner": (
      None,
      lambda: fb.L2CarliniWagnerAttack(searches, steps, abort_early=False),
    ),
    "analog_ead": (
      None,
      lambda: fb.EADAttack(searches, steps, abort_early=False),
    ),
    "analog_deepfool": (None, lambda: fb.L2DeepFoolAttack(steps=steps)),
    "analog_deepfool_linf": (
      None,
      lambda: fb.LinfDeepFoolAttack(steps=steps),
    ),
  }
  radius, make = table[task.kind]
  wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
  attack = make()

  def run(images: Any, labels: Any) -> Any:
    return attack(wrapped, images, labels, epsilons=radius)[1]

  return run


def _torchattacks(model: Any, task: Task) -> Callable[[Any, Any], Any]:
  import torchattacks as ta

  count, radius, l2 = task.iterations, problems.RADIUS, problems.L2_RADIUS
  makers: dict[str, Callable[[], Any]] = {
    "analog_fgsm": lambda: ta.FGSM(model, eps=radius),
    "analog_pgd": lambda: ta.PGD(
      model,
      eps=radius,
      alpha=problems.ATTACK_STEP,
      steps=count,
      random_start=False,
    ),
    "analog_pgd_l2": lambda: ta.PGDL2(
      model, eps=l2, alpha=problems.L2_STEP, steps=count, random_start=False
    ),
    "analog_apgd": lambda: ta.APGD(model, eps=radius, steps=count),
    "analog_apgd_l2": lambda: ta.APGD(model, norm="L2", eps=l2, steps=count),
    "analog_fab": lambda: ta.FAB(model, eps=radius, steps=count),
    "analog_square": lambda: ta.Square(model, eps=radius, n_queries=count),
    "analog_deepfool": lambda: ta.DeepFool(model, steps=count),
  }
  return makers[task.kind]()


_LIBRARIES: dict[str, Callable[[Any, Task], Callable[[Any, Any], Any]]] = {
  "foolbox": _foolbox,
  "torchattacks": _torchattacks,
}
