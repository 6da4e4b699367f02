"""What does not belong together is refused, and both digests are named."""

import json
import shutil

import pytest

from experiments.evaluation import evaluation_run
from experiments.reporting import report_groups, report_run
from experiments.sweeping import sweep_run
from experiments.training import training_run
from snnjax.report import leaderboard
from snnjax.storage import array_files, files
from tests import tiny_runs
from tests.faults import world


def short(digest):
  return digest[:12]


def origin(path):
  """The configuration's digest in a run of ours."""
  return short(
    array_files.read(path / "parameters.npz").made_from["configuration"]
  )


def names_both(line, zero, five):
  assert f"was made from configuration {origin(five)}" in line
  assert f"here is configuration {origin(zero)}: " in line


def test_checkpoints_of_another_run_are_refused(zero, five, tmp_path, capsys):
  folder = world.begun(tmp_path / "run", world.config())
  shutil.copytree(five / "checkpoints", folder / "checkpoints")
  line = world.refused(capsys, training_run.run, world.config(), folder)
  assert "checkpoints" in line
  names_both(line, zero, five)
  assert not (folder / "parameters.npz").exists()
  assert not (folder / "data.json").exists()


def test_checkpoints_without_a_configuration_are_refused(
  five, tmp_path, capsys
):
  shutil.copytree(five / "checkpoints", tmp_path / "checkpoints")
  line = world.refused(capsys, training_run.run, world.config(), tmp_path)
  assert "checkpoints but no config.json" in line


def test_parameters_of_another_run_are_refused_before_an_evaluation(
  zero, five, tmp_path, capsys
):
  folder = world.copy(zero, tmp_path / "run", "evaluation*", "report")
  shutil.copy(five / "parameters.npz", folder)
  line = world.refused(capsys, evaluation_run.run, world.config(), folder)
  assert "parameters.npz" in line
  names_both(line, zero, five)
  assert not list(folder.glob("evaluation*"))


@pytest.mark.parametrize("whose", ["another run's", "the same but for bits"])
def test_one_table_is_never_of_two_networks(
  zero, five, tmp_path, capsys, whose
):
  folder = world.copy(zero, tmp_path / "run", "report")
  gone = world.chunks(folder)[1::2]
  for path in gone:
    path.unlink()
  file = folder / "parameters.npz"
  held = array_files.read(file)
  if whose == "another run's":
    shutil.copy(five / file.name, folder)
  else:
    tree = {name: 1.25 * array for name, array in held.arrays.items()}
    array_files.export(tree, file, held.made_from)
  for body in (evaluation_run.run, report_run.run):
    line = world.refused(capsys, body, world.config(), folder)
    if whose == "another run's":
      names_both(line, zero, five)
    else:
      now = array_files.digest(tree)
      assert f"parameters {short(array_files.digest(held.arrays))}" in line
      assert f"here is parameters {short(now)}: " in line
  assert not any(path.exists() for path in gone)
  assert not (folder / "report").exists()


@pytest.mark.parametrize(
  "name",
  [
    "arrays/chunks/000003.npz",
    "arrays/study.npz",
    "plan.json",
    "data.json",
    "examples.npz",
  ],
)
def test_parts_of_another_evaluation_are_refused(
  zero, five, tmp_path, capsys, name
):
  folder = world.copy(zero, tmp_path / "run", "report")
  part = tiny_runs.evaluation(folder) / name
  shutil.copy(tiny_runs.evaluation(five) / name, part)
  for body in (report_run.run, evaluation_run.run):
    line = world.refused(capsys, body, world.config(), folder)
    assert str(part) in line
    names_both(line, zero, five)


def test_reports_and_entries_say_what_they_are_made_from(zero):
  held = array_files.read(zero / "parameters.npz")
  expected = {**held.made_from, "parameters": array_files.digest(held.arrays)}
  (entry,) = leaderboard.read(zero / "report" / "leaderboard.json")
  record = json.loads((zero / "report" / "report.json").read_text())
  (own,) = record["provenance"]["made_from"].values()
  for found in (entry["made_from"], own):
    assert expected.items() <= found.items()
    assert len(found["evaluation"]) == 64
  assert entry["checkpoint_sha256"] == files.sha256(zero / "parameters.npz")


def test_networks_on_other_data_are_not_in_one_table(zero):
  one = report_run.load_folder(tiny_runs.evaluation(zero), "one")
  made_from = {**one.made_from, "data": "0f" * 32}
  two = one._replace(name="two")
  other = two._replace(made_from=made_from)
  names = {name: ["evaluation"] for name in ("one", "two")}
  assert len(report_groups.group_alike([one, two], names, {})) == 1
  assert len(report_groups.group_alike([one, other], names, {})) == 2


def on_insects(folder, changes=None):
  own = {
    "data.name": "insects",
    "data.data_dir": str(folder),
    "data.train_examples": "48",
    "train.batch_size": "8",
    "evaluation.examples": "8",
  }
  return world.config(own | (changes or {}))


@pytest.fixture(scope="module")
def trained_on_insects(insects, tmp_path_factory):
  folder = tmp_path_factory.mktemp("on_insects") / "run"
  training_run.run(on_insects(insects[0]), folder)
  return folder


def test_data_that_moved_are_recognised_and_others_are_refused(
  trained_on_insects, insects, tmp_path, capsys
):
  folder = world.copy(trained_on_insects, tmp_path / "run")
  moved = shutil.copytree(insects[0], tmp_path / "moved")
  line = world.refused(
    capsys, evaluation_run.run, on_insects(insects[1]), folder
  )
  own = short(array_files.read(folder / "parameters.npz").made_from["data"])
  assert f"parameters.npz was made from data {own}, and here is data " in line
  other = line.partition("here is data ")[2][:12]
  assert other != own
  assert "--config.data.data_dir" in line
  evaluation_run.run(on_insects(moved), folder)
  assert tiny_runs.status(tiny_runs.evaluation(folder)) == "done"


def test_training_goes_on_with_data_that_moved_and_no_others(
  trained_on_insects, insects, tmp_path, capsys
):
  made = on_insects(insects[0])
  folder = world.begun(tmp_path / "run", made)
  shutil.copytree(trained_on_insects / "checkpoints", folder / "checkpoints")
  shutil.rmtree(folder / "checkpoints" / "00000010")  # the last one
  for name in ("metrics.jsonl", "data.json"):
    shutil.copy(trained_on_insects / name, folder)
  before = (folder / "data.json").read_bytes()
  line = world.refused(capsys, training_run.run, on_insects(insects[1]), folder)
  assert "was made from data " in line
  assert "and here is data " in line
  assert (folder / "data.json").read_bytes() == before
  moved = shutil.copytree(insects[0], tmp_path / "moved")
  training_run.run(on_insects(moved), folder)
  pair = map(tiny_runs.parameters, (folder, trained_on_insects))
  assert tiny_runs.same(*pair) == 4


def test_a_sweep_completes_what_is_missing(zero, tmp_path):
  folder = world.copy(zero, tmp_path / "seed=0", "report")
  expected = tiny_runs.rows(zero)
  world.chunks(folder)[2].unlink()
  with pytest.warns(UserWarning, match=r"it has \d+ of \d+ examples of"):
    sweep_run.run(world.config(), tmp_path, ["seed=0"])
  there = dict(sorted(tiny_runs.rows(folder).items()))
  assert len(there) == len(expected)
