"""A sweep: its runs, who takes them, its tables, and what is not run again."""

import csv
import json
import shutil
import subprocess
import sys
from typing import NamedTuple

import jax
import pytest

from experiments.building.shared import Shared
from experiments.command.exits import ExitCode, UsageError
from experiments.configuration import schema, settings
from experiments.reporting import report_run
from experiments.sweeping import grid, sweep_run, table
from experiments.training import loop, programs, training_run
from snnjax import checks, report
from snnjax.intervals import wilson
from snnjax.storage import environment, workdir
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

SHORT = tiny_runs.SHORT


def names(axes, runs=()):
  return [cell.name for cell in grid.cells(tiny_runs.config(), axes, runs)]


def test_a_grid_is_every_combination_the_last_key_fastest():
  assert names(["method.name=vanilla,sr", "config.seed=0,1"]) == [
    "method.name=vanilla,seed=0",
    "method.name=vanilla,seed=1",
    "method.name=sr,seed=0",
    "method.name=sr,seed=1",
  ]
  cells = grid.cells(
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


def test_a_list_of_runs_is_crossed_with_the_grid(tmp_path):
  file = tmp_path / "runs.py"
  file.write_text(
    "def get_runs():\n"
    "  return [{'model.hidden': (16,)}, {'method.name': 'sr',"
    " 'method.sr.weight': 0.5}]\n"
  )
  runs = grid.read_runs(str(file))
  assert names(["seed=0,1"], runs) == [
    "model.hidden=16,seed=0",
    "model.hidden=16,seed=1",
    "method.name=sr,method.sr.weight=0.5,seed=0",
    "method.name=sr,method.sr.weight=0.5,seed=1",
  ]
  cells = grid.cells(tiny_runs.config(), ["seed=0,1"], runs)
  # What a run does not say is in its row all the same.
  assert cells[0].values["method.name"] == "vanilla"
  assert cells[3].values["model.hidden"] == "16"
  assert cells[3].config.method.sr.weight == 0.5
  assert [cell.group for cell in cells[::2]] == [c.group for c in cells[1::2]]
  assert cells[0].group != cells[2].group


@pytest.mark.parametrize(
  ("text", "match"),
  [
    ("x = 1", "needs get_runs"),
    ("def get_runs(): return {'seed': 1}", "must return a list of mappings"),
    ("def get_runs(): return [{1: 2}]", "must return a list of mappings"),
    ("def get_runs(): 1 / 0", "fails: ZeroDivisionError"),
    (None, "must be the path of a Python file"),
  ],
)
def test_a_bad_list_of_runs_is_refused(tmp_path, text, match):
  file = tmp_path / "runs.py"
  if text:
    file.write_text(text)
  with pytest.raises(UsageError, match=match):
    grid.read_runs(str(file))


def test_long_names_of_runs_differ_and_fit():
  long = [{"data.name": "x" * 300}, {"data.name": "x" * 301}]
  one, two = names([], long)
  assert one != two
  assert len(one) == len(two) == 200


@pytest.mark.parametrize(
  ("axes", "match"),
  [
    ([], "--grid or --runs is needed"),
    (["seed"], "--grid must be KEY=VALUES, got 'seed'"),
    (["seed="], "--grid must be KEY=VALUES"),
    (["seed=0", "config.seed=1"], "--grid has 'seed' twice"),
    (["seed=0,0"], "have the run 'seed=0' twice"),
    (["sed=0"], "no configuration key 'sed'; did you mean seed"),
    (["seed=zero"], "config.seed must be an integer"),
    (["seed=0,"], "config.seed must be an integer"),
  ],
)
def test_a_bad_grid_is_refused_before_anything_runs(axes, match):
  with pytest.raises(UsageError, match=match):
    names(axes)


CELLS = (tiny_runs.config(SHORT), ["data.train_examples=200,99999", "seed=0,1"])
HELD = "data.train_examples=200,seed=0"
_HOLD = """
import pathlib, sys, time
from experiments.sweeping import claims
with claims.claim(pathlib.Path(sys.argv[1])) as mine:
  print(mine, flush=True)
  time.sleep(600)
"""


class Swept(NamedTuple):
  path: object
  code: ExitCode
  order: list  # of the runs' names, as they were begun
  compiled: list  # programs that each run compiled
  out: str


PROGRAMS = []


def _listen(event, seconds, **_):
  if event.endswith("backend_compile_duration"):
    PROGRAMS.append(event)


@pytest.fixture(scope="module")
def swept(tmp_path_factory, compiled):  # noqa: F811
  """Two runs, and two that ask for more examples than there are.

  Another process has the first in hand, and is killed when nothing else is
  left to run.
  """
  path = tmp_path_factory.mktemp("sweep")
  made, axes = CELLS
  holder = subprocess.Popen(
    [sys.executable, "-c", _HOLD, str(path / HELD)],
    cwd=tiny_runs.ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )
  order, counts, said = [], [], []
  real = training_run.run

  def spy(config, folder, *rest):
    order.append(folder.name)
    counts.append(len(PROGRAMS))
    return real(config, folder, *rest)

  def say(text):
    said.append(text)
    if "waiting" in text:
      holder.kill()

  jax.monitoring.register_event_duration_secs_listener(_listen)
  with pytest.MonkeyPatch.context() as patch, holder:
    assert holder.stdout.readline() == "True\n"
    patch.setattr(training_run, "run", spy)
    patch.setattr(sweep_run, "say", say)
    code = sweep_run.run(made, path, axes)
  ends = [*counts[1:], len(PROGRAMS)]
  made = [end - begin for begin, end in zip(counts, ends, strict=True)]
  return Swept(path, code, order, made, "\n".join(said))


def rows(path, name="runs"):
  with (path / "table" / "tables" / f"{name}.csv").open() as stream:
    return list(csv.DictReader(stream))


def test_what_another_has_in_hand_is_taken_over_when_it_is_killed(swept):
  assert swept.order == [
    # Those first whose program nobody compiles at the same time.
    "data.train_examples=99999,seed=0",
    "data.train_examples=99999,seed=1",
    "data.train_examples=200,seed=1",
    HELD,
  ]
  assert "4 runs: 0 done, 1 busy, 3 free" in swept.out
  assert "waiting for 1 that others have in hand" in swept.out
  assert "about" in swept.out  # the time left, from what is done


def test_a_second_run_of_an_architecture_compiles_nothing(swept):
  assert swept.compiled[-2] > 0
  assert swept.compiled[-1] == 0


def test_what_is_shared_is_bounded():
  shared = Shared({"network": 2})
  builds = []

  def get(key):
    return shared.get("network", key, lambda: builds.append(key) or key)

  for key in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, [3], [3], {"a": 1, "b": 2}):
    get(key)
  assert builds == [{"a": 1, "b": 2}, [3]]
  get([4])  # the third: [3] was not used for longest
  assert shared.has("network", {"a": 1, "b": 2})
  assert not shared.has("network", [3])
  with pytest.raises(ZeroDivisionError):
    shared.get("network", [5], lambda: 1 / 0)
  assert not shared.has("network", [5])
  with pytest.raises(ValueError, match="at least 1; got 0"):
    Shared({"data": 0})


