"""Measures what the alarms need beyond the evaluation's own attacks.

Some of the examples are attacked again in other ways: with more steps,
restarts and draws, with other losses, without a gradient, one example at a
time. The radius is the largest one of the last target, on which the report's
summary is; of several norms that of the first in which steps have a length. It
follows from the configuration alone, so that it is the same for all networks
that are compared. Each part is an array file, so that a
killed evaluation continues with the next part.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import build
from experiments.command import stopping
from experiments.command.progress import Progress, silent
from experiments.command.stopping import ShouldStop
from experiments.configuration.schema import Config
from experiments.evaluation import chunk_files
from snnjax import checks, losses
from snnjax import evaluation as evaluating
from snnjax.attacks import Threat
from snnjax.attacks.kinds import LOSSES
from snnjax.checks import Alarm, Measurements
from snnjax.evaluation import Cell, Evaluation, Plan
from snnjax.interfaces import (
  BackwardRule,
  Batch,
  Forward,
  Inputs,
  Key,
  LogitsFn,
  Network,
  Variables,
)
from snnjax.losses import LogitsLoss
from snnjax.storage.workdir import Preempted, Workdir

_FOLDER = "alarms"
_SETUP = "examples"
_TUNING = "tuning"  # indices, saved by whoever chooses hyper-parameters
# What is asked of every network. The evaluation's own attacks answer the
# rest, on all examples, where they have what it takes.
_ALWAYS = (
  "randomness",
  "gradient",
  "steps",
  "losses",
  "restarts",
  "batch",
)
_UNLESS = {"fgsm": "one_step", "random": "noise"}  # by kind of attack
_GRADIENT_FREE = {"spsa", "square"}


class Measured(NamedTuple):
  """What was measured of a network.

  Attributes:
    measurements: all parts together.
    examples: how many examples were attacked.
    attacked: the radius of each modality, in words, from `where`.
  """

  measurements: Measurements
  examples: int
  attacked: str


def check(config: Config) -> None:
  """Raises ValueError unless the counts of ``config.evaluation`` are such."""
  options = config.evaluation
  for name, value, least in (
    ("microbatch", options.microbatch, 1),
    ("alarm_examples", options.alarm_examples, 0),
    ("alarm_pairs", options.alarm_pairs, 0),
  ):
    if value < least:
      raise ValueError(
        f"evaluation.{name} must be at least {least}; got {value}"
      )


def norm_of(config: Config) -> str:
  """Returns the norm that is measured in; empty if sites are counted alone."""
  norms = config.evaluation.norms
  return next((norm for norm in norms if norm in build.DENSE_THREATS), "")


def measure(
  config: Config,
  network: Network,
  classify: jax.tree_util.Partial,
  batch: Batch,
  plan: Plan,
  evaluation: Evaluation,
  folder: Workdir,
  made_from: Mapping[str, str],
  progress: Progress = silent,
  should_stop: ShouldStop = stopping.never,
) -> None:
  """Measures into `folder` what the alarms need; skips finished parts.

  Args:
    config: the whole configuration, its suite resolved;
      ``evaluation.alarm_examples`` of the examples are attacked, none if that
      is 0 or if there is no `norm_of` it.
    network: the architecture.
    classify: the network under its own rule, of its variables, which are the
      first argument: compilations are shared with other networks.
    batch: all examples of the evaluation.
    plan: its cases.
    evaluation: the finished one.
    folder: gets the arrays.
    made_from: see `origins.evaluation`.
    progress: told of every part.
    should_stop: asked before the first and after every part.

  Raises:
    Preempted: as `should_stop` wanted; run again to go on.
  """
  count = min(config.evaluation.alarm_examples, len(batch.labels))
  norm = norm_of(config)
  if not count or not norm:
    return
  done = {
    name: arrays
    for name in _saved_parts(folder)
    if (arrays := chunk_files.load_part(folder, f"{_FOLDER}/{name}", made_from))
  }
  if _SETUP in done and set(done[_SETUP]["parts"].tolist()) <= done.keys():
    return
  stopping.stop_before("the alarms are checked", should_stop)
  cell = plan.strongest_in(norm)
  reported = reported_robust(plan, cell, evaluation, count)
  examples = checks.Examples(
    build.key(config, "alarm study"),
    jax.tree.map(lambda leaf: np.asarray(leaf)[:count], batch.inputs),
    jnp.asarray(batch.labels[:count], jnp.int32),
  )
  available_parts = checks.parts(
    _subject(config, classify, cell, count, _loss(plan, cell)),
    examples,
    checks.Effort(pairs=config.evaluation.alarm_pairs, directions=16, alone=2),
  )
  parts = {name: available_parts[name] for name in _names(config, plan, norm)}
  parts["statistics"] = lambda: _statistics(
    config, network, classify.args[0], batch
  )
  parts["tuning"] = lambda: _tuning(folder)
  progress(sum(name in done for name in parts), len(parts), "check alarms")
  for number, (name, part) in enumerate(parts.items(), 1):
    if name not in done:
      # Every part has programs of its own.
      progress(number - 1, len(parts), "check alarms", name, compiles=True)
      measurements = _compare_with_reported(part(), reported)
      folder.save_arrays(f"{_FOLDER}/{name}", encode(measurements), made_from)
      progress(number, len(parts), "check alarms", name)
      if should_stop() and number < len(parts):
        raise Preempted(f"stopped after part {number} of the alarms")
  # Comes last: where it is, every part was.
  setup = {
    "indices": np.arange(count),
    "attacked": np.array(cell.words),
    "parts": np.array(list(parts)),
  }
  folder.save_arrays(f"{_FOLDER}/{_SETUP}", setup, made_from)


def load(
  config: Config, folder: Workdir, made_from: Mapping[str, str]
) -> Measured | None:
  """Reads what `measure` left in a folder; None where nothing was asked of it.

  Args:
    config: the whole configuration.
    folder: of the evaluation.
    made_from: see `origins.evaluation`.

  Raises:
    FileNotFoundError: a part is missing.
    DamagedError: one is damaged.
    ForeignError: one was made from something else.
  """
  if not config.evaluation.alarm_examples or not norm_of(config):
    return None
  again = f"remove it and {chunk_files.remedy(folder.path)}"

  def part(name: str) -> dict[str, np.ndarray]:
    return folder.load_arrays(f"{_FOLDER}/{name}", made_from, again)

  setup = part(_SETUP)
  parts = (decode(part(name)) for name in setup["parts"].tolist())
  return Measured(
    checks.merge(*parts), len(setup["indices"]), str(setup["attacked"])
  )


def complete(
  alarms: Sequence[Alarm],
  measured: Measured | None,
  subject: str,
  nothing: str,
) -> tuple[Alarm, ...]:
  """Returns the alarms of an evaluation, completed by what `measure` found.

  Args:
    alarms: of the evaluation's own attacks, on all its examples.
    measured: from `load`.
    subject: the network.
    nothing: why nothing was measured, where that is so.
  """
  if measured is None:
    return tuple(
      alarm._replace(reason=alarm.reason or nothing)
      if alarm.state is checks.State.NOT_CHECKED
      else alarm
      for alarm in alarms
    )
  more = checks.check(
    measured.measurements,
    subject,
    examples=measured.examples,
    where=measured.attacked,
  )
  return checks.keep_graver(alarms, more)


@functools.cache
def _threat(norm: str) -> Callable[[Any], Threat]:
  """The same function object for a norm each time, as jit's cache needs."""
  return functools.partial(build.threat_of, norm)


