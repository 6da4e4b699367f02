"""What an evaluation keeps on the disk: its plan, and chunk after chunk.

The plan, ``plan.json``, says what the evaluation is made from, which examples
it has and which of them every attack must meet. Each finished microbatch is
one file ``arrays/chunks/NUMBER.npz``, which carries the same origin. A chunk
that is damaged counts as missing: it is computed again.
"""

import contextlib
import pathlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.evaluation.perceptual_study import Perceived
from snnjax import evaluation as evaluating
from snnjax.storage import files, identity, metric_log
from snnjax.storage.workdir import Workdir

FILE = "plan.json"
CHUNKS = "chunks"
_CHUNK = re.compile(rf"{CHUNKS}/\d{{6,9}}")


class Plan(NamedTuple):
  """What an evaluation has to compute.

  Attributes:
    made_from: see `origins.evaluation`.
    indices: [N] ids of the examples, sorted.
    stages: by case, in their order, the stages whose victims it does not
      meet.
    refused: by attack of the suite, why it cannot run.
    mixing: attacks of the suite whose results depend on the microbatch.
  """

  made_from: Mapping[str, str]
  indices: np.ndarray
  stages: Mapping[str, tuple[str, ...]]
  refused: Mapping[str, str]
  mixing: tuple[str, ...]


class Kept(NamedTuple):
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
  """What a person does about an evaluation that is not whole."""
  return f"run: python -m experiments.evaluate --workdir={folder.parent}"


