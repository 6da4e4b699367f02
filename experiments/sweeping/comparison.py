"""Trains and evaluates several networks on one data set, then reports."""

import dataclasses
import pathlib
import time
from collections.abc import Sequence

from experiments.building import datasets, examples
from experiments.building.datasets import Splits
from experiments.building.shared import Shared
from experiments.command import compilation, exits, stopping
from experiments.command.progress import Progress, reporter, say
from experiments.command.stopping import ShouldStop
from experiments.configuration import schema, settings, validity
from experiments.configuration.schema import Config
from experiments.evaluation import (
  assessment,
  evaluation_folders,
  evaluation_run,
)
from experiments.evaluation.assessment import Assessed, Bench
from experiments.planning import preflight, suites
from experiments.reporting import console, report_run
from experiments.reporting.report_groups import Group
from experiments.runs import origins
from experiments.training import loop, training_run
from snnjax.storage import workdir

_WRITING = "write the report"


def run(
  config: Config, path: pathlib.Path, shared: Shared | None = None
) -> None:
  """Runs the quickstart: every finished part is skipped when run again.

  Args:
    config: ``compared`` names the networks' methods.
    path: gets a folder per network, and the report.
    shared: its devices are those that are used; they share one architecture,
      which is built and compiled once.
  """
  shared = shared or Shared()
  started = time.monotonic()
  validity.check(config)
  names = compared(config)
  for name in names:  # all, before anything is trained
    preflight.check(network_config(config, name))
  shared.devices.check(config)
  suite = suites.title(config)
  chosen = "" if suite == "quick" else suite
  place = report_run.folder_of(path, chosen)
  page = place / "report.html"
  if page.exists() and all(finished(config, name, path) for name in names):
    networks = _loaded(config, names, path)
    say(f"{path} is finished; nothing to do\n\n{console.networks(networks)}")
    say(f"\nreport: {page}")
    return
  compilation.enable_cache()
  with (
    exits.stop_on_sigterm() as should_stop,
    reporter() as progress,
  ):
    with exits.blame_data():
      splits = datasets.load(
        config, stopping.make_interruptible(progress, should_stop)
      )
    examples.tell(datasets.evaluated(config, splits))
    bench = None
    for name in names:
      own = network_config(config, name)
      _train(own, splits, path / name, progress, should_stop, shared)
      if bench is None:
        with exits.blame_configuration():
          network, _ = training_run.trained(own, splits, path / name, shared)
          whole = suites.resolved(own)
          others = evaluation_run.stand_ins(whole, splits)
          bench = assessment.bench(whole, network, others, shared)
      _evaluate(own, bench, splits, path / name, progress, should_stop, shared)
    stopping.stop_before("the report", should_stop)
    progress(0, 1, _WRITING)
    group = Group(suite, _loaded(config, names, path))
    elapsed = {"seconds of this session": round(time.monotonic() - started, 1)}
    written = report_run.write([group], place, config, elapsed)
    progress(1, 1, _WRITING)
  say(report_run.text(written))


def _loaded(
  config: Config, names: Sequence[str], path: pathlib.Path
) -> list[Assessed]:
  return [
    report_run.load(path / name, network_config(config, name), name)
    for name in names
  ]


def compared(config: Config) -> tuple[str, ...]:
  """Returns the names of the networks to compare, in their order.

  Raises:
    UsageError: none is named.
  """
  if not config.compared:
    allowed = schema.KEYS["compared"].allowed.told()
    raise exits.UsageError(f"compared must name one of them: {allowed}")
  return config.compared


def finished(config: Config, name: str, path: pathlib.Path) -> bool:
  """Returns whether a network was trained and evaluated as `config` says."""
  wanted = network_config(config, name)
  assessed = suites.resolved(wanted)
  folder = evaluation_folders.folder(path / name, assessed)
  if not (
    trained(wanted, path / name)
    and workdir.read_status(folder)[0] is workdir.Status.DONE
    and evaluation_folders.is_configured(folder, assessed)
  ):
    return False
  known = origins.assessment(assessed, path / name)
  plain = settings.to_dict(assessed)
  with workdir.open_with_status(folder, plain, schema.CHANGEABLE) as opened:
    return not assessment.lacking(assessed, opened, known)


def trained(config: Config, path: pathlib.Path) -> bool:
  """Returns whether a network was trained as `config` says.

  What a network is attacked by is no part of its training: a trained one can
  be evaluated by another suite.
  """
  if workdir.read_status(path)[0] is not workdir.Status.DONE:
    return False
  lines = workdir.difference(
    workdir.read_config(path),
    settings.to_dict(config),
    (*schema.CHANGEABLE, *schema.LATER),
  )
  return not lines and not training_run.lacking(config, path)


def network_config(config: Config, name: str) -> Config:
  """Returns the configuration of one network, without the others.

  Args:
    config: the quickstart's.
    name: of its method.
  """
  method = dataclasses.replace(config.method, name=name)
  return dataclasses.replace(config, method=method, compared=())


def _train(
  config: Config,
  splits: Splits,
  path: pathlib.Path,
  progress: Progress,
  should_stop: ShouldStop,
  shared: Shared,
) -> None:
  if trained(config, path):
    return
  with training_run.opened(path, config) as folder:
    if folder.outcome is not workdir.Outcome.FINISHED:
      loop.fit(config, splits, folder, progress, should_stop, shared)


def _evaluate(
  config: Config,
  bench: Bench,
  splits: Splits,
  path: pathlib.Path,
  progress: Progress,
  should_stop: ShouldStop,
  shared: Shared,
) -> None:
  _, variables = training_run.trained(config, splits, path, shared)
  config = suites.resolved(config)
  folder = evaluation_folders.folder(path, config)
  known = origins.assessment(config, path)
  with evaluation_folders.open_folder(folder, config, known) as opened:
    if opened.outcome is not workdir.Outcome.FINISHED:
      assessment.assess(
        config,
        bench,
        variables,
        splits,
        opened,
        origins.evaluation(config, path),
        progress,
        should_stop,
      )
