"""Builds the report on the evaluated runs of a folder."""

import pathlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments import (
  assessment,
  console,
  datasets,
  leaderboard_entry,
  lifecycle,
  run_folders,
  settings,
  summary,
  training_loop,
)
from experiments.assessment import Assessed
from experiments.progress import say
from snnjax import environment, report, workdir

# Keys of the data that only training sees, and of the evaluation that change
# no result.
_UNSEEN = {
  "data": ("data_dir", "train_examples", "validation", "augment", "stream"),
  "evaluation": ("microbatch",),
}
TITLE = "Robustness and input-gradient sparsity of spiking networks"


def run(config: Any, path: pathlib.Path) -> None:
  """Runs the report binary on one evaluated run, or a folder of them.

  Args:
    config: its suite is reported, and its seed written into the report.
    path: the run's folder, or one in which runs lie, nested or not.

  Raises:
    DataError: there is no evaluated run, or runs were evaluated differently.
  """
  runs = evaluated(path, config)
  networks = [load(run, config, name) for name, run in runs.done.items()]
  _check_alike(networks)
  say(text(write(networks, path, config, left_out=runs.left_out)))


class Runs(NamedTuple):
  """The runs at or below a folder, by name.

  Attributes:
    done: the folders of those that the suite has evaluated.
    left_out: why the others are not.
  """

  done: dict[str, pathlib.Path]
  left_out: dict[str, str]


def evaluated(path: pathlib.Path, config: Any) -> Runs:
  """Returns the runs that a suite has evaluated: `path`, and those below it.

  Args:
    path: the run's folder, or one in which runs lie, nested or not.
    config: its ``evaluation.suite`` is the suite.

  Raises:
    DataError: none is evaluated.
  """
  suite = config.evaluation.suite
  with lifecycle.reading_data():
    folders = run_folders.found(path)
    runs = Runs({}, {})
    names = run_folders.names(path, folders)
    for name, folder in zip(names, folders, strict=True):
      evaluation = assessment.evaluation_folder(folder, config)
      status, reason = workdir.read_status(evaluation)
      if status is workdir.Status.DONE:
        runs.done[name] = folder
        continue
      stage = f"its evaluation by the suite {suite!r}"
      if status is None and not (folder / training_loop.WEIGHTS).exists():
        stage, (status, reason) = "its training", workdir.read_status(folder)
      state = "missing" if status is None else status.value
      why = f" ({reason})" if reason else ""
      runs.left_out[name] = f"{stage} is {state}{why}"
  if not runs.done:
    told = "".join(f"\n  {name}: {why}" for name, why in runs.left_out.items())
    raise lifecycle.DataError(
      f"{path} must hold a run evaluated by the suite {suite!r}, or folders of "
      f"such; it holds none. Run: python -m experiments.evaluate "
      f"--suite={suite} --workdir=RUN{told}"
    )
  return runs


def load(path: pathlib.Path, config: Any, name: str | None = None) -> Assessed:
  """Reads one run's evaluation.

  Args:
    path: the run's folder.
    config: its ``evaluation.suite`` tells which evaluation.
    name: of the network; the folder's by default.

  Raises:
    DataError: the evaluation is damaged, or of an older version.
  """
  folder = assessment.evaluation_folder(path, config)
  plain = workdir.read_config(folder)
  own = settings.from_dict(plain)
  if "attacks" not in own.evaluation:
    raise lifecycle.DataError(
      f"{folder} must name its attacks; an older version made it. Remove it "
      f"and run: python -m experiments.evaluate --workdir={path}"
    )
  (own_name,) = run_folders.names(path, [path])
  modalities = datasets.MODALITIES[own.data.modality]
  # Of a finished run, opening changes nothing.
  with lifecycle.reading_data(), workdir.opened(folder, plain) as opened:
    return assessment.load(name or own_name, own, modalities, opened)


class Written(NamedTuple):
  """Where a report is, and what it says of which networks."""

  paths: report.Paths
  networks: Sequence[Assessed]
  left_out: Mapping[str, str]


def write(
  networks: Sequence[Assessed],
  path: pathlib.Path,
  config: Any,
  extra: dict[str, Any] | None = None,
  left_out: Mapping[str, str] = MappingProxyType({}),
) -> Written:
  """Writes the report on some networks into a folder of `path`.

  Args:
    networks: evaluated alike.
    path: parent of the report's folder.
    config: its seed is written into the report, and its ``leaderboard`` into
      the entries of ``leaderboard.json`` beside it.
    extra: what else its provenance says.
    left_out: by run that was to be reported, why it is not.
  """
  provenance = {
    "environment": environment.describe(config.seed),
    "configuration": {
      each.name: settings.to_dict(each.config) for each in networks
    },
    **(extra or {}),
  }
  record = summary.record(networks, TITLE, provenance, left_out)
  folder = assessment.report_folder(path, networks[0].config)
  paths = report.write(record, folder)
  with lifecycle.configuring():
    leaderboard_entry.write(networks, config, folder)
  return Written(paths, networks, left_out)


def text(written: Written) -> str:
  """Returns accuracies and alarms as plain text, and where the report is."""
  return (
    f"{console.networks(written.networks, written.left_out)}\n\n"
    f"report: {written.paths.html}"
  )


def _check_alike(networks: Sequence[Assessed]) -> None:
  """Networks of one report see the same inputs and the same attacks."""
  first, *others = [_seen(each) for each in networks]
  for found, each in zip(others, networks[1:], strict=True):
    lines = workdir.difference(first, found)
    if lines:
      raise lifecycle.DataError(
        f"{networks[0].name} and {each.name} must be evaluated alike to be in "
        f"one report: {'; '.join(lines)}. Report the folders one by one"
      )


def _seen(assessed: Assessed) -> dict[str, Any]:
  """What of a configuration says what a network was shown, and how attacked."""
  plain = settings.to_dict(assessed.config)
  return {
    part: {k: v for k, v in plain[part].items() if k not in unseen}
    for part, unseen in _UNSEEN.items()
  }