def test_what_a_program_takes_as_an_argument_shapes_none():
  def shape(**changes):
    return programs.shape(tiny_runs.config(changes))

  base = shape()
  for key, text in {
    "seed": "3",
    "data.seed": "3",
    "method.sr.weight": "0.5",
    "modalities.image.radius_l2": "0.5",
    "modalities.events.radius_l1": "0.5",
    "optimizer.learning_rate": "0.5",
    "evaluation.steps": "9",
    "train.checkpoint_every": "9",
  }.items():
    assert shape(**{key: text}) == base, key
  for key, text in {
    "model.hidden": "8,",
    "method.name": "sr",
    "method.sr.participation_estimator": "jvp",
    "method.adversarial.norms": "linf,l1",
    "optimizer.kind": "sgd",
    "train.batch_size": "16",
    # Of the networks that validation measures.
    "evaluation.precision": "tf32",
    "evaluation.kernel": "scan",
  }.items():
    assert shape(**{key: text}) != base, key


@pytest.mark.parametrize("key", programs.TRACED)
def test_what_a_program_takes_as_an_argument_is_a_number_of_training(key):
  flat = settings.flatten(settings.to_dict(tiny_runs.config()))
  values = [v for k, v in flat.items() if schema.covers((key,), k)]
  assert values
  assert all(type(value) in (int, float) for value in values)
  assert schema.covers(schema.TRAINING, key)


