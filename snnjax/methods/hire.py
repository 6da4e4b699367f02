"""HIRE-style training: crafted input noise at no extra passes.

Only test code of HIRE-SNN was published; this is our reading of the paper.

References:
  Kundu, Pedram, Beerel 2021, "HIRE-SNN: Harnessing the inherent robustness of
  energy-efficient deep spiking neural networks by training with crafted input
  noise", ICCV 2021, arXiv 2110.11417.
"""

from collections.abc import Callable, Collection, Mapping

import jax
import jax.numpy as jnp
from jax import lax

from snnjax.methods.method import Method, Stage, accuracy, masked_mean
from snnjax.methods.vanilla import ForwardLoss, logits_cross_entropy
from snnjax.random import batch_size, example_keys, fold_in, per_example
from snnjax.types import (
  Array,
  Aux,
  BackwardRule,
  Batch,
  Inputs,
  Key,
  Network,
  PyTree,
  State,
  Variables,
)
from snnjax.validation import check_count, check_positive

Noise = Callable[[Key, Inputs], Inputs]  # (key, gradient) -> signs
Radius = float | Mapping[str, float]


def crafted(key: Key, gradient: Inputs) -> Inputs:
  """HIRE's noise: the signs of the input gradient."""
  del key
  return jax.tree.map(jnp.sign, gradient)


def random_signs(key: Key, gradient: Inputs) -> Inputs:
  """A control: signs drawn at random, of the same size as crafted ones."""
  leaves, tree = jax.tree.flatten(gradient)

  def draw(key: Key, like: Array) -> Array:
    return jax.random.rademacher(key, like.shape, like.dtype)

  keys = example_keys(key, batch_size(gradient))
  drawn = [
    per_example(draw, fold_in(keys, index), leaf)
    for index, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(tree, drawn)


def no_noise(key: Key, gradient: Inputs) -> Inputs:
  """A control: the same updates on clean inputs."""
  del key
  return jax.tree.map(jnp.zeros_like, gradient)


def hire(
  network: Network,
  *,
  rule: BackwardRule,
  steps: int,
  periods: int,
  step_size: Radius,
  radius: Radius,
  noise: Noise = crafted,
  framed: Collection[str] = (),
  box: tuple[float, float] = (0.0, 1.0),
  keep_membranes: bool = True,
  keep_noise: bool = False,
  loss: ForwardLoss = logits_cross_entropy,
) -> Method:
  """Returns HIRE-style training: the T steps in N periods, each an update.

  Period n shows clip(x + delta) to the box, runs T / N steps from the
  membranes of period n - 1 (detached), updates the weights on the period's
  loss, then delta <- clip(delta + eps_s noise(gradient), -eps_t, eps_t). The
  input gradient comes from the weights' own backward pass, so the N periods
  together do the work of one ordinary step over T.

  Args:
    network: the network, run in train mode.
    rule: the backward rule.
    steps: T, the network's number of steps.
    periods: N, a divisor of T.
    step_size: eps_s in raw units, one for all modalities or one each.
    radius: eps_t in raw units, likewise.
    noise: `crafted`, or a control: `no_noise`, `random_signs`.
    framed: modalities whose arrays are event frames [B, T, ...] ("" for
      inputs of one array); their noise has the T / N frames of one period,
      [B, T / N, ...].
    box: lowest and highest value of the inputs.
    keep_membranes: whether a period starts from the last one's membranes, or
      at rest.
    keep_noise: whether delta is carried to the next batch, by position, or
      starts at 0 with each batch. It needs batches of one size.
    loss: ``(forward, labels) -> [B]``.

  Raises:
    ValueError: if the periods do not divide the steps or a radius is not
      positive.
  """
  check_count("periods", periods)
  if steps % periods:
    raise ValueError(
      f"periods must divide the {steps} steps of the network; got {periods}"
    )
  for name, value in (("step_size", step_size), ("radius", radius)):
    for each in value.values() if isinstance(value, Mapping) else (value,):
      check_positive(name, each)
  length = steps // periods

  def perturbation(inputs: Inputs) -> Inputs:
    def zeros(path: tuple, x: Array) -> Array:
      window = x[:, :length] if _modality(path) in framed else x
      return jnp.zeros_like(window)

    return jax.tree.map_with_path(zeros, inputs)

  def shown(inputs: Inputs, delta: Inputs, start: int) -> Inputs:
    def show(path: tuple, x: Array, d: Array) -> Array:
      if _modality(path) in framed:
        d = lax.dynamic_update_slice_in_dim(jnp.zeros_like(x), d, start, 1)
      return jnp.clip(x + d, *box)

    return jax.tree.map_with_path(show, inputs, delta)

  def objective(
    variables: Variables, stage: Stage, key: Key, batch: Batch, update: int
  ) -> tuple[Array, tuple[Aux, PyTree]]:
    start = update * length
    forward = network.apply(
      variables,
      shown(batch.inputs, stage.perturbation, start),
      rule=rule,
      key=key,
      train=True,
      states=stage.memory if keep_membranes else None,
      window=(start, start + length),
    )
    total = masked_mean(loss(forward, batch.labels), batch.mask)
    metrics = {"loss": total, "accuracy": accuracy(forward.logits, batch)}
    states: Mapping[str, State] = lax.stop_gradient(forward.states)
    return total, (Aux(metrics, forward.batch_stats), states)

  def advance(key: Key, stage: Stage, gradient: Inputs) -> Stage:
    def move(path: tuple, delta: Array, sign: Array) -> Array:
      name = _modality(path)
      bound = _for_modality(radius, name)
      moved = delta + _for_modality(step_size, name) * sign
      return jnp.clip(moved, -bound, bound)

    moved = jax.tree.map_with_path(
      move, stage.perturbation, noise(key, gradient)
    )
    return stage._replace(perturbation=moved)

  def begin(carried: PyTree, batch: Batch) -> Stage:
    delta = carried if keep_noise else perturbation(batch.inputs)
    return Stage(delta, {})

  return Method(
    updates=periods,
    init=lambda batch: perturbation(batch.inputs) if keep_noise else (),
    begin=begin,
    objective=objective,
    advance=advance,
    finish=lambda stage: stage.perturbation if keep_noise else (),
  )


def _modality(path: tuple) -> str:
  """The modality that a leaf's path names; "" for inputs of one array."""
  return path[0].key if path else ""


def _for_modality(value: Radius, name: str) -> float:
  """A radius given once for all modalities, or one for each of them."""
  return value[name] if isinstance(value, Mapping) else value
