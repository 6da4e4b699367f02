"""Who reads a finished run shares it, also on a disk that is read-only."""

import contextlib
import fcntl
import json
import os
import shutil
import threading
import time
import types

import pytest

from experiments import prepare_data
from experiments.command import doctor_checks
from experiments.command.exits import ExitCode
from experiments.evaluation import evaluation_run
from experiments.reporting import report_run
from experiments.sweeping import sweep_run
from experiments.training import training_run
from snnjax.storage import workdir
from tests import tiny_runs
from tests.datasets import downloads
from tests.faults import disks
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

SHORT = tiny_runs.SHORT
GRID = ["seed=0,1"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory, compiled):  # noqa: F811
  """A finished sweep of two runs."""
  folder = tmp_path_factory.mktemp("swept") / "sweep"
  assert sweep_run.run(tiny_runs.config(SHORT), folder, GRID) is ExitCode.DONE
  return folder


@pytest.fixture
def read_only(swept, tmp_path):
  """The same sweep on a read-only disk."""
  with disks.mounted(tmp_path / "disk") as disk:
    shutil.copytree(swept, disk / "sweep")
    (disk / "sweep" / "seed=1" / ".lock").unlink()  # as a copy may lack it
    disks.make_read_only(disk)
    with pytest.raises(OSError, match="Read-only"):
      (disk / "file").touch()
    yield disk / "sweep"


def test_a_finished_run_on_a_read_only_disk_is_done(
  read_only, tmp_path, capsys
):
  made = tiny_runs.config(SHORT)
  for name in ("seed=0", "seed=1"):
    cell = tiny_runs.config(SHORT | {"seed": name[-1]})
    run = read_only / name
    for body in (training_run.run, evaluation_run.run):
      assert disks.guarded(body, cell, run) is ExitCode.DONE
      assert "is finished; nothing to do" in capsys.readouterr().out
    out = tmp_path / f"report {name}"
    assert disks.guarded(report_run.run, cell, run, "", out) is ExitCode.DONE
    assert f"report: {out / 'report.html'}" in capsys.readouterr().out
    document = json.loads((out / "report.json").read_text())
    assert {alarm["subject"] for alarm in document["alarms"]} == {name}
    assert json.loads((out / "leaderboard.json").read_text())["entries"]
  assert disks.guarded(sweep_run.run, made, read_only, GRID) is ExitCode.DONE
  out, err = capsys.readouterr()
  assert "2 of 2 runs are finished." in out
  assert f"table: {read_only / 'table' / 'report.html'}" in out
  assert err == ""


def test_a_report_that_cannot_be_written_says_where_it_can(read_only, capsys):
  made = tiny_runs.config(SHORT)
  assert disks.guarded(report_run.run, made, read_only) is ExitCode.IO
  (line,) = capsys.readouterr().err.splitlines()
  assert str(read_only / "report") in line
  assert "Read-only file system" in line
  assert line.endswith("--out=DIR")


def test_another_table_is_not_passed_off_as_this_one(read_only, capsys):
  made = tiny_runs.config(SHORT)
  code = disks.guarded(sweep_run.run, made, read_only, ["seed=0"])
  assert code is ExitCode.IO
  (line,) = capsys.readouterr().err.splitlines()
  assert "cannot be written" in line


def test_an_unfinished_run_on_a_read_only_disk_cannot_go_on(
  read_only, tmp_path, capsys
):
  made = tiny_runs.config(SHORT | {"evaluation.steps": "3"})
  code = disks.guarded(evaluation_run.run, made, read_only / "seed=0")
  assert code is ExitCode.IO
  (line,) = capsys.readouterr().err.splitlines()
  assert "workdir cannot be written: Read-only file system" in line


def test_prepared_data_on_a_read_only_disk(tmp_path):
  source = tmp_path / "source"
  downloads.write_mnist(source)
  with disks.mounted(tmp_path / "disk") as disk:
    assert prepare_data.run(source, "mnist", disk).fresh
    disks.make_read_only(disk)
    assert not prepare_data.run(source, "mnist", disk).fresh
    found = doctor_checks.examine(str(disk))
    states = {each.name: each.state for each in found}
    assert states["data mnist"] is doctor_checks.State.FINE


