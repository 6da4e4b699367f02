"""The parent's side of the worker protocol: one living process per library."""

import json
import os
import pathlib
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

Answer = dict[str, Any]
_ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(library: str) -> list[str]:
  """The command line of a library's worker."""
  return [sys.executable, "-m", "experiments.benchmarks.worker", library]


# What `snnjax.malloc.keep_freed_memory` sets, as glibc reads it at the
# start of a process: it holds for every library alike.
_KEEP_FREED_MEMORY = {
  "MALLOC_MMAP_MAX_": "0",
  "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
  "MALLOC_ARENA_MAX": "1",
}


def environment(memory: str) -> dict[str, str]:
  """The workers' environment: this one, on the processor, our code found.

  Args:
    memory: "kept" if freed memory stays in the process, as in our binaries;
      "default" if the C library decides.
  """
  path = os.pathsep.join(
    filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))
  )
  settings = _KEEP_FREED_MEMORY if memory == "kept" else {}
  return {**os.environ, **settings, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}


class Worker:
  """A process that answers requests, one line of JSON each."""

  def __init__(
    self, words: Sequence[str], log: pathlib.Path, memory: str = "default"
  ):
    """Starts the process.

    Args:
      words: its command line.
      log: takes what it writes to standard error.
      memory: "kept" or "default", see `environment`.
    """
    with log.open("w") as errors:
      self._process = subprocess.Popen(
        list(words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment(memory),
        bufsize=0,
      )
    self._rest = b""
    self._dead = ""

  def ask(self, request: Answer, patience: float) -> Answer:
    """Sends a request and waits for its answer.

    Args:
      request: see `experiments.benchmarks.worker`.
      patience: seconds until the process is given up and ended.

    Returns:
      The answer; {"failed": why} from a process that died or never answered,
      then and ever after.
    """
    if self._dead:
      return {"failed": self._dead}
    if self._process.stdin is None:
      raise RuntimeError("the worker has no standard input")
    try:
      self._process.stdin.write(json.dumps(request).encode() + b"\n")
      line = self._line(time.monotonic() + patience)
    except (BrokenPipeError, EOFError):
      code = self._process.wait()
      return self._end(f"the worker died with exit code {code}")
    except TimeoutError:
      return self._end(f"no answer within {patience:.0f} s")
    return json.loads(line)

  def close(self) -> None:
    """Ends the process."""
    if not self._dead:
      self._end("the worker was ended")

  def _end(self, why: str) -> Answer:
    self._dead = why
    for stream in (self._process.stdin, self._process.stdout):
      if stream is not None:
        stream.close()
    try:
      self._process.wait(timeout=2)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()
    return {"failed": why}

  def _line(self, deadline: float) -> bytes:
    stream = self._process.stdout
    if stream is None:
      raise RuntimeError("the worker has no standard output")
    while b"\n" not in self._rest:
      left = deadline - time.monotonic()
      if left <= 0 or not select.select([stream], [], [], left)[0]:
        raise TimeoutError
      more = os.read(stream.fileno(), 65536)
      if not more:
        raise EOFError
      self._rest += more
    line, self._rest = self._rest.split(b"\n", 1)
    return line
