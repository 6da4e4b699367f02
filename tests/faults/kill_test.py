"""kill -9 at ten random moments leaves the bits of a run that was not."""

import os
import random
import signal
import time

import pytest

from experiments.command import exits
from experiments.configuration import settings
from experiments.sweeping import sweep_run
from experiments.training import training_run
from snnjax.storage import environment
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

KILLS = 10
LONG = {
  "data.train_examples": "400",
  "data.test_examples": "128",
  "train.epochs": "15",
  "train.checkpoint_every": "4",
  "evaluation.examples": "128",
}
STEPS = 150


@pytest.fixture(scope="module")
def server(compiled):  # noqa: F811
  with tiny_runs.server() as made:
    yield made


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
  """A run that nobody interrupts, trained and evaluated."""
  folder = tmp_path_factory.mktemp("whole") / "run"
  arguments = tiny_runs.words(folder, LONG)
  assert server.run("train", arguments) == 0
  assert server.run("evaluate", arguments) == 0
  return folder


def interrupted(server, binary, arguments, progress, grown, by=signal.SIGKILL):
  """Signals a run once `progress` has grown so much, a random moment later.

  Returns the exit code.
  """
  before = progress()
  child = server.begin(binary, arguments)
  tiny_runs.wait_for(lambda: progress() != before)
  base = min(before, progress())  # a resumed run cuts what it does again
  tiny_runs.wait_for(lambda: progress() >= base + grown)
  time.sleep(random.uniform(0, 0.02))
  os.kill(child, by)
  return server.end()


def test_training_killed_ten_times_has_the_same_bits(server, whole, tmp_path):
  folder = tmp_path / "run"
  arguments = tiny_runs.words(folder, LONG)
  choose = random.Random(7)
  reached = []

  def count():
    return tiny_runs.count_lines(folder / "metrics.jsonl")

  for _ in range(KILLS):
    code = interrupted(server, "train", arguments, count, choose.randint(1, 12))
    assert code == -signal.SIGKILL
    assert tiny_runs.status(folder) == "running"
    assert not (folder / "parameters.npz").exists()
    reached.append(tiny_runs.lines(folder)[-1]["step"])
  # Every kill landed in the loop, and the run went on, not back to step 0.
  assert min(reached) >= 1
  assert max(reached) < STEPS
  assert reached[-1] > 10
  # And once as a batch system does it.
  code = interrupted(server, "train", arguments, count, 3, signal.SIGTERM)
  assert code == exits.ExitCode.PREEMPTED
  assert tiny_runs.status(folder) == "preempted"
  assert server.run("train", arguments) == 0
  parameters = tiny_runs.parameters(folder)
  assert tiny_runs.same(parameters, tiny_runs.parameters(whole)) == 4
  assert tiny_runs.equal_metrics(folder, whole)
  assert len(tiny_runs.lines(folder)) == STEPS + 15


def test_evaluation_killed_ten_times_has_the_same_bits(server, whole, tmp_path):
  folder = tmp_path / "run"
  arguments = tiny_runs.words(folder, LONG)
  assert server.run("train", arguments) == 0
  choose = random.Random(8)
  written = {}

  def chunks():
    return list(folder.glob("evaluation_*/arrays/chunks/[0-9]*.npz"))

  def count():
    return len(chunks())

  for number in range(KILLS):
    grown = choose.randint(1, 5)
    code = interrupted(server, "evaluate", arguments, count, grown)
    assert code == -signal.SIGKILL
    assert count() > number
    for path in chunks():
      stamp = path.stat().st_mtime_ns
      # What was there is not computed again.
      assert written.setdefault(path.name, stamp) == stamp
  assert server.run("evaluate", arguments) == 0
  stamps = {path.name: path.stat().st_mtime_ns for path in chunks()}
  assert written.items() <= stamps.items()
  expected = tiny_runs.rows(whole)
  assert tiny_runs.same(tiny_runs.rows(folder), expected) > 100
  assert tiny_runs.status(tiny_runs.evaluation(folder)) == "done"


@pytest.mark.usefixtures("compiled")
def test_what_a_killed_worker_of_a_sweep_was_training_is_gone_on_with(tmp_path):
  changes = {**LONG, "data.test_examples": "64", "evaluation.examples": "8"}
  path = tmp_path / "sweep"
  begun, other = path / "seed=0", path / "seed=1"
  arguments = [*tiny_runs.words(path, changes), "--grid=seed=0,1"]
  with tiny_runs.start("sweep", *arguments) as worker:
    tiny_runs.wait_for(
      lambda: tiny_runs.count_lines(begun / "metrics.jsonl") > 10
    )
    worker.kill()
    worker.communicate()
  assert worker.returncode == -signal.SIGKILL
  assert tiny_runs.status(begun) == "running"
  assert not (begun / "parameters.npz").exists()
  config = tiny_runs.config(changes)
  assert sweep_run.run(config, path, ["seed=0,1"]) == exits.ExitCode.DONE
  # One went on, with another session; the other was begun by the second.
  for run, sessions in ((begun, 2), (other, 1)):
    assert tiny_runs.status(run) == "done"
    assert len(environment.read(run)) == sessions
    assert tiny_runs.lines(run)[-1]["step"] == STEPS
  alone = tmp_path / "alone"
  training_run.run(settings.replaced(config, {"seed": 0}), alone)
  expected = tiny_runs.parameters(alone)
  assert tiny_runs.same(tiny_runs.parameters(begun), expected) == 4
