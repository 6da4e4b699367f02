"""The worst point of every example, over the attacks of a norm's chain."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np

from experiments.measuring import attack_chains
from experiments.measuring.attack_chains import Cases
from experiments.measuring.named_arrays import ATTACK, Arrays
from experiments.measuring.subject import Subject
from snnjax import evaluation
from snnjax.evaluation.planning import Case
from snnjax.evaluation.records import Chunk, Outcome
from snnjax.interfaces import Inputs


class Attacked(NamedTuple):
  """What a set of attacks did.

  Attributes:
    arrays: by path.
    points: by norm, the worst inputs at its last radius.
  """

  arrays: Arrays
  points: Mapping[str, Inputs]


def attack(
  subject: Subject,
  levels: Mapping[str, Sequence[int]],
  beside: Cases = MappingProxyType({}),
) -> Attacked:
  """Attacks by the chain of every norm, at some of its radii.

  The first attack of a chain meets all examples, the others the survivors of
  those before them, also of those at smaller radii, whose balls lie in theirs.

  Args:
    subject: the network.
    levels: by norm, rising positions of radii.
    beside: more attacks; they meet all examples.

  Raises:
    UnjudgedError: an output could not be judged: it is no defence.
  """
  batch = subject.batch
  # By norm, by path: the position of the radius, and that in the chain.
  places: dict[str, dict[str, tuple[int, int]]] = {norm: {} for norm in levels}
  wanted: dict[str, tuple[Case, str]] = {}
  survivors: dict[str, tuple[str, ...]] = {}
  for norm, positions in levels.items():
    for level in positions:
      chain = attack_chains.chain(subject, norm, level)
      for rank, path in enumerate(chain):
        if places[norm]:
          survivors[path] = tuple(places[norm])
        places[norm][path] = level, rank
      wanted |= chain
  wanted |= beside
  builders = attack_chains.builders(subject, wanted)
  chunks = list(
    evaluation.stream(
      builders,
      subject.bound(),
      batch.inputs,
      batch.labels,
      key=subject.key("attacks"),
      microbatch=subject.protocol.microbatch,
      mesh=subject.mesh,
      survivors=survivors,
      progress=attack_chains.tell_stages(subject, list(builders)),
    )
  )
  labels = np.asarray(batch.labels)
  ids = np.arange(len(labels))
  whole = evaluation.collect(ids, labels, list(builders), chunks, survivors)
  evaluation.refuse_outside(whole)
  arrays: Arrays = {"label": labels, "correct": whole.clean.correct}
  for path in beside:
    arrays[path] = whole.attacks[path].success
  points = {}
  for norm, own in places.items():
    worst = _Worst(batch.inputs, labels)
    for level in levels[norm]:
      for chunk in chunks:
        if own.get(chunk.stage, (-1, -1))[0] == level:
          worst.add(chunk, own[chunk.stage][1])
      for field, values in worst.fields().items():
        arrays[ATTACK.format(norm=norm, level=level, field=field)] = values
    points[norm] = worst.inputs
  return Attacked(arrays, points)


class _Worst:
  """The worst point of every example so far.

  A success beats a failure; among equals the larger loss is worse.
  """

  def __init__(self, inputs: Inputs, labels: np.ndarray) -> None:
    """Starts at the clean inputs, which nothing has broken."""
    count = len(labels)
    self.inputs = jax.tree.map(np.array, inputs)
    self._fallen = np.zeros(count, bool)
    self._rank = np.full(count, -1)
    self._margin = np.full(count, np.nan)
    self._loss = np.full(count, -np.inf)
    self._labels = labels

  def add(self, chunk: Chunk, rank: int) -> None:
    """Looks at what one attack did to some examples."""
    rows, outcome = chunk.indices, chunk.rows
    assert isinstance(outcome, Outcome)
    assert chunk.logits is not None
    success = outcome.success
    louder = outcome.loss > self._loss[rows]
    fallen = self._fallen[rows]
    better = (success & ~fallen) | ((success == fallen) & louder)
    self._rank[rows[success & ~fallen]] = rank
    self._fallen[rows] |= success
    taken = rows[better]
    self._loss[taken] = outcome.loss[better]
    logits, labels = chunk.logits[better], self._labels[taken]
    own = np.take_along_axis(logits, labels[:, None], 1)[:, 0]
    others = logits.copy()
    np.put_along_axis(others, labels[:, None], -np.inf, 1)
    self._margin[taken] = own - others.max(1, initial=-np.inf)
    for leaf, moved in zip(
      jax.tree.leaves(self.inputs), jax.tree.leaves(chunk.inputs), strict=True
    ):
      leaf[taken] = moved[better]

  def fields(self) -> Arrays:
    """Returns what is known of every example by now, each [N]."""
    return {
      "success": self._fallen.copy(),
      "rank": self._rank.copy(),
      "margin": self._margin.copy(),
    }
