"""What `experiments.doctor` looks at, each check on its own."""

import contextlib
import enum
import importlib
import importlib.metadata
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

# Distribution -> the module that must import.
REQUIRED = {
  "absl-py": "absl",
  "array_record": "array_record.python.array_record_module",
  "flax": "flax.linen",
  "grain": "grain",
  "importlib_resources": "importlib_resources",
  "jax": "jax",
  "jaxlib": "jaxlib",
  "numpy": "numpy",
  "optax": "optax",
  "orbax-checkpoint": "orbax.checkpoint",
  "pillow": "PIL",
  "scipy": "scipy",
  "tensorflow-datasets": "tensorflow_datasets",
  "tqdm": "tqdm",
}
# Distribution -> (extra of this package, what it is for).
OPTIONAL = {
  "matplotlib": ("plot", "figures of the report"),
  "safetensors": ("safetensors", "parameters as safetensors files"),
  "tensorboardX": ("tensorboard", "TensorBoard events"),
}
COMPILE_SECONDS = 5.0
_SCARCE = 2 << 30  # bytes: a checkpoint of a large network, three times
_NONE_LEFT = 64 << 20
_VARIABLES = (
  "JAX_PLATFORMS",
  "XLA_FLAGS",
  "CUDA_VISIBLE_DEVICES",
  "JAX_COMPILATION_CACHE_DIR",
  "TFDS_DATA_DIR",
)


class State(enum.Enum):
  """How one thing stands."""

  FINE = "fine"
  NOTE = "note"
  BROKEN = "broken"


class Finding(NamedTuple):
  """One line of the doctor's answer.

  Attributes:
    name: of the thing.
    state: only what is broken makes the exit code other than 0.
    text: what was seen and, unless fine, what to do.
    details: the same as values, for JSON.
  """

  name: str
  state: State
  text: str
  details: dict[str, Any]


def run(data_dir: str | None = None) -> list[Finding]:
  """Looks at everything.

  Args:
    data_dir: folder of the data sets; TFDS' own if None.

  Returns:
    What was found; a check that raises is broken and hides no other.
  """
  checks: dict[str, Callable[[], list[Finding]]] = {
    "system": _system,
    "packages": _packages,
    "extras": _extras,
    "devices": _devices,
    "compilation cache": _cache,
    "compile": _compile,
    "data": lambda: _data(data_dir),
    "disk": lambda: _disk(data_dir),
  }
  found: list[Finding] = []
  for name, check in checks.items():
    try:
      found += check()
    except Exception as error:  # of any library here: that is the finding
      text = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
      found.append(Finding(name, State.BROKEN, text, {}))
  return found


def healthy(findings: list[Finding]) -> bool:
  """Whether nothing is broken."""
  return all(each.state is not State.BROKEN for each in findings)


def text(findings: list[Finding]) -> str:
  """The findings as a person reads them, and a last line that sums up."""
  width = max(len(each.name) for each in findings)
  lines = [
    f"{each.state.value:<6}  {each.name:<{width}}  {each.text}"
    for each in findings
  ]
  broken = [f.name for f in findings if f.state is State.BROKEN]
  last = f"broken: {', '.join(broken)}" if broken else "nothing is broken"
  return "\n".join([*lines, last, ""])


def plain(findings: list[Finding]) -> dict[str, Any]:
  """The findings as JSON holds them."""
  return {
    "healthy": healthy(findings),
    "findings": [
      {**each._asdict(), "state": each.state.value} for each in findings
    ],
  }


def _system() -> list[Finding]:
  # Imported here, as all that needs a package: it may be the one missing.
  from snnjax.storage import environment

  variables = {n: os.environ[n] for n in _VARIABLES if n in os.environ}
  details = {
    "python": platform.python_version(),
    "platform": platform.platform(),
    "cores": os.cpu_count(),
    "commit": environment.commit(),
    "variables": variables,
  }
  shown = "".join(f", {name}={value}" for name, value in variables.items())
  words = (
    f"Python {details['python']}, {details['cores']} cores, "
    f"{details['platform']}, commit {details['commit'] or 'unknown'}{shown}"
  )
  return [Finding("system", State.FINE, words, details)]


def _version(distribution: str) -> str | None:
  try:
    return importlib.metadata.version(distribution)
  except importlib.metadata.PackageNotFoundError:
    return None


def _packages() -> list[Finding]:
  """Imports every package that the binaries need."""
  versions = {name: _version(name) for name in REQUIRED}
  faults = {}
  for name, module in REQUIRED.items():
    try:
      importlib.import_module(module)
    except Exception as error:  # a broken wheel raises anything
      faults[name] = f"{type(error).__name__}: {error}"
  words = ", ".join(f"{name} {version}" for name, version in versions.items())
  found = [Finding("packages", State.FINE, words, versions)]
  if faults:
    words = "; ".join(f"{name}: {text}" for name, text in faults.items())
    advice = f"{words}. Run: pip install {' '.join(faults)}"
    found = [Finding("packages", State.BROKEN, advice, versions)]
  if "tensorflow" in sys.modules:
    words = "was imported by another package; nothing here needs it"
    found.append(Finding("tensorflow", State.NOTE, words, {}))
  return found


