"""Which examples an evaluation must have, stage by stage, and which it lacks.

An attack meets every example, or those that the stages before it left
correct. What is missing is not robust: it has not been asked.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from snnjax.evaluation.records import CLEAN, Chunk, Clean, positions

# By attack, those before it whose victims it is spared; True means all.
Survivors = bool | Mapping[str, Collection[str]]


class Lack(NamedTuple):
  """What a stage lacks.

  Attributes:
    stage: `CLEAN` or the attack's name.
    indices: of the examples that have no row.
    required: how many examples must have one.
  """

  stage: str
  indices: np.ndarray
  required: int

  def __str__(self) -> str:
    """How many there are of how many, and of what."""
    there = self.required - len(self.indices)
    return f"{there} of {self.required} examples of {self.stage}"


def spared(
  names: tuple[str, ...], survivors: Survivors
) -> dict[str, tuple[str, ...]]:
  """Returns, by attack, the stages whose victims it does not meet.

  Args:
    names: the attacks, in their order.
    survivors: as in `stream`.

  Raises:
    ValueError: an attack is unknown, or spared victims of a later one.
  """
  if isinstance(survivors, bool):
    every = {name: names[:place] for place, name in enumerate(names)}
    wanted: Mapping[str, Collection[str]] = every if survivors else {}
  else:
    wanted = survivors
  for name, listed in wanted.items():
    if name not in names or set(listed) - set(names[: names.index(name)]):
      raise ValueError(
        f"survivors must name attacks among {list(names)}, and for each some "
        f"that come before it; got {name!r}: {list(listed)}"
      )
  return {
    name: (CLEAN, *wanted[name]) if name in wanted else () for name in names
  }


def fell(chunk: Chunk) -> np.ndarray:
  """Whether each of a chunk's examples is wrong after its stage, [n]."""
  rows = chunk.rows
  return ~rows.correct if isinstance(rows, Clean) else rows.success


def lacking(
  indices: np.ndarray,
  stages: Mapping[str, Collection[str]],
  chunks: Iterable[Chunk],
) -> list[Lack]:
  """Returns the stages that lack examples, in the order of attack.

  Args:
    indices: [N] unique ids of all examples.
    stages: from `spared`: by attack, the stages whose victims it does not
      meet; `CLEAN` meets all.
    chunks: what there is.

  Raises:
    ValueError: a chunk is of an unknown stage or example.
  """
  kept = tuple(chunks)
  everything = {CLEAN: (), **stages}
  done = {stage: np.zeros(len(indices), bool) for stage in everything}
  fallen = {stage: np.zeros_like(rows) for stage, rows in done.items()}
  for chunk in kept:
    if chunk.stage not in done:
      raise ValueError(
        f"finished chunks must come from {list(done)}; got {chunk.stage!r}"
      )
    rows = positions(indices, chunk.indices)
    done[chunk.stage][rows] = True
    fallen[chunk.stage][rows] = fell(chunk)
  found = []
  for stage, before in everything.items():
    required = np.ones(len(indices), bool)
    for earlier in before:
      required &= ~fallen[earlier]
    absent = required & ~done[stage]
    if absent.any():
      found.append(Lack(stage, indices[absent], int(required.sum())))
  return found