def record(folder: Workdir, plan: Plan) -> None:
  """Writes the plan of an evaluation, or compares it with the one there.

  Args:
    folder: of the evaluation.
    plan: what is to be computed.

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
        file, begun.made_from, plan.made_from, f"remove {folder.path}"
      )
      return
  files.write_sealed(
    file,
    {
      "made_from": plan.made_from,
      "indices": plan.indices.tolist(),
      # As pairs: JSON objects of ours are sorted by key.
      "stages": list(plan.stages.items()),
      "refused": list(plan.refused.items()),
      "mixing": list(plan.mixing),
    },
  )


def read(path: pathlib.Path) -> Plan:
  """Reads the plan of an evaluation.

  Args:
    path: the evaluation's folder.

  Raises:
    FileNotFoundError: there is none.
    DamagedError: it is damaged.
  """
  file = path / FILE
  plain = files.read_sealed(file, remedy(path))
  try:
    plan = Plan(
      dict(plain["made_from"]),
      np.array(plain["indices"], np.int64),
      {name: tuple(before) for name, before in plain["stages"]},
      dict(plain["refused"]),
      tuple(plain["mixing"]),
    )
    if plan.indices.ndim != 1 or np.any(np.diff(plan.indices) < 1):
      raise ValueError("its indices do not rise")
    return plan
  except (KeyError, TypeError, ValueError) as error:
    raise identity.damaged(file, repr(error), remedy(path)) from None


def digest(chunk: evaluating.Chunk, perceived: Perceived | None) -> str:
  """The digest of what `save` keeps."""
  return identity.of_arrays(_arrays(chunk, perceived))


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
  folder.save_arrays(_name(number), _arrays(chunk, perceived), made_from)


def load(folder: Workdir, plan: Plan, *, mend: bool = False) -> list[Kept]:
  """Reads the chunks of a folder, in the order they were written.

  Args:
    folder: of the evaluation.
    plan: from `read`.
    mend: whether a damaged chunk is removed, with a warning, as one that is
      computed again.

  Raises:
    DamagedError: a chunk is damaged, unless `mend` is set.
    ForeignError: one was made from something else.
  """
  found = []
  for name in _names(folder):
    try:
      found.append(_load(folder, plan, name))
    except identity.DamagedError as error:
      if not mend:
        raise
      _remove(folder.array_file(name), error)
  return found


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


def lacks(plan: Plan, kept: Sequence[Kept]) -> list[evaluating.Lack]:
  """Returns the stages that lack examples; see `evaluation.lacking`."""
  chunks = [each.chunk for each in kept]
  return evaluating.lacking(plan.indices, plan.stages, chunks)


def collected(
  plan: Plan, kept: Sequence[Kept], labels: npt.ArrayLike
) -> evaluating.Evaluation:
  """Puts the chunks of a whole evaluation together.

  Args:
    plan: from `read`.
    kept: its chunks.
    labels: [N] classes of the plan's examples.

  Raises:
    ValueError: examples are missing.
  """
  return evaluating.collect(
    plan.indices,
    np.asarray(labels),
    tuple(plan.stages),
    [each.chunk for each in kept],
    {stage: before[1:] for stage, before in plan.stages.items() if before},
  )


def seconds(folder: Workdir, kept: Sequence[Kept]) -> dict[str, list[float]]:
  """The wall times of the microbatches of each case, as far as known.

  Args:
    folder: of the evaluation.
    kept: its chunks.

  Raises:
    DamagedError: the metrics file is damaged.
    ForeignError: a line is of another chunk.

  Warns:
    MetricsWarning: chunks have no line.
  """
  lines = {}
  with contextlib.suppress(FileNotFoundError):
    lines = {n["step"]: n for n in metric_log.read(folder.metrics, wall=True)}
  found: dict[str, list[float]] = {}
  unknown = 0
  for each in kept:
    line = lines.get(each.number)
    if line is None:
      unknown += 1
      continue
    identity.check(
      f"{folder.metrics}, step {each.number},",
      {"chunk": line["chunk"]},
      {"chunk": identity.short(each.digest)},
      "move it away to go on without its times",
    )
    found.setdefault(each.chunk.stage, []).append(line["wall"]["seconds"])
  if unknown:
    warnings.warn(
      f"{folder.metrics} has no times of {unknown} of {len(kept)} microbatches",
      metric_log.MetricsWarning,
      stacklevel=2,
    )
  return found


def _names(folder: Workdir) -> list[str]:
  """The names of all chunks, as numbers rise."""
  return [
    name for name in folder.array_names() if _CHUNK.fullmatch(name) is not None
  ]


def _load(folder: Workdir, plan: Plan, name: str) -> Kept:
  """Reads one chunk that belongs to this plan."""
  file, again = folder.array_file(name), remedy(folder.path)
  arrays = folder.load_arrays(name, plan.made_from, f"remove it and {again}")
  try:
    digest = identity.of_arrays(arrays)
    stage = str(arrays.pop("stage"))
    indices = arrays.pop("indices")
    budget = str(arrays.pop("budget"))
    if stage not in (evaluating.CLEAN, *plan.stages):
      raise ValueError(f"its stage {stage!r} is none of the evaluation's")
    if not np.all(np.isin(indices, plan.indices)):
      raise ValueError("it has examples that the evaluation does not have")
    clean = stage == evaluating.CLEAN
    kind = evaluating.Clean if clean else evaluating.Outcome
    rows = kind(**_part(arrays, "rows"))
    perceived = None if clean else Perceived(**_part(arrays, "perceived"))
    for column in (*rows, *(perceived or ())):
      if column.shape[:1] != indices.shape:
        raise ValueError("its columns differ in length")
    number = int(name.removeprefix(f"{CHUNKS}/"))
  except (KeyError, TypeError, ValueError) as error:
    raise identity.damaged(file, error, f"remove it and {again}") from None
  chunk = evaluating.Chunk(stage, indices, rows, budget=budget)
  return Kept(number, chunk, perceived, digest)


def _arrays(
  chunk: evaluating.Chunk, perceived: Perceived | None
) -> dict[str, np.ndarray]:
  arrays = {
    "stage": np.array(chunk.stage),
    "indices": chunk.indices,
    "budget": np.array(chunk.budget),
  }
  parts: dict[str, Any] = {"rows": chunk.rows, "perceived": perceived}
  for part, record in parts.items():
    if record is not None:
      arrays |= {f"{part}/{k}": v for k, v in record._asdict().items()}
  return arrays


def _part(arrays: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
  prefix = f"{part}/"
  return {
    name.removeprefix(prefix): array
    for name, array in arrays.items()
    if name.startswith(prefix)
  }


def _name(number: int) -> str:
  return f"{CHUNKS}/{number:06d}"


def _remove(file: pathlib.Path, error: Exception) -> None:
  _warn(file, error)
  file.unlink()


def _warn(file: pathlib.Path, error: Exception) -> None:
  said = str(error).partition("; ")[0]
  warnings.warn(
    f"{said if str(file) in said else f'{file}: {said}'}: made again",
    DamagedChunkWarning,
    stacklevel=2,
  )
