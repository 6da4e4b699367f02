"""What goes wrong in a run: its exit code, its line, and what is left."""

import errno
import os
import signal
import stat
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.building import datasets
from experiments.command import exits
from experiments.command.exits import ExitCode
from experiments.configuration import settings
from experiments.evaluation import evaluation_run
from experiments.training import loop, programs, training_run
from snnjax.storage import checkpoints, files, workdir
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("compiled")
LONG = {"train.epochs": "4000", "train.checkpoint_every": "100000"}


def guarded(body, *arguments):
  return exits.run_guarded(lambda: body(*arguments), "x", False)


def poisoned(at):
  """Loads data of which batch `at`, counted over all epochs, has a NaN."""
  real = datasets.load

  def load(*arguments, **options):
    splits = real(*arguments, **options)
    seen = iter(range(10**6))

    def batches(*arguments, **options):
      for batch in splits.train.batches(*arguments, **options):
        if next(seen) == at:
          holed = batch.inputs["image"].at[3, 4, 5].set(jnp.nan)
          yield batch._replace(inputs={"image": holed})
        else:
          yield batch

    return splits._replace(train=splits.train._replace(batches=batches))

  return load


def test_a_poisoned_batch_stops_the_run_and_is_kept(
  tmp_path, monkeypatch, capsys
):
  # One batch is drawn to shape the weights; the seventh step gets this one.
  monkeypatch.setattr(datasets, "load", poisoned(7))
  made = tiny_runs.config({"modalities.image.encoder": "direct"})
  assert guarded(training_run.run, made, tmp_path) is ExitCode.NON_FINITE
  saved = tmp_path / "arrays" / "non_finite" / "step_7.npz"
  (line,) = [
    n for n in capsys.readouterr().err.splitlines() if n.startswith("x: ")
  ]
  assert line.endswith(f" is nan at step 7; its batch is in {saved}")
  term = line.removeprefix("x: ").split()[0]
  assert term in tiny_runs.lines(tmp_path)[0]
  batch = files.read_arrays(saved)
  inputs = batch["batch.inputs['image']"]
  assert inputs.shape == (32, 28, 28, 1)
  assert np.isnan(inputs).sum() == np.isnan(inputs[3, 4, 5]).sum() == 1
  assert batch["batch.labels"].shape == batch["batch.mask"].shape == (32,)
  assert max(checkpoints.steps(tmp_path / "checkpoints")) == 6
  assert not (tmp_path / "parameters.npz").exists()
  assert [n["step"] for n in tiny_runs.lines(tmp_path) if "loss" in n][-1] == 6
  status, reason = workdir.read_status(tmp_path)
  assert status is workdir.Status.FAILED
  assert "at step 7" in reason
  # The data mended, the same command goes on from the last good checkpoint.
  monkeypatch.undo()
  training_run.run(made, tmp_path)
  assert tiny_runs.status(tmp_path) == "done"


def test_a_rate_that_diverges_is_caught_before_a_checkpoint(tmp_path):
  changes = {"optimizer.learning_rate": "1e38", "optimizer.kind": "sgd"}
  made = tiny_runs.config(changes | {"train.checkpoint_every": "1"})
  assert guarded(training_run.run, made, tmp_path) is ExitCode.NON_FINITE
  for step in checkpoints.steps(tmp_path / "checkpoints"):
    assert checkpoints.verify(step, tmp_path / "checkpoints") == ""
  (saved,) = (tmp_path / "arrays" / "non_finite").iterdir()
  step = int(saved.stem.removeprefix("step_"))
  assert all(s < step for s in checkpoints.steps(tmp_path / "checkpoints"))


@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_out_of_memory_is_answered_with_advice(
  tmp_path, monkeypatch, capsys, phase
):
  def exhausted(*arguments, **options):
    raise jax.errors.JaxRuntimeError(
      "RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes."
    )

  made = tiny_runs.config()
  body = training_run.run
  if phase == "train":
    monkeypatch.setattr(programs.steps, "make_train_step", lambda *_: exhausted)
  else:
    training_run.run(made, tmp_path)
    body = evaluation_run.run
    monkeypatch.setattr(evaluation_run.assessment, "assess", exhausted)
  assert guarded(body, made, tmp_path) is ExitCode.OUT_OF_MEMORY
  line = capsys.readouterr().err.splitlines()[-1]
  for word in ("batch size", "time steps T", "microbatch", "7 bytes"):
    assert word in line
  monkeypatch.undo()
  body(made, tmp_path)


