"""The loop of training: resumable, logged, checked at every step."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import (
  build,
  datasets,
  examples,
  training_methods,
)
from experiments.building.devices import Devices
from experiments.building.shared import Shared
from experiments.command import exits, stopping
from experiments.command.exits import DataError
from experiments.command.progress import Progress, silent
from experiments.command.stopping import ShouldStop
from experiments.configuration import settings
from experiments.configuration.schema import Config
from experiments.runs import origins
from experiments.runs.origins import WEIGHTS
from experiments.training import programs
from snnjax import methods
from snnjax import training as steps
from snnjax.data import dataset, pipeline
from snnjax.interfaces import Batch, Inputs, Variables
from snnjax.storage import (
  array_files,
  checkpoints,
  environment,
  identity,
  metric_log,
  workdir,
)
from snnjax.storage.workdir import Workdir
from snnjax.training import TrainState

Write = Callable[[int, Mapping[str, float]], None]


class Best(NamedTuple):
  """The variables a run will deliver.

  Attributes:
    variables: weights and statistics.
    right: how many examples of the validation split they get right; -1 where
      none were tried. A count, which ties exactly.
  """

  variables: Variables
  right: jax.Array


class Progressed(NamedTuple):
  """What a checkpoint holds."""

  state: TrainState
  best: Best


class Log(NamedTuple):
  """Where metrics go.

  Attributes:
    write: takes a step and its values.
    written: what the metrics file holds, for a checkpoint; None in a process
      that writes nothing.
  """

  write: Write
  written: Callable[[], metric_log.Written | None]


class Plan(NamedTuple):
  """A run's fixed parts."""

  config: Config
  made_from: Mapping[str, str]
  train: datasets.Training
  validation: dataset.Dataset | None
  step: Callable[[TrainState, Batch], tuple[TrainState, steps.StepMetrics]]
  right: Callable[[Variables, dataset.Dataset], int]
  devices: Devices
  per_epoch: int
  total: int


def fit(
  config: Config,
  splits: datasets.Splits,
  folder: Workdir,
  progress: Progress = silent,
  should_stop: ShouldStop = stopping.never,
  shared: Shared | None = None,
) -> Variables:
  """Trains a network on the splits, from where the workdir's run stopped.

  Args:
    config: the whole configuration.
    splits: the data.
    folder: gets metrics, checkpoints and ``array_files.npz``.
    progress: told of every step.
    should_stop: asked before the first and after every step; then a
      checkpoint is written and `workdir.Preempted` raised.
    shared: what other runs of this process built.

  Returns:
    The variables of the last epoch, or the best on the validation split.

  Raises:
    NonFiniteError: a metric is not finite; the batch is saved.
    Preempted: as `should_stop` wanted.
    ForeignError: a checkpoint is another run's, or of other data.
    ValueError: the configuration does not fit.
    DataError: the inputs are not float32 in 0..1.
  """
  shared = shared or Shared()
  devices = shared.devices
  if devices.writes:
    environment.record(folder, build.environment_of(config, devices.mesh))

  def agreed_stop() -> bool:
    return devices.agree(should_stop())

  stopping.stop_before("the training", agreed_stop)
  made_from = origins.training(config)
  with exits.blame_configuration():
    plan, progressed = _begin(config, splits, made_from, shared)
  after = expected = None
  if checkpoints.steps(folder.checkpoints):
    after, progressed, notes = checkpoints.restore(
      folder.checkpoints, progressed, made_from=plan.made_from
    )
    expected = metric_log.Written(*notes["metrics"])
  _check_same(devices, config, made_from, after)
  progressed = Progressed(
    devices.place(progressed.state, config.train.batch_size),
    devices.place_whole(progressed.best),
  )
  if not devices.writes:
    log = Log(lambda step, values: None, lambda: None)
    progressed = _loop(plan, progressed, folder, log, progress, agreed_stop)
    return progressed.best.variables
  examples.save(folder.path, splits.used, made_from)
  with _writers(config, folder, after, expected) as log:
    progressed = _loop(plan, progressed, folder, log, progress, agreed_stop)
  array_files.export(
    progressed.best.variables, folder.path / WEIGHTS, plan.made_from
  )
  return progressed.best.variables


def _check_same(
  devices: Devices,
  config: Config,
  made_from: Mapping[str, str],
  after: int | None,
) -> None:
  """Raises UsageError unless all processes are about to do the same."""
  options = settings.to_dict(config)["train"]
  digest = identity.of_value([dict(made_from), options])
  devices.check_same(
    int(digest[:7], 16),
    "--distributed: all processes must have the same configuration and data; "
    "their digests differ",
  )
  devices.check_same(
    0 if after is None else after,
    "--distributed: --workdir must be one folder that all processes reach; "
    "the steps of their newest checkpoints differ",
  )


def _begin(
  config: Config,
  splits: datasets.Splits,
  made_from: Mapping[str, str],
  shared: Shared,
) -> tuple[Plan, Progressed]:
  """Builds everything from the configuration, and the state of step 0."""
  size = config.train.batch_size
  if splits.train is None:
    raise ValueError("splits must have training examples; got the test alone")
  classes = splits.train.num_classes
  network = programs.network_of(config, classes, shared)
  # Here with the values themselves, which are checked; in the program with
  # what stands for them.
  method = training_methods.method(config, network)
  per_epoch = pipeline.batch_count(splits.train.size, size)
  total = per_epoch * config.train.epochs
  updates = total * methods.as_method(method).updates
  tx = build.optimizer(config, updates)
  compiled = shared.get(
    "training",
    [programs.shape(config), classes, updates],
    lambda: programs.build_programs(config, network, updates, shared.devices),
  )
  first = next(iter(splits.train.batches(size, seed=config.seed)))
  _check_inputs(first.inputs)
  state = steps.init_state(
    build.key(config, "training"), network, method, tx, first
  )
  plan = Plan(
    config,
    made_from,
    splits.train,
    splits.validation,
    functools.partial(compiled.step, programs.traced_values(config)),
    functools.partial(_right, config, splits.prepare, compiled, shared.devices),
    shared.devices,
    per_epoch,
    total,
  )
  best = Best(jax.tree.map(jnp.copy, state.variables), jnp.asarray(-1))
  return plan, Progressed(state, best)


