"""The benchmark's own machinery: processes, turns, comparison, tables."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.benchmarks import (
  agreement,
  driver,
  measurement,
  problems,
  processes,
  run,
  table,
  tasks,
  worker,
)
from experiments.command import progress
from experiments.command.exits import UsageError

# A worker that speaks the protocol without any library. It is told how many
# seconds its turns take and which spikes it saw.
FAKE = """
import json, sys
import numpy as np
name, seconds, spikes = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
print("noise for the log", file=sys.stderr)
for line in sys.stdin:
  request = json.loads(line)
  if request["do"] == "hello" and name == "norse":
    answer = {"absent": "No module named 'norse'"}
  elif request["do"] == "hello":
    answer = {"versions": {name: "1.0"}}
  elif request["do"] == "prepare" and name == "spyx":
    answer = {"cannot": "no such neuron"}
  elif request["do"] == "prepare" and name == "snntorch":
    sys.exit(7)
  elif request["do"] == "prepare":
    np.savez(request["evidence"], spikes=np.full((2, 3), spikes))
    answer = {"first": 0.5, "notes": {"kept": 2.0}}
  elif request["do"] == "turn":
    answer = {"seconds": seconds}
  else:
    answer = {"peak": 300.0, "before": 200.0}
  print(json.dumps(answer), flush=True)
