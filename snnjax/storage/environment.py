"""What a run ran on: versions, devices, commit, command line."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from snnjax.kernels.cpu import switch
from snnjax.storage import files, identity, workdir

_PACKAGES = (
  "snnjax",
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "numpy",
  "orbax-checkpoint",
  "tensorflow-datasets",
)
_FILE = "environment.json"
_SETTINGS = (
  "jax_enable_x64",
  "jax_default_matmul_precision",
  "jax_default_prng_impl",
  "jax_threefry_partitionable",
)
# What may differ between two sessions without changing a bit of the result.
_VOLATILE = ("command_line", "wall")


def describe(
  seed: int | None = None,
  precision: Mapping[str, str] | None = None,
  kernel: Mapping[str, str] | None = None,
  mesh: Mesh | None = None,
) -> dict[str, Any]:
  """Describes the process, for environment.json.

  Args:
    seed: the run's, recorded beside the rest.
    precision: how exactly products are computed, by purpose; recorded too. None
      where that is not one for all.
    kernel: how neurons' scans are computed, by purpose; the same.
    mesh: the devices that the run uses; None is one.

  Returns:
    Versions of Python and the packages (None where one is not installed),
    platform, devices, JAX's relevant settings, the commit of the source tree
    (None outside one), seed, precision, kernel and command line.
  """
  return {
    "python": platform.python_version(),
    "packages": {name: _version(name) for name in _PACKAGES},
    "platform": "-".join((platform.system(), *platform.libc_ver())),
    "processor": platform.machine(),
    "cores": os.cpu_count(),
    "backend": jax.default_backend(),
    "devices": [device.device_kind for device in jax.devices()],
    "mesh": {"data": 1} if mesh is None else dict(mesh.shape),
    "processes": jax.process_count(),
    "settings": {name: getattr(jax.config, name) for name in _SETTINGS},
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
    "cpu_kernels": switch.enabled(),
    "commit": commit(),
    "seed": seed,
    "precision": None if precision is None else dict(precision),
    "kernel": None if kernel is None else dict(kernel),
    # Where the program lies says whose machine it was.
    "command_line": [
      *(pathlib.Path(program).name for program in sys.argv[:1]),
      *sys.argv[1:],
    ],
  }


def commit(source: pathlib.Path | None = None) -> str | None:
  """The git commit of the source tree, with ``+changes`` if it is edited.

  Args:
    source: a file of the tree; this one if None.

  Returns:
    None without git, or where git does not track `source` (an installed
    package that lies inside somebody's repository).
  """
  file = pathlib.Path(__file__) if source is None else source
  head = _git(file.parent, "rev-parse", "HEAD")
  if head is None or _git(file.parent, "ls-files", file.name) in (None, ""):
    return None
  changes = _git(file.parent, "status", "--porcelain", "-uno")
  return f"{head}+changes" if changes else head


def record(run: workdir.Workdir, environment: dict[str, Any]) -> list[str]:
  """Adds a session to a workdir's environment.json.

  Args:
    run: an open workdir.
    environment: of this session; see `describe`.

  Returns:
    What differs from the session before, one line per key. A run resumes to
    the same bits only where nothing does.

  Raises:
    OSError: it cannot be written.
    DamagedError: the file is damaged.
  """
  path = run.path
  sessions = read(path) if (path / _FILE).exists() else []
  wall = {"started": time.time(), "pid": os.getpid(), "host": platform.node()}
  sessions.append({**environment, "wall": wall})
  files.write_sealed(path / _FILE, {"sessions": sessions})
  last, now = (
    {name: value for name, value in session.items() if name not in _VOLATILE}
    for session in (sessions[-2:] * 2)[:2]
  )
  return workdir.difference(last, now)


def read(path: pathlib.Path | str) -> list[dict[str, Any]]:
  """The sessions of the run in a workdir, the first one first.

  Args:
    path: a workdir.

  Raises:
    OSError: environment.json cannot be read.
    DamagedError: it is damaged.
  """
  file = pathlib.Path(path) / _FILE
  remedy = "remove it and run the command that made it again"
  sessions = files.read_sealed(file, remedy).get("sessions")
  if not isinstance(sessions, list) or not sessions:
    raise identity.damaged(file, "it has no sessions", remedy)
  return sessions


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _git(folder: pathlib.Path, *arguments: str) -> str | None:
  try:
    done = subprocess.run(
      ["git", "-C", str(folder), *arguments],
      capture_output=True,
      text=True,
      timeout=10,
      check=True,
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip()