def test_a_failed_run_is_in_the_table_and_stops_no_other(swept):
  assert swept.code is ExitCode.USAGE
  told = rows(swept.path)
  assert [(r["data.train_examples"], r["seed"], r["status"]) for r in told] == [
    ("200", "0", "done"),
    ("200", "0", "done"),  # two radii
    ("200", "1", "done"),
    ("200", "1", "done"),
    ("99999", "0", "failed"),
    ("99999", "1", "failed"),
  ]
  for row in told[:4]:
    assert 0 <= float(row["robust"]) <= float(row["clean"]) <= 1
    assert row["examples"] == "16"
    assert row["reason"] == ""
  for row in told[4:]:
    assert row["reason"].startswith("data.train_examples must lie in")
    assert (row["exit_code"], row["robust"]) == ("2", "")
  for suffix in ("html", "json", "md"):
    (file,) = (swept.path / "table").glob(f"*.{suffix}")
    assert "99999" in file.read_text()


def test_the_alarms_of_the_runs_are_those_of_the_sweep(swept):
  path = swept.path
  document = json.loads((path / "table" / "report.json").read_text())
  states = {}
  for alarm in document["alarms"]:
    states.setdefault(alarm["subject"], []).append(alarm["state"])
  assert set(states) == {cell.name for cell in grid.cells(*CELLS)}
  assert {len(each) for each in states.values()} == {len(checks.CHECKS)}
  assert "passed" in states["data.train_examples=200,seed=0"]
  # A run that failed was not measured, and unmeasured is not green.
  assert set(states["data.train_examples=99999,seed=0"]) == {"not checked"}
  page = (path / "table" / "report.html").read_text()
  assert document["verdict"]["tone"] != "clear"
  assert 'class="clear"' not in page
  assert "No alarm fired.<" not in page


def test_the_folder_of_a_sweep_can_be_reported(swept, capsys):
  path = swept.path
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
  one = swept.path / "data.train_examples=200,seed=0"
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


def test_a_rerun_redoes_nothing_and_a_retry_what_failed(
  swept, monkeypatch, capsys
):
  path, begun = swept.path, []
  real = training_run.run

  def spy(config, folder, *rest):
    begun.append(folder.name)
    return real(config, folder, *rest)

  before = rows(path)
  sweep_run.tell(*CELLS[:1], path, CELLS[1])
  shown = capsys.readouterr().out.splitlines()
  assert shown[0] == f"done    {HELD}"
  assert shown[3].startswith("failed  data.train_examples=99999,seed=1  data.")
  assert shown[4] == "4 runs: 2 done, 2 failed"
  stamp = (path / HELD / "parameters.npz").stat().st_mtime_ns
  monkeypatch.setattr(training_run, "run", spy)
  code = sweep_run.run(*CELLS[:1], path, CELLS[1])
  assert code is ExitCode.USAGE
  assert begun == []
  assert rows(path) == before
  code = sweep_run.run(*CELLS[:1], path, CELLS[1], retry=True)
  assert code is ExitCode.USAGE
  assert begun == [c.name for c in grid.cells(*CELLS)[2:]]
  assert rows(path) == before
  assert (path / HELD / "parameters.npz").stat().st_mtime_ns == stamp