"""
SECONDS = {"snnjax": 0.1, "plain_torch": 0.25, "spikingjelly": 0.4}
SPIKES = {"spikingjelly": 0.0}


def fake(name):
  seconds, spikes = SECONDS.get(name, 0.3), SPIKES.get(name, 1.0)
  return [sys.executable, "-c", FAKE, name, str(seconds), str(spikes)]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
  out = tmp_path_factory.mktemp("benchmark") / "deep" / "fake"
  found = run.run(
    rows="A",
    peers="all",
    seconds=0.0,
    limit=60.0,
    out=out,
    tiny=True,
    command=fake,
  )
  return found, out


def entries(result, row=0):
  return result[0]["records"][row]["libraries"]


def test_libraries_take_turns_and_ratios_are_to_our_own(result):
  record = result[0]["records"][0]
  assert entries(result)["snnjax"]["median"] == 0.1
  assert entries(result)["plain_torch"]["turns"] == 3
  assert table.ratios(record) == pytest.approx({"plain_torch": 2.5})
  assert table.against_fastest(record, tasks.TORCH) == pytest.approx(2.5)


def test_an_absent_peer_is_named_and_skipped(result):
  assert entries(result)["norse"] == {"status": "absent"}
  text = result[1].with_name("fake.md").read_text()
  assert "norse: absent, skipped (No module named 'norse')" in text


def test_a_peer_that_disagrees_is_not_timed(result):
  entry = entries(result)["spikingjelly"]
  assert entry["status"] == "disagrees"
  assert entry["detail"] == "spikes differ by 1"
  assert "median" not in entry


def test_a_task_that_cannot_be_expressed_and_a_dead_worker_are_named(result):
  assert entries(result)["spyx"]["detail"] == "no such neuron"
  assert "exit code 7" in entries(result)["snntorch"]["detail"]
  text = result[1].with_name("fake.md").read_text()
  assert "spyx: cannot no such neuron" in text
  assert "snntorch: failed the worker died with exit code 7" in text


def test_the_json_is_the_result_and_the_table_has_every_task(result):
  found, out = result
  assert json.loads(out.with_name("fake.json").read_text()) == json.loads(
    json.dumps(found)
  )
  text = out.with_name("fake.md").read_text()
  for record in found["records"]:
    assert f"| {record['name']} | 100 (100..100) | 300 | 2.50x" in text


def test_no_task_starts_after_the_limit(tmp_path):
  budget = driver.Budget(1.0, time.monotonic())
  saved = []
  planned = tasks.tasks("A", (), tiny=True)
  records = driver.run(
    planned, {}, tmp_path, budget, progress.silent, saved.append
  )
  assert [r["skipped"] for r in records] == ["out of time"] * 4
  assert "skipped, out of time" in table.markdown(
    {"environment": {}, "libraries": {}, "records": records}
  )


def test_a_failed_check_keeps_a_peer_from_the_network_s_other_tasks(tmp_path):
  check = tasks.Task("B", "check", "cnn", libraries=("snnjax", "spikingjelly"))
  workers = {
    n: processes.Worker(fake(n), tmp_path / n) for n in check.libraries
  }
  records = driver.run(
    [check, check._replace(kind="train")],
    workers,
    tmp_path,
    driver.Budget(0.0, time.monotonic() + 60),
    progress.silent,
    lambda records: None,
  )
  for process in workers.values():
    process.close()
  train = records[1]["libraries"]
  assert train["spikingjelly"]["status"] == "refused"
  assert train["snnjax"]["status"] == "timed"


def test_a_silent_worker_is_given_up(tmp_path):
  silent = processes.Worker(
    [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log"
  )
  assert "no answer within" in silent.ask({"do": "hello"}, 0.1)["failed"]
  assert "no answer within" in silent.ask({"do": "turn"}, 9.0)["failed"]


def test_unknown_rows_and_peers_are_refused(tmp_path):
  for rows, peers in (("A,Z", ""), ("A", "torch")):
    with pytest.raises(UsageError, match="is none of"):
      run.run(
        rows=rows,
        peers=peers,
        seconds=1.0,
        limit=1.0,
        out=tmp_path / "x",
        tiny=True,
      )


def test_comparison_uses_the_detached_reference_for_those_who_detach():
  ours = {"gradient": np.ones(3), "gradient_detached": np.zeros(3)}
  theirs = {"gradient": np.zeros(3)}
  assert not agreement.compare("lif", ours, theirs, detached=True).refusal
  verdict = agreement.compare("lif", ours, theirs, detached=False)
  assert verdict.refusal == "gradient differ by 1"
  lost = agreement.compare(
    "lif", ours, {"gradient": ours["gradient"] * np.nan}, False
  )
  assert lost.refusal
  assert agreement.compare("lif", ours, {}, detached=False).refusal


@pytest.mark.parametrize("row", tasks.ROWS)
def test_tasks_survive_json_and_have_unique_names(row):
  made = tasks.tasks(row, tasks.PEERS, tiny=False)
  assert made
  assert len({task.name for task in made}) == len(made)
  for task in made:
    assert tasks.from_json(json.loads(json.dumps(task._asdict()))) == task
    assert task.libraries[0] == tasks.OWN


def test_potentials_of_the_exact_problems_never_meet_the_threshold():
  task = tasks.Task("A", "lif_forward", "lif", steps=8, batch=4096)
  potential, ties = np.zeros(task.batch), 0
  for current in problems.currents(task)[0].astype(np.float64):
    potential = problems.LEAK * potential + current
    ties += np.sum(potential == problems.THRESHOLD)
    potential[potential >= problems.THRESHOLD] = 0
  assert ties == 0


def test_arithmetic_of_a_network_counted_by_hand():
  task = tasks.Task("B", "infer", "cnn", steps=8, batch=64, reuse=False)
  first = 2 * 64 * 8 * 28 * 28 * 9 * 1 * 16
  second = 2 * 64 * 8 * 14 * 14 * 9 * 16 * 32
  head = 2 * 64 * 7 * 7 * 32 * 10
  assert problems.arithmetic(task) == pytest.approx(
    (first + second + head) / 1e9
  )
  reused = problems.arithmetic(task._replace(reuse=True))
  assert reused == pytest.approx((first / 8 + second + head) / 1e9)


def test_shares_of_the_ceiling_need_the_ceiling():
  gemm = tasks.Task("H", "sgemm", "none", iterations=1000)
  task = tasks.Task("B", "infer", "cnn")
  work = problems.arithmetic(task)
  records = [
    {
      "name": t.name,
      "task": t._asdict(),
      "libraries": {"snnjax": {"status": "timed", "median": seconds}},
    }
    for t, seconds in ((gemm, 0.02), (task, work / 25))
  ]
  assert table.shares(records)[task.name]["sgemm"] == pytest.approx(0.25)
  assert table.shares(records[1:]) == {}


def test_our_own_kinds_are_compared_where_all_else_is_equal():
  train = tasks.Task("B", "train", "cnn", libraries=("snnjax", "norse"))
  chosen = [train, train._replace(kind="hire", libraries=("snnjax",))]
  chosen.append(train._replace(kind="sr", reuse=False))
  records = [
    {
      "name": t.name,
      "task": t._asdict(),
      "libraries": {"snnjax": {"status": "timed", "median": seconds}},
    }
    for t, seconds in zip(chosen, (2.0, 3.0, 5.0), strict=True)
  ]
  name = f"{chosen[1].name} over train"
  assert table.own_ratios(records) == {name: 1.5}


def test_our_own_layer_runs_through_the_worker(tmp_path):
  task = tasks.tasks("A", (), tiny=True)[1]
  from experiments.benchmarks import own_tasks

  def prepare(task):
    return own_tasks.prepare("snnjax", task)

  session = worker.Session(lambda: prepare, ("jax", "no-such-package"))
  hello = session.answer({"do": "hello"})
  assert hello["versions"]["jax"]
  assert hello["versions"]["no-such-package"] is None
  file = tmp_path / "evidence.npz"
  request = {"do": "prepare", "task": task._asdict(), "evidence": str(file)}
  prepared = session.answer(json.loads(json.dumps(request)))
  assert prepared["first"] > 0
  assert session.answer({"do": "turn"})["seconds"] > 0
  assert session.answer({"do": "finish"})["peak"] > 0

  currents, cotangents = (a[:, :1024] for a in problems.currents(task))
  spikes, gradient = by_hand(currents, cotangents)
  found = agreement.load(file)
  np.testing.assert_array_equal(found["spikes"], spikes)
  np.testing.assert_allclose(found["gradient"], gradient, atol=1e-5)
  assert np.any(found["gradient"] != found["gradient_detached"])


def by_hand(currents, cotangents):
  """The layer and its gradient in NumPy, step by step."""
  potential, drives, spikes = np.zeros_like(currents[0]), [], []
  for current in currents:
    potential = 0.5 * potential + current
    drives.append(potential - 1)
    spikes.append((drives[-1] >= 0).astype(np.float32))
    potential = (1 - spikes[-1]) * potential
  carried, gradient = np.zeros_like(potential), np.zeros_like(currents)
  for t in reversed(range(len(currents))):
    slope = np.maximum(0, 1 - np.abs(drives[t]))
    wanted = cotangents[t] - carried * (drives[t] + 1)
    gradient[t] = slope * wanted + carried * (1 - spikes[t])
    carried = 0.5 * gradient[t]
  return np.stack(spikes), gradient


def test_a_worker_process_names_an_absent_library(tmp_path):
  # Torch is not among the test's dependencies; where it is there, the worker
  # answers with its version.
  process = processes.Worker(processes.command("plain_torch"), tmp_path / "log")
  answer = process.ask({"do": "hello"}, 60.0)
  process.close()
  try:
    import torch
  except ImportError:
    assert "torch" in answer["absent"]
  else:
    assert answer["versions"]["torch"] == torch.__version__


def test_help_comes_before_the_heavy_imports():
  code = (
    "import runpy, sys\n"
    "sys.argv = ['benchmark.py', '--help']\n"
    "try:\n  runpy.run_module('experiments.benchmark', run_name='__main__')\n"
    "except SystemExit as end:\n  assert not end.code\n"
    "assert not {'jax', 'torch', 'numpy'} & set(sys.modules)\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    check=True,
    env=processes.environment("default"),
  )
  assert "--rows" in done.stdout


def test_a_turn_is_long_enough_for_the_clock():
  assert measurement.calls_per_turn(10.0) == 1
  assert measurement.calls_per_turn(1e-4) * 1e-4 >= 0.04


@pytest.mark.parametrize(("brief", "calls"), [(10.0, 2), (0.0, 1)])
def test_a_brief_call_is_warmed_up_at_every_turn(monkeypatch, brief, calls):
  """A second long and longer, it is not: its caches hold its own data."""
  monkeypatch.setattr(worker, "_BRIEF", brief)
  made = []

  def prepare(task):
    del task
    return measurement.Prepared(lambda: (made.append(1), time.sleep(0.06)))

  session = worker.Session(lambda: prepare, ())
  session.answer({"do": "hello"})
  task = tasks.tasks("A", (), tiny=True)[0]
  session.answer({"do": "prepare", "task": task._asdict()})
  before = len(made)
  assert 0.05 < session.answer({"do": "turn"})["seconds"] < 0.5
  assert len(made) - before == calls
