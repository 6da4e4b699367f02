"""Two processes train one network: sliced, stopped by one, resumed."""

import contextlib
import signal
import socket
import types

import jax
import pytest

from experiments import train
from experiments.building import devices
from experiments.building.shared import Shared
from experiments.command.exits import UsageError
from experiments.runs import device_flags
from experiments.training import training_run
from snnjax.storage import checkpoints, environment
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

CHANGES = {"train.epochs": "4", "data.validation": "0.2"}


def free_port():
  with socket.socket() as listening:
    listening.bind(("127.0.0.1", 0))
    return listening.getsockname()[1]


@contextlib.contextmanager
def pair(folder, changes=()):
  """Starts both; they are no more when the block ends."""
  port = free_port()
  both = [
    tiny_runs.start(
      "train",
      *tiny_runs.words(folder, CHANGES | dict(changes)),
      "--distributed",
      f"--process={rank}/2@127.0.0.1:{port}",
    )
    for rank in range(2)
  ]
  try:
    yield both
  finally:
    for child in both:
      child.kill()
    for child in both:
      child.communicate()


@pytest.mark.parametrize("text", ["2/2@h:1", "0/2", "0/2@h", "-1/2@h:1", ""])
def test_a_process_that_cannot_be_is_refused(text):
  with pytest.raises(UsageError) as refused:
    devices.join(text)
  told = str(refused.value)
  assert told.startswith("--process must be I/N@HOST:PORT for process I of N")
  assert f"got {text!r}" in told


def test_processes_with_unequal_devices_are_refused(monkeypatch):
  """The first has one, the second two."""
  there = [types.SimpleNamespace(process_index=n, id=n) for n in (1, 0, 1)]
  monkeypatch.setattr(jax.distributed, "initialize", lambda *words: None)
  monkeypatch.setattr(jax, "devices", lambda: there)
  with pytest.raises(UsageError, match=r"every process must have .*: 1, 2$"):
    devices.join("0/2@h:1")


def test_flags_that_contradict_each_other_are_refused(monkeypatch, tmp_path):
  def say(module, name, value):
    monkeypatch.setattr(module, name, types.SimpleNamespace(value=value))

  say(train, "_DISTRIBUTED", False)
  say(train, "_PROCESS", "0/2@h:1")
  with pytest.raises(UsageError, match="0/2@h:1 is one of several: give --dis"):
    train.run(tiny_runs.config(), tmp_path / "run")
  say(train, "_DISTRIBUTED", True)
  say(device_flags, "_MESH", "data:2")
  with pytest.raises(UsageError, match=r"takes all .* leave out --mesh=data:2"):
    train.run(tiny_runs.config(), tmp_path / "run")


def ended(both):
  """Exit code and errors of both."""
  ends = [child.communicate(timeout=280) for child in both]
  return [child.returncode for child in both], [err for _, err in ends]


@pytest.mark.timeout(900)  # six processes start, on a busy machine one by one
@pytest.mark.usefixtures("compiled")
def test_two_processes_killed_and_stopped_come_to_the_same_bits(tmp_path):
  """As one process on two devices that nobody stops."""
  whole, stopped = tmp_path / "whole", tmp_path / "stopped"
  two = Shared(devices=devices.choose("data:2"))
  training_run.run(tiny_runs.config(CHANGES), whole, two)
  metrics = stopped / "metrics.jsonl"
  with pair(stopped):  # killed at the end of the block
    tiny_runs.wait_for(lambda: tiny_runs.count_lines(metrics) > 3, 240)
  kept = stopped / "checkpoints"
  before = checkpoints.steps(kept)[-1]
  with pair(stopped) as both:
    # What saving must import and compile is there: the next one is in time.
    tiny_runs.wait_for(lambda: checkpoints.steps(kept)[-1] > before, 240)
    both[1].send_signal(signal.SIGTERM)  # not the one that writes
    codes, errors = ended(both)
  assert codes == [7, 7], errors
  steps = [err.split("stopped after step ")[1].split()[0] for err in errors]
  assert steps[0] == steps[1]
  assert tiny_runs.status(stopped) == "preempted"
  assert checkpoints.steps(kept)[-1] == int(steps[0])
  with pair(stopped) as both:
    codes, errors = ended(both)
  assert codes == [0, 0], errors
  assert tiny_runs.status(stopped) == "done"
  for session in environment.read(stopped):
    assert session["mesh"] == {"data": 2}
    assert session["processes"] == 2
  folders = (whole, stopped)
  assert tiny_runs.same(*map(tiny_runs.parameters, folders)) == 4
  assert tiny_runs.equal_metrics(*folders)
