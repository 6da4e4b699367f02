"""Trains one network in a workdir: resumable, logged, checked at every step."""

import contextlib
import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import (
  build,
  datasets,
  examples,
  networks,
  training_methods,
)
from experiments.building.shared import Shared
from experiments.command import compilation, exits, stopping
from experiments.command.progress import Progress, reporter, say, silent
from experiments.command.stopping import ShouldStop
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from experiments.planning import preflight
from experiments.runs import origins
from experiments.runs.origins import WEIGHTS
from snnjax import losses, methods, prng
from snnjax import training as steps
from snnjax.data import augmentation, dataset, pipeline
from snnjax.interfaces import Batch, Key, Network, Variables
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

AUGMENTATIONS: Mapping[str, tuple[augmentation.Transform, ...]] = {
  "none": (),
  "crop_flip": (augmentation.random_crop(4), augmentation.horizontal_flip()),
  "crop_flip_cutout": (
    augmentation.random_crop(4),
    augmentation.horizontal_flip(),
    augmentation.cutout(8),
  ),
}
Write = Callable[[int, Mapping[str, float]], None]
# Numbers that the training step takes as arguments: runs that differ in these
# alone share its program. They change the values of a run, not its shapes.
TRACED = (
  "seed",
  "method.sr.weight",
  *schema.of_modalities("radius", "step_size"),
  "optimizer.learning_rate",
  "optimizer.weight_decay",
)
# What is read outside of the step alone: the examples reach it as arrays.
_OUTSIDE = (
  *schema.CHANGEABLE,
  "data.seed",
  "train.select",
)


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
    written: what the metrics file holds, for a checkpoint.
  """

  write: Write
  written: Callable[[], metric_log.Written]


class Plan(NamedTuple):
  """A run's fixed parts."""

  config: Config
  made_from: Mapping[str, str]
  train: datasets.Training
  validation: dataset.Dataset | None
  step: Callable[[TrainState, Batch], tuple[TrainState, steps.StepMetrics]]
  right: Callable[[Variables, dataset.Dataset], int]
  per_epoch: int
  total: int


class Programs(NamedTuple):
  """What training runs of one shape share, compilations included.

  Attributes:
    step: ``(values of the keys in `TRACED`, state, batch) -> (state,
      metrics)``.
    hits: ``(variables, key, batch)`` -> how many of its examples are right.
  """

  step: Callable[..., tuple[TrainState, steps.StepMetrics]]
  hits: Callable[[Variables, Key, Batch], jax.Array]


def run(
  config: Config, path: pathlib.Path, shared: Shared | None = None
) -> None:
  """Runs the train binary: fits ``config`` in the workdir at `path`.

  Args:
    config: the whole configuration.
    path: the workdir.
    shared: what other runs of this process built; programs and data are taken
      from it, and left in it.

  Raises:
    UsageError: the configuration is not allowed; nothing is written.
  """
  preflight.check(config)
  compilation.enable_cache()
  with (
    opened(path, config) as folder,
    exits.stop_on_sigterm() as should_stop,
    reporter() as progress,
  ):
    if folder.outcome is workdir.Outcome.FINISHED:
      say(f"{path} is finished; nothing to do. {accuracy(config, path)}")
      _tell_unread(config, path)
      return
    shared = shared or Shared()
    with exits.blame_data():
      splits = shared.get(
        "data",
        data_key(config),
        lambda: datasets.load(
          config, stopping.make_interruptible(progress, should_stop)
        ),
      )
    examples.tell(splits.used, examples.FITTED)
    fit(config, splits, folder, progress, should_stop, shared)
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
  """
  seen = environment.describe(config.seed)
  environment.record(folder, seen)
  stopping.stop_before("the training", should_stop)
  made_from = origins.training(config)
  with exits.blame_configuration():
    plan, progressed = _begin(config, splits, made_from, shared or Shared())
  after = expected = None
  if checkpoints.steps(folder.checkpoints):
    after, progressed, notes = checkpoints.restore(
      folder.checkpoints, progressed, made_from=plan.made_from
    )
    expected = metric_log.Written(*notes["metrics"])
  examples.save(folder.path, splits.used, made_from)
  with _writers(config, folder, after, expected) as log:
    progressed = _loop(plan, progressed, folder, log, progress, should_stop)
  array_files.export(
    progressed.best.variables, folder.path / WEIGHTS, plan.made_from
  )
  return progressed.best.variables


def data_key(config: Config, **options: Any) -> dict[str, Any]:
  """Returns all that says which data `datasets.load` returns.

  Args:
    config: the whole configuration.
    **options: those of `datasets.load`.

  Raises:
    MissingDataError: the data set is not prepared.
  """
  read = ("data", "model.steps", *schema.RECORDING)
  return {
    "digest": origins.training(config)["data"],
    "options": options,
    **settings.part(config, read),
  }


def shape(config: Config) -> dict[str, Any]:
  """Returns the values that shape the programs of a training run.

  Runs that agree in them, on data of the same shapes, compile once.

  Args:
    config: the whole configuration.
  """
  unread = (*TRACED, *_OUTSIDE, *schema.LATER)
  read = [key for key in schema.KEYS if not schema.covers(unread, key)]
  return settings.part(config, read)


def network_of(config: Config, classes: int, shared: Shared) -> Network:
  """Returns the network of a configuration, one for each architecture.

  Args:
    config: the whole configuration.
    classes: number of logits.
    shared: what other runs of this process built.
  """
  return shared.get(
    "network",
    [settings.part(config, schema.NETWORK), classes],
    lambda: networks.network(config, classes),
  )


def trained(
  config: Config,
  splits: datasets.Splits,
  path: pathlib.Path,
  shared: Shared | None = None,
) -> tuple[Network, Variables]:
  """Returns the network of a finished workdir and its variables.

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
  network = network_of(config, splits.test.num_classes, shared or Shared())
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
  network = network_of(config, classes, shared)
  # Here with the values themselves, which are checked; in the program with
  # what stands for them.
  method = training_methods.method(config, network)
  per_epoch = pipeline.batch_count(splits.train.size, size)
  total = per_epoch * config.train.epochs
  updates = total * methods.as_method(method).updates
  tx = build.optimizer(config, updates)
  programs = shared.get(
    "training",
    [shape(config), classes, updates],
    lambda: _programs(config, network, updates),
  )
  first = next(iter(splits.train.batches(size, seed=config.seed)))
  state = steps.init_state(
    build.key(config, "training"), network, method, tx, first
  )
  plan = Plan(
    config,
    made_from,
    splits.train,
    splits.validation,
    functools.partial(programs.step, _traced(config)),
    functools.partial(_right, config, splits.prepare, programs),
    per_epoch,
    total,
  )
  best = Best(jax.tree.map(jnp.copy, state.variables), jnp.asarray(-1))
  return plan, Progressed(state, best)


