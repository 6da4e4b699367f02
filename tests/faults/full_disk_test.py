"""A disk that is really full: one line, nothing half-written, a resume."""

import re
import shutil
import sys
import threading

import numpy as np
import pytest

from experiments import prepare_data
from experiments.command.exits import ExitCode
from experiments.evaluation import evaluation_run
from experiments.reporting import report_run
from experiments.sweeping import sweep_run
from experiments.training import training_run
from snnjax.data import manifest
from snnjax.storage import checkpoints, files, workdir
from tests import tiny_runs
from tests.datasets import downloads
from tests.faults import disks
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

SHORT = tiny_runs.SHORT
TREE = {
  f"layer {number:02d}": np.random.default_rng(number)
  .normal(size=(200, 100))
  .astype(np.float32)
  for number in range(20)
}  # 1.6 MB in files that are written at once
_PROGRESS = re.compile(r"[a-z ]+(\([a-z]+\))?: \d+/\d+ \(\d+ %\)")


@pytest.fixture
def disk(tmp_path):
  with disks.mounted(tmp_path / "disk") as made:
    yield made


@pytest.fixture
def silence(monkeypatch):
  """What threads could raise where nobody catches it."""
  raised = []
  monkeypatch.setattr(sys, "unraisablehook", raised.append)
  monkeypatch.setattr(sys, "excepthook", lambda *error: raised.append(error))
  monkeypatch.setattr(threading, "excepthook", raised.append)
  yield
  assert raised == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory, compiled):  # noqa: F811
  """A run on a disk with room, trained, evaluated and reported."""
  folder = tmp_path_factory.mktemp("whole") / "run"
  made = tiny_runs.config(SHORT)
  training_run.run(made, folder)
  evaluation_run.run(made, folder)
  report_run.run(made, folder)
  return folder


def size(folder):
  return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def told(err):
  """The lines on standard error, less those of progress."""
  return [line for line in err.splitlines() if not _PROGRESS.match(line)]


def fails_and_goes_on(disk, left, capfd, body, *arguments):
  """Runs a body with so many bytes left, and again with room."""
  with disks.filled(disk, left):
    capfd.readouterr()
    assert disks.guarded(body, *arguments) is ExitCode.DISK_FULL
    (line,) = told(capfd.readouterr().err)
    assert re.match(r"x: disk full: \[Errno 28\] ", line)
    assert str(disk) in line  # what was being written
    assert line.endswith("; what was saved before is intact")
  assert not disks.leftovers(disk)
  assert disks.guarded(body, *arguments) is ExitCode.DONE
  assert told(capfd.readouterr().err) == []
  assert not disks.leftovers(disk)


@pytest.mark.usefixtures("silence")
@pytest.mark.parametrize("left", [10, 100, 700, 1300])
def test_checkpoints_on_a_full_disk(disk, left, capfd):
  checkpoints.save(1, TREE, disk)
  with disks.filled(disk, left << 10):
    for _ in range(3):  # writes race: not every one ends alike
      with pytest.raises(OSError, match="No space left on device"):
        checkpoints.save(2, TREE, disk)
      assert not disks.leftovers(disk)
  assert capfd.readouterr() == ("", "")
  assert checkpoints.steps(disk) == (1,)
  assert checkpoints.verify(1, disk) == ""
  checkpoints.save(2, TREE, disk)
  found = checkpoints.restore(disk, TREE)
  assert found.step == 2
  assert tiny_runs.same(found.tree, TREE) == len(TREE)


@pytest.mark.usefixtures("silence")
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_training_on_a_full_disk(whole, disk, capfd, share):
  run, made = disk / "run", tiny_runs.config(SHORT)
  kept = [whole / "parameters.npz", whole / "checkpoints"]
  needed = kept[0].stat().st_size + size(kept[1])
  left = int(share * needed)
  fails_and_goes_on(disk, left, capfd, training_run.run, made, run)
  assert tiny_runs.status(run) == "done"
  assert tiny_runs.same(*map(tiny_runs.parameters, (run, whole))) == 4
  assert tiny_runs.equal_metrics(run, whole)


