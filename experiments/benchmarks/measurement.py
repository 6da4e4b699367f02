"""Measures seconds and resident memory in the process that it runs in."""

import ctypes
import ctypes.util
import gc
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

_STATUS = pathlib.Path("/proc/self/status")
_CLEAR = pathlib.Path("/proc/self/clear_refs")
_LEAST = 0.05  # seconds that one turn lasts at least


class Prepared(NamedTuple):
  """A task, ready to run.

  Attributes:
    call: does the work once and returns when it is done.
    evidence: arrays to compare with the other libraries'.
    notes: anything worth reporting beside the seconds.
  """

  call: Callable[[], None]
  evidence: Mapping[str, np.ndarray] = {}
  notes: Mapping[str, float | str] = {}


class CannotError(ValueError):
  """The library cannot express a task; the message says why."""


def seconds(call: Callable[[], None], calls: int = 1) -> float:
  """Seconds per call."""
  start = time.perf_counter()
  for _ in range(calls):
    call()
  return (time.perf_counter() - start) / calls


def calls_per_turn(seconds_per_call: float) -> int:
  """How many calls make a turn long enough for the clock."""
  return max(1, min(1000, round(_LEAST / max(seconds_per_call, 1e-9))))


def release_memory() -> None:
  """Gives memory that is not in use back to the system."""
  gc.collect()
  library = ctypes.util.find_library("c")
  if library:
    trim = getattr(ctypes.CDLL(library), "malloc_trim", None)
    if trim is not None:
      trim(0)


def forget_peak() -> None:
  """Starts the peak of resident memory anew, where the kernel can."""
  if _CLEAR.exists():
    try:
      _CLEAR.write_text("5")
    except OSError:
      return  # the peak is then that of the whole process


def memory(field: str) -> float | None:
  """Megabytes of "VmRSS" (now) or "VmHWM" (peak); None if not known."""
  if not _STATUS.exists():
    return None
  for line in _STATUS.read_text().splitlines():
    if line.startswith(f"{field}:"):
      return int(line.split()[1]) / 1024
  return None
