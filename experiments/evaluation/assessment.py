"""Evaluates one trained network and keeps every example's results.

The evaluation has a workdir of its own. Each finished microbatch is an array
file, so that a killed evaluation goes on without computing an example twice.
"""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from experiments.building import build, datasets, examples
from experiments.building.devices import Devices
from experiments.building.shared import Shared
from experiments.command import exits, stopping
from experiments.command.exits import UsageError
from experiments.command.progress import Progress, silent
from experiments.command.stopping import ShouldStop
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from experiments.evaluation import (
  alarm_study,
  chunk_files,
  gradient_study,
  perceptual_study,
)
from experiments.planning import attack_grid
from snnjax import attacks
from snnjax import evaluation as evaluating
from snnjax.data import pipeline
from snnjax.evaluation import gradients, many_rules
from snnjax.interfaces import (
  Batch,
  Forward,
  Inputs,
  Key,
  LogitsFn,
  Network,
  Variables,
)
from snnjax.storage import array_files, environment, identity, metric_log
from snnjax.storage.workdir import Preempted, Workdir

STUDY = "study"


class Assessed(NamedTuple):
  """All that is known of one network.

  Attributes:
    name: of the network.
    folder: of this evaluation.
    config: it was trained and evaluated with.
    evaluation: every example under every attack.
    plan: every case of the evaluation.
    study: what its gradients look like.
    sample: a few examples' inputs by modality, and "labels".
    spikes: one example's spikes by layer, [T, ...].
    seconds: by path of a case, the wall time of each of its microbatches.
    alarms: what was measured for them alone, on a part of the examples.
    perceived: by path of a case, how visible its changes are.
    used: which examples it was trained and evaluated on.
    made_from: what all of this was made from; see `origins.evaluation`.
  """

  name: str
  folder: pathlib.Path
  config: Config
  plan: evaluating.Plan
  evaluation: evaluating.Evaluation
  study: evaluating.GradientStudy
  sample: Mapping[str, np.ndarray]
  spikes: Mapping[str, np.ndarray]
  seconds: Mapping[str, list[float]]
  alarms: alarm_study.Measured | None
  perceived: Mapping[str, perceptual_study.Perceived]
  used: examples.Used
  made_from: Mapping[str, str]

  @property
  def modalities(self) -> tuple[str, ...]:
    """What the network sees."""
    return tuple(self.config.seen)


class Bench(NamedTuple):
  """What evaluations of one architecture share, compilations included."""

  network: Network
  plan: evaluating.Plan
  grid: attack_grid.Grid
  study: gradients.Measure
  forward: Callable[[Variables, Key, Inputs], Forward]
  devices: Devices


def bench(
  config: Config,
  network: Network,
  stand_ins: Mapping[str, LogitsFn] | None = None,
  shared: Shared | None = None,
  made_from: Mapping[str, str] = MappingProxyType({}),
) -> Bench:
  """Returns the shared parts for networks of one architecture.

  Args:
    config: the whole configuration, its suite resolved.
    network: the architecture.
    stand_ins: other networks by their folder, for attacks that transfer.
    shared: what other evaluations of this process built.
    made_from: digests of what else is built in: the data, which tell the
      number of classes, and the stand-ins' parameters.

  Raises:
    ValueError: if the configuration names or asks what is not allowed.
  """
  alarm_study.check(config)
  shared = shared or Shared()
  network_key = [settings.part(config, schema.MEASURED), dict(made_from)]
  options = settings.to_dict(config)["evaluation"]
  key = [network_key, options]
  radii = settings.part(config, schema.EPSILONS)  # of the attacks, arguments
  plan = attack_grid.plan(config)
  return Bench(
    network,
    plan,
    shared.get(
      "attacks",
      key,
      lambda: attack_grid.grid(config, network, plan, stand_ins or {}),
    ),
    shared.get(
      "gradients",
      [*key, radii],
      lambda: gradient_study.measure(config, plan),
    ),
    shared.get("spikes", network_key, lambda: _forward(config, network)),
    shared.devices,
  )


