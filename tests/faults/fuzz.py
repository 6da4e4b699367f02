"""Mutates every file format of ours, and tells what its reader made of it.

    python -m tests.faults.fuzz --count=2000

Allowed is that the reader gives the same values, that it refuses the file as
bad data (exit code 3) in one line that says which, and that it goes on
without what is damaged and warns. Everything else is listed as wrong, as are
reads that take long or much memory.
"""

import argparse
import collections
import hashlib
import pathlib
import random
import shutil
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import examples
from experiments.command import exits
from experiments.evaluation import assessment, chunk_files
from snnjax import report
from snnjax.data import embedded, registry
from snnjax.evaluation import plain_plans
from snnjax.report import leaderboard
from snnjax.storage import (
  array_files,
  checkpoints,
  environment,
  identity,
  metric_log,
  workdir,
)
from tests import tiny_runs
from tests.faults import world

SAME, REFUSED, MENDED, WRONG = "same", "refused", "mended", "WRONG"
SECONDS = 2.0  # of the processor, above what the whole file takes
MEMORY = 50 << 20  # bytes, above ten times the file
MENDING = (
  checkpoints.CheckpointWarning,
  chunk_files.DamagedChunkWarning,
  metric_log.MetricsWarning,
)


class Format(NamedTuple):
  """A format of ours.

  Attributes:
    name: of it.
    files: some of which are mutated.
    read: returns what they hold, as digests.
    besides: digests that a mended read may have in place of those.
  """

  name: str
  files: Sequence[pathlib.Path]
  read: Callable[[], Sequence[str]]
  besides: Sequence[str] = ()


def mutate(content: bytes, choose: random.Random) -> bytes:
  """Returns other bytes: what disks, transfers and editors do to a file."""
  size = len(content)
  at, end = sorted(choose.randrange(size + 1) for _ in range(2))
  end = min(end, at + choose.choice((1, 4, 64, size)))
  near = min(choose.choice((32, 256, size)), size)
  place = choose.choice(
    (choose.randrange(near), size - 1 - choose.randrange(near))
  )
  bit = bytes([content[place] ^ 1 << choose.randrange(8)])
  digits = [i for i, letter in enumerate(content[:4096]) if 48 <= letter < 58]
  digit = choose.choice(digits) if digits else place
  other = str(choose.randrange(10)).encode()
  match choose.randrange(12):
    case 0 | 1 | 2:
      changed = content[:place] + bit + content[place + 1 :]
    case 3:
      changed = content[:digit] + other + content[digit + 1 :]
    case 4:
      changed = content[:digit] + other * 12 + content[digit:]
    case 5:
      changed = content[: choose.randrange(size)]
    case 6:
      changed = content[:at] + content[end:]
    case 7:
      changed = content[:at] + content[at:end] + content[at:]
    case 8:
      changed = content[:at] + choose.randbytes(end - at) + content[end:]
    case 9:
      changed = content[:at] + bytes(end - at) + content[end:]
    case 10:
      changed = content + choose.randbytes(choose.randrange(1, 100))
    case _:
      changed = choose.choice((b"", b"{", b"[]", b"{}\n", b"null", b"\xff\xfe"))
  return changed


def run(
  form: Format, count: int, seed: int
) -> tuple[collections.Counter, list[str]]:
  """Mutates one format; counts the outcomes and describes wrong ones."""
  choose = random.Random(f"{form.name} {seed}")
  found: collections.Counter = collections.Counter()
  wrong = []
  whole = tuple(form.read())
  assert whole
  for number in range(count):
    file = choose.choice(form.files)
    content = file.read_bytes()
    changed = mutate(content, choose)
    while changed == content:
      changed = mutate(content, choose)
    file.write_bytes(changed)
    try:
      outcome, told = _outcome(form, whole, file, len(content))
    finally:
      file.write_bytes(content)
    found[outcome] += 1
    if outcome == WRONG:
      wrong.append(f"{form.name}, mutation {number} of {file.name}: {told}")
  return found, wrong


