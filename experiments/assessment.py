"""Evaluates one trained network and keeps every example's results.

The evaluation has a workdir of its own. Each finished microbatch is an array
file, so that a killed evaluation goes on without computing an example twice.
"""

import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import (
  alarm_study,
  attack_grid,
  build,
  chunk_files,
  datasets,
  examples,
  gradient_study,
  lifecycle,
  perceptual_study,
  suites,
)
from experiments.attack_grid import Cell
from experiments.progress import Progress, silent
from experiments.settings import UsageError
from snnjax import attacks, environment, metrics, parameters
from snnjax import evaluation as evaluating
from snnjax.data import pipeline
from snnjax.types import Batch, Forward, Inputs, LogitsFn, Network, Variables
from snnjax.workdir import Preempted, Workdir

LARGE = "large epsilon"
LARGE_RADIUS = 0.5
STUDY = "study"
REFUSED = "refused"  # attacks that budget or classes do not allow
MIXING = "depending on the batch"  # attacks whose gradient takes statistics


class Assessed(NamedTuple):
  """All that is known of one network.

  Attributes:
    name: of the network.
    folder: of this evaluation.
    config: it was trained and evaluated with.
    modalities: of its inputs.
    evaluation: every example under every attack.
    study: gradient measurements by name, as `gradient_study.Study` nests.
    sample: a few examples' inputs by modality, and "labels".
    spikes: one example's spikes by layer, [T, ...].
    refused: by attack of the suite, why it could not run.
    mixing: attacks of the suite whose results depend on the microbatch, since
      they follow a gradient that takes statistics of it.
    seconds: by case, the wall time of each of its microbatches.
    alarms: what was measured for them alone, on a part of the examples.
    perceived: by case, how visible its changes are.
    used: which examples it was trained and evaluated on.
  """

  name: str
  folder: pathlib.Path
  config: Any
  modalities: tuple[str, ...]
  evaluation: evaluating.Evaluation
  study: Mapping[str, np.ndarray]
  sample: Mapping[str, np.ndarray]
  spikes: Mapping[str, np.ndarray]
  refused: Mapping[str, str]
  mixing: tuple[str, ...]
  seconds: Mapping[str, list[float]]
  alarms: alarm_study.Found | None
  perceived: Mapping[str, perceptual_study.Perceived]
  used: examples.Used


class Bench(NamedTuple):
  """What evaluations of one architecture share, compilations included."""

  network: Network
  grid: attack_grid.Grid
  study: gradient_study.Measure


def bench(
  config: Any,
  network: Network,
  modalities: tuple[str, ...],
  stand_ins: Mapping[str, LogitsFn] | None = None,
) -> Bench:
  """Returns the shared parts for networks of one architecture.

  Args:
    config: the whole configuration, its suite resolved.
    network: the architecture.
    modalities: of its inputs.
    stand_ins: other networks by their folder, for attacks that transfer.

  Raises:
    ValueError: if the configuration names or asks what is not allowed.
  """
  alarm_study.check(config)
  return Bench(
    network,
    attack_grid.grid(config, network, stand_ins or {}),
    gradient_study.measure(config, network, modalities),
  )


def test_batch(config: Any, splits: datasets.Splits) -> Batch:
  """The test examples that are evaluated, as network inputs.

  Raises:
    UsageError: if there are fewer than the configuration wants.
  """
  count, size = config.evaluation.examples, len(splits.test.labels)
  if not 0 <= count <= size:
    raise UsageError(f"evaluation.examples must lie in 0..{size}; got {count}")
  taken = np.arange(count or size)
  return pipeline.gather(
    splits.test, pipeline.Slot(taken, np.ones(len(taken), bool)), splits.prepare
  )


