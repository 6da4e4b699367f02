"""A grid of runs: names, one table, failures, and what is not run again."""

import csv
import json
import shutil

import pytest

from experiments.command.exits import ExitCode
from experiments.configuration.settings import UsageError
from experiments.reporting import report_run
from experiments.sweeping import sweep_run
from experiments.training import loop
from snnjax import checks
from snnjax.storage import workdir
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

SHORT = tiny_runs.SHORT


def names(grid):
  return [cell.name for cell in sweep_run.cells(tiny_runs.config(), grid)]


def test_a_grid_is_every_combination_the_last_key_fastest():
  assert names(["method.name=vanilla,sr", "seed=0,1"]) == [
    "method.name=vanilla,seed=0",
    "method.name=vanilla,seed=1",
    "method.name=sr,seed=0",
    "method.name=sr,seed=1",
  ]
  cells = sweep_run.cells(
    tiny_runs.config(),
    ["model.hidden=(16,),(8, 4)", "method.sr.weight=1/8, 1e-3"],
  )
  found = [(c.config.model.hidden, c.config.method.sr.weight) for c in cells]
  assert found == [
    ((16,), 0.125),
    ((16,), 0.001),
    ((8, 4), 0.125),
    ((8, 4), 0.001),
  ]
  assert all("/" not in cell.name for cell in cells)
  assert len({cell.name for cell in cells}) == 4


@pytest.mark.parametrize(
  ("grid", "match"),
  [
    ([], "--grid is needed"),
    (["seed"], "--grid must be KEY=VALUES, got 'seed'"),
    (["seed="], "--grid must be KEY=VALUES"),
    (["seed=0", "seed=1"], "--grid has 'seed' twice"),
    (["seed=0,0"], "--grid has the run 'seed=0' twice"),
    (["sed=0"], "no configuration key 'sed'; did you mean seed"),
    (["seed=zero"], "config.seed must be an integer"),
    (["seed=0,"], "config.seed must be an integer"),
  ],
)
def test_a_bad_grid_is_refused_before_anything_runs(grid, match):
  with pytest.raises(UsageError, match=match):
    names(grid)


CELLS = (tiny_runs.config(SHORT), ["data.train_examples=200,99999", "seed=0,1"])


@pytest.fixture(scope="module")
def swept(tmp_path_factory, compiled):  # noqa: F811
  """Two runs, of which one asks for a network that is not there."""
  path = tmp_path_factory.mktemp("sweep")
  made, grid = CELLS
  code = sweep_run.run(made, path, grid)
  return path, grid, code


def table(path):
  with (path / "table" / "tables" / "runs.csv").open() as stream:
    return list(csv.DictReader(stream))


def test_a_failed_run_is_in_the_table_and_stops_no_other(swept):
  path, _, code = swept
  assert code is ExitCode.USAGE
  rows = table(path)
  assert [(r["data.train_examples"], r["seed"], r["status"]) for r in rows] == [
    ("200", "0", "done"),
    ("200", "0", "done"),  # two radii
    ("200", "1", "done"),
    ("200", "1", "done"),
    ("99999", "0", "failed"),
    ("99999", "1", "failed"),
  ]
  for row in rows[:4]:
    assert 0 <= float(row["robust"]) <= float(row["clean"]) <= 1
    assert row["examples"] == "16"
    assert row["reason"] == ""
  for row in rows[4:]:
    assert row["reason"].startswith("data.train_examples must lie in")
    assert (row["exit_code"], row["robust"]) == ("2", "")
  for suffix in ("html", "json", "md"):
    (file,) = (path / "table").glob(f"*.{suffix}")
    assert "99999" in file.read_text()


def test_the_alarms_of_the_runs_are_those_of_the_sweep(swept):
  path, *_ = swept
  document = json.loads((path / "table" / "report.json").read_text())
  states = {}
  for alarm in document["alarms"]:
    states.setdefault(alarm["subject"], []).append(alarm["state"])
  assert set(states) == {cell.name for cell in sweep_run.cells(*CELLS)}
  assert {len(each) for each in states.values()} == {len(checks.CHECKS)}
  assert "passed" in states["data.train_examples=200,seed=0"]
  # A run that failed was not measured, and unmeasured is not green.
  assert set(states["data.train_examples=99999,seed=0"]) == {"not checked"}
  page = (path / "table" / "report.html").read_text()
  assert document["verdict"]["tone"] != "clear"
  assert 'class="clear"' not in page
  assert "No alarm fired.<" not in page


def test_the_folder_of_a_sweep_can_be_reported(swept, capsys):
  path, *_ = swept
  report_run.run(tiny_runs.config(SHORT), path)
  shown = capsys.readouterr().out
  page = (path / "report" / "report.html").read_text()
  for text in (shown, page):
    assert "data.train_examples=200,seed=1" in text
    assert (
      "data.train_examples=99999,seed=1 is not reported: its training is"
      in text
    )
    assert "checks did not come to a result" in text or "fired" in text
  assert "Spikes of data.train_examples=200,seed=0" in page
  assert len(list((path / "report" / "figures").glob("spikes_*.png"))) == 2


