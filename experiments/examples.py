"""Which examples a run uses: chosen, told, kept beside its results."""

import pathlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments import terminal
from experiments.progress import say
from snnjax import files
from snnjax.data import counts

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
      counts=counts.of(np.asarray(labels), len(self.classes)),
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
  return Part(split, len(labels), indices, counts.of(labels[indices], classes))


def tell(used: Used, names: Collection[str] = PARTS) -> None:
  """Says how many examples some parts have of each class, and what is amiss.

  Args:
    used: the data of a run.
    names: of the parts; those that there are not are passed over.
  """
  for name, there in used.parts.items():
    if name not in names:
      continue
    say(f"{name}: {counts.told(there.counts, used.classes)}")
    if fault := counts.fault(there.counts, used.classes):
      terminal.err(f"warning: {name}: {fault}\n")


def save(folder: pathlib.Path, used: Used) -> None:
  """Writes data.json and the positions of all examples into a folder.

  Raises:
    OSError: they cannot be written.
  """
  files.write_arrays(
    folder / ARRAYS, {name: part.indices for name, part in used.parts.items()}
  )
  plain = {
    "made": used.made,
    "seed": used.seed,
    "classes": used.classes,
    "parts": {
      name: {"split": part.split, "size": part.size, "counts": part.counts}
      for name, part in used.parts.items()
    },
  }
  files.write_json(folder / FILE, plain)


def load(folder: pathlib.Path) -> Used:
  """Reads what `save` wrote.

  Raises:
    FileNotFoundError: nothing was.
    ValueError: a file is damaged.
  """
  path = folder / FILE
  plain = files.read_json(path)
  arrays = files.read_arrays(folder / ARRAYS)
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
    raise ValueError(f"{path} is damaged: {error!r}") from None