def _forward(
  config: Config, network: Network
) -> Callable[[Variables, Key, Inputs], Forward]:
  """Returns the network's compiled run under its own rule."""
  rule = build.rule(config, config.model.rule)

  @jax.jit
  def forward(variables: Variables, key: Key, inputs: Inputs) -> Forward:
    return network.apply(variables, inputs, rule=rule, key=key)

  return forward


def test_batch(config: Config, splits: datasets.Splits) -> Batch:
  """The test examples that are evaluated, as network inputs.

  Raises:
    UsageError: if there are fewer than the configuration wants.
  """
  count, size = config.evaluation.examples, len(splits.test.labels)
  if not 0 <= count <= size:
    raise UsageError(f"evaluation.examples must lie in 0..{size}; got {count}")
  positions = np.arange(count or size)
  return pipeline.gather(
    splits.test,
    pipeline.Slot(positions, np.ones(len(positions), bool)),
    splits.prepare,
  )


def assess(
  config: Config,
  shared_parts: Bench,
  variables: Variables,
  splits: datasets.Splits,
  folder: Workdir,
  made_from: Mapping[str, str],
  progress: Progress = silent,
  should_stop: ShouldStop = stopping.never,
) -> None:
  """Evaluates a network into `folder`, from where it stopped.

  Args:
    config: the whole configuration.
    shared_parts: from `bench`.
    variables: of the network under attack.
    splits: the data.
    folder: gets the arrays.
    made_from: see `origins.evaluation`.
    progress: told of every microbatch.
    should_stop: asked before the first and after every microbatch.

  Raises:
    ForeignError: what is there was made from something else.
    Preempted: as `should_stop` wanted; run again to go on.
  """
  mesh = shared_parts.devices.mesh
  environment.record(folder, build.environment_of(config, mesh))
  batch = test_batch(config, splits)
  _check_box(shared_parts, batch)
  stopping.stop_before("the evaluation", should_stop)
  attacked = attack_grid.cases(
    shared_parts.plan, shared_parts.grid, variables, batch.inputs
  )
  plan = attacked.plan
  agenda = chunk_files.Agenda(made_from, np.arange(len(batch.labels)), plan)
  chunk_files.record(folder, agenda)
  examples.save(folder.path, datasets.evaluated(config, splits), made_from)
  first = chunk_files.next_number(folder)  # that of a damaged one stays free
  finished = [
    part.chunk for part in chunk_files.load(folder, agenda, mend=True)
  ]
  judge = jax.tree_util.Partial(shared_parts.grid.classify, variables)
  visible = perceptual_study.measure(batch, config.evaluation.microbatch)
  chunks = evaluating.stream(
    attacked.builders,
    judge,
    batch.inputs,
    batch.labels,
    key=build.key(config, "assessment"),
    microbatch=config.evaluation.microbatch,
    survivors=plan.survivors,
    finished=finished,
    mesh=mesh,
    progress=_count_over_stages(
      progress, _stage_words(plan), len(batch.labels)
    ),
  )
  with metric_log.Metrics(folder.metrics, first - 1 if first else None) as log:
    for number, (chunk, seconds) in enumerate(
      _time_chunks(chunks), start=first
    ):
      clean = chunk.stage == evaluating.CLEAN
      perceived = None if clean else visible(chunk)
      log.write(
        number,
        {
          "stage": chunk.stage,
          "examples": len(chunk.indices),
          "chunk": identity.short(chunk_files.digest(chunk, perceived)),
        },
        {"seconds": seconds},
      )
      chunk_files.save(folder, number, chunk, perceived, made_from)
      if should_stop():
        raise Preempted(f"stopped after microbatch {number + 1}")
  if chunk_files.load_part(folder, STUDY, made_from) is None:
    interruptible = stopping.make_interruptible(progress, should_stop)
    _study(
      config,
      shared_parts,
      variables,
      splits,
      batch,
      folder,
      made_from,
      interruptible,
    )
  alarm_study.measure(
    config,
    shared_parts.network,
    judge,
    batch,
    plan,
    chunk_files.collect(agenda, chunk_files.load(folder, agenda), batch.labels),
    folder,
    made_from,
    progress,
    should_stop,
  )


