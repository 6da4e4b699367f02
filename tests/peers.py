"""Other libraries that ours is compared with."""

import importlib
import os
import types

import pytest

UNTESTED = "not compared with"


def load(name: str) -> types.ModuleType:
  """Imports a peer; its tests are skipped without it, and fail under CI.

  A skipped comparison is counted in the last lines of the run (`conftest`):
  parity that nobody looked at must not look like parity.
  """
  try:
    return importlib.import_module(name)
  except ImportError:
    reason = f"{UNTESTED} {name}: pip install -e '.[test]'"
  if os.environ.get("CI"):
    pytest.fail(reason)
  pytest.skip(reason, allow_module_level=True)
