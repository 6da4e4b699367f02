"""Bounds of time and memory for tests that try many inputs.

A reader that takes minutes or gigabytes for one odd input passes every test of
its result. `conftest.py` holds every hypothesis test, and every test marked
``fuzz``, to these; a test that needs more says how much and is marked for it:
``@pytest.mark.fuzz(seconds=300)``.
"""

import contextlib
import pathlib
import resource
import sys
import time

SECONDS = 120  # of processor time, compilation included
MEGABYTES = 1000  # above what the process held before

_PROC = pathlib.Path("/proc/self")


def _held(name):
  """A number of kilobytes from /proc/self/status, in megabytes."""
  for line in (_PROC / "status").read_text().splitlines():
    if line.startswith(name + ":"):
      return int(line.split()[1]) / 1024
  raise OSError(f"/proc/self/status has no {name}")


def _largest_so_far():
  unit = 1024**2 if sys.platform == "darwin" else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _start():
  """What is held now, and how to ask for the largest since."""
  try:
    (_PROC / "clear_refs").write_text("5")  # the peak begins anew
    return _held("VmRSS"), lambda: _held("VmHWM")
  except OSError:
    # Elsewhere only growth beyond the largest ever is seen.
    return _largest_so_far(), _largest_so_far


@contextlib.contextmanager
def bounded(seconds=SECONDS, megabytes=MEGABYTES):
  """Raises AssertionError if what runs inside takes more than this.

  Args:
    seconds: of processor time of this process, all threads together.
    megabytes: of memory above what is held at the start.
  """
  before, largest = _start()
  start = time.process_time()
  yield
  took, grown = time.process_time() - start, largest() - before
  assert took <= seconds, f"took {took:.1f} s of {seconds} s of processor time"
  assert grown <= megabytes, f"took {grown:.0f} MB of {megabytes} MB of memory"
