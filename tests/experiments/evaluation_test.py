"""Evaluations by the binaries: rows of single examples, tables, refusals."""

import contextlib
import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
from absl import flags

from experiments.command import exits
from experiments.command.exits import UsageError
from experiments.configuration import schema
from experiments.evaluation import assessment, evaluation_run
from experiments.reporting import attack_table, console, report_run
from experiments.runs import launch
from experiments.training import training_run
from snnjax import evaluation
from snnjax.storage import files, npz, workdir
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, compiled):  # noqa: F811
  folder = tmp_path_factory.mktemp("trained") / "run"
  with contextlib.redirect_stderr(io.StringIO()) as told:
    training_run.run(tiny_runs.config(), folder)
  (folder.parent / "told.txt").write_text(told.getvalue())
  return folder


def evaluated(trained, folder, changes=None):
  """Evaluates a copy of the trained run."""
  shutil.copytree(trained, folder)
  made = tiny_runs.config(changes)
  evaluation_run.run(made, folder)
  return folder


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory):
  folder = tmp_path_factory.mktemp("whole") / "run"
  with contextlib.redirect_stderr(io.StringIO()) as told:
    evaluated(trained, folder)
  (folder.parent / "told.txt").write_text(told.getvalue())
  return folder


def test_progress_tells_what_is_measured_and_attacked(trained, whole):
  lines = (trained.parent / "told.txt").read_text().splitlines()
  ends = [line for line in lines if re.match(r"train \w+: 10/10 ", line)]
  assert re.search(r", loss \d[\d.e-]*, accuracy [\d.]+ %$", ends[0])
  lines = (whole.parent / "told.txt").read_text().splitlines()
  attacking = [line for line in lines if line.startswith("attack examples")]
  assert re.search(r": 0/\d+ .*, clean examples$", attacking[0])
  assert re.search(r" \(100 %\), .* at image 0\.5$", attacking[-1])


def by_example(folder):
  """Each attack's rows by the example's index."""
  found = {}
  for path in sorted(
    (tiny_runs.evaluation(folder) / "arrays/chunks").glob("*.npz")
  ):
    arrays = files.read_arrays(path)
    stage, indices = str(arrays.pop("stage")), arrays.pop("indices")
    budget = str(arrays.pop("budget"))
    assert (budget == "") == (stage == "clean")
    for row, index in enumerate(indices.tolist()):
      for name, values in arrays.items():
        found[stage, name, index] = values[row].tobytes()
  return found


def test_every_example_has_every_row(whole):
  rows = by_example(whole)
  stages = {stage for stage, _, _ in rows}
  assert {f"image/{n}/{a}" for n in (0, 1) for a in ("random", "fgsm")} < stages
  clean = {name for stage, name, _ in rows if stage == "clean"}
  assert clean >= {"rows/prediction", "rows/loss", "rows/correct"}
  attacked = {name for stage, name, _ in rows if stage != "clean"}
  assert attacked >= {
    "rows/prediction",
    "rows/loss",
    "rows/success",
    "rows/distance",
    "rows/zero_gradient",
  }
  for stage in stages:
    names = clean if stage == "clean" else attacked
    assert {k for k in rows if k[0] == stage} == {
      (stage, name, index) for name in names for index in range(64)
    }


@pytest.mark.parametrize("count", [1, 7, 20])
def test_an_examples_rows_do_not_depend_on_how_many_there_are(
  trained, whole, tmp_path, monkeypatch, count
):
  monkeypatch.setattr(assessment, "_study", lambda *_: None)
  some = evaluated(
    trained, tmp_path / "run", {"evaluation.examples": str(count)}
  )
  rows, expected = by_example(some), by_example(whole)
  assert {index for *_, index in rows} == set(range(count))
  assert rows == {key: v for key, v in expected.items() if key[2] < count}


def test_the_gradients_of_a_padded_microbatch_are_those_of_a_full_one(
  trained, whole, tmp_path
):
  some = evaluated(trained, tmp_path / "run", {"evaluation.examples": "11"})
  study, full = (
    files.read_arrays(tiny_runs.evaluation(f) / "arrays/study.npz")
    for f in (some, whole)
  )
  names = [name for name in study if name.startswith("study/metrics/")]
  assert names
  for name in names:
    np.testing.assert_array_equal(study[name], full[name][:11])


def test_an_examples_rows_do_not_depend_on_their_order(
  trained, whole, tmp_path, monkeypatch
):
  order = np.random.default_rng(0).permutation(64)
  real = assessment.evaluating.stream

  def permuted(cases, classify, inputs, labels, **options):
    mixed = {name: images[order] for name, images in inputs.items()}
    return real(cases, classify, mixed, labels[order], indices=order, **options)

  monkeypatch.setattr(assessment.evaluating, "stream", permuted)
  monkeypatch.setattr(assessment, "_study", lambda *_: None)
  other = evaluated(trained, tmp_path / "run")
  assert by_example(other) == by_example(whole)


def test_two_evaluations_have_equal_arrays_and_tables(
  trained, whole, tmp_path, capfd
):
  other = evaluated(trained, tmp_path / whole.name)
  log = capfd.readouterr()
  for task in ("attack examples", "measure gradients"):
    # The first piece compiles: silence would last a while.
    assert f"{task}: 0/" in log.out + log.err
  assert tiny_runs.same(tiny_runs.rows(other), tiny_runs.rows(whole)) > 50
  made = tiny_runs.config()
  for folder in (whole, other):
    report_run.run(made, folder)
  tables = sorted((whole / "report" / "tables").iterdir())
  assert tables
  for path in tables:
    twin = other / "report" / "tables" / path.name
    assert untimed(path) == untimed(twin)


