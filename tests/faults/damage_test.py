"""Each file of ours x each kind of damage x each reader; what is missing."""

import io
import json
import shutil
import warnings

import numpy as np
import pytest

from experiments.command import exits
from experiments.command.exits import ExitCode
from experiments.evaluation import evaluation_run
from experiments.reporting import report_run
from experiments.training import training_run
from snnjax import report
from snnjax.data import registry
from snnjax.report import leaderboard
from snnjax.storage import files, metric_log, npz
from tests import tiny_runs
from tests.faults import world

EVALUATION = "evaluation_linf_quick_0.1"
CHUNK = f"{EVALUATION}/arrays/chunks/000003.npz"
BODIES = {
  "train": training_run.run,
  "evaluate": evaluation_run.run,
  "report": report_run.run,
}
WHAT_TO_DO = (
  "remove it",
  "put back",
  "put the run's own back",
  "run: python -m experiments.evaluate",
)


def flipped(content):
  middle = len(content) // 2
  return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def lost_key(content):
  plain = json.loads(content)
  del plain[sorted(plain.keys() - {"sha256"})[0]]
  return json.dumps(plain).encode()


def unsealed(content):
  plain = json.loads(content)
  del plain["sha256"]
  return json.dumps(plain).encode()


def shorter_header(content):
  """One bit of the first array's header length: 118 becomes 86."""
  at = content.index(b"\x93NUMPY") + 8
  assert content[at] == 118
  return content[:at] + bytes([86]) + content[at + 1 :]


def huge(content):
  """A header that claims 4 TB."""
  at = content.index(b"'shape': (") + len("'shape': (")
  end = content.index(b"\n", at)
  claim = b"999999999999,), }"
  return content[:at] + claim.ljust(end - at) + content[end:]


def rewritten(content, change, write=np.savez):
  """The same arrays as numpy writes them, after a change."""
  with np.load(io.BytesIO(content), allow_pickle=False) as archive:
    arrays = dict(archive.items())
  change(arrays)
  stream = io.BytesIO()
  write(stream, **arrays)
  return stream.getvalue()


def surplus(content):
  return rewritten(content, lambda arrays: arrays.update(more=np.ones(3)))


def without_digest(content):
  return rewritten(content, lambda arrays: arrays.pop("__sha256__", None))


def compressed(content):
  return rewritten(content, lambda _: None, np.savez_compressed)


