"""The training run of a workdir: begun, gone on with, finished, read."""

import contextlib
import pathlib
from collections.abc import Iterator

import jax
import numpy as np

from experiments.building import (
  build,
  datasets,
  examples,
)
from experiments.building.devices import Devices
from experiments.building.shared import Shared
from experiments.command import compilation, exits, stopping
from experiments.command.progress import (
  Progress,
  reporter,
  say,
  silent,
)
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from experiments.planning import preflight
from experiments.runs import origins
from experiments.runs.origins import WEIGHTS
from experiments.training import loop, programs
from snnjax.data import pipeline
from snnjax.interfaces import Network, Variables
from snnjax.storage import (
  array_files,
  checkpoints,
  identity,
  metric_log,
  workdir,
)
from snnjax.storage.workdir import Workdir


def run(
  config: Config, path: pathlib.Path, shared: Shared | None = None
) -> None:
  """Runs the train binary: fits ``config`` in the workdir at `path`.

  Args:
    config: the whole configuration.
    path: the workdir.
    shared: what other runs of this process built; programs and data are taken
      from it, and left in it; its devices are those that are used.

  Raises:
    UsageError: the configuration is not allowed; nothing is written.
  """
  shared = shared or Shared()
  preflight.check(config)
  shared.devices.check(config)
  compilation.enable_cache()
  devices = shared.devices
  with (
    opened_by_one(path, config, devices) as folder,
    exits.stop_on_sigterm() as should_stop,
    reporter() as reported,
  ):
    progress: Progress = reported if devices.writes else silent
    if folder.outcome is workdir.Outcome.FINISHED:
      if devices.writes:
        say(f"{path} is finished; nothing to do. {accuracy(config, path)}")
        _tell_unread(config, path)
      return
    # Of several nobody may leave alone: the others would wait for it.
    may_stop = should_stop if devices.process.size == 1 else stopping.never
    with exits.blame_data():
      splits = shared.get(
        "data",
        programs.data_key(config),
        lambda: datasets.load(
          config, stopping.make_interruptible(progress, may_stop)
        ),
      )
    if devices.writes:
      examples.tell(splits.used, examples.FITTED)
    loop.fit(config, splits, folder, progress, should_stop, shared)
    if devices.writes:
      say(f"trained: {path / WEIGHTS}. {accuracy(config, path)}")


def accuracy(config: Config, path: pathlib.Path) -> str:
  """Returns what a finished run knows of its accuracy, in words.

  Args:
    config: of the run.
    path: its workdir.
  """
  noted = checkpoints.notes(path / "checkpoints")[1].get("metrics")
  expected = None if noted is None else metric_log.Written(*noted)
  lines = []
  if (path / "metrics.jsonl").exists():
    lines = metric_log.read(path / "metrics.jsonl", expected=expected)
  shares = [
    line["validation_accuracy"]
    for line in lines
    if "validation_accuracy" in line
  ]
  after = (
    "Test accuracy, robust accuracy and alarms: nothing was checked yet. Run: "
    f"python -m experiments.evaluate --workdir={path}"
  )
  if not shares:
    zero = not config.data.validation
    why = "data.validation is 0" if zero else "metrics.jsonl has none"
    return f"Accuracy: not measured ({why}). {after}"
  best = max(shares) if config.train.select == "validation" else shares[-1]
  return f"Validation accuracy {100 * best:.1f} %. {after}"


def opened(
  path: pathlib.Path, config: Config
) -> contextlib.AbstractContextManager[Workdir]:
  """Opens the workdir of a run; what training does not read may change.

  A finished one without whole parameters is gone on with.

  Args:
    path: the workdir.
    config: the whole configuration.

  Raises:
    ForeignError: the parameters are another run's.
  """
  return workdir.open_with_status(
    path,
    settings.to_dict(config),
    (*schema.CHANGEABLE, *schema.LATER),
    lambda found: lacking(config, found.path),
  )


@contextlib.contextmanager
def opened_by_one(
  path: pathlib.Path, config: Config, devices: Devices
) -> Iterator[Workdir]:
  """Opens the workdir of a run in one process; the others read its outcome.

  Args:
    path: the workdir.
    config: the whole configuration.
    devices: of all processes.

  Yields:
    The workdir; without a lock in those that write nothing.

  Raises:
    UsageError: the process that writes could not open it, and says why.
    What `opened` raises, in that process.
  """
  outcomes = list(workdir.Outcome)
  if devices.writes:
    with contextlib.ExitStack() as stack:
      try:
        folder = stack.enter_context(opened(path, config))
      except BaseException:
        devices.broadcast(-1)
        raise
      devices.broadcast(outcomes.index(folder.outcome))
      yield folder
    return
  number = devices.broadcast(0)
  if number < 0:
    raise exits.UsageError(
      f"{path} cannot be opened; the first process says why"
    )
  yield Workdir(path, settings.to_dict(config), outcomes[number], None)


def _tell_unread(config: Config, path: pathlib.Path) -> None:
  """Says which values came too late for a run that is finished."""
  lines = workdir.difference(
    workdir.read_config(path), settings.to_dict(config)
  )
  if lines:
    say(
      "not read, as the run is finished (there -> now); give it to the binary "
      "that reads it, see its --help:\n  " + "\n  ".join(lines)
    )


def lacking(config: Config, path: pathlib.Path) -> str:
  """Says what a finished run lacks; nothing where others find what they read.

  Args:
    config: the run's configuration.
    path: its workdir.

  Raises:
    ForeignError: the parameters are another run's.
  """
  try:
    made_from = origins.recorded_training(config, path)
    examples.load(path, made_from)
  except FileNotFoundError as error:
    return f"{error.filename} is missing"
  except identity.DamagedError as error:
    return str(error).partition("; ")[0]
  return ""


def trained(
  config: Config,
  splits: datasets.Splits,
  path: pathlib.Path,
  shared: Shared | None = None,
) -> tuple[Network, Variables]:
  """Returns the network of a finished workdir and its variables.

  It computes as exactly as ``config.evaluation.precision`` says.

  Args:
    config: the run's configuration.
    splits: its data, for the shapes of the inputs.
    path: its workdir.
    shared: what other runs of this process built.

  Raises:
    OSError: there are no parameters.
    DamagedError: they are damaged.
    ForeignError: they are those of another configuration.
    ValueError: they do not fit the network.
  """
  classes = splits.test.num_classes
  network = programs.measured_network(config, classes, shared or Shared())
  sample = pipeline.gather(
    splits.test,
    pipeline.Slot(np.zeros(1, int), np.ones(1, bool)),
    splits.prepare,
  )
  shapes = jax.eval_shape(
    network.init, build.key(config, "shapes"), sample.inputs
  )
  variables = array_files.restore(
    path / WEIGHTS,
    shapes,
    origins.configuration(config),
    remedy=origins.remedy(path),
  )
  return network, variables
