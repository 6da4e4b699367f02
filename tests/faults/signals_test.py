"""SIGTERM at every phase of every binary: asked for once, never forgotten."""

import collections
import os
import signal
import subprocess
import sys
import threading

import pytest

from experiments import prepare_data
from experiments.command import exits, progress
from experiments.command.exits import ExitCode
from experiments.evaluation import alarm_study, evaluation_run
from experiments.reporting import report_run
from experiments.sweeping import comparison, sweep_run
from experiments.training import training_run
from snnjax import checks
from snnjax.data import manifest
from snnjax.storage import workdir
from tests import tiny_runs
from tests.datasets import downloads
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

SHORT = tiny_runs.SHORT | {"evaluation.alarm_examples": "4"}
STEPS = 5
GRID = ["seed=0,1"]
PHASES = [
  ("train vanilla", 3),
  ("train vanilla", STEPS),  # trained to the end: the evaluation must not begin
  ("attack examples", 16),
  ("measure gradients", 0),
  ("measure gradients", 8),
  ("measure gradients", 16),
  ("check alarms", 1),
]


def send():
  """Sends the process the real signal, which something must be waiting for."""
  assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
  os.kill(os.getpid(), signal.SIGTERM)


class Trap:
  """Sends SIGTERM when a task reports that so many parts are done."""

  def __init__(self, monkeypatch):
    self.wanted = None
    self.seen = []
    real = progress.Reporter.__call__

    def told(reporter, done, total, description, *note, **compiles):
      real(reporter, done, total, description, *note, **compiles)
      self.seen.append((description, done))
      if self.wanted == (description, done):
        self.wanted = None
        send()

    monkeypatch.setattr(progress.Reporter, "__call__", told)


@pytest.fixture
def trap(monkeypatch):
  return Trap(monkeypatch)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
  """On a busy machine a phase may take long to ask; this process must live."""
  monkeypatch.setattr(exits, "GRACE", 3600.0)


@pytest.fixture(scope="module", autouse=True)
def idle_alarms():
  """Alarms whose parts measure nothing, and so take no time."""
  with pytest.MonkeyPatch.context() as patch:
    nothing = collections.defaultdict(lambda: checks.Measurements)
    patch.setattr(alarm_study.checks, "parts", lambda *_: nothing)
    yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory, compiled, idle_alarms):  # noqa: F811
  """A sweep that nobody stops."""
  folder = tmp_path_factory.mktemp("whole")
  made = tiny_runs.config(SHORT)
  assert sweep_run.run(made, folder, ["seed=0"]) is ExitCode.DONE
  return folder / "seed=0"


def leftovers(folder):
  return list(folder.rglob(".tmp-*"))


def test_a_sweep_stops_wherever_the_signal_comes(whole, tmp_path, trap):
  made, first = tiny_runs.config(SHORT), tmp_path / "seed=0"
  for phase in PHASES:
    trap.wanted = phase
    with pytest.raises(workdir.Preempted):
      sweep_run.run(made, tmp_path, GRID)
    assert trap.wanted is None, phase
    assert not (tmp_path / "seed=1").exists(), phase
    assert not (tmp_path / sweep_run.FOLDER).exists(), phase
    assert not leftovers(tmp_path), phase
    trained = phase[0] != "train vanilla" or phase[1] == STEPS
    assert tiny_runs.status(first) == ("done" if trained else "preempted")
  # What was stopped so often has the bits of a run that was not.
  assert sweep_run.run(made, tmp_path, ["seed=0"]) is ExitCode.DONE
  assert tiny_runs.same(*map(tiny_runs.parameters, (first, whole))) == 4
  assert tiny_runs.equal_metrics(first, whole)
  assert tiny_runs.same(*map(tiny_runs.rows, (first, whole))) > 50
  assert set(PHASES) <= set(trap.seen)


def test_after_its_last_run_a_sweep_still_writes_its_table(
  whole, monkeypatch, capsys
):
  real = sweep_run.report.write

  def written(*arguments):
    send()
    return real(*arguments)

  monkeypatch.setattr(sweep_run.report, "write", written)
  made = tiny_runs.config(SHORT)
  assert sweep_run.run(made, whole.parent, ["seed=0"]) is ExitCode.DONE
  assert "1 of 1 runs are finished." in capsys.readouterr().out


