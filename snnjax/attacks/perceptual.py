"""Imperceptible and robust changes: their measures and their attack."""

import jax
import jax.numpy as jnp

from snnjax.arguments import check_per_example, logits_function
from snnjax.attacks.loop import Point, Proposer, search
from snnjax.attacks.oracles import white_box
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import UNIT_BOX, Bounds, box_only, walls
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Attack,
  Inputs,
  Key,
  Labels,
  Scored,
)
from snnjax.losses import check_labels, rival
from snnjax.validation import check_count, check_positive, check_range

FLOOR = 1 / 255  # one grey level
_IMAGE_AXES = 4


def sensitivity(inputs: Inputs, side: int = 3, floor: float = FLOOR) -> Inputs:
  """Returns 1 / (standard deviation of each pixel's neighbourhood).

  Changes are seen in smooth regions and lost in busy ones. Each channel, and
  each frame of [B, T, H, W, C], has its own; at the border the neighbourhood
  is what lies inside.

  Args:
    inputs: [B, ..., H, W, C], or a mapping of such arrays.
    side: side n of the n x n neighbourhood, odd.
    floor: the smallest standard deviation, in raw units.

  Returns:
    Like the inputs, positive, in float32 at least.

  Raises:
    ValueError: if `side` is even or an array has no height and width.

  References:
    Bo Luo, Yannan Liu, Lingxiao Wei, Qiang Xu, 2018, "Towards imperceptible
    and robust adversarial example attacks against neural networks", AAAI
    2018, arXiv 1801.04693.

  Differs from the paper by the floor: a constant neighbourhood would have an
    infinite sensitivity there.
  """
  check_count("side", side)
  check_positive("floor", floor)
  if side % 2 == 0:
    raise ValueError(f"side must be odd; got {side}")

  def of_images(images: Array) -> Array:
    if images.ndim < _IMAGE_AXES:
      raise ValueError(
        f"inputs must be images [B, ..., H, W, C]; got shape {images.shape}"
      )
    size = (1,) * (images.ndim - 3) + (side, side, 1)

    def total(values: Array) -> Array:
      return jax.lax.reduce_window(
        values, 0.0, jax.lax.add, size, (1,) * images.ndim, "SAME"
      )

    # Of one example: it is the same for all, and computed when compiled.
    count = total(jnp.ones_like(images[:1]))
    # About the image's own mean, so that squares do not cancel.
    axes = tuple(range(1, images.ndim))
    centred = images - jnp.mean(images, axes, keepdims=True)
    mean = total(centred) / count
    variance = total(jnp.square(centred)) / count - jnp.square(mean)
    return 1 / jnp.maximum(jnp.sqrt(jnp.maximum(variance, 0)), floor)

  return jax.tree.map(of_images, ravel.widen(inputs))


def perceptual_distance(
  candidate: Inputs,
  origin: Inputs,
  side: int = 3,
  floor: float = FLOOR,
) -> Array:
  """Returns ``sum_i |delta_i| * sensitivity_i(origin)``, [B].

  Args:
    candidate: changed images [B, ..., H, W, C], or a mapping of them.
    origin: the clean images.
    side: as in `sensitivity`.
    floor: as in `sensitivity`.

  Raises:
    ValueError: as `sensitivity`.

  References:
    Luo et al. 2018, arXiv 1801.04693.
  """
  weight = ravel.ravel_examples(sensitivity(origin, side, floor))[0]
  delta = ravel.ravel_examples(candidate)[0] - ravel.ravel_examples(origin)[0]
  return jnp.sum(jnp.abs(delta) * weight, 1)


def noise_tolerance(logits: Array, labels: Labels) -> Array:
  """Returns the gap between the adversarial class and the next, [B].

  ``z_r - max_{k != r} z_k`` with r the strongest class other than the label:
  negative while the prediction is right, and the larger the more noise a
  successful change survives.

  Args:
    logits: [B, C].
    labels: [B].

  Raises:
    ValueError: if labels do not fit the logits.

  References:
    Luo et al. 2018, arXiv 1801.04693 (there on probabilities; give it
    log-probabilities or logits, whose gaps are the same).
  """
  check_labels(logits, labels)
  chosen = jax.nn.one_hot(rival(logits, labels), logits.shape[1], dtype=bool)
  chosen_logit = jnp.max(jnp.where(chosen, logits, -jnp.inf), 1)
  return chosen_logit - jnp.max(jnp.where(chosen, -jnp.inf, logits), 1)


