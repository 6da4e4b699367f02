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

from snnjax.arguments import check_network
from snnjax.backward.rules import check_rule
from snnjax.derivatives import with_gradient_of
from snnjax.interfaces import (
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
from snnjax.methods.method import (
  Method,
  Stage,
  accuracy,
  by_modality,
  masked_mean,
  modality_of,
)
from snnjax.methods.standard import ForwardLoss, logits_cross_entropy
from snnjax.prng import batch_size, example_keys, fold_in, per_example, split
from snnjax.validation import check_count, check_positive

# (key, clean inputs, crafted change, box) -> the change that is shown
Noise = Callable[[Key, Inputs, Inputs, tuple[float, float]], Inputs]
Radius = float | Mapping[str, float]


def crafted(
  key: Key, inputs: Inputs, change: Inputs, box: tuple[float, float]
) -> Inputs:
  """Shows HIRE's noise: the change that followed the gradient's signs."""
  del key, inputs, box
  return change


def scattered(
  key: Key, inputs: Inputs, change: Inputs, box: tuple[float, float]
) -> Inputs:
  """A control: the sizes of the crafted change, elsewhere, of random signs.

  Every example and modality shows a permutation of the sizes |change_i|, so
  that all norms are those of the crafted noise. A sign that would leave the
  box is turned, and a size for which neither side has room, which takes a
  radius above half of the box, is cut to the larger side.
  """
  leaves, tree = jax.tree.flatten(inputs)

  def draw(key: Key, x: Array, change: Array) -> Array:
    place, sign = jax.random.split(key)
    sizes = jax.random.permutation(place, jnp.abs(change).ravel())
    sizes = sizes.reshape(x.shape)
    up, down = box[1] - x, x - box[0]
    # A fair coin decides where both sides have room, the only side with room
    # where one has, and the larger side where neither has.
    rises, falls = sizes <= up, sizes <= down  # where there is room
    either = jnp.where(
      rises, jax.random.bernoulli(sign, shape=x.shape), up >= down
    )
    rises = jnp.where(rises == falls, either, rises)
    return jnp.where(rises, jnp.minimum(sizes, up), -jnp.minimum(sizes, down))

  keys = example_keys(key, batch_size(inputs))
  changes = [
    per_example(draw, fold_in(keys, index), *pair)
    for index, pair in enumerate(
      zip(leaves, jax.tree.leaves(change), strict=True)
    )
  ]
  return jax.tree.unflatten(tree, changes)


def no_noise(
  key: Key, inputs: Inputs, change: Inputs, box: tuple[float, float]
) -> Inputs:
  """A control: the same updates on clean inputs."""
  del key, inputs, box
  return jax.tree.map(jnp.zeros_like, change)


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
  loss, then delta <- clip(delta + eps_s sign(gradient), -eps_t, eps_t). The
  gradient is that at the *shown* input, not through the clip: a black pixel
  that was pushed below 0 comes back when its gradient turns. It comes from the
  weights' own backward pass, so the N periods together do the work of one
  ordinary step over T.

  A control follows the same delta, made from the gradients at what *it* shows,
  and shows something else in its place: `scattered` noise is of the same size
  in every example, period and modality. The metrics "noise_crafted" and
  "noise_shown" are the mean magnitudes of clip(x + delta) - x and of what was
  shown instead, with "/modality" where inputs are a mapping.

  Args:
    network: the network, run in train mode.
    rule: the backward rule.
    steps: T, the network's number of steps.
    periods: N, a divisor of T.
    step_size: eps_s in raw units, one for all modalities or one each.
    radius: eps_t in raw units, likewise.
    noise: `crafted`, or a control: `no_noise`, `scattered`.
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
  check_network(network)
  check_rule(rule)
  check_count("periods", periods)
  if steps % periods:
    raise ValueError(
      f"periods must divide the {steps} steps of the network; got {periods}"
    )
  for name, value in (("step_size", step_size), ("radius", radius)):
    for number in value.values() if isinstance(value, Mapping) else (value,):
      check_positive(name, number)
  length = steps // periods

  def perturbation(inputs: Inputs) -> Inputs:
    return jax.tree.map(jnp.zeros_like, _piece(inputs, framed, 0, length))

  def objective(
    variables: Variables,
    stage: Stage,
    key: Key,
    batch: Batch,
    step: Array,
    update: int,
  ) -> tuple[Array, tuple[Aux, PyTree]]:
    del step
    start = update * length
    key, noise_key = split(key)
    clean = _piece(batch.inputs, framed, start, length)
    # The noise sees the change within the box, so that a control is compared
    # with what HIRE really shows.
    change = _clipped_change(clean, stage.perturbation, box)
    instead = noise(noise_key, clean, change, box)
    shown = _show_change(clean, instead, stage.perturbation, box)
    forward = network.apply(
      variables,
      _put_piece(batch.inputs, framed, start, shown),
      rule=rule,
      key=key,
      train=True,
      states=stage.memory if keep_membranes else None,
      window=(start, start + length),
    )
    total = masked_mean(loss(forward, batch.labels), batch.mask)
    metrics = {
      "loss": total,
      "accuracy": accuracy(forward.logits, batch),
      **_sizes("noise_crafted", change, batch.mask),
      **_sizes("noise_shown", instead, batch.mask),
    }
    states: Mapping[str, State] = lax.stop_gradient(forward.states)
    return total, (Aux(metrics, forward.batch_stats), states)

  def advance(key: Key, stage: Stage, gradient: Inputs) -> Stage:
    del key

    def move(path: tuple, delta: Array, slope: Array) -> Array:
      name = modality_of(path)
      bound = _for_modality(radius, name)
      # One signed step as in FGSM, and back into the ball: PGD spread over
      # periods.
      moved = delta + _for_modality(step_size, name) * jnp.sign(slope)
      return jnp.clip(moved, -bound, bound)

    moved = jax.tree.map_with_path(move, stage.perturbation, gradient)
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


def _piece(
  inputs: Inputs, framed: Collection[str], start: int, length: int
) -> Inputs:
  """The inputs of one period: of event frames, those of its own steps."""

  def cut(path: tuple, x: Array) -> Array:
    return x[:, start : start + length] if modality_of(path) in framed else x

  return jax.tree.map_with_path(cut, inputs)


def _put_piece(
  inputs: Inputs, framed: Collection[str], start: int, piece: Inputs
) -> Inputs:
  """The inputs with a period's piece in its place."""

  def put(path: tuple, x: Array, part: Array) -> Array:
    if modality_of(path) not in framed:
      return part
    return lax.dynamic_update_slice_in_dim(x, part, start, 1)

  return jax.tree.map_with_path(put, inputs, piece)


def _clipped_change(
  clean: Inputs, delta: Inputs, box: tuple[float, float]
) -> Inputs:
  """What delta changes within the box, a constant."""
  return lax.stop_gradient(
    jax.tree.map(lambda x, d: jnp.clip(x + d, *box) - x, clean, delta)
  )


def _show_change(
  clean: Inputs, change: Inputs, delta: Inputs, box: tuple[float, float]
) -> Inputs:
  """The changed inputs; their gradient is that of delta, without the clip."""
  # The box once more: x + (wall - x) may round to beyond the wall.
  moved = jax.tree.map(lambda x, c: jnp.clip(x + c, *box), clean, change)
  return jax.tree.map(with_gradient_of, moved, delta)


def _sizes(name: str, change: Inputs, mask: Array) -> dict[str, Array]:
  """The mean magnitude of a change in every modality, by metric name."""

  def size(leaf: Array) -> Array:
    return masked_mean(
      jnp.mean(jnp.abs(leaf).reshape(leaf.shape[0], -1), axis=1), mask
    )

  return by_modality(name, jax.tree.map(size, change))


def _for_modality(value: Radius, name: str) -> float:
  """A radius given once for all modalities, or one for each of them."""
  return value[name] if isinstance(value, Mapping) else value
