"""Every test runs on two simulated CPU devices, without network or GPU."""

import atexit
import gc
import os
import pathlib
import shutil
import socket
import tempfile

# Before jax is imported: no accelerator even if there is one.
# The suite compiles hundreds of small programs that run for milliseconds: with
# less optimisation it takes half the time. SNNJAX_TEST_OPTIMIZED=1 runs it with
# the optimisations that users get.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if not os.environ.get("SNNJAX_TEST_OPTIMIZED"):
  os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
    " --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
  )

# What one worker or binary compiles, the others read: the first process that
# comes here, the one that starts the workers, makes the folder and removes it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  _CACHE = tempfile.mkdtemp(prefix="snnjax-tests-")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
  atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
  # Where Python may not write its bytecode beside the sources, every binary
  # that a test starts would compile all of them: a third of its start.
  if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    os.environ["PYTHONPYCACHEPREFIX"] = str(pathlib.Path(_CACHE) / "bytecode")

import jax
import pytest

from tests import doubles, lowering, peers

pytest_plugins = ("tests.bounding",)

# Not by XLA_FLAGS: binaries that tests start would use both as well.
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
if not os.environ.get("SNNJAX_TEST_OPTIMIZED"):
  lowering.share_contexts()

# Folders and files whose tests take longest: they start first, so that no
# worker ends with a long one while the others have nothing left to do.
# The runs of experiments come third: from the first of them on every program is
# kept in a cache, which the other tests have nothing of.
LONG = ("laws", "attacks", "readme_test.py", "experiments", "faults", "smoke")

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config):
  """Hands files out in the order below; xdist would count their tests."""
  if hasattr(config.option, "loadscopereorder"):
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
  """Puts long files first; the others stay as they are."""
  place = {name: rank for rank, name in enumerate(LONG)}
  tests = pathlib.Path(__file__).parent
  items.sort(
    key=lambda item: place.get(item.path.relative_to(tests).parts[0], len(LONG))
  )


def pytest_collection_finish():
  """Leaves modules and tests, which stay to the end, to no collection.

  Tracing makes and drops many small objects: with Python's thresholds a fifth
  of its time is spent looking for cycles among them.
  """
  gc.collect()
  gc.freeze()
  gc.set_threshold(50_000, 20, 20)


def pytest_terminal_summary(terminalreporter):
  """Says in the last lines how many comparisons with peers were left out."""
  reasons = [
    str(report.longrepr[2])
    for report in terminalreporter.stats.get("skipped", ())
    if isinstance(report.longrepr, tuple)
  ]
  left_out = [text for text in reasons if peers.UNTESTED in text]
  if left_out:
    terminalreporter.write_sep("!", "PARITY NOT TESTED", red=True, bold=True)
    for text in sorted(set(left_out)):
      terminalreporter.write_line(f"{left_out.count(text)} x {text}", red=True)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
  """Fails any test that opens a connection to another machine."""
  connect = socket.socket.connect

  def guarded(self, address):
    local = self.family == socket.AF_UNIX or str(address[0]) in (
      "127.0.0.1",
      "::1",
      "localhost",
    )
    if not local:
      raise RuntimeError(f"a test tried to reach {address!r}")
    return connect(self, address)

  monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def x64():
  """Runs one test in double precision."""
  with doubles.in_double_precision():
    yield


@pytest.fixture
def shared():
  """The folder of big reference data, where this checkout has one."""
  if not SHARED.is_dir():
    pytest.skip(f"no reference data at {SHARED}")
  return SHARED
