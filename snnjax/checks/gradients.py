"""Measures whether gradients agree with real differences of the loss."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import losses, prng
from snnjax.attacks.threats import ravel
from snnjax.checks import compiled_attacks
from snnjax.checks.alarms import Measurements
from snnjax.checks.target import (
  Examples,
  Subject,
  logits_at,
  random_starts,
  run_in_batches,
)
from snnjax.evaluation.steps import partial
from snnjax.interfaces import Array, Inputs, Key, Labels
from snnjax.losses import LogitsLoss
from snnjax.validation import check_count


class _Point(NamedTuple):
  """One point per example, and what the gradient says there.

  Attributes:
    inputs: [N, ...].
    reported: [N, D] the reported loss' gradient, which the attack follows.
    margin: [N, D] the margin loss'.
    right: [N] whether it is classified correctly.
    blocked: [N] whether it is, and the reported gradient is zero. A point that
      is wrong already needs no gradient, and is not counted.
  """

  inputs: Inputs
  reported: np.ndarray
  margin: np.ndarray
  right: np.ndarray
  blocked: np.ndarray


def measure_gradient(
  subject: Subject, examples: Examples, *, directions: int = 32
) -> Measurements:
  """Counts zero gradients, and compares the others with real differences.

  A network may hide its gradient at some points only, or for some losses. The
  places looked at are the clean
  input, a random point of the threat and the points along the reported attack;
  the losses are the reported one, whose zeros are counted, and the margin,
  which does not saturate.

  For each example whose loss changes, over random directions u of the radius'
  size: the cosine between the vector of differences ``L(x + u) - L(x - u)`` and
  the vector of predictions ``2 <g, u>``. It is 1 where the gradient is right.
  Unlike a cosine between estimated gradients, it does not shrink with the
  number of inputs.

  Args:
    subject: the network and the reported attack.
    examples: N of them.
    directions: how many u.

  Raises:
    ValueError: if `directions` is not a positive whole number.
  """
  check_count("directions", directions)
  zero: dict[str, np.ndarray] = {}
  cosines: dict[str, np.ndarray] = {}
  for place, point in _places(subject, examples):
    zero[place] = point.blocked
    for loss, values in _cosines(subject, examples, point, directions).items():
      cosines[f"{place}_{loss}"] = values
  return Measurements(zero_gradient=zero, finite_difference_cosines=cosines)


def _places(
  subject: Subject, examples: Examples
) -> Iterator[tuple[str, _Point]]:
  clean = _point(subject, examples, examples.inputs)
  yield "clean", clean
  yield "ball", _point(subject, examples, random_starts(subject, examples))
  yield "attack", _along_attack(subject, examples, clean)


def _point(subject: Subject, examples: Examples, inputs: Inputs) -> _Point:
  source = partial(subject.reported)

  def run(
    keys: Key, inputs: Inputs, labels: Labels
  ) -> tuple[Array, Array, Array]:
    keys = prng.fold_in_name(keys, "slopes")
    return compiled_attacks.slopes(subject.loss, source, keys, inputs, labels)

  slopes = run_in_batches(subject, run, examples.keys, inputs, examples.classes)
  reported, margin, right = slopes
  # Exactly zero: what is merely small still has signs for an attack to follow.
  blocked = right & np.all(reported == 0, 1)
  return _Point(inputs, reported, margin, right, blocked)


def _along_attack(
  subject: Subject, examples: Examples, clean: _Point
) -> _Point:
  """Follows the attack, and returns a random point of its path per example.

  Every point up to the one where the example falls is equally likely; but
  `blocked` says whether the gradient was zero at any of them.
  """
  choice = compiled_attacks.Choice(
    jnp.asarray(0),
    jax.tree.map(lambda r: jnp.asarray(r, float), subject.radius),
    jnp.asarray(subject.step_share, float),
  )

  def step(
    keys: Key, points: Inputs, origin: Inputs, gradient: Array
  ) -> Inputs:
    return compiled_attacks.advance(
      subject.threat, choice, keys, points, origin, gradient
    )

  lots = prng.fold_in_name(examples.keys, "way")
  here, chosen = clean, clean
  standing = np.ones_like(clean.right)
  blocked = np.zeros_like(clean.right)
  for number in range(1, subject.steps + 1):
    points = run_in_batches(
      subject, step, examples.keys, here.inputs, examples.inputs, here.reported
    )
    here = _point(subject, examples, points)
    drawn = jax.vmap(jax.random.uniform)(prng.fold_in(lots, number))
    # Reservoir sampling: the n-th point replaces the choice with probability
    # 1 / n, so that no path needs to be stored.
    take = standing & (np.asarray(drawn) * number < 1)
    chosen = ravel.select_examples(jnp.asarray(take), here, chosen)
    blocked |= standing & here.blocked
    standing &= here.right
  return jax.tree.map(np.asarray, chosen)._replace(blocked=blocked)


def _cosines(
  subject: Subject, examples: Examples, point: _Point, directions: int
) -> dict[str, np.ndarray]:
  """Returns by loss the cosines of all examples whose loss changes."""
  slopes: dict[str, tuple[LogitsLoss, np.ndarray]] = {
    "margin": (losses.margin_loss, point.margin)
  }
  # The margin does not saturate: where only the reported loss is flat the two
  # differ.
  if subject.loss is not losses.margin_loss:
    slopes["reported"] = subject.loss, point.reported
  wanted = tuple(loss for loss, _ in slopes.values())
  gradients = tuple(gradient for _, gradient in slopes.values())
  radius = jax.tree.map(lambda r: jnp.asarray(r, float), subject.radius)
  labels = jnp.asarray(examples.labels)
  drawn = prng.fold_in_name(examples.keys, "direction")

  def nudge(
    keys: Key, inputs: Inputs, gradients: tuple[Array, ...]
  ) -> tuple[Inputs, Inputs, tuple[Array, ...]]:
    return compiled_attacks.nudge(radius, keys, inputs, gradients)

  differences, predicted = [], []
  for number in range(directions):
    above, below, rises = run_in_batches(
      subject, nudge, prng.fold_in(drawn, number), point.inputs, gradients
    )
    # The same draw of a random network on both sides.
    high, low = (
      compiled_attacks.values(
        wanted,
        logits_at(subject, examples, inputs, f"difference {number}"),
        labels,
      )
      for inputs in (above, below)
    )
    differences.append(np.asarray(high) - np.asarray(low))
    predicted.append(np.asarray(rises))
  size = np.linalg.norm(differences, axis=0)
  length = size * np.linalg.norm(predicted, axis=0)
  product = np.sum(np.multiply(differences, predicted), 0)
  # Where the loss changes and the gradient is zero it points nowhere: 0.
  every = product / np.where(length == 0, 1.0, length)
  return {
    name: values[changes]  # NaN is kept, and told
    for name, values, changes in zip(slopes, every, size != 0, strict=True)
  }
