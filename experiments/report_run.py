"""Builds the report on the evaluated runs of a folder."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments import (
  assessment,
  datasets,
  leaderboard_entry,
  lifecycle,
  settings,
  summary,
)
from experiments.assessment import Assessed
from experiments.progress import say
from snnjax import environment, report, workdir
from snnjax.report import Table

TITLE = "Robustness and input-gradient sparsity of spiking networks"


def run(config: Any, path: pathlib.Path) -> None:
  """Runs the report binary on one evaluated run, or a folder of them.

  Args:
    config: its suite is reported, and its seed written into the report.
    path: the run's folder, or the runs' parent.

  Raises:
    DataError: there is no evaluated run, or runs were evaluated differently.
  """
  networks = [load(folder, config) for folder in evaluated(path, config)]
  _check_alike(networks)
  say(text(write(networks, path, config)))


def evaluated(path: pathlib.Path, config: Any) -> list[pathlib.Path]:
  """Returns the runs that a suite has evaluated: `path`, or those in it.

  Args:
    path: the run's folder, or the runs' parent.
    config: its ``evaluation.suite`` is the suite.

  Raises:
    DataError: there is none.
  """
  candidates = [path, *sorted(p for p in path.glob("*") if p.is_dir())]
  found = [
    folder
    for folder in candidates
    if workdir.read_status(evaluations.folder(folder, config))[0]
    is workdir.Status.DONE
  ]
  if not found:
    suite = config.evaluation.suite
    raise lifecycle.DataError(
      f"{path} must hold a run evaluated by the suite {suite!r}, or folders of "
      f"such; it holds none. Run: python -m experiments.evaluate "
      f"--suite={suite} --workdir=RUN"
    )
  return found


def load(path: pathlib.Path, config: Any) -> Assessed:
  """Reads one run's evaluation; the folder's name is the network's.

  Args:
    path: the run's folder.
    config: its ``evaluation.suite`` tells which evaluation.

  Raises:
    DataError: the evaluation is damaged, or of an older version.
  """
  folder = evaluations.folder(path, config)
  plain = workdir.read_config(folder)
  own = settings.from_dict(plain)
  if "attacks" not in own.evaluation:
    raise lifecycle.DataError(
      f"{folder} must name its attacks; an older version made it. Remove it "
      f"and run: python -m experiments.evaluate --workdir={path}"
    )
  modalities = datasets.MODALITIES[own.data.modality]
  # Of a finished run, opening changes nothing.
  with lifecycle.reading_data(), workdir.opened(folder, plain) as opened:
    return assessment.load(path.name, own, modalities, opened)


class Written(NamedTuple):
  """Where a report is, and its main table."""

  paths: report.Paths
  table: Table


def write(
  networks: Sequence[Assessed],
  path: pathlib.Path,
  config: Any,
  extra: dict[str, Any] | None = None,
) -> Written:
  """Writes the report on some networks into a folder of `path`.

  Args:
    networks: evaluated alike.
    path: parent of the report's folder.
    config: its seed is written into the report, and its ``leaderboard`` into
      the entries of ``leaderboard.json`` beside it.
    extra: what else its provenance says.
  """
  provenance = {
    "environment": environment.describe(config.seed),
    "configuration": {
      each.name: settings.to_dict(each.config) for each in networks
    },
    **(extra or {}),
  }
  record = summary.record(networks, TITLE, provenance)
  folder = assessment.report_folder(path, networks[0].config)
  paths = report.write(record, folder)
  with lifecycle.configuring():
    leaderboard_entry.write(networks, path, config, folder)
  return Written(paths, summary.accuracy_table(networks))


def text(written: Written) -> str:
  """Returns the main table as plain text, and where the report is."""
  table = written.table
  heads = [column.header for column in table.columns]
  rows = [
    [
      _cell(row[column.key], column.percent, column.digits)
      for column in table.columns
    ]
    for row in table.rows
  ]
  widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
  lines = [
    "  ".join(
      word.ljust(width) for word, width in zip(line, widths, strict=True)
    )
    for line in [heads, ["-" * width for width in widths], *rows]
  ]
  return "\n".join([*lines, "", f"report: {written.paths.html}"])


def _cell(value: Any, percent: bool, digits: int) -> str:
  if isinstance(value, float):
    return f"{value:.1%}" if percent else f"{value:.{digits}g}"
  return str(value)


def _check_alike(networks: Sequence[Assessed]) -> None:
  """Networks of one report see the same inputs and the same attacks."""
  for key in ("evaluation", "data"):
    first = settings.to_dict(networks[0].config)[key]
    for other in networks[1:]:
      lines = workdir.difference(first, settings.to_dict(other.config)[key])
      if lines:
        raise lifecycle.DataError(
          f"{networks[0].name} and {other.name} must be evaluated alike; "
          f"{key} differs: {'; '.join(lines)}"
        )