def lacking(
  config: Config, folder: Workdir, made_from: Mapping[str, str]
) -> str:
  """Says what a finished evaluation lacks; empty if it is complete.

  Args:
    config: of the evaluation.
    folder: of the evaluation.
    made_from: what it must have been made from; see `origins.assessment`.

  Raises:
    DamagedError: something is damaged that cannot be made again: what was
      noted of its sessions, or of times.
    ForeignError: a part of it was made from something else.
  """
  with contextlib.suppress(FileNotFoundError):
    environment.read(folder.path)
    metric_log.read(folder.metrics)
  try:
    load("", config, folder, made_from)
  except FileNotFoundError as error:
    return f"{error.filename} is missing"
  except identity.DamagedError as error:
    return str(error).partition("; ")[0]
  return ""


def load(
  name: str,
  config: Config,
  folder: Workdir,
  made_from: Mapping[str, str],
) -> Assessed:
  """Reads back what `assess` left in a folder, if it is whole.

  Args:
    name: of the network.
    config: of the evaluation.
    folder: of the evaluation.
    made_from: what it must have been made from; see `origins.assessment`.

  Raises:
    OSError: an array file is missing.
    DamagedError: one is damaged, or examples are missing.
    ForeignError: one was made from something else.
  """
  again = chunk_files.remedy(folder.path)
  agenda = chunk_files.read(folder.path)
  file = folder.path / chunk_files.FILE
  identity.check(file, agenda.made_from, made_from, f"remove it and {again}")
  parts = chunk_files.load(folder, agenda)
  lacks = chunk_files.lacks(agenda, parts)
  if lacks:
    descriptions = (_describe_lack(lack, agenda.plan) for lack in lacks)
    raise identity.damaged(
      folder.path, f"it has {', '.join(descriptions)}", again
    )
  environment.read(folder.path)  # the leaderboard has it of the last session
  measured = _read_study(config, folder, agenda)
  return Assessed(
    name,
    folder.path,
    config,
    agenda.plan,
    chunk_files.collect(agenda, parts, measured.labels),
    measured.study,
    measured.sample,
    measured.spikes,
    chunk_files.seconds(folder, parts),
    alarm_study.load(config, folder, agenda.made_from),
    perceptual_study.collect(
      [(part.chunk, part.perceived) for part in parts], agenda.indices
    ),
    examples.load(folder.path, agenda.made_from),
    agenda.made_from,
  )


class _Measured(NamedTuple):
  """What is measured once, on all examples; see `Assessed`."""

  labels: npt.ArrayLike
  study: evaluating.GradientStudy
  sample: Mapping[str, Any]
  spikes: Mapping[str, Any]


def _read_study(
  config: Config,
  folder: Workdir,
  agenda: chunk_files.Agenda,
) -> _Measured:
  """Reads back what `_study` saved.

  Raises:
    FileNotFoundError: it is missing.
    DamagedError: it is damaged.
    ForeignError: it was made from something else.
  """
  remedy = f"remove it and {chunk_files.remedy(folder.path)}"
  arrays = folder.load_arrays(STUDY, agenda.made_from, remedy)
  count = len(agenda.indices)
  shown = min(config.evaluation.shown, count)
  all_rows: Any = array_files.Rows(count)
  layers: Any = array_files.Named()
  template = _Measured(
    labels=all_rows,
    study=gradients.template(tuple(config.seen), count, shown),
    sample=dict.fromkeys((*config.seen, "labels"), array_files.Rows(shown)),
    spikes=layers,
  )
  try:
    return array_files.fill(arrays, template)
  except ValueError as error:
    file = folder.array_file(STUDY)
    raise identity.damaged(file, error, remedy) from None