def cases(
  config: Any,
  made: Bench,
  variables: Variables,
  modalities: tuple[str, ...],
  inputs: Inputs,
) -> attack_grid.Cases:
  """Returns every attack of the evaluation, by case name.

  Beside the suite there is linf 0.5 on everything, which a sound attack must
  not fail to use.

  Raises:
    UsageError: the suite does not fit the radii, or no attack of it can run.
  """
  wanted = attack_grid.cells(config, modalities)
  found = attack_grid.cases(made.grid, variables, wanted, inputs)
  alone = [a for a in suites.alone(made.grid.attacks) if a not in found.refused]
  if config.evaluation.norm != "linf" or not alone:
    return found
  cell = Cell(LARGE, 0, dict.fromkeys(modalities, LARGE_RADIUS))
  large = jax.tree_util.Partial(
    made.grid.build[alone[0]], variables, attack_grid.traced(cell.radii)
  )
  return found._replace(builders={**found.builders, cell.case(alone[0]): large})


def assess(
  config: Any,
  made: Bench,
  variables: Variables,
  splits: datasets.Splits,
  folder: Workdir,
  progress: Progress = silent,
  should_stop: Callable[[], bool] = lambda: False,
) -> None:
  """Evaluates a network into `folder`, from where it stopped.

  Args:
    config: the whole configuration.
    made: from `bench`.
    variables: of the network under attack.
    splits: the data.
    folder: gets the arrays.
    progress: told of every microbatch.
    should_stop: asked after every microbatch.

  Raises:
    Preempted: as `should_stop` wanted; run again to go on.
  """
  environment.record(folder, environment.describe(config.seed))
  batch = test_batch(config, splits)
  examples.save(folder.path, datasets.evaluated(config, splits))
  _check_box(config, splits.modalities, batch)
  finished = chunk_files.load(folder)
  attacked = cases(config, made, variables, splits.modalities, batch.inputs)
  folder.save_arrays(
    REFUSED,
    {
      "attacks": np.array(list(attacked.refused), np.str_),
      "reasons": np.array(list(attacked.refused.values()), np.str_),
    },
  )
  mixing = suites.depend_on_batch(config, made.grid.attacks)
  folder.save_arrays(MIXING, {"attacks": np.array(mixing, np.str_)})
  judge = jax.tree_util.Partial(made.grid.classify, variables)
  visible = perceptual_study.measure(
    batch, splits.modalities, config.evaluation.microbatch
  )
  chunks = evaluating.stream(
    attacked.builders,
    judge,
    batch.inputs,
    batch.labels,
    key=build.key(config, "assessment"),
    microbatch=config.evaluation.microbatch,
    survivors=attacked.survivors,
    finished=finished,
    progress=_whole(progress, attacked.builders, len(batch.labels)),
  )
  first = len(finished)
  with metrics.Metrics(folder.metrics, first - 1 if first else None) as log:
    for number, (chunk, seconds) in enumerate(_timed(chunks), start=first):
      log.write(
        number,
        {"stage": chunk.stage, "examples": len(chunk.indices)},
        {"seconds": seconds},
      )
      perceptual_study.save(visible, folder, number, chunk)
      chunk_files.save(folder, number, chunk)
      if should_stop():
        raise Preempted(f"stopped after microbatch {number + 1}")
  if STUDY not in folder.array_names():
    _study(config, made, variables, splits, batch, folder, progress)
  alarm_study.measure(
    config,
    made.network,
    judge,
    batch,
    chunk_files.load(folder),
    folder,
    progress,
    should_stop,
  )


