"""The benchmark behind its flags: starts the workers, writes the result."""

import os
import pathlib
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.benchmarks import driver, processes, starting, table
from experiments.benchmarks.tasks import OWN, PEERS, ROWS, Task, tasks
from experiments.command import exits, progress, stopping
from experiments.command.exits import UsageError
from snnjax.storage import environment, files


def run(
  *,
  rows: str,
  peers: str,
  seconds: float,
  limit: float,
  out: pathlib.Path,
  tiny: bool,
  memory: str = "kept",
  command: Callable[[str], list[str]] = processes.command,
) -> dict[str, Any]:
  """Measures, prints the table, and writes OUT.json and OUT.md.

  Args:
    rows: letters, joined by commas.
    peers: names, joined by commas, "all" or "".
    seconds: of turns per task.
    limit: seconds after which no task starts.
    out: the result's path without a suffix.
    tiny: small sizes.
    memory: "kept" or "default", see `processes.environment`.
    command: a library's worker as a command line.

  Returns:
    What OUT.json holds.

  Raises:
    UsageError: an unknown row or peer.
    Preempted: a signal asked to stop, between two tasks.
  """
  chosen = _parse_names("rows", rows, tuple(ROWS))
  others = PEERS if peers == "all" else _parse_names("peers", peers, PEERS)
  deadline = time.monotonic() + limit
  planned = tasks("".join(chosen), others, tiny)
  needed = {name for task in planned for name in task.libraries}
  names = [name for name in (OWN, *others) if name in needed]
  out.parent.mkdir(parents=True, exist_ok=True)
  result: dict[str, Any] = {"environment": _machine(seconds, tiny, memory)}
  with (
    tempfile.TemporaryDirectory() as scratch,
    exits.stop_on_sigterm() as should_stop,
    progress.reporter() as reporter,
  ):
    report = stopping.make_interruptible(reporter, should_stop)
    folder = pathlib.Path(scratch)
    workers, hellos = driver.start(names, folder, command, memory)
    result["libraries"] = hellos
    for name, hello in hellos.items():
      if name not in workers:
        why = hello.get("absent") or hello.get("failed")
        progress.say(f"{name} is absent and skipped: {why}")

    def save(records: Sequence[Mapping[str, Any]]) -> None:
      result["records"] = list(records)
      files.write_json(out.with_name(f"{out.name}.json"), result)
      out.with_name(f"{out.name}.md").write_text(table.markdown(result))

    try:
      _measure(planned, workers, folder, seconds, deadline, report, save)
    finally:
      for worker in workers.values():
        worker.close()
  progress.say(table.markdown(result))
  return result


def _measure(
  planned: Sequence[Task],
  workers: Mapping[str, Any],
  folder: pathlib.Path,
  seconds: float,
  deadline: float,
  report: progress.Progress,
  save: Callable[[list[Any]], None],
) -> None:
  """The first steps in processes of their own, then all other tasks."""
  first = [task for task in planned if task.row == "E"]
  records: list[Any] = []
  for number, task in enumerate(first):
    report(number, len(first), "first steps")
    record: dict[str, Any] = {"name": task.name, "task": task._asdict()}
    if time.monotonic() < deadline:
      record["starts"] = starting.measure(task)
    else:
      record["skipped"] = "out of time"
    records.append(record)
    save(records)
  rest = [task for task in planned if task.row != "E"]
  budget = driver.Budget(seconds, deadline)
  done = driver.run(
    rest, workers, folder, budget, report, lambda more: save(records + more)
  )
  save(records + done)


def _parse_names(
  flag: str, text: str, allowed: tuple[str, ...]
) -> tuple[str, ...]:
  names = tuple(filter(None, (n.strip() for n in text.split(","))))
  for name in names:
    if name not in allowed:
      raise UsageError(f"--{flag}: {name!r} is none of {', '.join(allowed)}")
  return names


def _machine(seconds: float, tiny: bool, memory: str) -> dict[str, Any]:
  """What the numbers depend on, beside the libraries' versions."""
  cores = sorted(os.sched_getaffinity(0))
  return {
    "processor": _processor(),
    "cores": f"{len(cores)} ({', '.join(map(str, cores))})",
    "platform": f"{platform.system()}-{platform.machine()}",
    "freed memory": memory,
    "python": platform.python_version(),
    "load before": f"{os.getloadavg()[0]:.1f}",
    "commit": environment.commit(),
    "seconds per task": seconds,
    "sizes": "tiny" if tiny else "full",
  }


def _processor() -> str:
  information = pathlib.Path("/proc/cpuinfo")
  if information.exists():
    for line in information.read_text(errors="replace").splitlines():
      if line.startswith("model name"):
        return line.split(":", 1)[1].strip()
  return platform.processor() or platform.machine()
