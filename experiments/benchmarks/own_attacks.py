"""Our attacks on an analog network, for the libraries of attacks to beat."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import problems
from experiments.benchmarks.measurement import Prepared
from experiments.benchmarks.problems import Kind
from experiments.benchmarks.tasks import EXACT, Task
from snnjax import attacks
from snnjax.interfaces import Array, Attack, AttackResult, Key, LogitsFn, PyTree
from snnjax.kernels.convolution import convolve
from snnjax.kernels.pooling import average_pool


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
  """Prepares one attack on the labels that the network gives itself."""
  weights = jax.tree.map(jnp.asarray, problems.weights(task))
  images = jnp.asarray(problems.batch(task)[0])
  labels = jnp.argmax(logits(weights, images), axis=1)
  keys = jax.random.split(jax.random.key(0), task.batch)

  def run(weights: PyTree, images: Array, labels: Array) -> AttackResult:
    def at(key: Key, inputs: Any) -> Array:
      del key
      return logits(weights, inputs)

    return ATTACKS[task.kind](at, task)(keys, images, labels)

  compiled = jax.jit(run)

  def call() -> None:
    jax.block_until_ready(compiled(weights, images, labels))

  result = compiled(weights, images, labels)
  wrong = jnp.argmax(logits(weights, result.inputs), axis=1) != labels
  evidence = {"fooled": np.asarray(jnp.mean(wrong), np.float32)}
  if task.kind in EXACT:
    evidence["adversarial"] = np.asarray(result.inputs)
  return Prepared(call, evidence, {"success": float(jnp.mean(wrong))})


def _pgd(at: LogitsFn, task: Task) -> Attack:
  l2 = task.kind == "analog_pgd_l2"
  return attacks.pgd(
    at,
    attacks.l2(problems.L2_RADIUS) if l2 else attacks.linf(problems.RADIUS),
    step_size=problems.L2_STEP if l2 else problems.ATTACK_STEP,
    steps=task.iterations,
    random_start=False,
    # The other libraries keep the last point, good or bad.
    keep=attacks.last,
  )


def _apgd(at: LogitsFn, task: Task) -> Attack:
  l2 = task.kind == "analog_apgd_l2"
  threat = (attacks.l2 if l2 else attacks.linf)(
    problems.L2_RADIUS if l2 else problems.RADIUS
  )
  return attacks.auto_pgd(at, threat, steps=task.iterations)


def _fab(at: LogitsFn, task: Task) -> Attack:
  threat = attacks.linf(problems.RADIUS)
  nearest = attacks.as_attack(attacks.fab(at, threat, steps=task.iterations))
  return attacks.within(nearest, at, threat)


def _minimal(name: str) -> Callable[[LogitsFn, Task], Attack]:
  """Attacks that look for the nearest example, however far."""
  makers: Mapping[str, Callable[[LogitsFn, Task], Any]] = {
    "carlini_wagner": lambda at, task: attacks.carlini_wagner(
      at, attacks.l2(1.0), steps=task.iterations, searches=problems.SEARCHES
    ),
    "ead": lambda at, task: attacks.ead(
      at, attacks.l1(1.0), steps=task.iterations, searches=problems.SEARCHES
    ),
    "deepfool": lambda at, task: attacks.deepfool(
      at, attacks.l2(1.0), steps=task.iterations
    ),
    "deepfool_linf": lambda at, task: attacks.deepfool(
      at, attacks.linf(1.0), steps=task.iterations
    ),
  }
  return lambda at, task: attacks.as_attack(makers[name](at, task))


ATTACKS: Mapping[str, Callable[[LogitsFn, Task], Attack]] = {
  "analog_fgsm": lambda at, task: attacks.fgsm(
    at, attacks.linf(problems.RADIUS), keep=attacks.last
  ),
  "analog_pgd": _pgd,
  "analog_pgd_l2": _pgd,
  "analog_slide": lambda at, task: attacks.slide(
    at,
    attacks.l1(problems.L1_RADIUS),
    step_size=problems.L1_STEP,
    steps=task.iterations,
  ),
  "analog_apgd": _apgd,
  "analog_apgd_l2": _apgd,
  "analog_fab": _fab,
  "analog_square": lambda at, task: attacks.square(
    at,
    attacks.linf(problems.RADIUS),
    queries=task.iterations,
  ),
  **{
    f"analog_{name}": _minimal(name)
    for name in ("carlini_wagner", "ead", "deepfool", "deepfool_linf")
  },
  "analog_sparse_rs": lambda at, task: attacks.sparse_rs(
    at,
    attacks.l0(problems.SITES),
    queries=task.iterations,
  ),
  "analog_sigma_zero": lambda at, task: attacks.sigma_zero(
    at, steps=task.iterations
  ),
}
