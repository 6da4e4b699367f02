"""Measures how visible an attack's changes are and how much noise they bear.

The two measures of Luo et al. 2018. They are taken of each adversarial input
as soon as it is computed, because the inputs themselves are not saved.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import build
from snnjax import attacks
from snnjax import evaluation as evaluating
from snnjax.interfaces import Array, Batch

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


def measure(batch: Batch, microbatch: int) -> Measure:
  """Returns a function that measures one chunk of an evaluation.

  Args:
    batch: all examples; a chunk's indices are their positions.
    microbatch: how many examples a chunk has at most.

  References:
    Bo Luo, Yannan Liu, Lingxiao Wei, Qiang Xu, 2018, "Towards imperceptible
    and robust adversarial example attacks against neural networks",
    arXiv 1801.04693.
  """

  def measure_chunk(chunk: evaluating.Chunk) -> Perceived:
    count = len(chunk.indices)
    # Filled up by repeats, so that every chunk has the shape that is compiled.
    rows = np.resize(np.arange(count), microbatch)
    ids = chunk.indices[rows]
    logits = jnp.asarray(chunk.logits)[rows]
    tolerance = _tolerance(logits, jnp.asarray(batch.labels)[ids])
    distance = np.full(count, np.nan, np.float32)
    if _IMAGE in batch.inputs and chunk.inputs is not None:
      moved = build.by_modality(chunk.inputs)[_IMAGE][rows]
      clean = build.by_modality(batch.inputs)[_IMAGE][ids]
      distance = np.asarray(_distance(moved, clean))[:count]
    return Perceived(distance, np.asarray(tolerance)[:count])

  return measure_chunk


def collect(
  parts: Iterable[tuple[evaluating.Chunk, Perceived | None]],
  indices: np.ndarray,
) -> dict[str, Perceived]:
  """Joins the chunks' measurements: for each case, a row per index.

  Args:
    parts: chunks, with what was measured of them; None of clean ones.
    indices: [N] of all examples, sorted.
  """
  by_case: dict[str, Perceived] = {}
  for chunk, perceived in parts:
    if perceived is None:
      continue
    blank = np.full(len(indices), np.nan, np.float32)
    columns = by_case.setdefault(chunk.stage, Perceived(blank, blank.copy()))
    rows = np.searchsorted(indices, chunk.indices)
    for column, values in zip(columns, perceived, strict=True):
      column[rows] = values
  return by_case


def summarize(
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


def _median(values: np.ndarray) -> float | None:
  known = values[~np.isnan(values)]
  return float(np.median(known)) if known.size else None
