"""Serves one library in a process of its own, by requests in lines of JSON.

``python -m experiments.benchmarks.worker LIBRARY`` reads requests from
standard input and answers each with one line:

| request | answer |
|---|---|
| {"do": "hello"} | {"versions": {...}} or {"absent": why} |
| {"do": "prepare", "task": {...}, "evidence": file} | {"first": s, ...} |
| {"do": "turn"} | {"seconds": per call} |
| {"do": "finish"} | {"peak": MB, "before": MB} |

A task that the library cannot express is answered with {"cannot": why}, a
failure with {"failed": why}. Nothing is pickled.
"""

import functools
import importlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from experiments.benchmarks import libraries, measurement
from experiments.benchmarks.tasks import Task, from_json

_LONG = 10.0
# Seconds of a call below which it matters what the caches hold: a turn follows
# another library's, a step of training follows a step of training.
_BRIEF = 1.0

Answer = dict[str, Any]
Prepare = Callable[[Task], measurement.Prepared]


class Session:
  """What one worker knows between requests."""

  def __init__(self, prepare: Callable[[], Prepare], packages: tuple[str, ...]):
    """Makes a session.

    Args:
      prepare: imports the library, and returns what prepares its tasks.
      packages: distributions whose versions are told.
    """
    self._import = prepare
    self._packages = packages
    self._prepare: Prepare | None = None
    self._ready: measurement.Prepared | None = None
    self._calls = 1
    self._warms = False
    self._before: float | None = None

  def answer(self, request: Answer) -> Answer:
    """Does what one request says."""
    actions: dict[str, Callable[[Answer], Answer]] = {
      "hello": self._hello,
      "prepare": self._make,
      "turn": self._turn,
      "finish": self._finish,
    }
    try:
      return actions[request["do"]](request)
    except measurement.CannotError as error:
      return {"cannot": str(error)}
    except Exception as error:
      # The parent names it in the table and goes on with the others.
      return {"failed": f"{type(error).__name__}: {error}"[:500]}

  def _hello(self, request: Answer) -> Answer:
    del request
    try:
      self._prepare = self._import()
    except ImportError as error:
      return {"absent": str(error)}
    return {"versions": {name: _version(name) for name in self._packages}}

  def _make(self, request: Answer) -> Answer:
    if self._prepare is None:
      raise RuntimeError("the library is not loaded")
    self._ready = None
    measurement.release_memory()
    self._before = measurement.memory("VmRSS")
    ready = self._prepare(from_json(request["task"]))
    first = measurement.seconds(ready.call)
    # The first call may have compiled; one that is long says enough, though.
    again = first if first > _LONG else measurement.seconds(ready.call)
    self._calls = measurement.calls_per_turn(again)
    self._warms = again < _BRIEF
    if request.get("evidence"):
      arrays: dict[str, Any] = dict(ready.evidence)
      np.savez(request["evidence"], **arrays)
    self._ready = ready
    # What preparing and compiling took does not count.
    measurement.release_memory()
    measurement.forget_peak()
    return {"first": first, "notes": dict(ready.notes)}

  def _turn(self, request: Answer) -> Answer:
    del request
    if self._ready is None:
      raise RuntimeError("no task is prepared")
    if self._warms:
      self._ready.call()
    return {"seconds": measurement.seconds(self._ready.call, self._calls)}

  def _finish(self, request: Answer) -> Answer:
    del request
    peak = measurement.memory("VmHWM")
    self._ready = None
    measurement.release_memory()
    return {"peak": peak, "before": self._before}


def serve(session: Session, requests: TextIO, answers: TextIO) -> None:
  """Answers every request until the requests end."""
  for line in requests:
    answers.write(json.dumps(session.answer(json.loads(line))) + "\n")
    answers.flush()


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _load(library: libraries.Library) -> Prepare:
  module = importlib.import_module(library.module)
  return functools.partial(module.prepare, library.name)


def main() -> None:
  """Serves the library that the command line names."""
  library = libraries.LIBRARIES[sys.argv[1]]
  # What the libraries print must not come between the answers.
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  loader = functools.partial(_load, library)
  serve(Session(loader, library.packages), sys.stdin, answers)


if __name__ == "__main__":
  main()