def _extras() -> list[Finding]:
  found = []
  for name, (extra, purpose) in OPTIONAL.items():
    version = _version(name)
    details = {"version": version, "extra": extra}
    words = f"{version}, for {purpose}"
    state = State.FINE
    if version is None:
      state = State.NOTE
      words = f"is not installed ({purpose}): pip install 'snnjax[{extra}]'"
    found.append(Finding(name, state, words, details))
  return found


def _devices() -> list[Finding]:
  import jax

  kinds = [device.device_kind for device in jax.devices()]
  limits = [(d.memory_stats() or {}).get("bytes_limit") for d in jax.devices()]
  details = {
    "backend": jax.default_backend(),
    "devices": kinds,
    "memory": limits,
  }
  memory = f", {_size(limits[0])} each" if limits[0] else ""
  words = f"{jax.default_backend()}: {len(kinds)} x {kinds[0]}{memory}"
  return [Finding("devices", State.FINE, words, details)]


def _cache() -> list[Finding]:
  from experiments.command import compilation

  folder = compilation.keep()
  if folder is None:
    words = (
      "no folder for compilations can be written, so every run compiles anew: "
      "set JAX_COMPILATION_CACHE_DIR"
    )
    return [Finding("compilation cache", State.NOTE, words, {"folder": None})]
  sizes = []
  for entry in _files(folder):
    with contextlib.suppress(FileNotFoundError):  # another process removed it
      sizes.append(entry.stat().st_size)
  details = {
    "folder": str(folder),
    "entries": len(sizes),
    "bytes": sum(sizes),
  }
  words = f"{folder}: {len(sizes)} files, {_size(sum(sizes))}"
  return [Finding("compilation cache", State.FINE, words, details)]


def _files(folder: pathlib.Path) -> list[os.DirEntry[str]]:
  if not folder.is_dir():
    return []
  with os.scandir(folder) as entries:
    return [entry for entry in entries if entry.is_file()]


def _compile() -> list[Finding]:
  """Compiles a product of matrices, its gradient and a scan, and checks it."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  @jax.jit
  @jax.value_and_grad
  def loss(weight: jax.Array) -> jax.Array:
    def step(state: jax.Array, _: None) -> tuple[jax.Array, None]:
      return 0.5 * state + weight @ weight, None

    return jax.lax.scan(step, jnp.zeros_like(weight), None, 3)[0].sum()

  weight = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
  begun = time.monotonic()
  with jax.default_matmul_precision("highest"):
    value, gradient = jax.block_until_ready(loss(weight))
  seconds = time.monotonic() - begun
  ones = np.ones((8, 8))
  expected = 1.75 * (ones @ weight.T + weight.T @ ones)
  right = np.allclose(value, 1.75 * (weight @ weight).sum(), 1e-3, 1e-3)
  right &= np.allclose(gradient, expected, 1e-3, 1e-3)
  details = {"seconds": round(seconds, 3), "right": bool(right)}
  if not right:
    words = "the compiled result is wrong: reinstall jaxlib, or its plugin"
    return [Finding("compile", State.BROKEN, words, details)]
  words = f"compiled and right in {seconds:.1f} s"
  if seconds <= COMPILE_SECONDS:
    return [Finding("compile", State.FINE, words, details)]
  words += f", over {COMPILE_SECONDS:g} s: the machine is busy or slow"
  return [Finding("compile", State.NOTE, words, details)]


def _data(data_dir: str | None) -> list[Finding]:
  from snnjax.data import manifest, registry

  digits = registry.open_dataset(registry.EMBEDDED, "test")
  words = f"embedded, test {len(digits.labels)}"
  details: dict[str, Any] = {"test": len(digits.labels)}
  found = [Finding(f"data {registry.EMBEDDED}", State.FINE, words, details)]
  folder = manifest.data_folder(data_dir)
  prepared = manifest.list_prepared(data_dir)
  for one in prepared:
    splits = ", ".join(f"{name} {size}" for name, size in one.splits.items())
    details = {
      "path": str(one.path),
      "version": one.version,
      "splits": dict(one.splits),
    }
    state = State.NOTE if one.fault else State.FINE
    words = one.fault or f"{one.version}, {splits}"
    found.append(Finding(f"data {one.name}", state, words, details))
  if not prepared:
    words = (
      f"no other data set in {folder}: python -m experiments.prepare_data "
      "--help says how to get one"
    )
    found.append(Finding("data", State.NOTE, words, {"path": str(folder)}))
  return found


def _disk(data_dir: str | None) -> list[Finding]:
  from snnjax.data import manifest

  folders = {
    "working": pathlib.Path.cwd(),
    "temporary": pathlib.Path(tempfile.gettempdir()),
    "data": manifest.data_folder(data_dir),
  }
  found = []
  for name, folder in folders.items():
    place = folder
    while not place.exists():  # the data folder need not be there yet
      place = place.parent
    free = shutil.disk_usage(place).free
    details = {"path": str(folder), "free": free}
    words = f"{_size(free)} free in {folder}"
    state = State.FINE
    if free < _SCARCE:
      state = State.BROKEN if free < _NONE_LEFT else State.NOTE
      words += ": free some space before a long run"
    found.append(Finding(f"disk, {name}", state, words, details))
  return found


def _size(count: float) -> str:
  for unit in ("B", "KiB", "MiB"):
    if count < 1024:
      return f"{count:.3g} {unit}"
    count /= 1024
  return f"{count:.1f} GiB"