def _describe_lack(lack: evaluating.Lack, plan: evaluating.Plan) -> str:
  """Describes what a stage lacks, with its attack and radius."""
  case = plan.by_path.get(lack.stage)
  if case is None:
    return str(lack)
  cell = case.cell
  radii = dict.fromkeys(f"{r:g}" for r in cell.radii.values() if r)
  at = f"{_norm_word(plan, cell)}{' and '.join(radii)}"
  stage = f"{case.attack.name} on {cell.target} at {at}"
  return str(lack._replace(stage=stage))


def _time_chunks(
  chunks: Iterator[evaluating.Chunk],
) -> Iterator[tuple[evaluating.Chunk, float]]:
  """Yields each chunk with the seconds that it took to compute."""
  begun = time.perf_counter()
  for chunk in chunks:
    yield chunk, time.perf_counter() - begun
    begun = time.perf_counter()


def _stage_words(plan: evaluating.Plan) -> dict[str, str]:
  """Returns each stage of an evaluation with its attack and radius in words."""
  return {
    evaluating.CLEAN: "clean examples",
    **{
      case.path: (
        f"{case.attack.name} at {_norm_word(plan, case.cell)}{case.cell.words}"
      )
      for case in plan.cases
    },
  }


def _norm_word(plan: evaluating.Plan, cell: evaluating.Cell) -> str:
  """Returns a cell's norm before its radius, where there are several."""
  return f"{cell.norm} " if len(plan.norms) > 1 else ""


def _count_over_stages(
  progress: Progress, stages: Mapping[str, str], count: int
) -> evaluating.Progress:
  """Returns a callback that counts over all stages of an evaluation.

  Args:
    progress: told of it.
    stages: in the order in which they run, with what to say of each.
    count: how many examples a stage has at most.
  """
  places = {stage: place for place, stage in enumerate(stages)}

  def report(done: int, total: int, stage: str) -> None:
    # Survivors may be fewer than all examples: a stage is whole when its own
    # total is reached.
    share = done / total if total else 1.0
    progress(
      round((places[stage] + share) * count),
      len(stages) * count,
      "attack examples",
      stages[stage],
      compiles=done == 0,
    )

  return report


def _check_box(shared_parts: Bench, batch: Batch) -> None:
  """Raises DataError if a clean input lies outside the data box.

  The attacks' outputs would all count as outside, and the network as robust.
  """
  cell = shared_parts.plan.cells[0]
  norm = shared_parts.grid.norms[cell.norm]
  threat = many_rules.threat_of(norm, cell, batch.inputs)
  with exits.blame_data():
    attacks.check_inputs(threat, batch.inputs)


def _study(
  config: Config,
  shared_parts: Bench,
  variables: Variables,
  splits: datasets.Splits,
  batch: Batch,
  folder: Workdir,
  made_from: Mapping[str, str],
  progress: Progress,
) -> None:
  """Measures gradients, and keeps a few examples and spikes to show."""
  measured = gradient_study.study(
    config,
    shared_parts.study,
    jax.tree_util.Partial(shared_parts.grid.classify, variables),
    batch,
    progress,
    shared_parts.devices.mesh,
  )
  shown = config.evaluation.shown
  inputs = build.by_modality(batch.inputs)
  first = jax.tree.map(lambda leaf: leaf[:1], inputs)
  key = build.key(config, "shown spikes")
  traces = shared_parts.forward(variables, key, first).traces
  tree = _Measured(
    labels=batch.labels,
    study=measured._replace(
      maps=jax.tree.map(lambda leaf: leaf[:shown], measured.maps),
    ),
    sample={
      **{name: value[:shown] for name, value in inputs.items()},
      "labels": jnp.asarray(batch.labels[:shown]),
    },
    spikes={name: trace.spikes[:, 0] for name, trace in traces.items()},
  )
  leaves = array_files.named_leaves(tree)
  arrays = {name: np.asarray(leaf) for name, leaf in leaves.items()}
  folder.save_arrays(STUDY, arrays, made_from)