def _traced(config: Config) -> dict[str, Any]:
  """The values of the keys in `TRACED`, by key."""
  return {
    # A seed may be larger than the integers that JAX takes a number for.
    key: np.uint32(value) if isinstance(value, int) else value
    for key, value in settings.part(config, TRACED).items()
  }


def _programs(config: Config, network: Network, updates: int) -> Programs:
  """Builds the compiled functions of all runs that share `shape`."""
  rule = build.rule(config, config.model.rule)

  @functools.partial(jax.jit, donate_argnums=1)
  def step(
    values: Mapping[str, Any], state: TrainState, batch: Batch
  ) -> tuple[TrainState, steps.StepMetrics]:
    own = settings.replaced(config, values)
    method = training_methods.method(own, network)
    tx = build.optimizer(own, updates)
    return _augmented(own, steps.make_train_step(method, tx))(state, batch)

  @jax.jit
  def hits(variables: Variables, key: Key, batch: Batch) -> jax.Array:
    forward = network.apply(variables, batch.inputs, rule=rule, key=key)
    correct = losses.predicts(forward.logits, batch.labels)
    return jnp.sum(correct & batch.mask)

  return Programs(step, hits)


def _augmented(config: Config, step: Callable) -> Callable:
  """The step on augmented images; each example draws from its own key."""
  chain = build.chosen(AUGMENTATIONS, "data.augment", config.data.augment)
  if not chain:
    return step
  transform = augmentation.batched(augmentation.compose(*chain))

  def augmented(state: TrainState, batch: Batch) -> tuple:
    own = prng.fold_in_name(state.key, "augmentation")
    key = jax.random.fold_in(own, state.step)
    inputs = build.by_modality(batch.inputs)
    images = transform(key, jnp.asarray(inputs["image"]))
    return step(state, batch._replace(inputs={**inputs, "image": images}))

  return augmented


def _right(
  config: Config,
  prepare: datasets.Prepare,
  programs: Programs,
  variables: Variables,
  data: dataset.Dataset,
) -> int:
  """How many of a data set's examples the network gets right."""
  batches = pipeline.batches(
    data, config.train.batch_size, seed=None, prepare=prepare
  )
  key = build.key(config, "validation")
  counts = [
    programs.hits(variables, jax.random.fold_in(key, number), batch)
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
      options.batch_size, seed=plan.config.seed, epoch=epoch, first=first
    ):
      state, measured = plan.step(progressed.state, batch)
      progressed = progressed._replace(state=state)
      done += 1
      values = {key: float(value) for key, value in measured.items()}
      _check(done, values, batch, folder)
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
          progressed,
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
  step: int, values: Mapping[str, float], batch: Batch, folder: Workdir
) -> None:
  """Raises on the first metric that is not finite, with its batch saved."""
  for term, value in values.items():
    if not math.isfinite(value):
      name = f"{workdir.ACCIDENTS}/step_{step}"
      arrays = {
        f"batch{jax.tree_util.keystr(path)}": np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
      }
      folder.save_arrays(name, arrays)
      raise exits.NonFiniteError(
        step, term, value, saved=str(folder.path / "arrays" / f"{name}.npz")
      )
