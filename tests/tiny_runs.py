"""Runs of the binaries that take a second, for the tests of experiments."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from experiments.configuration import settings
from experiments.runs import device_flags
from snnjax.storage import files, metric_log

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = {
  "data.train_examples": "200",
  "data.test_examples": "64",
  "data.validation": "0.2",
  "model.kind": "mlp",
  "model.hidden": "16,",
  "model.steps": "2",
  # What holds for it holds for the other encoders.
  "modalities.image.encoder": "poisson",
  "optimizer.learning_rate": "1e-2",
  "train.batch_size": "32",
  "train.epochs": "2",
  "train.log_every": "1",
  "train.checkpoint_every": "3",
  "evaluation.examples": "64",
  "evaluation.microbatch": "8",
  "evaluation.steps": "2",
  "evaluation.rules": "bptt_triangle,",
  "modalities.image.epsilons.linf": "0.05,0.1",
  "evaluation.random_draws": "2",
  "evaluation.shown": "2",
  "evaluation.alarm_examples": "0",
}
# Changes for runs of which there must be many.
SHORT = {
  "train.epochs": "1",
  "data.test_examples": "16",
  "evaluation.examples": "16",
}


def config(changes=None, name="base"):
  """The tiny configuration, with changes as a command line writes them."""
  return changed(settings.load(name), TINY | (changes or {}))


def changed(config, changes):
  """A configuration, with changes as a command line writes them."""
  for key, text in changes.items():
    config = settings.override(config, key, text)
  return config


def words(workdir, changes=None):
  """The same as a command line's words."""
  pairs = (TINY | (changes or {})).items()
  return [f"--workdir={workdir}"] + [f"--config.{k}={v}" for k, v in pairs]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
  """One compilation cache for the runs of all tests, here and in children.

  One for all workers: a worker's own folder lies in that of the whole run.
  """
  root = tmp_path_factory.getbasetemp()
  root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
  folder = str(root / "compiled")
  changed = {
    "jax_compilation_cache_dir": folder,
    "jax_persistent_cache_min_compile_time_secs": 0.0,
  }
  before = {name: getattr(jax.config, name) for name in changed}
  os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  for name, value in changed.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()
  yield folder
  os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
  os.environ.pop("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", None)
  for name, value in before.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def one_device():
  """For the `run` of binaries, which reads flags, as one device has it."""
  device_flags.flags.FLAGS(["binary", "--mesh=data:1"])
  yield
  device_flags.flags.FLAGS["mesh"].unparse()


def parameters(folder):
  return files.read_arrays(folder / "parameters.npz")


def rows(folder):
  """All per-example arrays of an evaluation, by file and name."""
  root = evaluation(folder) / "arrays"
  return {
    f"{path.relative_to(root)}:{name}": array
    for path in sorted(root.rglob("[!.]*.npz"))  # less drafts of killed runs
    for name, array in files.read_arrays(path).items()
  }


def lines(folder):
  return metric_log.read(folder / "metrics.jsonl")


def status(folder):
  return json.loads((folder / "status.json").read_text())["status"]


def set_status(folder, status):
  """Makes a run that has ended one that stopped otherwise."""
  path = folder / "status.json"
  record = files.read_sealed(path, "")
  files.write_sealed(path, record | {"status": status.value})


def same(one, other):
  """Asserts equal bits of two mappings of arrays; says how many there are."""
  assert list(one) == list(other)
  for name, array in one.items():
    assert array.dtype == other[name].dtype, name
    assert array.tobytes() == other[name].tobytes(), name
  return len(one)


def start(binary, *arguments, environment=None):
  """Starts a binary as a shell does."""
  return subprocess.Popen(
    [sys.executable, "-m", f"experiments.{binary}", *arguments],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, **(environment or {})},
  )


def finished(binary, *arguments, environment=None):
  """Runs a binary to its end; returns its exit code, output and errors."""
  child = start(binary, *arguments, environment=environment)
  with child:
    out, err = child.communicate(timeout=120)
  return child.returncode, out, err


# Imports once, then forks a process per run, before JAX starts its threads:
# ten kills cost ten runs and not ten imports.
_SERVER = """
import os, sys
import orbax.checkpoint
from experiments.command import exits
from experiments.evaluation import evaluation_run
from experiments.runs import launch
from experiments.training import training_run
from absl import flags
launch.define_flags(flags.FLAGS, "base", {})
bodies = {"train": training_run.run, "evaluate": evaluation_run.run}
for line in sys.stdin:
  binary, *words = line.rstrip("\\n").split("\\t")
  child = os.fork()
  if not child:
    command = launch.parse(["run", *words], flags.FLAGS, {})
    body = lambda: bodies[binary](command.config, command.workdir)
    os._exit(exits.run_guarded(body, binary, True))
  os.write(1, f"{child}\\n".encode())
  status = os.waitpid(child, 0)[1]
  os.write(1, f"{os.waitstatus_to_exitcode(status)}\\n".encode())
"""


class Server:
  """Runs binaries in processes of their own that can be killed."""

  def __init__(self, process):
    self._process = process

  def begin(self, binary, arguments):
    self._process.stdin.write("\t".join([binary, *arguments]) + "\n")
    self._process.stdin.flush()
    return int(self._answer())

  def end(self):
    return int(self._answer())

  def run(self, binary, arguments):
    self.begin(binary, arguments)
    return self.end()

  def _answer(self):
    """The next line of the server's own; the runs talk on the same pipe."""
    while not (line := self._process.stdout.readline()).strip("-\n").isdigit():
      assert line, "the server has ended"
    return line


@contextlib.contextmanager
def server():
  with subprocess.Popen(
    [sys.executable, "-c", _SERVER],
    cwd=ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
  ) as process:
    yield Server(process)
    process.stdin.close()


def wait_for(condition, seconds=60.0):
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline, "nothing happened"
    time.sleep(0.001)


def count_lines(path):
  return path.read_bytes().count(b"\n") if path.exists() else 0


def equal_metrics(one, other):
  """Whether two metrics files agree but for wall times; NaN equals NaN."""
  return json.dumps(lines(one)) == json.dumps(lines(other))


def evaluation(folder):
  """The folder of a run's only evaluation."""
  (found,) = folder.glob("evaluation_*")
  return found