def load(
  name: str, config: Any, modalities: tuple[str, ...], folder: Workdir
) -> Assessed:
  """Reads back what `assess` left in a folder.

  Args:
    name: of the network.
    config: of the evaluation.
    modalities: of the inputs.
    folder: of the evaluation.

  Raises:
    OSError: an array file is missing.
    ValueError: one is damaged.
  """
  chunks = chunk_files.load(folder)
  clean = [chunk for chunk in chunks if chunk.stage == evaluating.CLEAN]
  indices = np.concatenate([chunk.indices for chunk in clean])
  arrays = folder.load_arrays(STUDY)

  def part(prefix: str) -> dict[str, np.ndarray]:
    return {
      key.removeprefix(f"{prefix}/"): value
      for key, value in arrays.items()
      if key.startswith(f"{prefix}/")
    }

  refused = folder.load_arrays(REFUSED)
  reasons = dict(
    zip(refused["attacks"].tolist(), refused["reasons"].tolist(), strict=True)
  )
  # A case that had no survivors to meet left no chunk.
  cells = attack_grid.cells(config, modalities)
  stages = [
    cell.case(attack.name)
    for cell in cells
    for attack in attack_grid.on_cell(suites.plan(config), cell, cells)
    if attack.name not in reasons
  ]
  stages += [chunk.stage for chunk in chunks if chunk.stage != evaluating.CLEAN]
  order = np.sort(indices)
  evaluation = evaluating.collect(
    order, arrays["labels"], tuple(dict.fromkeys(stages)), chunks
  )
  return Assessed(
    name,
    folder.path,
    config,
    modalities,
    evaluation,
    part("study"),
    part("sample"),
    part("spikes"),
    reasons,
    tuple(folder.load_arrays(MIXING)["attacks"].tolist()),
    _seconds(folder),
    alarm_study.load(folder),
    perceptual_study.load(folder, order),
    examples.load(folder.path),
  )


def _seconds(folder: Workdir) -> dict[str, list[float]]:
  """Wall times of the microbatches of each case; those of a killed run too."""
  seconds: dict[str, list[float]] = {}
  for line in metrics.read(folder.metrics, wall=True):
    seconds.setdefault(line["stage"], []).append(line["wall"]["seconds"])
  return seconds


def _timed(
  chunks: Iterator[evaluating.Chunk],
) -> Iterator[tuple[evaluating.Chunk, float]]:
  """Yields each chunk with the seconds that it took to compute."""
  begun = time.perf_counter()
  for chunk in chunks:
    yield chunk, time.perf_counter() - begun
    begun = time.perf_counter()


def _whole(
  progress: Progress, attacked: Mapping[str, Any], count: int
) -> Progress:
  """One count over all stages of an evaluation, in place of one for each."""
  stages = (evaluating.CLEAN, *attacked)

  def told(done: int, total: int, stage: str) -> None:
    # Survivors may be fewer than all examples: a stage is whole when its own
    # total is reached.
    share = done / total if total else 1.0
    position = stages.index(stage) + share
    progress(round(position * count), len(stages) * count, "attack examples")

  return told


def _check_box(config: Any, modalities: tuple[str, ...], batch: Batch) -> None:
  """Clean inputs outside their box would make every number meaningless."""
  cell = attack_grid.cells(config, modalities)[0]
  radii = cell.radii if len(modalities) > 1 else next(iter(cell.radii.values()))
  threat = build.threat_of(config.evaluation.norm, radii)
  with lifecycle.reading_data():
    attacks.check_inputs(threat, batch.inputs)


def _study(
  config: Any,
  made: Bench,
  variables: Variables,
  splits: datasets.Splits,
  batch: Batch,
  folder: Workdir,
  progress: Progress,
) -> None:
  """Measures gradients, and keeps a few examples and spikes to show."""
  measured = gradient_study.study(
    config, made.study, variables, batch, splits.modalities, progress
  )
  few = config.evaluation.shown
  inputs = gradient_study.named(batch.inputs, splits.modalities)
  one = jax.tree.map(lambda leaf: leaf[:1], batch.inputs)
  rule = build.rule(config, config.model.rule)

  @jax.jit
  def forward(variables: Variables) -> Forward:
    key = build.key(config, "shown spikes")
    return made.network.apply(variables, one, rule=rule, key=key)

  traces = forward(variables).traces
  tree = {
    "labels": batch.labels,
    "study": measured._replace(
      maps=jax.tree.map(lambda leaf: leaf[:few], measured.maps),
    ),
    "sample": {
      **{name: value[:few] for name, value in inputs.items()},
      "labels": jnp.asarray(batch.labels[:few]),
    },
    "spikes": {name: trace.spikes[:, 0] for name, trace in traces.items()},
  }
  leaves = parameters.named_leaves(tree)
  folder.save_arrays(STUDY, {k: np.asarray(v) for k, v in leaves.items()})