def imperceptible(
  logits_fn: AnyLogitsFn,
  *,
  budget: float | Array,
  steps: int,
  step_size: float,
  pixels: int = 1,
  box: Bounds = UNIT_BOX,
  side: int = 3,
  floor: float = FLOOR,
) -> Attack:
  """Returns the greedy attack on noise tolerance per perceptual distance.

  Each step moves the values of largest ``|gradient| / sensitivity`` by
  `step_size` up the gradient of the noise tolerance, as long as the
  perceptual distance stays within the budget.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    budget: largest perceptual distance; may be traced.
    steps: how many steps.
    step_size: the change of a value in one step, in raw units.
    pixels: how many values one step changes.
    box: smallest and largest values of an input.
    side: as in `sensitivity`.
    floor: as in `sensitivity`.

  Raises:
    ValueError: if a count, the step or the budget is out of range.

  References:
    Bo Luo, Yannan Liu, Lingxiao Wei, Qiang Xu, 2018, "Towards imperceptible
    and robust adversarial example attacks against neural networks", AAAI
    2018, arXiv 1801.04693.

  Differs from the paper by an untargeted goal (the strongest wrong class) and
    by the gap of logits, whose gradient does not vanish as that of
    probabilities does.
  """
  logits_fn = logits_function(logits_fn)
  check_count("steps", steps)
  check_count("pixels", pixels)
  check_positive("step_size", step_size)
  check_range("budget", budget, 0.0, float("inf"))

  def scored(key: Key, inputs: Inputs, labels: Labels) -> Scored:
    logits = logits_fn(key, inputs)
    return Scored(noise_tolerance(logits, labels), logits)

  def init(keys: Key, origin: Inputs, labels: Labels) -> tuple[None, Array]:
    del keys, labels
    return None, ravel.ravel_examples(sensitivity(origin, side, floor))[0]

  def propose(keys: Key, point: Point, weight: Array) -> tuple[Inputs, Array]:
    del keys
    moved = _buy_changes(point, weight, budget, step_size, pixels, box)
    return moved, weight

  proposer = Proposer(init, propose)
  return search(white_box(scored), proposer, box_only(box), steps=steps)


def _buy_changes(
  point: Point,
  weight: Array,
  budget: float | Array,
  step_size: float,
  pixels: int,
  box: Bounds,
) -> Inputs:
  """Moves the values of most gain per sensitivity that the budget allows."""
  here, restore = ravel.ravel_examples(point.inputs)
  check_per_example("budget", budget, here.shape[0])
  center = ravel.ravel_examples(point.origin)[0]
  gradient = ravel.ravel_examples(point.probe.gradient)[0]
  lower, upper = walls(box, point.origin)
  moved = jnp.clip(here + step_size * jnp.sign(gradient), lower, upper)
  # A step back towards the clean value is free, and later gives room.
  cost = (jnp.abs(moved - center) - jnp.abs(here - center)) * weight
  # A value at its wall gains nothing, whatever its gradient.
  gain = jnp.where(moved == here, 0, jnp.abs(gradient) / weight)
  best, columns = jax.lax.top_k(gain, min(pixels, gain.shape[1]))
  spent = jnp.sum(jnp.abs(here - center) * weight, 1, keepdims=True)
  price = jnp.maximum(jnp.take_along_axis(cost, columns, 1), 0)
  room = jnp.reshape(jnp.asarray(budget, here.dtype), (-1, 1)) - spent
  # Best first: as many as fit together into what is left of the budget.
  affordable = (jnp.cumsum(price, 1) <= room) & (best > 0)
  rows = jnp.arange(here.shape[0])[:, None]
  changing = jnp.zeros(here.shape, bool).at[rows, columns].set(affordable)
  return restore(jnp.where(changing, moved, here))
