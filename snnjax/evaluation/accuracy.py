"""One call to a number: the accuracy under one attack."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.arguments import check_attack, with_key
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.evaluation.microbatches import evaluate
from snnjax.evaluation.records import Trial
from snnjax.evaluation.summary import summarize
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
)
from snnjax.intervals import Interval


class RobustAccuracy(NamedTuple):
  """How much of a data set a network gets right, before and under an attack.

  As a number, ``float(accuracy)``, it is the robust one; in print it is one
  line.

  Attributes:
    robust: right on the clean input and on the attack's, of all examples,
      with its Wilson interval.
    clean: right on the clean input, of all examples.
    examples: how many.
  """

  robust: Interval
  clean: Interval
  examples: int

  def __float__(self) -> float:
    return self.robust.estimate

  def __str__(self) -> str:
    robust, clean = _percent(self.robust), _percent(self.clean)
    return f"robust {robust}, clean {clean}, {self.examples} examples"


def robust_accuracy(
  logits_fn: AnyLogitsFn,
  attack: Attack,
  inputs: Inputs,
  labels: Labels,
  *,
  threat: Threat | None = None,
  key: Key | None = None,
  microbatch: int = 64,
  confidence: float = 0.95,
) -> RobustAccuracy:
  """Returns the accuracy of a network under one attack, with its interval.

  The attack meets what the network gets right, in microbatches of one shape;
  what it found is judged by the network itself. `evaluate` is this for many
  attacks, with what each did to every example; `autoattack` for the standard
  ones.

  Args:
    logits_fn: the network, ``(key, inputs) -> [B, C]``, or of inputs alone.
    attack: on the same network as a rule, such as ``attacks.pgd(logits_fn,
      attacks.linf(8 / 255), steps=20)``; several are one by
      `attacks.worst_of`, one without a budget has one by `attacks.within`.
    inputs: [N, ...] or a mapping of such arrays.
    labels: [N] integer classes.
    threat: judges what the attack found a second time, for an attack of one's
      own; None believes what the attack says of itself.
    key: a scalar key; None is ``jax.random.key(0)``.
    microbatch: how many examples are computed at once.
    confidence: coverage of the intervals.

  Raises:
    ValueError: if an argument is something else, or inputs lie outside the
      attack's box.
    UnjudgedError: a ValueError too, if an output of the attack is not finite,
      or lies outside its ball or box: it could not be judged, and is no
      defence.
  """
  judge = with_key(logits_fn)
  check_attack(attack)
  if threat is not None:
    check_threat(threat)
  key = jax.random.key(0) if key is None else key
  # Traced, not run: here the attack can see whether inputs are in its box.
  jax.eval_shape(lambda: attack(jax.random.clone(key), inputs, labels))
  # The same attack again, on other examples, is not compiled again.
  case = jax.tree_util.Partial(_on_its_word, jax.tree_util.Partial(attack))
  if threat is not None:
    case = jax.tree_util.Partial(lambda: Trial(_mark_unjudged(attack), threat))
  evaluation = evaluate(
    {"attack": case},
    judge,
    inputs,
    labels,
    key=key,
    microbatch=microbatch,
  )
  summary = summarize(evaluation, confidence)
  return RobustAccuracy(summary.robust, summary.clean, summary.examples)


class _Anywhere:
  """Bounds that every finite output keeps.

  For an attack without a known threat: its own claim is believed.
  """

  def contains(self, candidate: Inputs, origin: Inputs) -> Array:
    del origin
    return jnp.all(_by_example(candidate, jnp.isfinite), 1)

  def distance(self, candidate: Inputs, origin: Inputs) -> Array:
    change = jax.tree.map(jnp.subtract, candidate, origin)
    return jnp.max(_by_example(change, jnp.abs), 1)


def _on_its_word(attack: Attack) -> Trial:
  return Trial(_mark_unjudged(attack), _Anywhere())


def _mark_unjudged(attack: Attack) -> Attack:
  """Returns an attack whose outputs are NaN where it could not judge them.

  An evaluation refuses these, where an attack only claims no success.
  """

  def run(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    result = attack(key, inputs, labels)
    unjudged = jnp.isnan(result.loss) & ~result.success

    def mark(leaf: Array) -> Array:
      rows = jnp.reshape(unjudged, (-1, *[1] * (leaf.ndim - 1)))
      return jnp.where(rows, jnp.nan, leaf)

    return result._replace(inputs=jax.tree.map(mark, result.inputs))

  return run


def _by_example(tree: Inputs, function: Callable[[Array], Array]) -> Array:
  """Returns a function of all values of each example, [B, D]."""
  leaves = [function(leaf) for leaf in jax.tree.leaves(tree)]
  return jnp.concatenate(
    [leaf.reshape(leaf.shape[0], -1) for leaf in leaves], 1
  )


def _percent(interval: Interval) -> str:
  low, high = 100 * interval.low, 100 * interval.high
  return f"{100 * interval.estimate:.1f} % [{low:.1f}, {high:.1f}]"
