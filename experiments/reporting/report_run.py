"""Builds the report on the evaluated runs of a folder."""

import errno
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.command import exits, stopping
from experiments.command.progress import say
from experiments.configuration import settings, validity
from experiments.configuration.schema import Config
from experiments.evaluation import assessment, evaluation_folders
from experiments.evaluation.assessment import Assessed
from experiments.planning import suites
from experiments.reporting import console, leaderboard_entry, report_groups
from experiments.reporting.report_groups import Group
from experiments.runs import origins, run_folders
from snnjax import report
from snnjax.storage import environment, workdir

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def run(
  config: Config,
  path: pathlib.Path,
  chosen: str = "",
  out: pathlib.Path | None = None,
) -> None:
  """Runs the report binary on one evaluated run, or a folder of them.

  Nothing but the report is written, and nothing in `path` if it goes elsewhere:
  the runs may lie on a read-only disk, and be read by others at the same time.

  Args:
    config: its ``leaderboard`` is what only the authors know.
    path: the run's folder, or one in which runs lie, nested or not.
    chosen: part of the names of the evaluations to report; all by default.
    out: the report's folder; one in `path` by default.

  Raises:
    DataError: there is no such evaluation.
    OSError: the report cannot be written.
    Preempted: a signal asked to stop.
  """
  validity.check(config)
  with exits.stop_on_sigterm() as should_stop:
    runs = find_evaluated(path, chosen)
    networks = []
    for name, folders in runs.done.items():
      for folder in folders:
        stopping.stop_before(f"{folder} was read", should_stop)
        networks.append(load_folder(folder, name))
    groups = report_groups.group_alike(
      networks,
      {name: [f.name for f in folders] for name, folders in runs.done.items()},
      runs.left_out,
    )
    stopping.stop_before("the report", should_stop)
    try:
      written = write(groups, out or folder_of(path, chosen), config)
    except OSError as error:
      if error.errno not in _READ_ONLY:
        raise
      raise OSError(error.errno, f"{error.strerror}: --out=DIR") from error
  say(text(written))


class Runs(NamedTuple):
  """The runs at or below a folder, by name.

  Attributes:
    done: the folders of their finished evaluations, where there are some.
    left_out: why there are none of the others.
  """

  done: dict[str, list[pathlib.Path]]
  left_out: dict[str, str]


def find_evaluated(path: pathlib.Path, chosen: str = "") -> Runs:
  """Returns the runs that have been evaluated: `path`, and those below it.

  Args:
    path: the run's folder, or one in which runs lie, nested or not.
    chosen: part of the names of the evaluations; all by default.

  Raises:
    DataError: none is evaluated.
  """
  with exits.blame_data():
    folders = run_folders.find(path)
    runs = Runs({}, {})
    names = run_folders.names(path, folders)
    for name, folder in zip(names, folders, strict=True):
      folders_chosen = [
        evaluation
        for evaluation in evaluation_folders.list_finished(folder)
        if evaluation_folders.matches(evaluation, chosen)
      ]
      if folders_chosen:
        runs.done[name] = folders_chosen
      else:
        runs.left_out[name] = _state(folder, chosen)
  if not runs.done:
    reasons = "".join(
      f"\n  {name}: {why}" for name, why in runs.left_out.items()
    )
    name_chosen = f" named {chosen!r}" if chosen else ""
    raise exits.DataError(
      f"{path} must hold a run with a finished evaluation{name_chosen}, or "
      f"folders of such; it holds none. Run: python -m experiments.evaluate "
      f"--workdir=RUN{reasons}"
    )
  return runs


def _state(run: pathlib.Path, chosen: str) -> str:
  """Says why a run has nothing to report."""
  stage, folder = "its training", run
  if (run / origins.WEIGHTS).exists():
    stage, folder = "its evaluation", run / evaluation_folders.PREFIX
    for evaluation in sorted(run.glob(f"{evaluation_folders.PREFIX}*")):
      if evaluation_folders.matches(evaluation, chosen):
        folder = evaluation
  status, reason = workdir.read_status(folder)
  state = "missing" if status is None else status.value
  return f"{stage} is {state}{f' ({reason})' if reason else ''}"


def load(
  path: pathlib.Path, config: Config, name: str | None = None
) -> Assessed:
  """Reads one evaluation of a run.

  Args:
    path: the run's folder.
    config: the whole configuration, which tells the evaluation.
    name: of the network; the folder's by default.

  Raises:
    DataError: the evaluation is damaged, or of an older version.
  """
  (run_name,) = run_folders.names(path, [path])
  folder = evaluation_folders.folder(path, suites.resolved(config))
  return load_folder(folder, name or run_name)


def load_folder(folder: pathlib.Path, name: str) -> Assessed:
  """Reads the evaluation in a folder of its own.

  Args:
    folder: of the evaluation.
    name: of the network.

  Raises:
    DataError: the evaluation is damaged, or of an older version.
  """
  with exits.blame_data():
    plain = workdir.read_config(folder)
  config = validity.recorded(plain, folder)
  if not config.evaluation.attacks:
    raise exits.DataError(
      f"{folder} must name its attacks; an older version made it. Remove it "
      f"and run: python -m experiments.evaluate --workdir={folder.parent}"
    )
  try:
    suites.check_recorded(config, f"{folder}/config.json")
  except exits.UsageError as error:  # nobody typed it
    raise exits.DataError(str(error)) from None
  with exits.blame_data(), workdir.open_finished(folder) as opened:
    made_from = origins.assessment(config, folder.parent)
    return assessment.load(name, config, opened, made_from)


class Written(NamedTuple):
  """Where a report is, and what it is on."""

  paths: report.Paths
  groups: Sequence[Group]


def folder_of(path: pathlib.Path, chosen: str = "") -> pathlib.Path:
  """Returns where the report on all, or the chosen, evaluations goes."""
  safe = report.file_name(chosen) if chosen else ""
  return path / (f"report_{safe}" if chosen else "report")


def write(
  groups: Sequence[Group],
  folder: pathlib.Path,
  config: Config,
  extra: Mapping[str, Any] | None = None,
) -> Written:
  """Writes the report on some networks into a folder.

  Args:
    groups: networks that were evaluated alike.
    folder: the report's.
    config: its ``leaderboard`` goes into the entries of ``leaderboard.json``
      beside the report.
    extra: what else its provenance says.
  """
  networks = [network for group in groups for network in group.networks]
  seeds = {network.config.seed for network in networks}
  alone = len(seeds) == 1
  provenance = {
    "environment": environment.describe(seeds.pop() if alone else None),
    "configuration": {
      network.name: settings.to_dict(network.config) for network in networks
    },
    "made_from": {
      network.name: dict(network.made_from) for network in networks
    },
    **(extra or {}),
  }
  record = report_groups.record(groups, provenance)
  with exits.blame_configuration():  # before there is a page
    entries = leaderboard_entry.check_entries(networks, config)
  paths = report.write(record, folder)
  leaderboard_entry.write(entries, folder)
  return Written(paths, groups)


def text(written: Written) -> str:
  """Returns accuracies and alarms as plain text, and where the report is."""
  parts = []
  for group in written.groups:
    if len(written.groups) > 1:
      parts.append(f"{group.title}:")
    parts.append(console.networks(group.networks, group.left_out))
  return "\n\n".join([*parts, f"report: {written.paths.html}"])
