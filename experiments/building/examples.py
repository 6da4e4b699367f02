"""Which examples a run uses: chosen, told, kept beside its results."""

import pathlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.command import terminal
from experiments.command.progress import say
from snnjax.data import counts
from snnjax.storage import files, identity

FITTED = ("train", "validation")
PARTS = (*FITTED, "test")
FILE = "data.json"
ARRAYS = "examples.npz"


class Part(NamedTuple):
  """Some examples of one split of a data set.

  Attributes:
    split: "train" or "test".
    size: number of examples of the whole split.
    indices: [n] their positions in it, in the order they are used.
    counts: how many there are of each class.
  """

  split: str
  size: int
  indices: np.ndarray
  counts: tuple[int, ...]


class Used(NamedTuple):
  """All parts of one data set that a run uses.

  Attributes:
    made: how the data set was made, see `registry.provenance`.
    seed: which examples the parts are: ``data.seed``.
    classes: the classes' names.
    parts: by name: "train", "validation", "test".
  """

  made: Mapping[str, Any]
  seed: int
  classes: tuple[str, ...]
  parts: Mapping[str, Part]

  def first(self, name: str, labels: np.ndarray) -> "Used":
    """Returns the same with the first n of a part, given their labels [n]."""
    part = self.parts[name]
    short = part._replace(
      indices=part.indices[: len(labels)],
      counts=counts.per_class(np.asarray(labels), len(self.classes)),
    )
    return self._replace(parts={**self.parts, name: short})


def part(
  split: str, labels: np.ndarray, indices: np.ndarray, classes: int
) -> Part:
  """Returns some examples of a split as a part.

  Args:
    split: "train" or "test".
    labels: [N] of the whole split.
    indices: [n] positions in it.
    classes: number of classes.
  """
  return Part(
    split, len(labels), indices, counts.per_class(labels[indices], classes)
  )


def tell(used: Used, names: Collection[str] = PARTS) -> None:
  """Says how many examples some parts have of each class, and what is amiss.

  Args:
    used: the data of a run.
    names: of the parts; those that there are not are passed over.
  """
  for name, there in used.parts.items():
    if name not in names:
      continue
    say(f"{name}: {counts.describe(there.counts, used.classes)}")
    if fault := counts.fault(there.counts, used.classes):
      terminal.err(f"warning: {name}: {fault}\n")


def save(
  folder: pathlib.Path, used: Used, made_from: Mapping[str, str]
) -> None:
  """Writes data.json and the positions of all examples into a folder.

  Args:
    folder: of the run or evaluation.
    used: the data it uses.
    made_from: what it is made from; see `origins`.

  Raises:
    OSError: they cannot be written.
  """
  files.write_arrays(
    folder / ARRAYS,
    {name: part.indices for name, part in used.parts.items()},
    made_from,
  )
  plain = {
    "made_from": made_from,
    "made": used.made,
    "seed": used.seed,
    "classes": used.classes,
    "parts": {
      name: {"split": part.split, "size": part.size, "counts": part.counts}
      for name, part in used.parts.items()
    },
  }
  files.write_sealed(folder / FILE, plain)


def load(folder: pathlib.Path, made_from: Mapping[str, str]) -> Used:
  """Reads what `save` wrote.

  Args:
    folder: of the run or evaluation.
    made_from: what it must have been made from.

  Raises:
    FileNotFoundError: nothing was.
    DamagedError: a file is damaged.
    ForeignError: it was made from something else.
  """
  path = folder / FILE
  remedy = "remove it and run the command that made it again"
  plain = files.read_sealed(path, remedy)
  identity.check(path, plain.get("made_from"), made_from, remedy)
  arrays = files.read_arrays(folder / ARRAYS, made_from, remedy)
  try:
    return Used(
      plain["made"],
      plain["seed"],
      tuple(plain["classes"]),
      {
        name: Part(
          part["split"], part["size"], arrays[name], tuple(part["counts"])
        )
        for name, part in plain["parts"].items()
      },
    )
  except (TypeError, KeyError, AttributeError) as error:
    raise identity.damaged(path, repr(error), remedy) from None
