"""Freed memory stays in the process, and only there where it is asked for."""

import platform
import subprocess
import sys

import pytest

# Touches a block above glibc's limit again and again, as an execution does.
PROGRAM = """
import resource, sys
import numpy as np
from snnjax import malloc

asked = sys.argv[1] == "kept"
taken = malloc.keep_freed_memory() if asked else None

def touch():
  np.empty(48 << 20, np.uint8).fill(1)

touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
  touch()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(taken, faults)
"""


def faults(mode):
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM, mode],
    capture_output=True,
    text=True,
    check=True,
  )
  taken, count = done.stdout.split()
  return taken, int(count)


@pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc", reason="only glibc has the setting"
)
def test_kept_pages_are_not_cleared_again():
  taken, kept = faults("kept")
  assert taken == "True"
  assert kept < 100
  _, usual = faults("default")
  assert usual > 10 * max(kept, 1)


def test_another_c_library_changes_nothing(monkeypatch):
  from snnjax import malloc

  class Other:
    """A library without the function."""

  monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: Other())
  assert malloc.keep_freed_memory() is False
