"""Reads and writes an evaluation's files: its plan and its finished chunks.

``plan.json`` says what the evaluation is made from, which examples it has, and
every case with the examples that it must meet. Each finished microbatch is
one file ``arrays/chunks/NUMBER.npz``, which carries the same origin. A chunk
that is damaged counts as missing: it is computed again.
"""

import contextlib
import dataclasses
import functools
import pathlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.evaluation.perceptual_study import Perceived
from snnjax import evaluation as evaluating
from snnjax.evaluation import Plan, plain_plans, saving
from snnjax.storage import files, identity, metric_log
from snnjax.storage.workdir import Workdir

FILE = "plan.json"
CHUNKS = "chunks"
_CHUNK = re.compile(rf"{CHUNKS}/\d{{6,9}}")


@dataclasses.dataclass(frozen=True)
class Agenda:
  """What an evaluation has to compute.

  Attributes:
    made_from: see `origins.evaluation`.
    indices: [N] ids of the examples, sorted.
    plan: every case.
  """

  made_from: Mapping[str, str]
  indices: np.ndarray
  plan: Plan

  @functools.cached_property
  def stages(self) -> Mapping[str, tuple[str, ...]]:
    """By path of each case, the stages whose victims it does not meet."""
    return evaluating.earlier_stages(
      tuple(self.plan.by_path), self.plan.survivors
    )


class SavedChunk(NamedTuple):
  """One finished microbatch.

  Attributes:
    number: of its file.
    chunk: its rows, without inputs and logits.
    perceived: how visible its changes are; None of clean examples.
    digest: of all of it.
  """

  number: int
  chunk: evaluating.Chunk
  perceived: Perceived | None
  digest: str


class DamagedChunkWarning(UserWarning):
  """A damaged part of an evaluation is computed again."""


def remedy(folder: pathlib.Path) -> str:
  """The advice for an evaluation that is incomplete: the command to run."""
  return f"run: python -m experiments.evaluate --workdir={folder.parent}"


def record(folder: Workdir, agenda: Agenda) -> None:
  """Writes the agenda of an evaluation, or compares it with the one there.

  Args:
    folder: of the evaluation.
    agenda: what is to be computed.

  Raises:
    ForeignError: the evaluation was begun with something else.
    OSError: it cannot be written.
  """
  file = folder.path / FILE
  if file.exists():
    try:
      begun = read(folder.path)
    except identity.DamagedError as error:
      _warn(file, error)
    else:
      identity.check(
        file, begun.made_from, agenda.made_from, f"remove {folder.path}"
      )
      return
  files.write_sealed(
    file,
    {
      "made_from": agenda.made_from,
      "indices": agenda.indices.tolist(),
      "plan": plain_plans.to_plain(agenda.plan),
    },
  )


def read(path: pathlib.Path) -> Agenda:
  """Reads the agenda of an evaluation.

  Args:
    path: the evaluation's folder.

  Raises:
    FileNotFoundError: there is none.
    DamagedError: it is damaged.
  """
  file = path / FILE
  plain = files.read_sealed(file, remedy(path))
  try:
    agenda = Agenda(
      dict(plain["made_from"]),
      np.array(plain["indices"], np.int64),
      plain_plans.from_plain(plain["plan"]),
    )
    if agenda.indices.ndim != 1 or np.any(np.diff(agenda.indices) < 1):
      raise ValueError("its indices do not rise")
    return agenda
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise identity.damaged(file, repr(error), remedy(path)) from None


def digest(chunk: evaluating.Chunk, perceived: Perceived | None) -> str:
  """The digest of what `save` keeps."""
  return identity.of_arrays(saving.to_arrays(chunk, perceived))


def save(
  folder: Workdir,
  number: int,
  chunk: evaluating.Chunk,
  perceived: Perceived | None,
  made_from: Mapping[str, str],
) -> None:
  """Writes one chunk's rows; the adversarial inputs are not kept.

  Args:
    folder: of the evaluation.
    number: of the file.
    chunk: the finished microbatch.
    perceived: how visible its changes are; None of clean examples.
    made_from: see `origins.evaluation`.
  """
  arrays = saving.to_arrays(chunk, perceived)
  folder.save_arrays(f"{CHUNKS}/{number:06d}", arrays, made_from)


def load(
  folder: Workdir, agenda: Agenda, *, mend: bool = False
) -> list[SavedChunk]:
  """Reads the chunks of a folder, in the order they were written.

  Args:
    folder: of the evaluation.
    agenda: from `read`.
    mend: whether a damaged chunk is removed, with a warning, as one that is
      computed again.

  Raises:
    DamagedError: a chunk is damaged, unless `mend` is set.
    ForeignError: one was made from something else.
  """
  chunks = []
  for name in _names(folder):
    try:
      chunks.append(_load(folder, agenda, name))
    except identity.DamagedError as error:
      if not mend:
        raise
      _remove(folder.array_file(name), error)
  return chunks