def _check_inputs(inputs: Inputs) -> None:
  """Raises DataError unless a batch is what networks and attacks are made for.

  A network would train on other inputs too, and every radius would mean
  something else.
  """
  for name, leaf in build.by_modality(inputs).items():
    values = np.asarray(leaf)
    low, high = float(values.min()), float(values.max())
    if values.dtype != np.float32 or not (low >= 0 and high <= 1):
      raise DataError(
        f"inputs of the modality {name!r} must be float32 in 0..1; got "
        f"{values.dtype} in {low:g}..{high:g}: its row of sources.TABLE must "
        "prepare them so"
      )


def _right(
  config: Config,
  prepare: datasets.Prepare,
  compiled: programs.Programs,
  devices: Devices,
  variables: Variables,
  data: dataset.Dataset,
) -> int:
  """How many of a data set's examples the network gets right."""
  batches = pipeline.batches(
    data,
    config.train.batch_size,
    seed=None,
    process=devices.process,
    prepare=prepare,
  )
  key = build.key(config, "validation")
  counts = [
    compiled.hits(
      variables, jax.random.fold_in(key, number), devices.split(batch)
    )
    for number, batch in enumerate(batches)
  ]
  return int(sum(counts))


@contextlib.contextmanager
def _writers(
  config: Config,
  folder: Workdir,
  after: int | None,
  expected: metric_log.Written | None,
) -> Iterator[Log]:
  """Opens the metrics file and, if wanted, TensorBoard's events."""
  with contextlib.ExitStack() as stack:
    lines = stack.enter_context(
      metric_log.Metrics(folder.metrics, after, expected)
    )
    events = None
    if config.train.tensorboard:
      events = stack.enter_context(metric_log.tensorboard(folder.events, after))

    def write(step: int, values: Mapping[str, float]) -> None:
      lines.write(step, values)
      if events is not None:
        events(step, values)

    yield Log(write, lambda: lines.written)


def _loop(
  plan: Plan,
  progressed: Progressed,
  folder: Workdir,
  log: Log,
  progress: Progress,
  should_stop: ShouldStop,
) -> Progressed:
  """Steps to the end; checkpoints on the way and wherever it must stop."""
  options = plan.config.train
  done = int(progressed.state.step)
  name = f"train {plan.config.method.name}"
  progress(done, plan.total, name)
  validated = False
  while done < plan.total:
    epoch, first = divmod(done, plan.per_epoch)
    for batch in plan.train.batches(
      options.batch_size,
      seed=plan.config.seed,
      epoch=epoch,
      first=first,
      process=plan.devices.process,
    ):
      batch = plan.devices.split(batch)
      state, measured = plan.step(progressed.state, batch)
      progressed = progressed._replace(state=state)
      done += 1
      values = {key: float(value) for key, value in measured.items()}
      _check(done, values, batch, folder, plan.devices)
      ended = done % plan.per_epoch == 0
      if done % options.log_every == 0:
        log.write(done, values)
      if ended:
        if not validated and done < plan.total:
          progress(done, plan.total, name, _note(values), compiles=True)
        progressed = _end_epoch(plan, progressed, done, log.write)
        validated = True
      stop = should_stop() and done < plan.total
      if ended or stop or done % options.checkpoint_every == 0:
        checkpoints.save(
          done,
          plan.devices.gather(progressed),
          folder.checkpoints,
          made_from=plan.made_from,
          notes={"metrics": log.written()},
        )
      progress(done, plan.total, name, _note(values))
      if stop:
        raise workdir.Preempted(f"stopped after step {done} of {plan.total}")
  return progressed


def _note(values: Mapping[str, float]) -> str:
  """Returns what a step measured of its batch, in words."""
  words = [f"loss {values['loss']:.3g}"] if "loss" in values else []
  if "accuracy" in values:
    words.append(f"accuracy {100 * values['accuracy']:.1f} %")
  return ", ".join(words)


def _end_epoch(
  plan: Plan, progressed: Progressed, done: int, write: Write
) -> Progressed:
  """Measures the validation accuracy and keeps what the run will deliver."""
  variables = jax.tree.map(jnp.copy, progressed.state.variables)
  right = -1
  if plan.validation is not None:
    right = plan.right(variables, plan.validation)
    share = right / len(plan.validation.labels)
    write(done, {"validation_accuracy": share})
  best = progressed.best
  last = plan.config.train.select == "last"
  if last or right > int(best.right):  # of equal epochs the first
    best = Best(variables, jnp.asarray(right))
  return progressed._replace(best=best)


def _check(
  step: int,
  values: Mapping[str, float],
  batch: Batch,
  folder: Workdir,
  devices: Devices,
) -> None:
  """Raises on the first metric that is not finite, with its batch saved."""
  for term, value in values.items():
    if not math.isfinite(value):
      name = f"{workdir.ACCIDENTS}/step_{step}"
      arrays = {
        f"batch{jax.tree_util.keystr(path)}": np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(
          devices.gather(batch)
        )
      }
      if devices.writes:
        folder.save_arrays(name, arrays)
      raise exits.NonFiniteError(
        step, term, value, saved=str(folder.path / "arrays" / f"{name}.npz")
      )