def test_runs_of_one_architecture_come_together(tmp_path, monkeypatch):
  begun, problem, summaries = [], [MemoryError()], []
  written = tmp_path / "table" / "report.json"

  def failing(config, folder, shared):
    begun.append(folder.name)
    summaries.append(json.loads(written.read_text())["summary"])
    raise problem[0]

  monkeypatch.setattr(training_run, "run", failing)
  monkeypatch.setattr(sweep_run, "_TABLE_EVERY", 0.0)
  made = tiny_runs.config(SHORT)
  axes = ["seed=0,1", "model.hidden=(8,),(16,)"]
  code = sweep_run.run(made, tmp_path, axes)
  assert code is ExitCode.OUT_OF_MEMORY
  assert begun == [
    "seed=0,model.hidden=(8,)",
    "seed=1,model.hidden=(8,)",
    "seed=0,model.hidden=(16,)",
    "seed=1,model.hidden=(16,)",
  ]
  # Before each there was a table of what was known.
  assert [text.count(" failed: ") for text in summaries] == [0, 1, 2, 3]
  assert "0 are being run, 2 are free: this table is not whole." in summaries[2]
  # Another configuration is another run: what failed is no longer known of it.
  begun.clear()
  problem[0] = RuntimeError("broken")
  made = tiny_runs.config(SHORT | {"train.epochs": "2"})
  code = sweep_run.run(made, tmp_path, ["seed=0", "model.hidden=(8,),(16,)"])
  assert code is ExitCode.DEFECT
  assert len(begun) == 2
  # A damaged note is none.
  (tmp_path / "seed=0,model.hidden=(8,)" / "ended.json").write_text("{")
  sweep_run.run(made, tmp_path, ["seed=0", "model.hidden=(8,),(16,)"])
  assert len(begun) == 3


def test_a_failed_run_that_was_mended_is_finished(swept, tmp_path, monkeypatch):
  # Its training is finished; what failed is the evaluation.
  shutil.copytree(swept.path / HELD, tmp_path / "seed=0")
  for folder in (tmp_path / "seed=0").glob("evaluation_*"):
    shutil.rmtree(folder)
  (tmp_path / "seed=0" / "ended.json").unlink()

  def exhausted(*_):
    raise MemoryError

  monkeypatch.setattr(sweep_run.evaluation_run, "run", exhausted)
  made = tiny_runs.config(SHORT)
  assert sweep_run.run(made, tmp_path, ["seed=0"]) is ExitCode.OUT_OF_MEMORY
  assert rows(tmp_path)[0]["status"] == "failed"
  monkeypatch.undo()
  assert sweep_run.run(made, tmp_path, ["seed=0"]) is ExitCode.OUT_OF_MEMORY
  code = sweep_run.run(made, tmp_path, ["seed=0"], retry=True)
  assert code is ExitCode.DONE
  assert [row["status"] for row in rows(tmp_path)] == ["done", "done"]
  pair = (swept.path / HELD, tmp_path / "seed=0")
  assert tiny_runs.same(*map(tiny_runs.parameters, pair)) == 4
  assert tiny_runs.same(*map(tiny_runs.rows, pair))


def test_a_changed_configuration_fails_its_runs_and_says_what(swept, tmp_path):
  shutil.copytree(swept.path / HELD, tmp_path / HELD)
  made = tiny_runs.config(SHORT | {"train.epochs": "2"})
  axes = ["data.train_examples=200", "seed=0"]
  assert sweep_run.run(made, tmp_path, axes) is ExitCode.USAGE
  (row,) = rows(tmp_path)
  assert row["reason"].endswith("train.epochs: 1 -> 2")


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
  grid = ["evaluation.norms=linf,l3"]
  with pytest.raises(UsageError, match=r"run evaluation.norms=l3: .* one of"):
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
  told = rows(tmp_path)
  assert [row["seed"] for row in told] == [*"00112233"]  # two radii
  assert {row["status"] for row in told} == {"done"}
  assert [row["seeds"] for row in rows(tmp_path, "groups")] == ["4", "4"]
  # Each was trained in one session, and evaluated in one.
  for seed in range(4):
    run = tmp_path / f"seed={seed}"
    (evaluation,) = run.glob("evaluation_*")
    assert len(environment.read(run)) == len(environment.read(evaluation)) == 1
  begun = [line for out, *_ in ends for line in out.splitlines()]
  assert sum(line.startswith("run ") for line in begun) == 4


