"""The chunks of an evaluation as array files, one for each microbatch."""

import numpy as np

from snnjax import evaluation as evaluating
from snnjax.workdir import Workdir

_FOLDER = "chunks"


def save(folder: Workdir, number: int, chunk: evaluating.Chunk) -> None:
  """Writes one chunk's rows; the adversarial inputs are not kept."""
  rows = {f"rows/{key}": value for key, value in chunk.rows._asdict().items()}
  folder.save_arrays(
    f"{_FOLDER}/{number:06d}",
    {
      "stage": np.array(chunk.stage),
      "indices": chunk.indices,
      "budget": np.array(chunk.budget),
      **rows,
    },
  )


def load(folder: Workdir) -> list[evaluating.Chunk]:
  """Reads the chunks of a folder, in the order they were written."""
  chunks = []
  for name in sorted(folder.array_names()):
    if not name.startswith(f"{_FOLDER}/"):
      continue
    arrays = folder.load_arrays(name)
    stage = str(arrays.pop("stage"))
    indices = arrays.pop("indices")
    budget = str(arrays.pop("budget", ""))
    kind = evaluating.Clean if stage == evaluating.CLEAN else evaluating.Outcome
    rows = {key.removeprefix("rows/"): v for key, v in arrays.items()}
    chunks.append(evaluating.Chunk(stage, indices, kind(**rows), budget=budget))
  return chunks
