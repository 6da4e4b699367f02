"""Which examples every stage of an evaluation must have, and which it lacks.

A stage is the clean forward pass or an attack. An attack meets every example,
or those that earlier stages left correct. An example without a row is unknown:
it must never count as robust.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from snnjax.evaluation.records import CLEAN, Chunk, Clean, positions

# By attack, the earlier attacks whose victims it does not meet; True: all of
# them.
Survivors = bool | Mapping[str, Collection[str]]


class Lack(NamedTuple):
  """The examples that a stage lacks.

  Attributes:
    stage: `CLEAN` or the attack's name.
    indices: of the examples that have no row.
    required: how many examples must have one.
  """

  stage: str
  indices: np.ndarray
  required: int

  def __str__(self) -> str:
    """In words: "3 of 10 examples of pgd"."""
    there = self.required - len(self.indices)
    return f"{there} of {self.required} examples of {self.stage}"


def earlier_stages(
  names: tuple[str, ...], survivors: Survivors
) -> dict[str, tuple[str, ...]]:
  """Returns, by attack, the earlier stages whose victims it does not meet.

  Args:
    names: the attacks, in their order.
    survivors: as in `stream`.

  Raises:
    ValueError: an attack is unknown, or is listed with one that comes later.
  """
  if isinstance(survivors, bool):
    all_before = {name: names[:place] for place, name in enumerate(names)}
    listed_by_attack: Mapping[str, Collection[str]] = (
      all_before if survivors else {}
    )
  else:
    listed_by_attack = survivors
  for name, listed in listed_by_attack.items():
    if name not in names or set(listed) - set(names[: names.index(name)]):
      raise ValueError(
        f"survivors must name attacks among {list(names)}, and for each some "
        f"that come before it; got {name!r}: {list(listed)}"
      )
  return {
    name: (CLEAN, *listed_by_attack[name]) if name in listed_by_attack else ()
    for name in names
  }


def victims(chunk: Chunk) -> np.ndarray:
  """Whether each of a chunk's examples is wrong after its stage, [n]."""
  rows = chunk.rows
  return ~rows.correct if isinstance(rows, Clean) else rows.success


def find_lacks(
  indices: np.ndarray,
  stages: Mapping[str, Collection[str]],
  chunks: Iterable[Chunk],
) -> list[Lack]:
  """Returns the stages that lack examples, in the order of attack.

  Args:
    indices: [N] unique ids of all examples.
    stages: from `earlier_stages`; the stage `CLEAN` meets all examples.
    chunks: the results so far, in any order.

  Raises:
    ValueError: a chunk is of an unknown stage or example.
  """
  received = tuple(chunks)
  everything = {CLEAN: (), **stages}
  done = {stage: np.zeros(len(indices), bool) for stage in everything}
  fallen = {stage: np.zeros_like(rows) for stage, rows in done.items()}
  for chunk in received:
    if chunk.stage not in done:
      raise ValueError(
        f"finished chunks must come from {list(done)}; got {chunk.stage!r}"
      )
    rows = positions(indices, chunk.indices)
    done[chunk.stage][rows] = True
    fallen[chunk.stage][rows] = victims(chunk)
  lacks = []
  # Whom a stage must meet follows from its predecessors, which are all in
  # `fallen`: the order of chunks does not matter.
  for stage, before in everything.items():
    required = np.ones(len(indices), bool)
    for earlier in before:
      required &= ~fallen[earlier]
    absent = required & ~done[stage]
    if absent.any():
      lacks.append(Lack(stage, indices[absent], int(required.sum())))
  return lacks
