"""Reads somebody else's files in processes of their own, and measures them.

``python -m tests.faults.reader`` imports the readers once and forks for each
line ``READER<tab>PATH`` of its input; it answers with a line of JSON.
"""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from typing import Any, NamedTuple

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Measured(NamedTuple):
  """How a file was read.

  Attributes:
    error: the name of what was raised; empty if nothing was.
    message: of it.
    seconds: of the processor, which other work does not change.
    bytes: by which the process grew at most.
  """

  error: str
  message: str
  seconds: float
  bytes: int


def _every_image(path: pathlib.Path) -> None:
  from snnjax.data.importers import downloads

  source = downloads.recognise(path, "images")
  for load in source.splits.values():
    examples = load()
    for row in range(examples.size):
      examples.read(row)


def _events(path: pathlib.Path) -> None:
  from snnjax.data import recordings

  recordings.read(path)


def _idx(path: pathlib.Path) -> None:
  from snnjax.data.importers import idx

  idx.read_idx(path)


def _matlab(path: pathlib.Path) -> None:
  from snnjax.data.importers import matlab

  matlab.read(path, ("X", "y"))


def _pickle(path: pathlib.Path) -> None:
  from snnjax.data.importers import plain_pickle

  plain_pickle.loads(path.read_bytes(), str(path))


def _prepared(path: pathlib.Path) -> None:
  from snnjax.data import registry

  registry.open_dataset(path.name, "train", path.parent)


def _parameters(path: pathlib.Path) -> None:
  from snnjax.storage import array_files

  array_files.restore(path, {"a": np.zeros(3, np.float32)})


def _npz(path: pathlib.Path) -> None:
  from snnjax.storage import files

  files.read_arrays(path)


READERS = {
  "events": _events,
  "idx": _idx,
  "images": _every_image,
  "matlab": _matlab,
  "npz": _npz,
  "parameters": _parameters,
  "pickle": _pickle,
  "prepared": _prepared,
}


def _peak() -> int:
  """The most memory this process has had, in bytes."""
  for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM:"):
      return int(line.split()[1]) << 10
  raise AssertionError("the system does not tell the peak")


def _read(name: str, path: pathlib.Path) -> dict[str, Any]:
  """Reads in this process, which must be a fresh fork."""
  resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
  pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is now
  before = _peak()
  begun = time.process_time()
  error, message = "", ""
  try:
    READERS[name](path)
  except BaseException as caught:
    error, message = type(caught).__name__, str(caught)
  return {
    "error": error,
    "message": message,
    "seconds": time.process_time() - begun,
    "bytes": _peak() - before,
  }


class Reader:
  """A process that measures."""

  def __init__(self, process: subprocess.Popen) -> None:
    self._process = process

  def read(self, name: str, path: pathlib.Path) -> Measured:
    """Reads one file, or folder, with one reader."""
    self._process.stdin.write(f"{name}\t{path}\n")
    self._process.stdin.flush()
    line = self._process.stdout.readline()
    assert line, "the reader has ended"
    return Measured(**json.loads(line))


@contextlib.contextmanager
def started():
  """Starts the process."""
  with subprocess.Popen(
    [sys.executable, "-m", "tests.faults.reader"],
    cwd=ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  ) as process:
    yield Reader(process)
    process.stdin.close()


def serve() -> None:
  """Answers until the input ends."""
  from snnjax.data import prepared, recordings, registry
  from snnjax.data.importers import downloads
  from snnjax.storage import array_files, files

  del (
    files,
    array_files,
    prepared,
    recordings,
    registry,
    downloads,
  )  # imported before any fork
  for line in sys.stdin:
    name, path = line.rstrip("\n").split("\t")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
      answer = json.dumps(_read(name, pathlib.Path(path)))
      with os.fdopen(writing, "w") as stream:
        stream.write(answer)
      os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
      told = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    killed = {
      "error": f"exit {status}",
      "message": "",
      "seconds": 99.0,
      "bytes": 0,
    }
    sys.stdout.write((told or json.dumps(killed)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
  serve()