def test_readers_of_prepared_data_share_it(tmp_path):
  source, folder = tmp_path / "source", tmp_path / "data"
  downloads.write_mnist(source)
  assert prepare_data.run(source, "mnist", folder).fresh
  descriptor = os.open(folder / "mnist", os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    assert not prepare_data.run(source, "mnist", folder).fresh
    with pytest.raises(OSError, match="another process prepares"):
      prepare_data.run(source, "mnist", folder, overwrite=True)
  finally:
    os.close(descriptor)


def test_three_reports_of_one_run_at_once(swept, monkeypatch):
  """Each has opened the evaluation before the first one closes it."""
  together = threading.Barrier(3, timeout=60)
  real = report_run.assessment.load

  def load(*arguments):
    together.wait()
    return real(*arguments)

  monkeypatch.setattr(report_run.assessment, "load", load)
  made, codes = tiny_runs.config(SHORT), []

  def reports():
    with contextlib.suppress(threading.BrokenBarrierError):
      code = disks.guarded(report_run.run, made, swept / "seed=0")
      codes.append(code)

  threads = [threading.Thread(target=reports) for _ in range(3)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert codes == [ExitCode.DONE] * 3
  assert (swept / "seed=0" / "report" / "report.html").exists()
  assert not disks.leftovers(swept)
  shutil.rmtree(swept / "seed=0" / "report")


@contextlib.contextmanager
def locked(folder, kind=fcntl.LOCK_EX):
  """Holds a workdir as another process would."""
  with (folder / ".lock").open("a+") as stream:
    fcntl.flock(stream, kind | fcntl.LOCK_NB)
    yield


def test_a_reader_beside_a_writer_gets_one_clear_line(swept, capsys):
  made = tiny_runs.config(SHORT)
  evaluation = tiny_runs.evaluation(swept / "seed=0")
  with locked(evaluation):
    code = disks.guarded(report_run.run, made, swept / "seed=0")
  assert code is ExitCode.IO
  (line,) = capsys.readouterr().err.splitlines()
  assert (
    "another process runs in the workdir; wait until it has ended: " in line
  )
  assert str(evaluation) in line


def test_a_writer_beside_a_reader_gets_one_clear_line(tmp_path):
  with workdir.open_with_status(tmp_path, {"a": 1}):
    pass
  (tmp_path / "status.json").unlink()  # unfinished, and somebody looks at it
  with (
    locked(tmp_path, fcntl.LOCK_SH),
    pytest.raises(workdir.WorkdirBusy, match="another process reads the"),
  ):
    workdir.open(tmp_path, {"a": 1})
  workdir.open(tmp_path, {"a": 1}).close()


def test_readers_of_a_workdir_share_it_and_change_nothing(tmp_path):
  with workdir.open_with_status(tmp_path, {"a": 1}):
    pass
  before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
  with (
    workdir.open_finished(tmp_path) as one,
    workdir.open_finished(tmp_path) as other,
    workdir.open_with_status(tmp_path, {"a": 1}) as third,
  ):
    assert one.config == other.config == third.config == {"a": 1}
    assert third.outcome is workdir.Outcome.FINISHED
  assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_only_a_finished_run_can_be_read(tmp_path):
  with pytest.raises(ValueError, match="must hold a finished run; it holds no"):
    workdir.open_finished(tmp_path).__enter__()
  with (
    workdir.open_with_status(tmp_path / "run", {"a": 1}),
    pytest.raises(ValueError, match="it holds one that is running"),
  ):
    workdir.open_finished(tmp_path / "run").__enter__()


class Other:
  """Another process, which has a folder until a sweep's worker waits."""

  def __init__(self, monkeypatch):
    self.held = contextlib.ExitStack()
    self.waited = 0
    clock = types.SimpleNamespace(sleep=self.sleep, monotonic=time.monotonic)
    monkeypatch.setattr(sweep_run, "time", clock)

  def sleep(self, seconds):
    assert seconds == sweep_run.LOOK_AGAIN
    self.waited += 1
    self.held.close()

  def takes(self, folder, kind=fcntl.LOCK_EX):
    folder.mkdir(exist_ok=True)
    self.held.enter_context(locked(folder, kind))


@pytest.mark.parametrize("moment", ["training", "evaluation", "reading"])
def test_whatever_another_process_has_is_looked_at_later(
  swept, tmp_path, monkeypatch, capsys, moment
):
  """The lock of a run meets another process in each of its three phases.

  That is a process which is no worker of the sweep, such as a training or a
  report that a person began in a run's own folder.
  """
  shutil.copytree(swept, tmp_path / "sweep")
  path, made = tmp_path / "sweep", tiny_runs.config(SHORT)
  first = path / "seed=0"
  evaluation = tiny_runs.evaluation(first)
  if moment == "training":
    tiny_runs.set_status(first, workdir.Status.PREEMPTED)
  if moment == "evaluation":
    shutil.rmtree(evaluation)
  other = Other(monkeypatch)
  taken = {
    "training": (training_run, "opened", first),
    "evaluation": (
      evaluation_run.evaluation_folders,
      "open_folder",
      evaluation,
    ),
    "reading": (report_run, "load", evaluation),
  }
  module, name, folder = taken[moment]
  real = getattr(module, name)
  calls = []

  def taken_first(place, *arguments):
    calls.append(place)
    if len(calls) == 1:
      other.takes(folder)
    return real(place, *arguments)

  monkeypatch.setattr(module, name, taken_first)
  assert sweep_run.run(made, path, GRID) is ExitCode.DONE
  out, err = capsys.readouterr()
  assert other.waited == 1
  assert "seed=0: another process has it; looked at again later" in out
  assert "2 of 2 runs are finished." in out
  assert "failed" not in err


def test_workers_read_the_finished_runs_at_once(swept, monkeypatch, capsys):
  other = Other(monkeypatch)
  for name in ("seed=0", "seed=1"):
    other.takes(swept / name, fcntl.LOCK_SH)
    other.takes(tiny_runs.evaluation(swept / name), fcntl.LOCK_SH)
  code = sweep_run.run(tiny_runs.config(SHORT), swept, GRID)
  assert code is ExitCode.DONE
  assert other.waited == 0
  assert "another process" not in capsys.readouterr().out
  other.held.close()
