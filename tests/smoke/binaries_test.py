"""Every binary through its own entry: help, two steps, and a report."""

import importlib
import json
import resource
import subprocess
import sys

import pytest

from experiments import doctor, evaluate, quickstart, report, sweep, train
from experiments.command import exits
from experiments.configuration import settings
from tests import tiny_runs
from tests.tiny_runs import compiled, one_device  # noqa: F401 (fixtures)

BINARIES = (
  "train",
  "evaluate",
  "report",
  "prepare_data",
  "doctor",
  "sweep",
  "quickstart",
)
TWO_STEPS = {
  "data.train_examples": "64",
  "data.validation": "0",
  "data.test_examples": "16",
  "train.epochs": "1",
  "evaluation.examples": "16",
}


@pytest.mark.parametrize("name", BINARIES)
def test_help_answers_before_anything_heavy_is_imported(name):
  script = """
import runpy, sys
try:
  runpy.run_module(f"experiments.{sys.argv[1]}", None, "__main__", True)
finally:
  heavy = {"jax", "numpy", "flax", "tensorflow_datasets"} & set(sys.modules)
  sys.stderr.write(f"heavy: {sorted(heavy)}")
"""
  seconds = []
  for _ in range(3):
    # CPU time, which a loaded machine does not stretch as much.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
      [sys.executable, "-c", script, name, "--help"],
      cwd=tiny_runs.ROOT,
      capture_output=True,
      text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds.append(
      after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    )
    if seconds[-1] < 0.5:
      break
  assert done.returncode == 0, done.stderr
  assert done.stderr == "heavy: []"
  module = importlib.import_module(f"experiments.{name}")
  assert (module.__doc__ or "-").splitlines()[0] in done.stdout
  assert "8 out of memory" in done.stdout
  assert min(seconds) < 0.5


@pytest.fixture(scope="module")
def trained(tmp_path_factory, compiled, one_device):  # noqa: F811
  folder = tmp_path_factory.mktemp("smoke") / "run"
  train.run(tiny_runs.config(TWO_STEPS), folder)
  return folder


def test_train_takes_two_steps(trained, capsys):
  assert [line["step"] for line in tiny_runs.lines(trained)] == [1, 2]
  assert tiny_runs.status(trained) == "done"
  train.run(tiny_runs.config(TWO_STEPS), trained)
  assert "nothing was checked yet. Run: python -m" in capsys.readouterr().out


def test_evaluate_and_report_follow(trained, capsys):
  evaluate.run(tiny_runs.config(TWO_STEPS), trained)
  shown = capsys.readouterr().out
  for text in ("worst of all", "epsilon", "clean", "Of 20 checks"):
    assert text in shown
  assert tiny_runs.status(tiny_runs.evaluation(trained)) == "done"
  report.flags.FLAGS(["report"])
  report.run(tiny_runs.config(TWO_STEPS), trained)
  assert (trained / "report" / "report.html").stat().st_size > 10_000
  shown = capsys.readouterr().out
  assert "PGD, worst rule" in shown
  assert "Of 20 checks" in shown


@pytest.mark.usefixtures("compiled", "one_device")
def test_sweep_runs_the_grid_of_its_flag(tmp_path):
  sweep.flags.FLAGS(["sweep", "--grid=seed=4"])
  try:
    sweep.run(tiny_runs.config(TWO_STEPS), tmp_path)
  finally:
    sweep.flags.FLAGS["grid"].unparse()
  assert (tmp_path / "table" / "tables" / "runs.csv").exists()
  assert tiny_runs.status(tmp_path / "seed=4") == "done"


@pytest.mark.usefixtures("compiled")
def test_doctor_answers(capsys):
  doctor.flags.FLAGS(["doctor", "--json"])
  try:
    doctor.main()
  finally:
    doctor.flags.FLAGS["json"].unparse()
  assert json.loads(capsys.readouterr().out)["healthy"] is True


@pytest.mark.usefixtures("compiled", "one_device")
def test_quickstart_compares_its_networks(tmp_path, capsys):
  small = tiny_runs.TINY | TWO_STEPS | {"data.modalities": "image"}
  made = tiny_runs.changed(settings.load("quickstart"), small)
  quickstart.run(made, tmp_path)
  shown = capsys.readouterr().out
  for name in made.compared:
    assert tiny_runs.status(tiny_runs.evaluation(tmp_path / name)) == "done"
    assert name in shown
  assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
  stamps = [p.stat().st_mtime_ns for p in tmp_path.rglob("chunks/*")]
  quickstart.run(made, tmp_path)
  assert stamps == [p.stat().st_mtime_ns for p in tmp_path.rglob("chunks/*")]


@pytest.mark.parametrize("name", ["train", "evaluate", "report", "sweep"])
def test_a_misspelt_key_is_answered_with_the_nearest(name):
  code, out, err = tiny_runs.finished(
    name, "--workdir=nowhere", "--config.model.stepps=3"
  )
  assert (code, out) == (exits.ExitCode.USAGE, "")
  assert "did you mean model.steps" in err
  assert not (tiny_runs.ROOT / "nowhere").exists()