def _subject(
  config: Config, classify: LogitsFn, cell: Cell, count: int, loss: LogitsLoss
) -> checks.Subject:
  options = config.evaluation
  return checks.Subject(
    classify,
    {config.model.rule: classify},
    _threat(cell.norm),
    dict(cell.radii),
    loss=loss,
    steps=options.steps,
    step_share=2.5 / options.steps,
    batch=min(options.microbatch, count),
  )


def _loss(plan: Plan, cell: Cell) -> LogitsLoss:
  """The loss of the first PGD on a cell; the cross-entropy if none ran."""
  there = [case.attack for case in plan.on(cell)]
  for attack in plan.alone(cell.norm):
    if attack in there:
      return LOSSES[attack.loss]
  return losses.cross_entropy


def _names(config: Config, plan: Plan, norm: str) -> tuple[str, ...]:
  """What is to be measured, given what the evaluation ran in a norm."""
  there = [case for case in plan.cases if case.cell.norm == norm]
  ran = {case.attack.kind for case in there}
  more = tuple(part for kind, part in _UNLESS.items() if kind not in ran)
  if config.evaluation.alarm_pairs and not ran & _GRADIENT_FREE:
    more += ("gradient_free",)
  if not any(case in there for case in plan.beside):
    more += ("large",)
  return (*_ALWAYS, *more)


