"""Row E: a process of its own does one step, and says how long that took.

``python -m experiments.benchmarks.starting TASK CACHE``, TASK as JSON, prints
{"import": s, "build": s, "first": s}. `measure` runs it with an empty cache of
compilations and then with that cache filled.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from experiments.benchmarks import processes
from experiments.benchmarks.tasks import Task, from_json

_REPEATS = 3


def measure(task: Task) -> dict[str, Any]:
  """Starts processes for a task, one cold and a few with the cache.

  Returns:
    {"cold": seconds by part, "cached": medians by part}; "process" is the
    time from the command to the step's result.
  """
  with tempfile.TemporaryDirectory() as cache:
    cold = _process(task, cache)
    warm = [_process(task, cache) for _ in range(_REPEATS)]
  cached = {name: statistics.median(w[name] for w in warm) for name in cold}
  return {"cold": cold, "cached": cached}


def _process(task: Task, cache: str) -> dict[str, float]:
  words = [sys.executable, "-m", __name__, json.dumps(task._asdict()), cache]
  begun = time.perf_counter()
  finished = subprocess.run(
    words,
    capture_output=True,
    text=True,
    check=True,
    env=processes.environment("default"),
  )
  total = time.perf_counter() - begun
  return {**json.loads(finished.stdout), "process": total}


def main() -> None:
  """Does the step that the command line names."""
  begun = time.perf_counter()
  import jax

  from experiments.benchmarks import own_tasks
  from experiments.command import compilation

  imported = time.perf_counter()
  task = from_json(json.loads(sys.argv[1]))
  compilation.enable_cache(pathlib.Path(sys.argv[2]))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  ready = own_tasks.prepare("snnjax", task)
  built = time.perf_counter()
  ready.call()
  done = time.perf_counter()
  parts = {
    "import": imported - begun,
    "build": built - imported,
    "first": done - built,
  }
  sys.stdout.write(json.dumps(parts) + "\n")


if __name__ == "__main__":
  main()