EITHER = {
  "empty": lambda _: b"",
  "cut": lambda content: content[: len(content) // 2],
  "flipped": flipped,
}
TEXTS = EITHER | {
  "brace": lambda _: b"{",
  "list": lambda _: b"[]",
  "number": lambda _: b"1e999",
  "deep": lambda _: b"[" * 100_000,
  "lost key": lost_key,
  "without digest": unsealed,
}
ARRAYS = EITHER | {
  "shorter header": shorter_header,
  "4 TB": huge,
  "surplus": surplus,
  "without digest": without_digest,
  "compressed": compressed,
}
REFUSED = {
  "config.json": ("train", "evaluate"),
  "status.json": ("train", "evaluate", "report"),
  "parameters.npz": ("evaluate", "report"),
  f"{EVALUATION}/config.json": ("evaluate", "report"),
  f"{EVALUATION}/status.json": ("evaluate", "report"),
  f"{EVALUATION}/environment.json": ("evaluate", "report"),
  f"{EVALUATION}/plan.json": ("report",),
  f"{EVALUATION}/data.json": ("report",),
  f"{EVALUATION}/examples.npz": ("report",),
  f"{EVALUATION}/arrays/study.npz": ("report",),
  CHUNK: ("report",),
}
MENDED = [
  ("train", "parameters.npz"),
  ("train", "data.json"),
  ("train", "examples.npz"),
  ("evaluate", f"{EVALUATION}/plan.json"),
  ("evaluate", f"{EVALUATION}/data.json"),
  ("evaluate", f"{EVALUATION}/examples.npz"),
  ("evaluate", f"{EVALUATION}/arrays/study.npz"),
  ("evaluate", CHUNK),
]


@pytest.fixture
def run(zero, tmp_path):
  return world.copy(zero, tmp_path / "run", "report")


@pytest.mark.parametrize(
  ("name", "kind"),
  [
    (name, kind)
    for name in REFUSED
    for kind in (ARRAYS if name.endswith(".npz") else TEXTS)
  ],
)
def test_a_damaged_file_is_named_with_what_to_do(run, capsys, name, kind):
  damage = (ARRAYS if name.endswith(".npz") else TEXTS)[kind]
  file = run / name
  file.write_bytes(damage(file.read_bytes()))
  for reader in REFUSED[name]:
    line = world.refused(capsys, BODIES[reader], world.config(), run)
    assert f"{file} is damaged: " in line
    assert any(words in line for words in WHAT_TO_DO), line
  assert not (run / "report").exists()


@pytest.mark.parametrize(("reader", "name"), MENDED)
@pytest.mark.parametrize("kind", ["flipped", "missing"])
def test_what_can_be_made_again_is_made_again_with_a_warning(
  zero, run, reader, name, kind
):
  file = run / name
  if kind == "missing":
    file.unlink()
  else:
    file.write_bytes(flipped(file.read_bytes()))
  with pytest.warns(UserWarning, match=r"is gone on with: ") as told:
    BODIES[reader](world.config(), run)
  if name != CHUNK:
    assert file.name in str(told[0].message)
    assert (zero / name).read_bytes() == file.read_bytes()
  elif kind == "missing":
    assert "it has 8 of 16 examples of " in str(told[0].message)
  assert results(run) == results(zero)
  tiny_runs.same(tiny_runs.parameters(run), tiny_runs.parameters(zero))
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    BODIES[reader](world.config(), run)  # and now it is finished


def test_the_runs_own_records_are_compared_before_an_evaluation(
  zero, tmp_path, capsys
):
  run = world.copy(zero, tmp_path / "run", "report", "evaluation_*")
  for name, change in (
    ("data.json", lambda content: content.replace(b'"seed": 0', b'"seed": 1')),
    ("examples.npz", surplus),
  ):
    file = run / name
    whole = file.read_bytes()
    file.write_bytes(change(whole))
    assert file.read_bytes() != whole
    line = world.refused(capsys, evaluation_run.run, world.config(), run)
    assert f"{file} is damaged: " in line
    file.write_bytes(whole)


@pytest.mark.parametrize("kind", sorted(TEXTS))
@pytest.mark.parametrize(
  ("name", "read"),
  [("report.json", report.read), ("leaderboard.json", leaderboard.read)],
)
def test_a_damaged_record_is_not_read(zero, tmp_path, capsys, name, read, kind):
  file = tmp_path / name
  whole = (zero / "report" / name).read_bytes()
  file.write_bytes(whole)
  assert read(file)
  file.write_bytes(TEXTS[kind](whole))
  line = world.refused(capsys, read, file)
  assert f"{file} is damaged: " in line
  assert "write the report again" in line


def results(run):
  """The bits of every result, by stage, example and column."""
  found = {}
  for path in world.chunks(run):
    arrays = files.read_arrays(path)
    stage, indices = str(arrays["stage"]), arrays["indices"].tolist()
    for name, column in arrays.items():
      if "/" in name:
        for index, value in zip(indices, column, strict=True):
          assert (stage, index, name) not in found
          found[stage, index, name] = value.tobytes()
  return found


def resealed(file, change):
  """Changes what a file holds, and its digest with it."""
  plain = files.read_sealed(file, "")
  change(plain)
  files.write_sealed(file, plain)


@pytest.mark.parametrize(
  ("name", "key"),
  [
    ("status.json", "status"),
    ("environment.json", "sessions"),
    ("plan.json", "indices"),
    ("plan.json", "plan"),
    ("data.json", "parts"),
    ("data.json", "classes"),
  ],
)
@pytest.mark.parametrize("kind", ["no key", "another type"])
def test_a_whole_file_without_what_it_must_have(run, capsys, name, key, kind):
  file = tiny_runs.evaluation(run) / name

  def change(plain):
    plain.pop(key) if kind == "no key" else plain.update({key: 7})

  resealed(file, change)
  line = world.refused(capsys, report_run.run, world.config(), run)
  assert f"{file} is damaged: " in line


def stage_of(path):
  with np.load(path, allow_pickle=False) as archive:
    return str(archive["stage"])


def stamps(run):
  return {path: path.stat().st_mtime_ns for path in world.chunks(run)}


@pytest.mark.parametrize(
  ("stage", "words"),
  [
    ("image/0/pgd", "pgd on image at 0.1"),
    ("large epsilon/0/pgd", "pgd on large epsilon at 0.5"),
  ],
)
def test_missing_examples_are_not_robust(zero, run, capsys, stage, words):
  gone = [path for path in world.chunks(run) if stage_of(path) == stage]
  assert len(gone) == 2
  for path, there in zip(gone, (8, 0), strict=True):
    path.unlink()
    line = world.refused(capsys, report_run.run, world.config(), run)
    assert f"it has {there} of 16 examples of {words}" in line
    assert f"python -m experiments.evaluate --workdir={run}" in line
  assert not (run / "report").exists()
  before = stamps(run)
  with pytest.warns(UserWarning, match="it has 0 of 16 examples of"):
    evaluation_run.run(world.config(), run)
  # Exactly what was missing is computed, and nothing else is written.
  after = stamps(run)
  new = after.keys() - before.keys()
  assert before.items() <= after.items()
  assert [stage_of(path) for path in new] == [stage] * 2
  assert results(run) == results(zero)
  assert world.code_of(report_run.run, world.config(), run) is ExitCode.DONE


def test_clean_examples_are_missed_too(run, capsys):
  (first, *_) = world.chunks(run)
  assert stage_of(first) == "clean"
  first.unlink()
  line = world.refused(capsys, report_run.run, world.config(), run)
  assert "it has 8 of 16 examples of clean" in line


@pytest.mark.parametrize("kind", ["stage", "example", "column", "length"])
def test_a_whole_chunk_of_something_else_is_damaged(zero, run, capsys, kind):
  file = run / CHUNK
  arrays, made_from = npz.read(file.read_bytes())
  if kind == "stage":
    arrays["stage"] = np.array("image/7/none")
  elif kind == "example":
    arrays["indices"] = arrays["indices"] + 1000
  elif kind == "column":
    del arrays["rows/success"]
  else:
    arrays["rows/success"] = arrays["rows/success"][:3]
  files.write_arrays(file, arrays, made_from)
  line = world.refused(capsys, report_run.run, world.config(), run)
  assert f"{file} is damaged: " in line
  if kind == "stage":
    with pytest.warns(UserWarning, match=r"000003\.npz"):
      evaluation_run.run(world.config(), run)
    assert results(run) == results(zero)


def resumed(zero, folder):
  """The run with one checkpoint of a step before the last, to go on from."""
  made = world.config()
  world.begun(folder, made)
  for step in ("00000006", "00000009"):
    world.copy(zero / "checkpoints" / step, folder / "checkpoints" / step)
  (folder / "metrics.jsonl").write_bytes((zero / "metrics.jsonl").read_bytes())
  return made


LINES = {
  "false": lambda lines: [*lines[:2], lines[2].replace(b"0", b"1", 1)],
  "lost": lambda lines: [lines[0]],
  "cut": lambda lines: [*lines[:2], lines[2][: len(lines[2]) // 2] + b"\n"],
  "doubled": lambda lines: [*lines[:3], lines[2]],
  "no record": lambda lines: [*lines[:2], b"[]\n"],
}


@pytest.mark.parametrize("kind", sorted(LINES))
def test_a_damaged_line_of_metrics_is_named(zero, tmp_path, capsys, kind):
  runs = [world.copy(zero, tmp_path / "finished", "evaluation*", "report")]
  runs.append(tmp_path / "stopped")
  made = resumed(zero, runs[1])
  for run in runs:
    file = run / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    changed = LINES[kind](lines)
    file.write_bytes(b"".join(changed + lines[3:]))
    line = world.refused(capsys, training_run.run, made, run)
    assert f"{file}:" in line
    assert " is damaged: " in line
    assert "move it away" in line


def test_lost_last_lines_of_metrics_are_told(zero, tmp_path):
  made = resumed(zero, tmp_path)
  file = tmp_path / "metrics.jsonl"
  lines = file.read_bytes().splitlines(keepends=True)
  file.write_bytes(b"".join(lines[:4]))
  with pytest.warns(
    metric_log.MetricsWarning, match=r"must have 10 lines .*; it has 4 \(chain"
  ) as told:
    training_run.run(made, tmp_path)
  assert len(told) == 1
  finished = world.copy(zero, tmp_path / "run", "evaluation*", "report")
  (finished / "metrics.jsonl").write_bytes(b"".join(lines[:-1]))
  with pytest.warns(metric_log.MetricsWarning, match=r"must have 12 lines"):
    training_run.run(made, finished)


@pytest.mark.parametrize("kind", sorted(TEXTS))
def test_a_run_goes_on_with_no_damaged_sessions(zero, tmp_path, capsys, kind):
  made = resumed(zero, tmp_path)
  file = tmp_path / "environment.json"
  file.write_bytes(TEXTS[kind]((zero / file.name).read_bytes()))
  line = world.refused(capsys, training_run.run, made, tmp_path)
  assert f"{file} is damaged: " in line
  assert "remove it" in line


def test_a_renamed_split_is_damage(insects, tmp_path, capsys):
  data = shutil.copytree(insects[0], tmp_path / "data")
  (file,) = data.rglob("dataset_info.json")
  file.write_bytes(file.read_bytes().replace(b'"train"', b'"trainn"'))

  def read():
    with exits.blame_data():
      registry.open_dataset("insects", "train", data)

  assert world.code_of(read) is ExitCode.BAD_DATA
  assert f"{file} has changed since it was prepared" in capsys.readouterr().err


def test_an_evaluations_times_are_compared(run, capsys):
  file = tiny_runs.evaluation(run) / "metrics.jsonl"
  whole = file.read_bytes()
  at = whole.index(b'"seconds": ') + len('"seconds": ')
  file.write_bytes(whole[:at] + b"9" + whole[at:])
  for body in (evaluation_run.run, report_run.run):
    line = world.refused(capsys, body, world.config(), run)
    assert f"{file}:1 is damaged: its wall times are altered" in line
  file.unlink()
  with pytest.warns(metric_log.MetricsWarning, match="has no times of"):
    report_run.run(world.config(), run)
