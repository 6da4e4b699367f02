"""Attacks that go for one wrong class after another."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from snnjax import prng
from snnjax.arguments import as_labels
from snnjax.attacks.candidates import (
  Keep,
  keep_better,
  mark_unknown,
  no_candidate,
  success_then_loss,
)
from snnjax.attacks.threats.threat import check_floating
from snnjax.interfaces import (
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
  LogitsFn,
)
from snnjax.validation import check_count

# (key, inputs, labels, rivals) -> the result of the attack on these rivals
Towards = Callable[[Key, Inputs, Labels, Labels], AttackResult]


def strongest_rivals(logits: Array, labels: Labels, count: int) -> Labels:
  """Returns the `count` strongest classes other than the label, [B, count].

  Args:
    logits: [B, C].
    labels: [B].
    count: how many, at most C - 1.
  """
  is_label = jax.nn.one_hot(labels, logits.shape[1], dtype=bool)
  return jax.lax.top_k(jnp.where(is_label, -jnp.inf, logits), count)[1]


def over_targets(
  logits_fn: LogitsFn,
  towards: Towards,
  targets: int,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns the best of one attack per rival class, strongest rival first.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, ranks the rivals at the clean
      input.
    towards: ``(key, inputs, labels, rivals [B]) -> AttackResult``.
    targets: how many rivals; C - 1 if there are fewer.
    keep: the rule by which an attack's result replaces the best of those
      before.

  Raises:
    ValueError: if `targets` is not a positive whole number.
  """
  check_count("targets", targets)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    check_floating(inputs)
    size = prng.batch_size(inputs)
    keys, labels = prng.example_keys(key, size), as_labels(labels, size)
    logits = logits_fn(prng.fold_in(keys, 0), inputs)
    count = min(targets, logits.shape[1] - 1)
    ranked = strongest_rivals(logits, labels, count)

    # In a scan, so that the network is compiled once for all rivals.
    def attack_rival(
      best: AttackResult, turn: tuple[Array, Labels]
    ) -> tuple[AttackResult, None]:
      index, rivals = turn
      new = towards(prng.fold_in(keys, index), inputs, labels, rivals)
      return keep_better(keep, best, new), None

    turns = (jnp.arange(1, count + 1), ranked.T)
    best_of_all = jax.lax.scan(
      attack_rival, no_candidate(inputs, labels), turns
    )[0]
    # The ranking is a query, too.
    return mark_unknown(
      best_of_all._replace(iterations=best_of_all.iterations + 1)
    )

  return attack