def untimed(path):
  """A table's rows, less what a clock says."""
  with path.open() as stream:
    return [
      {k: v for k, v in row.items() if k not in attack_table.TIMES}
      for row in csv.DictReader(stream)
    ]


def test_a_finished_evaluation_says_so(whole, capsys):
  evaluation_run.run(tiny_runs.config(), whole, tell=console.networks)
  shown = capsys.readouterr().out
  assert shown.startswith(
    f"{tiny_runs.evaluation(whole)} is finished; nothing to do\n"
  )
  # Accuracies, their radius, and the alarms are said again.
  assert "worst of all" in shown
  assert "0.05" in shown
  assert "could not be measured" in shown


def test_another_evaluation_has_a_folder_of_its_own(whole, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(whole, folder)
  first = tiny_runs.evaluation(folder)
  assert first.name == "evaluation_linf_quick_0.05_0.1"
  before = tiny_runs.rows(folder)
  made = tiny_runs.config({"evaluation.steps": "3", "evaluation.examples": "8"})
  evaluation_run.run(made, folder)
  (other,) = set(folder.glob("evaluation_*")) - {first}
  assert other.name.startswith(f"{first.name}_")
  assert tiny_runs.status(other) == "done"
  shutil.move(other, tmp_path / other.name)
  assert tiny_runs.same(tiny_runs.rows(folder), before) > 50
  shutil.move(tmp_path / other.name, other)
  report_run.run(made, folder)
  record = json.loads((folder / "report" / "report.json").read_text())
  told = json.dumps(record)
  assert "linf quick 0.05 0.1 (2)" in told


def test_what_was_not_trained_is_not_evaluated(trained, tmp_path):
  made = tiny_runs.config()
  with pytest.raises(exits.DataError, match=r"holds no run\. Run: python"):
    evaluation_run.run(made, tmp_path / "nothing")
  folder = tmp_path / "run"
  shutil.copytree(trained, folder)
  tiny_runs.set_status(folder, workdir.Status.PREEMPTED)
  with pytest.raises(exits.DataError, match="a run that is preempted"):
    evaluation_run.run(made, folder)


def test_an_evaluation_is_as_the_run_was_configured(trained, tmp_path):
  def parsed(folder, *words):
    values = flags.FlagValues()
    launch.define_flags(values, "base", {})
    argv = ["evaluate", f"--workdir={folder}", *words]
    return launch.parse(
      argv, values, {}, launch.Keys(schema.EVALUATING, recorded=True)
    ).config

  own = parsed(trained, "--config.evaluation.steps=7")
  assert own.evaluation.microbatch == 8
  assert own.evaluation.steps == 7
  assert own.modalities.image.epsilons.linf == (0.05, 0.1)
  other = parsed(trained, "--config=mnist")
  assert other.modalities.image.epsilons.linf == (0.1, 0.2, 0.3)
  assert parsed(tmp_path).evaluation.microbatch == 64
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(exits.DataError, match=r"config\.json is damaged"):
    parsed(tmp_path)


def test_damaged_parameters_are_bad_data(trained, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(trained, folder)
  path = folder / "parameters.npz"
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(exits.DataError, match=r"parameters\.npz is"):
    evaluation_run.run(tiny_runs.config(), folder)


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    ({"evaluation.examples": "65"}, "evaluation.examples must lie in 0..64"),
    ({"evaluation.rules": "bptt_atam,"}, "rules must be 1 or more values"),
    ({"evaluation.norms": "l7"}, "norms must be 1 or more different"),
    (
      {"evaluation.microbatch": "0"},
      "microbatch must be a whole number of at least 1",
    ),
  ],
)
def test_what_does_not_fit_is_the_users_to_correct(
  trained, tmp_path, changes, match
):
  folder = tmp_path / "run"
  shutil.copytree(trained, folder)
  with pytest.raises(UsageError, match=match):
    evaluation_run.run(tiny_runs.config(changes), folder)


def test_a_report_refuses_results_that_could_not_be_judged(whole, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("report"))
  chunks = tiny_runs.evaluation(folder) / "arrays/chunks"
  for path in sorted(chunks.glob("*.npz")):
    arrays, made_from = npz.read(path.read_bytes())
    if str(arrays["stage"]) == "image/1/fgsm":
      arrays["rows/contained"] = np.zeros_like(arrays["rows/contained"])
      arrays["rows/success"] = np.zeros_like(arrays["rows/success"])
      files.write_arrays(path, arrays, made_from)
  (tiny_runs.evaluation(folder) / "metrics.jsonl").unlink()  # has their digests
  with pytest.raises(evaluation.UnjudgedError) as caught:
    report_run.run(tiny_runs.config(), folder)
  said = exits.message(caught.value)
  assert "'image/1/fgsm'" in said
  assert "box (0, 1), radius 0.1" in said
  assert "64 of 64 (100%)" in said
  assert exits.exit_code(caught.value) is exits.ExitCode.BAD_DATA
  assert not (folder / "report").exists()