@pytest.mark.usefixtures("silence")
@pytest.mark.parametrize("share", [0.0, 0.8])
def test_evaluating_on_a_full_disk(whole, disk, capfd, share):
  run, made = disk / "run", tiny_runs.config(SHORT)
  shutil.copytree(whole, run)
  evaluation = tiny_runs.evaluation(run)
  blocks = len(list(evaluation.rglob("*.npz")))  # a page of memory at least
  shutil.rmtree(evaluation)
  left = int(share * 4096 * blocks)
  fails_and_goes_on(disk, left, capfd, evaluation_run.run, made, run)
  assert tiny_runs.same(*map(tiny_runs.rows, (run, whole))) > 50


@pytest.mark.parametrize("left", [0, 60])
def test_reporting_on_a_full_disk(whole, disk, capfd, left):
  run, made = disk / "run", tiny_runs.config(SHORT)
  shutil.copytree(whole, run)
  shutil.rmtree(run / "report")
  fails_and_goes_on(disk, left << 10, capfd, report_run.run, made, run)
  names = {path.name for path in (run / "report").rglob("*")}
  assert names == {path.name for path in (whole / "report").rglob("*")}


def test_the_old_report_stays_whole_on_a_full_disk(whole, disk, capfd):
  run, made = disk / "run", tiny_runs.config(SHORT)
  shutil.copytree(whole, run)
  with disks.filled(disk, 0):
    code = disks.guarded(report_run.run, made, run)
    assert code is ExitCode.DISK_FULL
  for path in (whole / "report").rglob("*.*"):
    there = run / "report" / path.relative_to(whole / "report")
    assert there.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("left", [0, 12, 1000])
def test_preparing_data_on_a_full_disk(tmp_path, disk, capfd, left):
  source, data = tmp_path / "source", disk / "data"
  downloads.write_mnist(source, (2000, 30))

  def prepare():
    prepare_data.run(source, "mnist", data)

  fails_and_goes_on(disk, left << 10, capfd, prepare)
  (one,) = manifest.list_prepared(data)
  assert (one.fault, dict(one.splits)) == ("", {"train": 2000, "test": 30})


def test_a_sweep_on_a_full_disk_goes_on(whole, disk, capfd):
  made = tiny_runs.config(SHORT)
  shutil.copytree(whole, disk / "sweep" / "seed=0")
  arguments = sweep_run.run, made, disk / "sweep", ["seed=0,1"]
  with disks.filled(disk, 100 << 10):
    assert disks.guarded(*arguments) is ExitCode.DISK_FULL
  out, err = capfd.readouterr()
  assert "1 of 2 runs are finished." in out
  run, table = told(err)  # neither the run nor the table had room
  assert run.startswith("seed=1 failed: disk full: [Errno 28] checkpoint of ")
  assert table.startswith("x: disk full: [Errno 28] the report cannot be ")
  assert not disks.leftovers(disk)
  assert disks.guarded(*arguments) is ExitCode.DONE


def test_a_process_that_ends_on_a_full_disk_says_one_line(disk):
  """Threads that outlive the error speak when their process ends."""
  words = tiny_runs.words(disk / "run", SHORT | {"model.hidden": "256,"})
  with disks.filled(disk, 1500 << 10):
    code, out, err = tiny_runs.finished("train", *words)
  assert code == ExitCode.DISK_FULL
  (line,) = told(err)
  assert line.startswith("experiments.train: disk full: [Errno 28] checkpoint")
  assert "trained" not in out
  assert not disks.leftovers(disk)
  assert workdir.read_status(disk / "run")[0] is workdir.Status.FAILED


@pytest.mark.parametrize("left", [0, 8])
def test_a_file_that_does_not_fit_is_named(disk, left):
  file = disk / "file.json"
  files.write_json(file, {"old": 1})
  with (
    disks.filled(disk, left << 10),
    pytest.raises(OSError, match="No space left on device") as caught,
  ):
    files.write_bytes(file, bytes(100_000))
  assert caught.value.filename == str(file)
  assert files.read_json(file) == {"old": 1}
  assert not disks.leftovers(disk)
