"""The network and attack that are examined, and runs of it with a judge.

A judge is the network itself, asked once more at the attack's output: nothing
that an attack says about its success is believed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import losses, prng
from snnjax.arguments import as_labels, with_key
from snnjax.attacks.threats.ravel import Amounts
from snnjax.attacks.threats.threat import UNIT_BOX, Bounds, Threat, check_inputs
from snnjax.checks import compiled_attacks
from snnjax.evaluation.steps import logits_of, partial
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  AttackResult,
  Inputs,
  Key,
  Labels,
)
from snnjax.losses import LogitsLoss
from snnjax.validation import check_count

# Of the losses that are compared; one program climbs any of them.
LOSSES: Mapping[str, LogitsLoss] = {
  "cross_entropy": losses.cross_entropy,
  "margin": losses.margin_loss,
  "dlr": losses.dlr,
}


class Subject(NamedTuple):
  """A network, and the attack whose result is to be trusted.

  Attributes:
    classify: ``(key, inputs) -> logits [B, C]``, or of inputs alone, the judge.
      A `jax.tree_util.Partial` of a function and a network's variables shares
      its compilations with every network of that function.
    rules: the same network under each backward rule, by name; the first is
      the one reported.
    threat: ``radius -> Threat``, one function for all networks that are to
      share compilations.
    radius: the reported radius, or one per modality.
    loss: ``(logits, labels) -> [B]``, the reported one.
    steps: of the reported attack.
    step_share: the step size, as a share of the radius.
    box: smallest and largest values of an input.
    batch: how many examples are computed at once; 0 for all.
  """

  classify: AnyLogitsFn
  rules: Mapping[str, AnyLogitsFn]
  threat: Callable[[Any], Threat]
  radius: Amounts
  loss: LogitsLoss = losses.cross_entropy
  steps: int = 10
  step_share: float = 0.25
  box: Bounds = UNIT_BOX
  batch: int = 0

  @property
  def reported(self) -> AnyLogitsFn:
    """The network under the rule that is reported."""
    return next(iter(self.rules.values()))


class Examples(NamedTuple):
  """The examples that are attacked.

  Attributes:
    key: a typed key, scalar or [B].
    inputs: [B, ...] or a mapping of such arrays.
    labels: [B].
  """

  key: Key
  inputs: Inputs
  labels: Labels

  @property
  def keys(self) -> Key:
    """One key per example, [B]."""
    return prng.example_keys(self.key, prng.batch_size(self.inputs))

  @property
  def classes(self) -> Labels:
    """The labels as an array, [B]."""
    return as_labels(self.labels, prng.batch_size(self.inputs))

  def take(self, rows: Any) -> "Examples":
    """The examples of some rows, with the keys they have here."""
    at = np.asarray(rows)
    inputs = jax.tree.map(lambda leaf: leaf[at], self.inputs)
    return Examples(self.keys[at], inputs, self.classes[at])


class Judgement(NamedTuple):
  """What an attack did to each example, NumPy arrays [B].

  Attributes:
    robust: classified correctly both at the clean input and at the attack's
      output. False where that left the threat: such an output shows nothing,
      and must not count as a defence.
    claimed: what the attack said of its success.
    outside: whether its output left ball or box.
    non_finite: whether the logits there are not finite.
    loss: the attack's own loss.
    inputs: the attack's output.
  """

  robust: np.ndarray
  claimed: np.ndarray
  outside: np.ndarray
  non_finite: np.ndarray
  loss: np.ndarray
  inputs: Inputs


def run_attack(
  subject: Subject,
  examples: Examples,
  *,
  logits_fn: AnyLogitsFn | None = None,
  loss: LogitsLoss | None = None,
  first: Inputs | None = None,
  draws: int = 1,
  pairs: int = 0,
) -> Judgement:
  """Runs the subject's attack, or a variant of it, and judges its outputs.

  Args:
    subject: the network and the attack.
    examples: N of them.
    logits_fn: what is differentiated, or asked; the reported rule's network
      by default.
    loss: what is ascended; the reported one by default.
    first: where to start, within the threat; the clean inputs by default.
    draws: as in `compiled_attacks.Program`.
    pairs: as in `compiled_attacks.Program`.
  """
  check_inputs(subject.threat(subject.radius), examples.inputs)
  # Every loss is compiled into the program, whichever is asked for, so that
  # the checks that compare losses share one compilation.
  wanted = loss or subject.loss
  compared = tuple(dict.fromkeys((*LOSSES.values(), subject.loss, wanted)))
  program = compiled_attacks.Program(
    subject.threat, compared, subject.steps, draws, pairs
  )
  # Numbers as arrays: another loss, radius or step size is no other program.
  choice = compiled_attacks.Choice(
    jnp.asarray(compared.index(wanted)),
    jax.tree.map(lambda r: jnp.asarray(r, float), subject.radius),
    jnp.asarray(subject.step_share, float),
  )
  source = partial(with_key(logits_fn or subject.reported))

  def run(keys: Key, start: Inputs, inputs: Inputs, labels: Labels) -> Any:
    return compiled_attacks.climb(
      program,
      source,
      choice,
      prng.fold_in_name(keys, "attack"),
      start,
      inputs,
      labels,
    )

  start = examples.inputs if first is None else first
  outcome = run_in_batches(
    subject, run, examples.keys, start, examples.inputs, examples.classes
  )
  return _judge(subject, examples, *outcome)


def run_search(
  subject: Subject,
  examples: Examples,
  search: compiled_attacks.SearchAttack,
  queries: int,
) -> Judgement:
  """Runs an attack by queries alone, and judges its outputs.

  Args:
    subject: the network and the threat, whose radii may differ by modality.
    examples: N of them.
    search: which attack, such as `compiled_attacks.by_noise`.
    queries: how many it may ask, at least.
  """
  check_count("queries", queries)
  check_inputs(subject.threat(subject.radius), examples.inputs)
  source = partial(with_key(subject.classify))
  radius = jax.tree.map(lambda r: jnp.asarray(r, float), subject.radius)

  def run(keys: Key, inputs: Inputs, labels: Labels) -> Any:
    return compiled_attacks.search(
      (search, subject.threat, queries),
      source,
      radius,
      prng.fold_in_name(keys, "attack"),
      inputs,
      labels,
    )

  outcome = run_in_batches(
    subject, run, examples.keys, examples.inputs, examples.classes
  )
  return _judge(subject, examples, *outcome)


def random_starts(subject: Subject, examples: Examples) -> Inputs:
  """Returns a random point of the threat around each example."""
  radius = jax.tree.map(lambda r: jnp.asarray(r, float), subject.radius)

  def run(keys: Key, inputs: Inputs) -> Inputs:
    return compiled_attacks.start(
      subject.threat, radius, prng.fold_in_name(keys, "start"), inputs
    )

  return run_in_batches(subject, run, examples.keys, examples.inputs)


def logits_at(
  subject: Subject, examples: Examples, inputs: Inputs, draw: str
) -> np.ndarray:
  """Returns the judge's logits [N, C] at other inputs of the examples.

  Args:
    subject: the network.
    examples: N of them; a random network draws from their keys.
    inputs: [N, ...].
    draw: a name for this pass: another name draws other random numbers.
  """
  judge = partial(with_key(subject.classify))

  def run(keys: Key, points: Inputs) -> Array:
    return logits_of(judge, prng.fold_in_name(keys, draw), points)

  return run_in_batches(subject, run, examples.keys, inputs)


def run_in_batches(subject: Subject, run: Callable, *arrays: Any) -> Any:
  """Returns ``run(*arrays)`` on the host, computed in the subject's batches.

  The last batch is filled with repeated examples, whose results are dropped.

  Args:
    subject: says how many examples are computed at once.
    run: of trees of arrays [B, ...], to such a tree.
    *arrays: trees of arrays [N, ...]; the first is an array.
  """
  count = len(arrays[0])
  size = subject.batch or count
  parts = []
  for first in range(0, count, size):
    rows = np.arange(first, first + size)
    batch = jax.tree.map(lambda leaf, at=rows % count: leaf[at], tuple(arrays))
    real = min(size, count - first)
    parts.append(
      jax.tree.map(lambda leaf, real=real: np.asarray(leaf)[:real], run(*batch))
    )
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def most_frequent(labels: np.ndarray) -> np.ndarray:
  """Returns which examples have the most frequent label, [N]."""
  return labels == np.argmax(np.bincount(labels))


def _judge(
  subject: Subject,
  examples: Examples,
  result: AttackResult,
  inside: np.ndarray,
) -> Judgement:
  labels = np.asarray(examples.labels)
  clean = logits_at(subject, examples, examples.inputs, "clean")
  logits = logits_at(subject, examples, result.inputs, "judge")
  # `predicts` already counts such logits as wrong; here they are counted for
  # their own alarm.
  finite = np.all(np.isfinite(logits), 1)
  right, after = (
    np.asarray(losses.predicts(jnp.asarray(z), jnp.asarray(labels)))
    for z in (clean, logits)
  )
  return Judgement(
    robust=right & after & inside,
    claimed=np.asarray(result.success),
    outside=~inside,
    non_finite=~finite,
    loss=np.asarray(result.loss),
    inputs=result.inputs,
  )
