"""Evaluates one trained network and keeps every example's results.

The evaluation has a workdir of its own. Each finished microbatch is an array
file, so that a killed evaluation goes on without computing an example twice.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import attack_grid, build, datasets, gradient_study
from experiments.attack_grid import Cell
from experiments.progress import Progress, silent
from experiments.settings import UsageError
from snnjax import attacks, environment, parameters
from snnjax import evaluation as evaluating
from snnjax.data import pipeline
from snnjax.types import Batch, Forward, Network, Variables
from snnjax.workdir import Preempted, Workdir

LARGE = "large epsilon"
LARGE_RADIUS = 0.5
STUDY = "study"
_CHUNKS = "chunks"


class Assessed(NamedTuple):
  """All that is known of one network.

  Attributes:
    name: of the network.
    config: it was trained and evaluated with.
    modalities: of its inputs.
    evaluation: every example under every attack.
    study: gradient measurements by name, as `gradient_study.Study` nests.
    sample: a few examples' inputs by modality, and "labels".
    spikes: one example's spikes by layer, [T, ...].
  """

  name: str
  config: Any
  modalities: tuple[str, ...]
  evaluation: evaluating.Evaluation
  study: Mapping[str, np.ndarray]
  sample: Mapping[str, np.ndarray]
  spikes: Mapping[str, np.ndarray]


class Bench(NamedTuple):
  """What evaluations of one architecture share, compilations included."""

  network: Network
  grid: attack_grid.Grid
  study: gradient_study.Measure


def bench(config: Any, network: Network, modalities: tuple[str, ...]) -> Bench:
  """Returns the shared parts for networks of one architecture.

  Args:
    config: the whole configuration.
    network: the architecture.
    modalities: of its inputs.

  Raises:
    ValueError: if the configuration names or asks what is not allowed.
  """
  size = config.evaluation.microbatch
  if size < 1:
    raise ValueError(f"evaluation.microbatch must be at least 1; got {size}")
  return Bench(
    network,
    attack_grid.grid(config, network),
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
  config: Any, made: Bench, variables: Variables, modalities: tuple[str, ...]
) -> dict[str, Any]:
  """Returns every attack of the evaluation, by case name.

  Beside the grid of `attack_grid` there is linf 0.5 on everything, which a
  sound attack must not fail to use.
  """
  rules = list(config.evaluation.rules)
  wanted = attack_grid.cells(config, modalities)
  named = attack_grid.cases(made.grid, variables, wanted, rules)
  if config.evaluation.norm == "linf":
    cell = Cell(LARGE, 0, dict.fromkeys(modalities, LARGE_RADIUS))
    own = made.grid.white_box[rules[0]]
    radii = attack_grid.traced(cell.radii)
    named[cell.case(rules[0])] = jax.tree_util.Partial(own, variables, radii)
  return named


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
  _check_box(config, splits.modalities, batch)
  finished = load_chunks(folder)
  attacked = cases(config, made, variables, splits.modalities)
  chunks = evaluating.stream(
    attacked,
    jax.tree_util.Partial(made.grid.classify, variables),
    batch.inputs,
    batch.labels,
    key=jax.random.fold_in(build.key(config), len("assessment")),
    microbatch=config.evaluation.microbatch,
    survivors=config.evaluation.survivors,
    finished=finished,
    progress=_whole(progress, attacked, len(batch.labels)),
  )
  for number, chunk in enumerate(chunks, start=len(finished)):
    save_chunk(folder, number, chunk)
    if should_stop():
      raise Preempted(f"stopped after microbatch {number + 1}")
  if STUDY not in folder.array_names():
    _study(config, made, variables, splits, batch, folder, progress)


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
  chunks = load_chunks(folder)
  clean = [chunk for chunk in chunks if chunk.stage == evaluating.CLEAN]
  indices = np.concatenate([chunk.indices for chunk in clean])
  arrays = folder.load_arrays(STUDY)

  def part(prefix: str) -> dict[str, np.ndarray]:
    return {
      key.removeprefix(f"{prefix}/"): value
      for key, value in arrays.items()
      if key.startswith(f"{prefix}/")
    }

  stages = dict.fromkeys(
    chunk.stage for chunk in chunks if chunk.stage != evaluating.CLEAN
  )
  order = np.sort(indices)
  evaluation = evaluating.collect(
    order, arrays["labels"], tuple(stages), chunks
  )
  return Assessed(
    name,
    config,
    modalities,
    evaluation,
    part("study"),
    part("sample"),
    part("spikes"),
  )


def _whole(
  progress: Progress, attacked: Mapping[str, Any], examples: int
) -> Progress:
  """One count over all stages of an evaluation, in place of one for each."""
  stages = (evaluating.CLEAN, *attacked)

  def told(done: int, total: int, stage: str) -> None:
    # Survivors may be fewer than all examples: a stage is whole when its own
    # total is reached.
    share = done / total if total else 1.0
    position = stages.index(stage) + share
    progress(
      round(position * examples), len(stages) * examples, "attack examples"
    )

  return told


def save_chunk(folder: Workdir, number: int, chunk: evaluating.Chunk) -> None:
  """Writes one chunk's rows; the adversarial inputs are not kept."""
  rows = {f"rows/{key}": value for key, value in chunk.rows._asdict().items()}
  folder.save_arrays(
    f"{_CHUNKS}/{number:06d}",
    {"stage": np.array(chunk.stage), "indices": chunk.indices, **rows},
  )


def load_chunks(folder: Workdir) -> list[evaluating.Chunk]:
  """Reads the chunks of a folder, in the order they were written."""
  chunks = []
  for name in sorted(folder.array_names()):
    if not name.startswith(f"{_CHUNKS}/"):
      continue
    arrays = folder.load_arrays(name)
    stage = str(arrays.pop("stage"))
    indices = arrays.pop("indices")
    kind = evaluating.Clean if stage == evaluating.CLEAN else evaluating.Outcome
    rows = {key.removeprefix("rows/"): v for key, v in arrays.items()}
    chunks.append(evaluating.Chunk(stage, indices, kind(**rows)))
  return chunks


def _check_box(config: Any, modalities: tuple[str, ...], batch: Batch) -> None:
  """Clean inputs outside their box would make every number meaningless."""
  cell = attack_grid.cells(config, modalities)[0]
  radii = cell.radii if len(modalities) > 1 else next(iter(cell.radii.values()))
  threat = build.threat_of(config.evaluation.norm, radii)
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
    key = build.key(config)
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


def evaluation_folder(path: pathlib.Path) -> pathlib.Path:
  """Where a training workdir keeps its evaluation."""
  return path / "evaluation"
