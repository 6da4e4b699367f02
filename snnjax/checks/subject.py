"""What is to be trusted, and one attack on it with an independent judge."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import attacks, losses, random
from snnjax.attacks.threat import UNIT_BOX, Bounds, Threat
from snnjax.losses import LogitsLoss
from snnjax.types import (
  Array,
  Attack,
  Inputs,
  Key,
  Labels,
  LogitsFn,
  ScoredLossFn,
)

_TOLERANCE = 1e-6


class Subject(NamedTuple):
  """A network, and the attack whose result is to be trusted.

  Attributes:
    classify: ``(key, inputs) -> logits [B, C]``, the judge.
    rules: the same network under each backward rule, by name; the first is
      the one reported.
    threat: ``radius -> Threat``.
    radius: the reported radius.
    loss: ``(logits, labels) -> [B]``, the reported one.
    steps: of the reported attack.
    step_share: the step size, as a share of the radius.
    box: smallest and largest values of an input.
  """

  classify: LogitsFn
  rules: Mapping[str, LogitsFn]
  threat: Callable[[float | Array], Threat]
  radius: float
  loss: LogitsLoss = losses.cross_entropy
  steps: int = 10
  step_share: float = 0.25
  box: Bounds = UNIT_BOX

  def scored(self) -> ScoredLossFn:
    """Returns the reported loss under the reported rule."""
    return losses.scored(next(iter(self.rules.values())), self.loss)


class Examples(NamedTuple):
  """What is attacked.

  Attributes:
    key: a scalar typed key.
    inputs: [B, ...] or a mapping of such arrays.
    labels: [B].
  """

  key: Key
  inputs: Inputs
  labels: Labels


class Judged(NamedTuple):
  """What an attack did, per example, [B].

  Attributes:
    robust: right on the clean input and on the attack's.
    claimed: what the attack said of its success.
    outside: whether its output left ball or box.
    non_finite: whether the logits there are not finite.
    loss: the attack's own loss.
  """

  robust: Array
  claimed: Array
  outside: Array
  non_finite: Array
  loss: Array


Build = Callable[[Array], Attack]


def iterated(subject: Subject, source: ScoredLossFn | attacks.Oracle) -> Build:
  """Returns the subject's attack, from the clean input, on a loss."""

  def build(radius: Array) -> Attack:
    return attacks.bim(
      source,
      subject.threat(radius),
      step_size=subject.step_share * radius,
      steps=subject.steps,
    )

  return build


def gradient_free(subject: Subject, draws: int) -> dict[str, Build]:
  """Returns the attacks without a gradient, by name: noise and SPSA."""
  judged = losses.scored(subject.classify, losses.margin_loss)
  estimate = attacks.spsa(judged, draws=draws, width=0.25 * subject.radius)
  return {
    "random": lambda radius: attacks.random_noise(
      judged, subject.threat(radius), draws=draws * subject.steps
    ),
    "spsa": iterated(subject, estimate),
  }


def keys_of(examples: Examples) -> Key:
  """Returns one key per example."""
  return random.example_keys(examples.key, random.batch_size(examples.inputs))


def mean(flags: Array | np.ndarray) -> float:
  """Returns the share of true flags."""
  return float(np.mean(np.asarray(flags, np.float64)))


def compiled(
  subject: Subject, build: Build
) -> Callable[[Examples, float], Judged]:
  """Returns an attack with its judge, compiled once for all radii.

  Args:
    subject: gives the judge and the threat.
    build: ``radius (traced) -> Attack``.
  """

  @jax.jit
  def run(radius: Array, keys: Key, inputs: Inputs, labels: Labels) -> Judged:
    result = build(radius)(random.fold_in(keys, 0), inputs, labels)
    clean = subject.classify(random.fold_in(keys, 1), inputs)
    logits = subject.classify(random.fold_in(keys, 2), result.inputs)
    inside = subject.threat(radius).contains(result.inputs, inputs, _TOLERANCE)
    finite = jnp.all(jnp.isfinite(logits), 1)
    right = (jnp.argmax(logits, 1) == labels) & finite
    # An output that is not allowed breaks nothing.
    robust = (jnp.argmax(clean, 1) == labels) & (right | ~inside)
    return Judged(robust, result.success, ~inside, ~finite, result.loss)

  def judged(examples: Examples, radius: float) -> Judged:
    return run(
      jnp.asarray(radius, float),
      keys_of(examples),
      examples.inputs,
      examples.labels,
    )

  return judged


def judge(subject: Subject, build: Build, examples: Examples) -> Judged:
  """Returns what an attack does at the subject's radius."""
  return compiled(subject, build)(examples, subject.radius)


def accuracy_of(subject: Subject, build: Build, examples: Examples) -> float:
  """Returns the accuracy an attack leaves at the subject's radius."""
  return mean(judge(subject, build, examples).robust)
