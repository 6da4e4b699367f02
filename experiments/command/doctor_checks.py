"""The checks of `experiments.doctor`: one function per check."""

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
  "h5py": ("events", "HDF5 files of spikes (SHD, SSC)"),
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


def examine(data_dir: str | None = None) -> list[Finding]:
  """Runs all checks.

  Args:
    data_dir: folder of the data sets; TFDS' own if None.

  Returns:
    Their findings. A check that raises becomes a broken finding, and the
    others still run.
  """
  checks: dict[str, Callable[[], list[Finding]]] = {
    "system": check_system,
    "packages": check_packages,
    "extras": check_extras,
    "devices": check_devices,
    "compilation cache": check_cache,
    "compile": check_compilation,
    "data": lambda: check_data(data_dir),
    "disk": lambda: check_disk(data_dir),
  }
  findings: list[Finding] = []
  for name, check in checks.items():
    try:
      findings += check()
    except Exception as error:  # of any library here: that is the finding
      text = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
      findings.append(Finding(name, State.BROKEN, text, {}))
  return findings


def is_healthy(findings: list[Finding]) -> bool:
  """Returns whether no finding is broken."""
  return all(finding.state is not State.BROKEN for finding in findings)


def describe(findings: list[Finding]) -> str:
  """The findings as a person reads them, and a last line that sums up."""
  width = max(len(finding.name) for finding in findings)
  lines = [
    f"{finding.state.value:<6}  {finding.name:<{width}}  {finding.text}"
    for finding in findings
  ]
  broken = [f.name for f in findings if f.state is State.BROKEN]
  last = f"broken: {', '.join(broken)}" if broken else "nothing is broken"
  return "\n".join([*lines, last, ""])


def to_record(findings: list[Finding]) -> dict[str, Any]:
  """The findings as JSON holds them."""
  return {
    "healthy": is_healthy(findings),
    "findings": [
      {**finding._asdict(), "state": finding.state.value}
      for finding in findings
    ],
  }


def check_system() -> list[Finding]:
  """Returns a note of Python, the machine, the commit and the variables."""
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


def check_packages() -> list[Finding]:
  """Imports every package that the binaries need; broken if one fails."""
  versions = {name: _version(name) for name in REQUIRED}
  faults = {}
  for name, module in REQUIRED.items():
    try:
      importlib.import_module(module)
    except Exception as error:  # a broken wheel raises anything
      faults[name] = f"{type(error).__name__}: {error}"
  words = ", ".join(f"{name} {version}" for name, version in versions.items())
  findings = [Finding("packages", State.FINE, words, versions)]
  if faults:
    words = "; ".join(f"{name}: {text}" for name, text in faults.items())
    advice = f"{words}. Run: pip install {' '.join(faults)}"
    findings = [Finding("packages", State.BROKEN, advice, versions)]
  if "tensorflow" in sys.modules:
    words = "was imported by another package; nothing here needs it"
    findings.append(Finding("tensorflow", State.NOTE, words, {}))
  return findings


def check_extras() -> list[Finding]:
  """Returns which optional packages are installed; a missing one is a note."""
  findings = []
  for name, (extra, purpose) in OPTIONAL.items():
    version = _version(name)
    details = {"version": version, "extra": extra}
    words = f"{version}, for {purpose}"
    state = State.FINE
    if version is None:
      state = State.NOTE
      words = f"is not installed ({purpose}): pip install 'snnjax[{extra}]'"
    findings.append(Finding(name, state, words, details))
  return findings


def check_devices() -> list[Finding]:
  """Returns JAX's devices and their memory, where they tell it."""
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


def check_cache() -> list[Finding]:
  """Returns the folder and size of the compilation cache; a note if none."""
  from experiments.command import compilation

  folder = compilation.enable_cache()
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


def check_compilation() -> list[Finding]:
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
  start = time.monotonic()
  with jax.default_matmul_precision("highest"):
    value, gradient = jax.block_until_ready(loss(weight))
  seconds = time.monotonic() - start
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


def check_data(data_dir: str | None) -> list[Finding]:
  """Returns a finding per data set: the embedded one and the prepared ones.

  Args:
    data_dir: folder of the data sets; TFDS' own if None.
  """
  from snnjax.data import manifest, registry

  digits = registry.open_dataset(registry.EMBEDDED, "test")
  words = f"embedded, test {len(digits.labels)}"
  details: dict[str, Any] = {"test": len(digits.labels)}
  findings = [Finding(f"data {registry.EMBEDDED}", State.FINE, words, details)]
  folder = manifest.data_folder(data_dir)
  data_sets = manifest.list_prepared(data_dir)
  for data_set in data_sets:
    splits = ", ".join(
      f"{name} {size}" for name, size in data_set.splits.items()
    )
    details = {
      "path": str(data_set.path),
      "version": data_set.version,
      "splits": dict(data_set.splits),
    }
    state = State.NOTE if data_set.fault else State.FINE
    words = data_set.fault or f"{data_set.version}, {splits}"
    findings.append(Finding(f"data {data_set.name}", state, words, details))
  if not data_sets:
    words = (
      f"no other data set in {folder}: python -m experiments.prepare_data "
      "--help says how to get one"
    )
    findings.append(Finding("data", State.NOTE, words, {"path": str(folder)}))
  return findings


def check_disk(data_dir: str | None) -> list[Finding]:
  """Returns the free space of the working, temporary and data folders.

  Args:
    data_dir: folder of the data sets, which need not exist; TFDS' own if
      None.
  """
  from snnjax.data import manifest

  folders = {
    "working": pathlib.Path.cwd(),
    "temporary": pathlib.Path(tempfile.gettempdir()),
    "data": manifest.data_folder(data_dir),
  }
  findings = []
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
    findings.append(Finding(f"disk, {name}", state, words, details))
  return findings


def _size(count: float) -> str:
  for unit in ("B", "KiB", "MiB"):
    if count < 1024:
      return f"{count:.3g} {unit}"
    count /= 1024
  return f"{count:.1f} GiB"