def _outcome(
  form: Format, whole: tuple[str, ...], file: pathlib.Path, size: int
) -> tuple[str, str]:
  tracemalloc.reset_peak()
  before = tracemalloc.get_traced_memory()[0]
  begun = time.process_time()
  outcome, told = _read(form, whole, file)
  spent = time.process_time() - begun
  taken = tracemalloc.get_traced_memory()[1] - before
  if spent > SECONDS:
    return WRONG, f"{told}: it took {spent:.1f} s"
  if tracemalloc.is_tracing() and taken > 10 * size + MEMORY:
    return WRONG, f"{told}: it took {taken >> 20} MB for {size} bytes"
  return outcome, told


def _read(
  form: Format, whole: tuple[str, ...], file: pathlib.Path
) -> tuple[str, str]:
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
      found = tuple(form.read())
    except Exception as error:  # whatever it is, it is told
      return _refusal(error, file)
  mending = [each for each in caught if issubclass(each.category, MENDING)]
  if found == whole:
    return SAME, ""
  if mending and set(found) <= {*whole, *form.besides}:
    return MENDED, str(mending[0].message)
  return WRONG, f"other values, with {len(mending)} warnings"


def _refusal(error: Exception, file: pathlib.Path) -> tuple[str, str]:
  code = exits.exit_code(error)
  told = exits.message(error)
  if code is not exits.ExitCode.BAD_DATA:
    return WRONG, f"exit code {code}, {type(error).__name__}: {told}"
  first, *more = told.splitlines()
  # Of a data set the command follows that prepares it, to be copied.
  if len(told) > 2000 or (more and not more[0].startswith("python -m ")):
    return WRONG, f"not one line: {told}"
  named = (file.name, str(file.parent), str(file.parent.parent))
  if not any(name in first for name in named):
    return WRONG, f"it does not say which file: {told}"
  return REFUSED, told


def digest(value: Any) -> str:
  return hashlib.sha256(repr(value).encode()).hexdigest()


def formats(folder: pathlib.Path, run: pathlib.Path) -> list[Format]:
  """Returns all formats, of a whole run and of what is made in a folder."""
  return [
    _checkpoint(folder),
    *_parameters(folder),
    *_of_run(run),
    *_of_evaluation(run),
    *_data(folder),
  ]


def _checkpoint(folder: pathlib.Path) -> Format:
  root = folder / "checkpoints"
  made_from = {"configuration": "0f" * 32}
  tree = {
    "weights": jnp.arange(12.0).reshape(3, 4),
    "step": jnp.asarray(3),
    "key": jax.random.key(7),
  }
  older = {**tree, "weights": tree["weights"] + 1}
  for step, each in enumerate((older, tree), 1):
    checkpoints.save(step, each, root, made_from=made_from)

  def told(one: Any) -> str:
    raw = {**one, "key": jax.random.key_data(one["key"])}
    return identity.of_arrays({k: np.asarray(v) for k, v in raw.items()})

  newest = root / "00000002"
  return Format(
    "checkpoint",
    [path for path in sorted(newest.rglob("*")) if path.is_file()],
    lambda: [told(checkpoints.restore(root, tree, made_from=made_from).tree)],
    [told(older)],
  )


def _parameters(folder: pathlib.Path) -> list[Format]:
  tree = {
    "dense": {"kernel": np.arange(48, dtype=np.float32).reshape(6, 8)},
    "half": jnp.arange(4, dtype=jnp.bfloat16),
  }
  made_from = {"configuration": "0f" * 32}
  found = []
  for suffix in ("npz", "safetensors"):
    path = folder / f"parameters.{suffix}"
    array_files.export(tree, path, made_from)

    def read(path: pathlib.Path = path) -> list[str]:
      back = array_files.restore(path, tree, made_from)
      leaves = array_files.named_leaves(back)
      return [identity.of_arrays({k: np.asarray(v) for k, v in leaves.items()})]

    found.append(Format(path.name, [path], read))
  return found


