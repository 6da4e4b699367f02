"""Which examples attacks leave: by norm and radius, and stronger ones."""

import sys
from collections.abc import Mapping
from types import MappingProxyType

import jax
import numpy as np

from experiments.measuring import attack_chains
from experiments.measuring.attack_chains import Cases
from experiments.measuring.named_arrays import ATTACK, STRONGER, Arrays, small
from experiments.measuring.subject import Subject
from snnjax import evaluation

# Stronger attacks meet the few that are left: a microbatch is filled up.
_FEW = 25


def transfer(
  subject: Subject, measured: Mapping[str, np.ndarray] = MappingProxyType({})
) -> Arrays:
  """Measures what the attacks of every norm leave at every radius.

  The chain of a norm goes from the smallest radius to the largest; every attack
  meets the examples that none before it broke. An example has the same keys
  whichever others are attacked with it: what was attacked for the gradients
  already is taken from there, and equals what would be measured here.

  Args:
    subject: the network.
    measured: of `attacked_gradients.gradients` or `summarized`, of the same
      network.

  Returns:
    Of the first examples, [A]: ``label``; ``correct`` when clean; and
    ``attack/NORM/LEVEL/success``, whether an example is right when clean and
    broken at this radius or a smaller one, whose ball lies in its own.

  Raises:
    UnjudgedError: an output could not be judged: it is no defence.
    ValueError: `measured` is of a network that is right on other examples.
  """
  few = subject.first(subject.protocol.transfer_examples)
  labels = np.asarray(few.labels)
  count = len(labels)
  correct = _evaluate(subject, {}, np.arange(count)).clean.correct
  known = {name: array[:count] for name, array in measured.items()}
  if not np.array_equal(known.get("correct", correct), correct):
    raise ValueError(
      f"the gradients of {subject.member.words} must be of the same weights; "
      f"got {int((known['correct'] != correct).sum())} of {count} examples "
      "that are right in one of both only. Remove them, and run again"
    )
  arrays: Arrays = {"label": labels, "correct": correct}
  for norm in subject.protocol.transfer_norms:
    fallen = np.zeros(count, bool)
    for level in range(len(subject.radii[norm])):
      path = ATTACK.format(norm=norm, level=level, field="success")
      if path in known:
        fallen |= known[path] & correct
      else:
        rows = np.flatnonzero(correct & ~fallen)
        chain = attack_chains.chain(subject, norm, level)
        for outcome in _evaluate(subject, chain, rows).attacks.values():
          fallen[rows] |= outcome.success
      arrays[path] = fallen.copy()
  return small(arrays)


def stronger(subject: Subject, measured: Mapping[str, np.ndarray]) -> Arrays:
  """Attacks harder what the chains of every norm left at one radius.

  Args:
    subject: the network.
    measured: of `transfer`, of the same network.

  Returns:
    Of the first examples, [A]: ``label``; ``correct`` when clean;
    ``attack/NORM/LEVEL/success`` of the chain; and ``stronger/NORM/PLACE``,
    whether the attack at this place broke the example. It met those that
    nothing before it broke.

  Raises:
    UnjudgedError: an output could not be judged: it is no defence.
  """
  protocol = subject.protocol
  count = min(protocol.stronger_examples, len(measured["correct"]))
  correct = measured["correct"][:count]
  arrays: Arrays = {"label": measured["label"][:count], "correct": correct}
  for norm in protocol.stronger:
    path = ATTACK.format(norm=norm, level=protocol.level, field="success")
    arrays[path] = fallen = measured[path][:count]
    rows = np.flatnonzero(correct & ~fallen)
    harder = _evaluate(
      subject, attack_chains.stronger(subject, norm), rows, _FEW
    )
    for place, outcome in enumerate(harder.attacks.values()):
      broken = np.zeros(count, bool)
      broken[rows] = outcome.success
      arrays[STRONGER.format(norm=norm, place=place)] = broken
  return small(arrays)


def _evaluate(
  subject: Subject, wanted: Cases, rows: np.ndarray, most: int = sys.maxsize
) -> evaluation.Evaluation:
  """Attacks some examples, each attack the survivors of those before it.

  Args:
    subject: the network.
    wanted: attacks.
    rows: positions of the examples.
    most: computed at once, where the protocol's microbatch is larger.
  """
  builders = attack_chains.builders(subject, wanted)
  whole = evaluation.evaluate(
    builders,
    subject.bound(),
    # On the host: every other number of rows would be compiled for itself.
    jax.tree.map(lambda leaf: np.asarray(leaf)[rows], subject.batch.inputs),
    np.asarray(subject.batch.labels)[rows],
    key=subject.key("attacks"),
    indices=rows,
    microbatch=min(most, subject.protocol.microbatch),
    mesh=subject.mesh,
    progress=attack_chains.tell_stages(subject, list(builders)),
  )
  evaluation.refuse_outside(whole)
  return whole