def outcome(cell, shares, **numbers):
  """A finished run of 50 examples, of which it gets shares right."""
  accuracy = [
    {"network": cell.name, "norm": "linf", "attacked": "image"}
    | {"epsilon": str(radius), "examples": 50, "clean": 0.9, "robust": share}
    for radius, share in zip((0.1, 0.2), shares, strict=True)
  ]
  for row in accuracy:
    for key in ("clean", "robust"):
      row |= {f"{key}_low": 0.0, f"{key}_high": 1.0}
  sparsity = [{"modality": "image", "input": "clean"} | numbers]
  return table.Outcome(
    cell,
    "done",
    numbers=table.Numbers(
      accuracy,
      sparsity,
      {"linf": {"attack on image": ([0.0, 0.1, 0.2], [0.9, *shares])}},
      (),
      {},
    ),
  )


def test_groups_over_seeds(tmp_path):
  cells = grid.cells(
    tiny_runs.config(), ["method.name=vanilla,sr,hire", "seed=0,1,2"]
  )
  metrics = dict.fromkeys(table.findings.METRICS, 2.0)
  outcomes = [
    *(
      outcome(cell, (share, 0.2), **metrics | {"gini": share})
      for cell, share in zip(cells, (0.4, 0.5, 0.6), strict=False)
    ),
    outcome(cells[3], (0.5, 0.3), **metrics),
    table.Outcome(cells[4], "failed", ExitCode.OUT_OF_MEMORY, "no memory"),
    table.Outcome(cells[5], "busy"),
    *(table.Outcome(cell, "free") for cell in cells[6:]),
  ]
  record = table.record(outcomes, 0)
  assert "this table is not whole" in record.summary
  paths = report.write(record, tmp_path / "table")
  assert all(p.is_file() for p in (*paths[:3], *paths.tables, *paths.figures))
  assert [path.name for path in paths.figures] == ["accuracy_seeds.png"]
  three, _, one, _, none = rows(tmp_path, "groups")
  numbers = {k: float(three[f"robust{k}"]) for k in ("", "_low", "_high")}
  # .1 is the deviation of .4, .5 and .6, and 4.302653 the t quantile.
  half = 4.302653 * 0.1 / 3**0.5
  assert numbers == pytest.approx(
    {"": 0.5, "_low": 0.5 - half, "_high": 0.5 + half}
  )
  assert float(three["robust_deviation"]) == pytest.approx(0.1)
  pooled = [float(three[f"robust_pooled{k}"]) for k in ("", "_low", "_high")]
  assert pooled == pytest.approx(wilson(75, 150))
  assert (three["seeds"], three["note"]) == ("3", "")
  assert "seed" not in three
  assert (one["seeds"], one["robust"], one["robust_low"]) == ("1", "0.5", "")
  assert one["note"] == (
    "one seed: no interval over seeds; 1 of 3 runs are finished"
  )
  assert (none["method.name"], none["robust"], none["seeds"]) == (
    "hire",
    "",
    "0",
  )
  sparse = rows(tmp_path, "sparsity_groups")
  assert [row["method.name"] for row in sparse] == ["vanilla", "sr"]
  assert float(sparse[0]["gini"]) == pytest.approx(0.5)
  assert float(sparse[0]["l1_low"]) == float(sparse[0]["l1_high"]) == 2.0
  single = {(r["method.name"], r["seed"]): r["status"] for r in rows(tmp_path)}
  assert (
    list(single.values()) == ["done"] * 4 + ["failed", "busy"] + ["free"] * 3
  )
  page = paths.html.read_text()
  assert "50.0 % (25.2 to 74.8)" in page
  assert "50.0 % (36.6 to 63.4)" in page  # of the one seed, pooled alone
  drawn = json.loads(
    (tmp_path / "table/figures/accuracy_seeds.json").read_text()
  )
  curves = drawn["data"]["curves"]["attack on image"]
  assert curves["method.name=vanilla"]["seeds"] == [
    [0.9, share, 0.2] for share in (0.4, 0.5, 0.6)
  ]
