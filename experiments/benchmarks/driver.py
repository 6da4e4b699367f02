"""Runs tasks on all libraries: prepares, compares, then takes turns."""

import pathlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.benchmarks import agreement
from experiments.benchmarks.libraries import LIBRARIES
from experiments.benchmarks.processes import Answer, Worker
from experiments.benchmarks.tasks import OWN, Task
from experiments.command.progress import Progress

_LEAST_TURNS = 3
_LONG = 5.0  # seconds of a turn from which two are enough
_MOST_TURNS = 60
_PAUSE = 0.01  # lets the last library's threads go to sleep
_PATIENCE = 300.0

Entry = dict[str, Any]  # one library's results of one task, as JSON has it


class Budget(NamedTuple):
  """How long to measure.

  Attributes:
    seconds: of turns per task, over all libraries.
    deadline: by `time.monotonic`; no task starts after it.
  """

  seconds: float
  deadline: float


def start(
  names: Sequence[str],
  folder: pathlib.Path,
  command: Callable[[str], list[str]],
  memory: str,
) -> tuple[dict[str, Worker], dict[str, Answer]]:
  """Starts a worker per library and asks which of them are there.

  Args:
    names: of the libraries.
    folder: takes the workers' logs.
    command: a library's worker as a command line.
    memory: "kept" or "default".

  Returns:
    The workers that are ready, and every library's answer.
  """
  workers = {n: Worker(command(n), folder / f"{n}.log", memory) for n in names}
  hellos = {
    name: worker.ask({"do": "hello"}, _PATIENCE)
    for name, worker in workers.items()
  }
  for name, hello in hellos.items():
    if "versions" not in hello:
      workers.pop(name).close()
  return workers, hellos


def run_task(
  task: Task,
  workers: Mapping[str, Worker],
  refused: Mapping[str, str],
  folder: pathlib.Path,
  budget: Budget,
) -> dict[str, Entry]:
  """Measures one task on every library that takes part and agrees.

  Args:
    task: what to do.
    workers: by library.
    refused: libraries that are not to be timed, with the reason.
    folder: takes the evidence.
    budget: of seconds.

  Returns:
    One entry per library of the task.
  """
  entries: dict[str, Entry] = {}
  for name in task.libraries:
    if name not in workers:
      entries[name] = {"status": "absent"}
    elif name in refused:
      entries[name] = {"status": "refused", "detail": refused[name]}
    else:
      entries[name] = _prepare(task, name, workers[name], folder)
  _compare(task, entries, folder)
  ready = [n for n, e in entries.items() if e["status"] == "ready"]
  if task.kind != "check":
    _take_turns({n: workers[n] for n in ready}, entries, budget)
  for name in ready:
    memory = workers[name].ask({"do": "finish"}, _PATIENCE)
    entries[name] |= {k: memory.get(k) for k in ("peak", "before")}
  return entries


def _prepare(
  task: Task, name: str, worker: Worker, folder: pathlib.Path
) -> Entry:
  file = folder / f"{name}.npz"
  file.unlink(missing_ok=True)
  request = {"do": "prepare", "task": task._asdict(), "evidence": str(file)}
  answer = worker.ask(request, _PATIENCE)
  for status in ("cannot", "failed"):
    if status in answer:
      return {"status": status, "detail": answer[status]}
  return {"status": "ready", **answer}


def _compare(
  task: Task, entries: dict[str, Entry], folder: pathlib.Path
) -> None:
  """Refuses libraries whose evidence is not ours."""
  evidence = {
    name: agreement.load(folder / f"{name}.npz")
    for name, entry in entries.items()
    if entry["status"] == "ready"
  }
  ours = evidence.get(OWN)
  for name, theirs in evidence.items():
    library = LIBRARIES.get(name)
    if name == OWN or (library is not None and not library.comparable):
      continue
    if not ours:
      continue
    detached = library is not None and library.detached
    verdict = agreement.compare(task.net, ours, theirs, detached)
    entries[name]["errors"] = verdict.errors
    if verdict.refusal:
      entries[name] |= {"status": "disagrees", "detail": verdict.refusal}


def _take_turns(
  workers: Mapping[str, Worker], entries: dict[str, Entry], budget: Budget
) -> None:
  """One turn for each library after another until the seconds are spent."""
  turns_taken: dict[str, list[float]] = {name: [] for name in workers}
  spent = dict.fromkeys(workers, 0.0)
  share = budget.seconds / max(len(workers), 1)
  active = list(workers)
  while active:
    for name in list(active):
      time.sleep(_PAUSE)
      begun = time.monotonic()
      answer = workers[name].ask({"do": "turn"}, _PATIENCE)
      if "seconds" not in answer:
        entries[name] |= {"status": "failed", "detail": answer["failed"]}
        active.remove(name)
        continue
      turns_taken[name].append(answer["seconds"])
      spent[name] += time.monotonic() - begun
      turns = len(turns_taken[name])
      least = 2 if spent[name] > turns * _LONG else _LEAST_TURNS
      enough = turns >= least and spent[name] >= share
      if enough or turns >= _MOST_TURNS:
        active.remove(name)
  for name, seconds in turns_taken.items():
    if entries[name]["status"] == "ready":
      entries[name] |= {"status": "timed", **summary(seconds)}


def summary(seconds: Sequence[float]) -> Entry:
  """The median, the quartiles and the number of some seconds."""
  quarters = statistics.quantiles(seconds, n=4, method="inclusive")
  return {
    "median": statistics.median(seconds),
    "low": quarters[0],
    "high": quarters[2],
    "turns": len(seconds),
  }


def run(
  tasks: Sequence[Task],
  workers: Mapping[str, Worker],
  folder: pathlib.Path,
  budget: Budget,
  report: Progress,
  save: Callable[[list[Entry]], None],
) -> list[Entry]:
  """Measures all tasks, and saves after every one.

  Args:
    tasks: in order; a "check" speaks for the tasks of its network after it.
    workers: by library.
    folder: for evidence.
    budget: of seconds.
    report: told about every task.
    save: given all records so far.

  Returns:
    One record per task.
  """
  records: list[Entry] = []
  refused: dict[tuple[str, bool], dict[str, str]] = {}
  for number, task in enumerate(tasks):
    report(number, len(tasks), "benchmark")
    record: Entry = {"name": task.name, "task": task._asdict()}
    if time.monotonic() >= budget.deadline:
      record["skipped"] = "out of time"
      records.append(record)
      continue
    key = (task.net, task.reuse)
    entries = run_task(task, workers, refused.get(key, {}), folder, budget)
    if task.kind == "check":
      refused[key] = {
        name: entry["detail"]
        for name, entry in entries.items()
        if entry["status"] in ("disagrees", "failed")
      }
    records.append({**record, "libraries": entries})
    save(records)
  report(len(tasks), len(tasks), "benchmark")
  return records