def _of_run(run: pathlib.Path) -> list[Format]:
  noted = checkpoints.notes(run / "checkpoints")
  file = run / "metrics.jsonl"

  def resumed() -> list[str]:
    expected = metric_log.Written(*noted[1]["metrics"])
    with metric_log.Metrics(file, noted[0], expected):
      return [digest(line) for line in metric_log.read(file)]

  made_from = files_of(run / "data.json")
  return [
    Format(
      "config.json",
      [run / "config.json"],
      lambda: [digest(workdir.read_config(run))],
    ),
    Format(
      "status.json",
      [run / "status.json"],
      lambda: [digest(workdir.read_status(run))],
    ),
    Format(
      "environment.json",
      [run / "environment.json"],
      lambda: [digest(environment.read(run))],
    ),
    Format("metrics.jsonl, resumed", [file], resumed),
    Format(
      "data.json and examples.npz",
      [run / "data.json", run / "examples.npz"],
      lambda: [digest(_listed(examples.load(run, made_from)))],
    ),
    Format(
      "report.json",
      [run / "report" / "report.json"],
      lambda: [digest(report.read(run / "report" / "report.json"))],
    ),
    Format(
      "leaderboard.json",
      [run / "report" / "leaderboard.json"],
      lambda: [digest(leaderboard.read(run / "report" / "leaderboard.json"))],
    ),
  ]


def files_of(path: pathlib.Path) -> dict[str, str]:
  """What the record in a file says it was made from."""
  return dict(chunk_files.files.read_sealed(path, "")["made_from"])


def _listed(used: examples.Used) -> Any:
  parts = {
    name: part._replace(indices=part.indices.tolist())
    for name, part in used.parts.items()
  }
  return used._replace(parts=parts)


def _of_evaluation(run: pathlib.Path) -> list[Format]:
  path = tiny_runs.evaluation(run)
  opened = workdir.open(path, workdir.read_config(path))
  plan = chunk_files.read(path)
  parts = chunk_files.load(opened, plan)

  def chunks() -> list[str]:
    return [each.digest for each in chunk_files.load(opened, plan, mend=True)]

  def study() -> list[str]:
    arrays = opened.load_arrays(assessment.STUDY, plan.made_from)
    return [identity.of_arrays(arrays)]

  def times() -> list[str]:
    return [
      digest((stage, each))
      for stage, every in chunk_files.seconds(opened, parts).items()
      for each in every
    ]

  def planned() -> list[str]:
    found = chunk_files.read(path)
    plan = plain_plans.to_plain(found.plan)
    return [digest((found.made_from, found.indices.tolist(), plan))]

  return [
    Format("evaluation chunk", world.chunks(run), chunks),
    Format("study.npz", [path / "arrays" / "study.npz"], study),
    Format("plan.json", [path / "plan.json"], planned),
    Format("metrics.jsonl, times", [path / "metrics.jsonl"], times),
  ]


def _data(folder: pathlib.Path) -> list[Format]:
  root = world.insects(folder / "insects", 3)
  (described,) = root.rglob("snnjax.json")
  others = sorted(p for p in described.parent.iterdir() if p != described)
  archive = shutil.copy(embedded.PATH, folder)

  def prepared() -> list[str]:
    with exits.blame_data():
      data = registry.open_dataset("insects", "train", root)
      arrays = {"inputs": data.inputs, "labels": data.labels}
      known = registry.digest("insects", root)
    return [known, identity.of_arrays(arrays), digest(data.classes)]

  def shipped() -> list[str]:
    with exits.blame_data():
      data = embedded.mnist("test", pathlib.Path(archive))
    arrays = {"inputs": data.inputs, "labels": data.labels}
    return [identity.of_arrays(arrays)]

  return [
    Format("prepared set, manifest", [described], prepared),
    Format("prepared set, other files", others, prepared),
    Format("embedded data", [pathlib.Path(archive)], shipped),
  ]


def main() -> int:
  """Runs all formats and writes the table; 1 where an outcome is wrong."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--count", type=int, default=2000)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--only", nargs="*", default=[""], help="parts of names")
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    whole = world.make(folder / "run", 0)
    made = formats(folder, whole)
    sys.stdout.write(
      "\n| format | mutations | same values | refused, 3 | mended | wrong |\n"
      "|---|---|---|---|---|---|\n"
    )
    tracemalloc.start()
    every: list[str] = []
    for form in made:
      if not any(part in form.name for part in options.only):
        continue
      counts, wrong = run(form, options.count, options.seed)
      every += wrong
      told = [counts[key] for key in (SAME, REFUSED, MENDED, WRONG)]
      cells = (form.name, options.count, *told)
      sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
      sys.stdout.flush()
  sys.stdout.write("".join(f"{line}\n" for line in every))
  return int(bool(every))


if __name__ == "__main__":
  sys.exit(main())