@pytest.mark.usefixtures("compiled")
def test_a_quickstart_stops_between_its_networks(tmp_path, trap):
  made = tiny_runs.config(
    SHORT | {"compared": "vanilla,sr", "data.modalities": "image"}, "quickstart"
  )
  trap.wanted = ("measure gradients", 8)
  with pytest.raises(workdir.Preempted, match="'measure gradients'"):
    comparison.run(made, tmp_path)
  assert tiny_runs.status(tmp_path / "vanilla") == "done"
  assert not (tmp_path / "sr").exists()


def test_simulating_events_is_stopped(tmp_path, trap):
  made = tiny_runs.config(SHORT | {"data.modalities": "events"})
  trap.wanted = ("simulate events (train)", 128)
  with pytest.raises(workdir.Preempted, match="at 128 of 160"):
    training_run.run(made, tmp_path)
  assert tiny_runs.status(tmp_path) == "preempted"


def test_a_report_is_stopped_before_it_is_written(whole, monkeypatch):
  real = report_run.assessment.load

  def load(*arguments):
    send()
    return real(*arguments)

  monkeypatch.setattr(report_run.assessment, "load", load)
  with pytest.raises(workdir.Preempted, match="before the report"):
    report_run.run(tiny_runs.config(SHORT), whole)
  assert not (whole / "report").exists()


@pytest.mark.parametrize(
  "phase",
  [("hash source files", 4), ("write train", 1000), ("verify train", 1000)],
)
def test_a_preparation_is_stopped_and_leaves_nothing(tmp_path, trap, phase):
  source, folder = tmp_path / "source", tmp_path / "data"
  downloads.write_mnist(source, (1500, 3))
  words = {"source": source, "name": "mnist", "data_dir": folder}
  trap.wanted = phase
  with progress.reporter() as report, pytest.raises(workdir.Preempted):
    prepare_data.run(**words, report=report)
  assert trap.wanted is None
  assert list(folder.rglob("*")) == []
  assert prepare_data.run(**words).fresh
  assert [one.fault for one in manifest.list_prepared(folder)] == [""]


def started(tmp_path):
  """Every body that takes long, by name, none of them begun."""
  made = tiny_runs.config(SHORT)
  quick = tiny_runs.config(SHORT | {"data.modalities": "image"}, "quickstart")
  return {
    "train": lambda: training_run.run(made, tmp_path),
    "sweep": lambda: sweep_run.run(made, tmp_path, GRID),
    "quickstart": lambda: comparison.run(quick, tmp_path),
  }


@pytest.mark.parametrize("name", ["train", "sweep", "quickstart"])
def test_a_signal_before_the_first_phase_is_not_forgotten(tmp_path, name):
  with exits.stop_on_sigterm():
    send()
    with pytest.raises(workdir.Preempted):
      started(tmp_path)[name]()
  assert not list(tmp_path.rglob("checkpoints"))


def test_a_signal_before_an_evaluation_or_a_report(whole, tmp_path):
  made = tiny_runs.config(SHORT | {"evaluation.steps": "3"})
  with exits.stop_on_sigterm():
    send()
    with pytest.raises(workdir.Preempted, match="before the evaluation"):
      evaluation_run.run(made, whole)
    with pytest.raises(workdir.Preempted, match="was read"):
      report_run.run(made, whole, out=tmp_path / "report")
  assert not (tmp_path / "report").exists()


def test_one_flag_for_all_phases_and_threads_of_a_process():
  answers = []

  def phase():
    with exits.stop_on_sigterm() as should_stop:
      answers.append(should_stop())

  with exits.stop_on_sigterm() as outer:
    phase()
    send()
    phase()
    phase()
    thread = threading.Thread(target=phase)
    thread.start()
    thread.join()
    assert outer()
  phase()  # another process life, in a notebook for instance
  assert answers == [False, True, True, True, False]


# A global of the main module is deleted after Python has given the signals'
# handlers back: there is no later moment.
LAST = """
import atexit, os, runpy, signal, sys
class Last:
  def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
    kill(pid, number)
if sys.argv.pop(1) == "atexit":
  atexit.register(os.kill, os.getpid(), signal.SIGTERM)
else:
  sys.last = Last()
runpy.run_module("experiments.train", None, "__main__", True)
"""


@pytest.mark.parametrize("moment", ["atexit", "del"])
def test_the_last_moments_of_a_finished_run_keep_its_code(whole, moment):
  words = tiny_runs.words(whole, SHORT)
  done = subprocess.run(
    [sys.executable, "-c", LAST, moment, *words],
    cwd=tiny_runs.ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == ExitCode.DONE, done.stderr
  assert "is finished; nothing to do" in done.stdout
