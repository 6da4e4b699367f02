"""Our attacks on an analog network, for the libraries of attacks to beat."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import problems
from experiments.benchmarks.measurement import Prepared
from experiments.benchmarks.problems import Kind
from experiments.benchmarks.tasks import Task
from snnjax import attacks, losses
from snnjax.kernels.convolution import convolve
from snnjax.kernels.pooling import average_pool
from snnjax.types import (
  Array,
  Attack,
  Inputs,
  Key,
  PyTree,
  ScoredLossFn,
)

L2_RADIUS = 1.0
L2_STEP = 0.25


def logits(weights: PyTree, images: Array) -> Array:
  """Convolutions with rectified units in place of spikes, one step."""
  features = images
  task = Task("I", "analog", "analog", side=images.shape[1])
  channels = tuple(
    weights[f"conv{n}"]["kernel"].shape[3] for n in range(1, len(weights))
  )
  for layer in problems.layers(task._replace(channels=channels)):
    if layer.kind is Kind.CONVOLUTION:
      features = convolve(features, weights[layer.name]["kernel"])
    elif layer.kind is Kind.SPIKE:
      features = jax.nn.relu(features)
    elif layer.kind is Kind.POOL:
      features = average_pool(features, (2, 2))
    elif layer.kind is Kind.FLATTEN:
      features = features.reshape(features.shape[0], -1)
    else:
      features = features @ weights[layer.name]["kernel"]
  return features


def prepare(task: Task) -> Prepared:
  """Prepares FGSM, or PGD under linf or l2, all from the clean image."""
  weights = jax.tree.map(jnp.asarray, problems.weights(task))
  images, labels = (jnp.asarray(a) for a in problems.batch(task))

  def run(weights: PyTree, images: Array, labels: Array) -> Inputs:
    def at(key: Key, inputs: Any) -> Array:
      del key
      return logits(weights, inputs)

    attack = _attack(task, losses.scored(at, losses.cross_entropy))
    return attack(jax.random.key(0), images, labels).inputs

  compiled = jax.jit(run)

  def call() -> None:
    jax.block_until_ready(compiled(weights, images, labels))

  found = np.asarray(compiled(weights, images, labels))
  return Prepared(call, {"adversarial": found})


def _attack(task: Task, loss: ScoredLossFn) -> Attack:
  keep = attacks.last  # the other libraries keep the last point, good or bad
  if task.kind == "analog_fgsm":
    return attacks.fgsm(loss, attacks.linf(problems.RADIUS), keep=keep)
  l2 = task.kind == "analog_pgd_l2"
  return attacks.pgd(
    loss,
    attacks.l2(L2_RADIUS) if l2 else attacks.linf(problems.RADIUS),
    step_size=L2_STEP if l2 else problems.ATTACK_STEP,
    steps=task.iterations,
    random_start=False,
    keep=keep,
  )