@pytest.mark.parametrize("victim", ["checkpoint", "metrics", "parameters"])
def test_a_full_disk_is_one_line_and_leaves_the_older_checkpoints(
  tmp_path, monkeypatch, capsys, victim
):
  def full(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

  made = tiny_runs.config()
  real = checkpoints.files.write_json

  def manifest(path, value):
    return full() if "00000006" in str(path) else real(path, value)

  if victim == "checkpoint":
    monkeypatch.setattr(checkpoints.files, "write_json", manifest)
  elif victim == "metrics":
    monkeypatch.setattr(loop.metric_log.os, "fsync", full)
  else:
    monkeypatch.setattr(loop.array_files, "export", full)
  assert guarded(training_run.run, made, tmp_path) is ExitCode.DISK_FULL
  lines = capsys.readouterr().err.splitlines()
  assert len([line for line in lines if line.startswith("x: ")]) == 1
  assert lines[-1].startswith("x: disk full: [Errno 28] No space left")
  monkeypatch.undo()
  expected = {"checkpoint": (3, 5), "metrics": (), "parameters": (6, 9, 10)}
  folder = tmp_path / "checkpoints"
  assert checkpoints.steps(folder) == expected[victim]
  for step in checkpoints.steps(folder):
    assert checkpoints.verify(step, folder) == ""
  training_run.run(made, tmp_path)
  assert tiny_runs.status(tmp_path) == "done"


def test_a_full_disk_in_an_evaluation_keeps_what_is_finished(
  tmp_path, monkeypatch
):
  made = tiny_runs.config()
  training_run.run(made, tmp_path)
  real = files.write_arrays

  def full(path, *rest):
    if path.name == "000005.npz":
      raise OSError(errno.ENOSPC, "No space left on device", str(path))
    real(path, *rest)

  monkeypatch.setattr(workdir.files, "write_arrays", full)
  assert guarded(evaluation_run.run, made, tmp_path) is ExitCode.DISK_FULL
  monkeypatch.undo()
  kept = sorted((tiny_runs.evaluation(tmp_path) / "arrays/chunks").iterdir())
  assert [path.stem for path in kept] == [f"{n:06d}" for n in range(5)]
  stamps = [path.stat().st_mtime_ns for path in kept]
  evaluation_run.run(made, tmp_path)
  assert [path.stat().st_mtime_ns for path in kept] == stamps


def test_sigterm_saves_a_checkpoint_and_the_run_goes_on(tmp_path):
  folder = tmp_path / "run"
  arguments = tiny_runs.words(folder, LONG)
  child = tiny_runs.start("train", *arguments)
  with child:
    path = folder / "metrics.jsonl"
    tiny_runs.wait_for(lambda: tiny_runs.count_lines(path) > 20)
    begun = time.monotonic()
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    spent = time.monotonic() - begun
  assert child.returncode == ExitCode.PREEMPTED, err
  assert spent < 30
  assert err.endswith("; run the same command to go on\n")
  assert tiny_runs.status(folder) == "preempted"
  last = tiny_runs.lines(folder)[-1]["step"]
  (step,) = checkpoints.steps(folder / "checkpoints")[-1:]
  assert step == last
  assert f"stopped after step {step} of " in err


def test_sigterm_stops_an_evaluation_between_microbatches(tmp_path):
  folder = tmp_path / "run"
  many = {
    "data.test_examples": "1024",
    "evaluation.examples": "1024",
    "evaluation.microbatch": "4",
  }
  training_run.run(tiny_runs.config(many), folder)
  child = tiny_runs.start("evaluate", *tiny_runs.words(folder, many))
  chunks = "evaluation_*/arrays/chunks/[0-9]*"
  with child:
    tiny_runs.wait_for(lambda: len(list(folder.glob(chunks))) > 5)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
  assert child.returncode == ExitCode.PREEMPTED, err
  assert "stopped after microbatch" in err
  assert tiny_runs.status(tiny_runs.evaluation(folder)) == "preempted"


def test_a_home_that_cannot_be_written_costs_only_the_cache(tmp_path):
  home = tmp_path / "home"
  home.mkdir()
  home.chmod(stat.S_IRUSR | stat.S_IXUSR)
  if os.geteuid() == 0:  # root writes anywhere but under a file
    home = tmp_path / "file"
    home.write_text("")
  empty = dict.fromkeys(("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"), "")
  folder = tmp_path / "run"
  code, out, err = tiny_runs.finished(
    "train",
    *tiny_runs.words(folder, {"train.epochs": "1"}),
    environment={**empty, "HOME": str(home)},
  )
  assert code == 0, err
  assert "compilations are not kept" in err
  assert f"trained: {folder / 'parameters.npz'}." in out


def test_two_processes_do_not_share_a_workdir(tmp_path, capsys):
  made = tiny_runs.config()
  with workdir.open_with_status(tmp_path, settings.to_dict(made)):
    assert guarded(training_run.run, made, tmp_path) is ExitCode.IO
  assert "another process runs in the workdir" in capsys.readouterr().err
