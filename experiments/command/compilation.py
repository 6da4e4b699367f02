"""JAX's compilation cache on disk, so that a second run starts at once."""

import hashlib
import os
import pathlib
import platform
import tempfile

import jax
from absl import logging


def enable_cache(folder: pathlib.Path | None = None) -> pathlib.Path | None:
  """Switches JAX's persistent compilation cache on.

  A cache must not be shared by machines with other instructions (a home
  folder on a cluster is), so each kind of processor has its own sub-folder.
  ``JAX_COMPILATION_CACHE_DIR`` is left as the user set it.

  Args:
    folder: of all caches; ``$XDG_CACHE_HOME/snnjax`` or ``~/.cache/snnjax``
      if None.

  Returns:
    The cache's folder; None, with a logged line, where none can be written.
  """
  users_folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
  if users_folder:
    return pathlib.Path(users_folder)
  try:
    place = (folder or _default()) / _machine()
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=place):
      pass
  except (OSError, RuntimeError) as error:  # RuntimeError: no home at all
    logging.warning("compilations are not kept: %s", error)
    return None
  jax.config.update("jax_compilation_cache_dir", str(place))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
  return place


def _default() -> pathlib.Path:
  root = os.environ.get("XDG_CACHE_HOME")
  base = pathlib.Path(root) if root else pathlib.Path.home() / ".cache"
  return base / "snnjax"


def _machine() -> str:
  """A name for the processor's kind: its architecture and a digest.

  The digest covers the model and the instructions it has, because compiled
  code runs only where the same instructions exist.
  """
  information = pathlib.Path("/proc/cpuinfo")
  features = platform.processor()
  if information.exists():
    lines = information.read_text(errors="replace").splitlines()
    kinds = [n for n in lines if n.startswith(("model name", "flags"))]
    features = "\n".join(sorted(set(kinds))) or features
  mark = hashlib.sha256(features.encode()).hexdigest()[:8]
  return f"{platform.machine()}-{mark}"