def reported_robust(
  plan: Plan, cell: Cell, evaluation: Evaluation, count: int
) -> np.ndarray | None:
  """Returns which of the first examples the report counts as robust, [count].

  They withstand every attack on the cell and on the cells whose balls lie
  inside its ball. None if there is no attack.

  Args:
    plan: of the evaluation.
    cell: target and radius.
    evaluation: the finished one.
    count: how many examples.
  """
  there = plan.within(evaluation, cell)
  if not there.attacks:
    return None
  return evaluating.worst(there).robust[:count]


def _compare_with_reported(
  part: Measurements, reported: np.ndarray | None
) -> Measurements:
  """Adds the evaluation's worst case to the parts that compare with it."""
  if reported is None:
    return part
  if part.gradient_free_robust is not None:
    part = part._replace(white_box_robust=reported)
  if part.loss_robust is not None:
    part = part._replace(reported_robust=reported)
  return part


def _statistics(
  config: Config, network: Network, variables: Variables, batch: Batch
) -> Measurements:
  before = variables.get("batch_stats", {})
  if not jax.tree.leaves(before):
    reason = "the network has no normalisation statistics"
    return Measurements(reasons={"statistics_change": reason})
  inputs = jax.tree.map(lambda leaf: leaf[:1], batch.inputs)
  key = build.key(config, "statistics")
  rule = build.rule(config, config.model.rule)
  after = _statistics_after(network.apply, rule, variables, key, inputs)
  change = checks.statistics_change(before, after)
  return Measurements(statistics_change=change)


@functools.partial(jax.jit, static_argnums=0)
def _statistics_after(
  apply: Callable[..., Forward],
  rule: BackwardRule,
  variables: Variables,
  key: Key,
  inputs: Inputs,
) -> Any:
  """The normalisation statistics after one run; one program per network."""
  return apply(variables, inputs, rule=rule, key=key).batch_stats


def _tuning(folder: Workdir) -> Measurements:
  if _TUNING in folder.array_names():
    indices = folder.load_arrays(_TUNING)["indices"]
    return Measurements(tuning_indices=indices.tolist())
  reason = "the evaluation chose no hyper-parameter: its configuration did"
  return Measurements(reasons={"tuning_indices": reason})


def _saved_parts(folder: Workdir) -> tuple[str, ...]:
  prefix = f"{_FOLDER}/"
  return tuple(
    name.removeprefix(prefix)
    for name in folder.array_names()
    if name.startswith(prefix)
  )


def encode(measurements: Measurements) -> dict[str, np.ndarray]:
  """Measurements as arrays; mappings as one array per entry."""
  arrays: dict[str, np.ndarray] = {}
  for field, value in measurements._asdict().items():
    if isinstance(value, Mapping):
      arrays |= {f"{field}/{key}": np.asarray(v) for key, v in value.items()}
    elif value is not None:
      arrays[field] = np.asarray(value)
  return arrays


def decode(arrays: Mapping[str, np.ndarray]) -> Measurements:
  """The measurements that `encode` made arrays."""
  values: dict[str, Any] = {}
  for name, array in arrays.items():
    field, _, key = name.partition("/")
    value = array if array.ndim else array.item()
    if key:
      values.setdefault(field, {})[key] = value
    else:
      values[field] = value
  return Measurements(**values)