def test_runs_of_any_name_can_be_reported_however_deep(swept, tmp_path):
  one = swept[0] / "data.train_examples=200,seed=0"
  names = ["a b", "übung", "x.y/..z/deep", "_$5", "n" * 200, "bad\udcff"]
  for name in names:
    shutil.copytree(one, tmp_path / "all" / name)
  (tmp_path / "all" / "loop").symlink_to(tmp_path / "all")
  report_run.run(tiny_runs.config(SHORT), tmp_path / "all")
  folder = tmp_path / "all" / "report"
  document = json.loads((folder / "report.json").read_text())
  shown = {alarm["subject"] for alarm in document["alarms"]}
  assert shown == {*names[:-1], r"bad\xff"}
  entries = json.loads((folder / "leaderboard.json").read_text())["entries"]
  assert {entry["name"] for entry in entries} == shown
  assert len(list((folder / "figures").glob("spikes_*.png"))) == len(names)
  # One of them alone, by a path that goes around.
  single = tmp_path / "all" / "x.y" / ".." / "übung"
  report_run.run(tiny_runs.config(SHORT), single)
  document = json.loads((single / "report" / "report.json").read_text())
  assert {alarm["subject"] for alarm in document["alarms"]} == {"übung"}


def test_a_rerun_skips_what_is_finished_and_retries_what_failed(
  swept, monkeypatch, capsys
):
  path, grid, _ = swept
  fitted = []
  real = loop.datasets.load

  def spy(config, *arguments, **options):
    fitted.append((config.data.train_examples, config.seed))
    return real(config, *arguments, **options)

  before = table(path)
  stamp = (
    (path / "data.train_examples=200,seed=0/parameters.npz").stat().st_mtime_ns
  )
  monkeypatch.setattr(loop.datasets, "load", spy)
  code = sweep_run.run(tiny_runs.config(SHORT), path, grid)
  assert code is ExitCode.USAGE
  assert fitted == [(99999, 0), (99999, 1)]
  assert table(path) == before
  again = (
    (path / "data.train_examples=200,seed=0/parameters.npz").stat().st_mtime_ns
  )
  assert again == stamp
  out = capsys.readouterr().out
  assert "2 of 4 runs are finished." in out
  assert out.count("is finished; nothing to do") == 4


def test_a_failed_run_that_was_mended_is_finished(swept, tmp_path, monkeypatch):
  def exhausted(*_):
    raise MemoryError

  monkeypatch.setattr(loop, "fit", exhausted)
  made, grid = tiny_runs.config(SHORT), ["seed=0"]
  assert sweep_run.run(made, tmp_path, grid) is ExitCode.OUT_OF_MEMORY
  assert table(tmp_path)[0]["status"] == "failed"
  monkeypatch.undo()
  assert sweep_run.run(made, tmp_path, grid) is ExitCode.DONE
  assert [row["status"] for row in table(tmp_path)] == ["done", "done"]
  pair = (
    p / s
    for p, s in (
      (swept[0], "data.train_examples=200,seed=0"),
      (tmp_path, "seed=0"),
    )
  )
  assert tiny_runs.same(*map(tiny_runs.parameters, pair)) == 4


def test_a_changed_configuration_fails_its_runs_and_says_what(swept):
  path, *_ = swept
  made = tiny_runs.config(SHORT | {"train.epochs": "2"})
  outcomes = [
    sweep_run._attempt(cell, path / cell.name)
    for cell in sweep_run.cells(made, ["data.train_examples=200", "seed=0"])
  ]
  assert outcomes[0].code is ExitCode.USAGE
  assert outcomes[0].reason.endswith("train.epochs: 1 -> 2")


def test_a_signal_stops_the_whole_sweep(tmp_path, monkeypatch):
  def stopped(*_):
    raise workdir.Preempted("stopped after step 1 of 5")

  monkeypatch.setattr(loop, "fit", stopped)
  with pytest.raises(workdir.Preempted):
    sweep_run.run(tiny_runs.config(SHORT), tmp_path, ["seed=0,1"])
  assert not (tmp_path / "seed=1").exists()
  assert json.loads((tmp_path / "seed=0/status.json").read_text())[
    "status"
  ] == ("preempted")


def test_all_runs_are_checked_before_the_first(tmp_path):
  grid = ["evaluation.norm=linf,l3"]
  with pytest.raises(UsageError, match=r"run evaluation.norm=l3: .* one of"):
    sweep_run.run(tiny_runs.config(SHORT), tmp_path / "none", grid)
  assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("compiled")
def test_two_workers_share_a_sweep(tmp_path):
  words = [*tiny_runs.words(tmp_path, SHORT), "--grid=seed=0,1,2,3"]
  workers = [tiny_runs.start("sweep", *words) for _ in range(2)]
  ends = []
  for child in workers:
    with child:
      ends.append((*child.communicate(timeout=300), child.returncode))
  for out, err, code in ends:
    assert code == 0, err
    assert "4 of 4 runs are finished." in out
    assert "failed" not in err
  assert {row["status"] for row in table(tmp_path)} == {"done"}
  # One of them met what the other had in hand, and went on with the next.
  assert any("another process runs it" in out for out, *_ in ends)