def load_part(
  folder: Workdir, name: str, made_from: Mapping[str, str]
) -> dict[str, np.ndarray] | None:
  """Reads another part of an evaluation; None where it is to be computed.

  A damaged one is removed, with a warning.

  Args:
    folder: of the evaluation.
    name: of the arrays.
    made_from: see `origins.evaluation`.

  Raises:
    ForeignError: it was made from something else.
  """
  again = f"remove it and {remedy(folder.path)}"
  try:
    return folder.load_arrays(name, made_from, again)
  except FileNotFoundError:
    return None
  except identity.DamagedError as error:
    _remove(folder.array_file(name), error)
    return None


def next_number(folder: Workdir) -> int:
  """The number of the next chunk, above all that are there."""
  numbers = [int(name.removeprefix(f"{CHUNKS}/")) for name in _names(folder)]
  return max(numbers, default=-1) + 1


def lacks(agenda: Agenda, saved: Sequence[SavedChunk]) -> list[evaluating.Lack]:
  """Returns the stages that lack examples; see `evaluation.find_lacks`."""
  chunks = [chunk_file.chunk for chunk_file in saved]
  return evaluating.find_lacks(agenda.indices, agenda.stages, chunks)


def collect(
  agenda: Agenda, saved: Sequence[SavedChunk], labels: npt.ArrayLike
) -> evaluating.Evaluation:
  """Puts the chunks of a whole evaluation together.

  Args:
    agenda: from `read`.
    saved: its chunks.
    labels: [N] classes of the agenda's examples.

  Raises:
    ValueError: examples are missing.
  """
  plan = agenda.plan
  return evaluating.collect(
    agenda.indices,
    np.asarray(labels),
    tuple(plan.by_path),
    [chunk_file.chunk for chunk_file in saved],
    plan.survivors,
  )


def seconds(
  folder: Workdir, saved: Sequence[SavedChunk]
) -> dict[str, list[float]]:
  """The wall times of the microbatches of each case, as far as known.

  Args:
    folder: of the evaluation.
    saved: its chunks.

  Raises:
    DamagedError: the metrics file is damaged.
    ForeignError: a line is of another chunk.

  Warns:
    MetricsWarning: chunks have no line.
  """
  lines = {}
  with contextlib.suppress(FileNotFoundError):
    lines = {n["step"]: n for n in metric_log.read(folder.metrics, wall=True)}
  by_stage: dict[str, list[float]] = {}
  unknown = 0
  for chunk_file in saved:
    line = lines.get(chunk_file.number)
    if line is None:
      unknown += 1
      continue
    identity.check(
      f"{folder.metrics}, step {chunk_file.number},",
      {"chunk": line["chunk"]},
      {"chunk": identity.short(chunk_file.digest)},
      "move it away to go on without its times",
    )
    by_stage.setdefault(chunk_file.chunk.stage, []).append(
      line["wall"]["seconds"]
    )
  if unknown:
    warnings.warn(
      f"{folder.metrics} has no times of {unknown} of {len(saved)} "
      "microbatches",
      metric_log.MetricsWarning,
      stacklevel=2,
    )
  return by_stage


def _names(folder: Workdir) -> list[str]:
  """The names of all chunks, as numbers rise."""
  return [
    name for name in folder.array_names() if _CHUNK.fullmatch(name) is not None
  ]


def _load(folder: Workdir, agenda: Agenda, name: str) -> SavedChunk:
  """Reads one chunk of what is to be computed."""
  file, again = folder.array_file(name), remedy(folder.path)
  arrays = folder.load_arrays(name, agenda.made_from, f"remove it and {again}")
  try:
    chunk, perceived = saving.from_arrays(arrays, Perceived)
    if chunk.stage not in (evaluating.CLEAN, *agenda.plan.by_path):
      raise ValueError(f"its stage {chunk.stage!r} is none of the evaluation's")
    if not np.all(np.isin(chunk.indices, agenda.indices)):
      raise ValueError("it has examples that the evaluation does not have")
  except (KeyError, TypeError, ValueError) as error:
    raise identity.damaged(file, error, f"remove it and {again}") from None
  number = int(name.removeprefix(f"{CHUNKS}/"))
  return SavedChunk(number, chunk, perceived, identity.of_arrays(arrays))


def _remove(file: pathlib.Path, error: Exception) -> None:
  _warn(file, error)
  file.unlink()


def _warn(file: pathlib.Path, error: Exception) -> None:
  message = str(error).partition("; ")[0]
  warnings.warn(
    f"{message if str(file) in message else f'{file}: {message}'}: made again",
    DamagedChunkWarning,
    stacklevel=2,
  )
