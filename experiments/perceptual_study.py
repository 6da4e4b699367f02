"""How visible every attack's changes are, and how much noise they survive.

The two measures of Luo et al. 2018, taken of each adversarial input as it
comes: the inputs themselves are not kept.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import attacks
from snnjax import evaluation as evaluating
from snnjax.types import Array, Batch
from snnjax.workdir import Workdir

_FOLDER = "perceived"
_IMAGE = "image"


class Perceived(NamedTuple):
  """What one attack's inputs look like, a row per example.

  Attributes:
    distance: [N] perceptual distance of the image from the clean one; NaN
      without an image, or if the example was not attacked.
    tolerance: [N] noise tolerance in units of the logits, negative while the
      prediction is right; NaN if the example was not attacked.
  """

  distance: np.ndarray
  tolerance: np.ndarray


Measure = Callable[[evaluating.Chunk], Perceived]


def measure(
  batch: Batch, modalities: tuple[str, ...], microbatch: int
) -> Measure:
  """Returns what measures the chunks of an evaluation.

  Args:
    batch: all examples; a chunk's indices are their positions.
    modalities: of the inputs.
    microbatch: how many examples a chunk has at most.

  References:
    Bo Luo, Yannan Liu, Lingxiao Wei, Qiang Xu, 2018, "Towards imperceptible
    and robust adversarial example attacks against neural networks",
    arXiv 1801.04693.
  """

  def measured(chunk: evaluating.Chunk) -> Perceived:
    count = len(chunk.indices)
    # Filled up by repeats, so that every chunk has the shape that is compiled.
    rows = np.resize(np.arange(count), microbatch)
    ids = chunk.indices[rows]
    logits = jnp.asarray(chunk.logits)[rows]
    tolerance = _tolerance(logits, jnp.asarray(batch.labels)[ids])
    distance = np.full(count, np.nan, np.float32)
    if _IMAGE in modalities:
      moved, clean = _image(chunk.inputs)[rows], _image(batch.inputs)[ids]
      distance = np.asarray(_distance(moved, clean))[:count]
    return Perceived(distance, np.asarray(tolerance)[:count])

  return measured


def save(
  measured: Measure, folder: Workdir, number: int, chunk: evaluating.Chunk
) -> None:
  """Measures a chunk of an attack and writes what it finds.

  To be called before the chunk itself is saved: a chunk that is there has
  been measured.

  Args:
    measured: from `measure`.
    folder: gets one array file.
    number: of the chunk.
    chunk: clean ones are passed over.
  """
  if chunk.stage != evaluating.CLEAN:
    folder.save_arrays(
      f"{_FOLDER}/{number:06d}",
      {
        "stage": np.array(chunk.stage),
        "indices": chunk.indices,
        **measured(chunk)._asdict(),
      },
    )


def load(folder: Workdir, indices: np.ndarray) -> dict[str, Perceived]:
  """Reads what `save` left: by case, a row for each of the indices.

  Args:
    folder: of the evaluation.
    indices: [N] of all examples, sorted.

  Raises:
    ValueError: a file is damaged.
  """
  found: dict[str, Perceived] = {}
  for name in folder.array_names():
    if not name.startswith(f"{_FOLDER}/"):
      continue
    arrays = folder.load_arrays(name)
    blank = np.full(len(indices), np.nan, np.float32)
    held = found.setdefault(
      str(arrays["stage"]), Perceived(blank, blank.copy())
    )
    rows = np.searchsorted(indices, arrays["indices"])
    for column, field in zip(held, Perceived._fields, strict=True):
      column[rows] = arrays[field]
  return found


def summarized(
  perceived: Perceived, success: np.ndarray
) -> Mapping[str, float | None]:
  """Returns the medians over an attack's successes; None where it has none."""
  return {
    field: _median(values[success])
    for field, values in perceived._asdict().items()
  }


@jax.jit
def _distance(candidate: Array, origin: Array) -> Array:
  return attacks.perceptual_distance(candidate, origin)


@jax.jit
def _tolerance(logits: Array, labels: Array) -> Array:
  return attacks.noise_tolerance(logits, labels)


def _image(inputs: Any) -> Any:
  return inputs[_IMAGE] if isinstance(inputs, Mapping) else inputs


def _median(values: np.ndarray) -> float | None:
  known = values[~np.isnan(values)]
  return float(np.median(known)) if known.size else None
