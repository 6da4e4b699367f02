"""Saves the results of an evaluation: one file of arrays per chunk.

Pass every chunk of `evaluation.stream` to `save`, and what `load` reads as
``finished=``: an evaluation that was interrupted goes on where it stopped. A
file says what its rows were made from, and carries a digest of all of it; see
`snnjax.storage.files.write_arrays`.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from snnjax.evaluation.records import CLEAN, Chunk, Clean, Outcome
from snnjax.storage import array_files, files, identity

REMEDY = "remove it: what it held is computed again"
_FILE = re.compile(r"\d{6,9}\.npz")


def to_arrays(chunk: Chunk, more: Any = None) -> dict[str, np.ndarray]:
  """Returns a chunk's rows as arrays by name, without inputs and logits.

  Args:
    chunk: a finished microbatch.
    more: a tree of further arrays of as many rows; None is none.
  """
  tree = {
    "stage": chunk.stage,
    "indices": chunk.indices,
    "budget": chunk.budget,
    "rows": chunk.rows,
    "more": more,
  }
  leaves = array_files.named_leaves(tree)
  return {name: np.asarray(leaf) for name, leaf in leaves.items()}


def from_arrays(
  arrays: Mapping[str, np.ndarray], more: Any = None
) -> tuple[Chunk, Any]:
  """Returns the chunk that `to_arrays` made arrays of, and its further arrays.

  Args:
    arrays: by name.
    more: of a chunk of an attack, a record type whose fields are all arrays;
      None expects nothing else. Clean chunks have nothing else.

  Raises:
    KeyError: the stage or the ids are missing.
    ValueError: the columns are not those of a chunk, or differ in length.
  """
  stage, count = str(arrays["stage"]), len(arrays["indices"])
  rows: Any = array_files.Rows(count)
  clean = stage == CLEAN
  kind = Clean if clean else Outcome
  tree = array_files.fill(
    arrays,
    {
      "stage": array_files.Rows(),
      "indices": rows,
      "budget": array_files.Rows(),
      "rows": kind(*[rows] * len(kind._fields)),
      "more": None if clean or not more else more(*[rows] * len(more._fields)),
    },
  )
  chunk = Chunk(
    stage, tree["indices"], tree["rows"], budget=str(tree["budget"])
  )
  return chunk, tree["more"]


def save(
  chunk: Chunk,
  folder: pathlib.Path | str,
  made_from: Mapping[str, str] | None = None,
) -> pathlib.Path:
  """Writes one chunk's rows into a folder, atomically, and returns the file.

  Args:
    chunk: of `evaluation.stream`; its inputs and logits are not kept.
    folder: gets one file more; it is made if it is not there.
    made_from: what the evaluation is made from, by name a SHA-256.

  Raises:
    OSError: it cannot be written.
  """
  root = pathlib.Path(folder)
  root.mkdir(parents=True, exist_ok=True)
  numbers = [int(path.stem) for path in _files(root)]
  file = root / f"{max(numbers, default=-1) + 1:06d}.npz"
  files.write_arrays(file, to_arrays(chunk), made_from)
  return file


def load(
  folder: pathlib.Path | str, made_from: Mapping[str, str] | None = None
) -> list[Chunk]:
  """Reads the chunks that `save` wrote, in their order.

  Args:
    folder: where they are; none are there if it is missing.
    made_from: what they must have been made from; None asks nothing.

  Raises:
    DamagedError: a file does not hold what `save` wrote.
    ForeignError: it was made from something else.
    OSError: it cannot be read.
  """
  chunks = []
  for file in _files(pathlib.Path(folder)):
    arrays = files.read_arrays(file, made_from, REMEDY)
    try:
      chunks.append(from_arrays(arrays)[0])
    except (KeyError, TypeError, ValueError) as error:
      raise identity.damaged(file, error, REMEDY) from None
  return chunks


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  there = (p for p in folder.glob("*.npz") if _FILE.fullmatch(p.name))
  return sorted(there, key=lambda path: int(path.stem))
