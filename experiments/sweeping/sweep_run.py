"""Runs a grid of configurations, one after the other, into one table."""

import errno
import itertools
import pathlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.building.shared import Shared
from experiments.command import exits, stopping, terminal
from experiments.command.exits import ExitCode
from experiments.command.progress import say
from experiments.command.stopping import ShouldStop
from experiments.configuration import preflight, settings
from experiments.configuration.schema import Config
from experiments.evaluation import evaluation_run
from experiments.evaluation.assessment import Assessed
from experiments.reporting import console, findings, report_run
from experiments.training import loop
from snnjax import report
from snnjax.report import Column, Record, Section, Table
from snnjax.storage import environment, workdir

_LOOK_AGAIN = 1.0  # seconds between looks at what others run
FOLDER = "table"  # what the report on the grid is written into
_BRACKETS = {"(": 1, "[": 1, ")": -1, "]": -1}
_STRANGE = re.compile(r"[^A-Za-z0-9._=,()+-]")


class Cell(NamedTuple):
  """One run of a grid.

  Attributes:
    name: of its folder.
    values: what the grid sets, as the user wrote it.
    config: the whole configuration.
  """

  name: str
  values: Mapping[str, str]
  config: Config


class Outcome(NamedTuple):
  """How one run ended.

  Attributes:
    cell: which.
    code: 0 where it is finished.
    reason: why it is not.
    assessed: what is known of its network, where it is finished.
  """

  cell: Cell
  code: ExitCode
  reason: str = ""
  assessed: Assessed | None = None


def run(config: Config, path: pathlib.Path, grid: Sequence[str]) -> ExitCode:
  """Trains and evaluates every run of a grid, and writes their table.

  Args:
    config: what the grid leaves as it is.
    path: the folder of all runs.
    grid: texts such as ``"seed=0,1,2"``.

  Returns:
    The exit code of the first run that failed, or that for done.

  Raises:
    UsageError: the grid is empty, or does not fit the configuration.
    Preempted: a signal asked to stop.
  """
  runs = cells(config, grid)
  for cell in runs:  # all, before the first is run
    try:
      preflight.check(cell.config)
    except settings.UsageError as error:
      raise settings.UsageError(f"run {cell.name}: {error}") from None
  with exits.stop_on_sigterm() as should_stop:
    outcomes = _all(runs, path, should_stop)
    record = _record(outcomes, config.seed)
    (table,) = record.tables()
    say(f"\n{record.summary}\n\n{console.table(table)}\n")
    say(f"{console.alarms(record.alarms)}\n")
    say(f"table: {_written(record, path / FOLDER)}")
  codes = [each.code for each in outcomes if each.code]
  return codes[0] if codes else ExitCode.DONE


def _all(
  runs: Sequence[Cell], path: pathlib.Path, should_stop: ShouldStop
) -> list[Outcome]:
  """Attempts every run; several processes may share the folder.

  A run that another process has in hand is passed over, and looked at again
  when all others are done: then it is finished, or, where the other one has
  failed or gone away, it is taken on here.
  """
  ended: dict[str, Outcome] = {}
  shared = Shared()
  told: set[str] = set()
  while len(ended) < len(runs):
    before = len(ended)
    for number, cell in enumerate(runs, start=1):
      if cell.name in ended:
        continue
      stopping.before(f"run {number} of {len(runs)}", should_stop)
      if cell.name not in told:
        say(f"run {number} of {len(runs)}: {cell.name}")
      try:
        ended[cell.name] = _attempt(cell, path / cell.name, shared)
      except workdir.WorkdirBusy:
        if cell.name not in told:
          say(f"{cell.name}: another process runs it; looked at again later")
        told.add(cell.name)
    if len(ended) == before:
      time.sleep(_LOOK_AGAIN)
  return [ended[cell.name] for cell in runs]


def cells(config: Config, grid: Sequence[str]) -> list[Cell]:
  """Returns every run of a grid; the last key changes fastest.

  Args:
    config: what the grid leaves as it is.
    grid: texts such as ``"seed=0,1,2"`` or ``"model.hidden=(16,),(32,)"``.

  Raises:
    UsageError: the grid is empty, names a key twice, or does not fit.
  """
  axes: dict[str, list[str]] = {}
  for text in grid:
    key, equals, values = text.partition("=")
    if not equals or not values.strip():
      raise settings.UsageError(f"--grid must be KEY=VALUES, got {text!r}")
    if key.strip() in axes:
      raise settings.UsageError(f"--grid has {key.strip()!r} twice")
    axes[key.strip()] = _split(values)
  if not axes:
    raise settings.UsageError('--grid is needed, such as --grid="seed=0,1,2"')
  found = [
    _cell(config, dict(zip(axes, values, strict=True)))
    for values in itertools.product(*axes.values())
  ]
  names = [cell.name for cell in found]
  for name in names:
    if names.count(name) > 1:
      raise settings.UsageError(f"--grid has the run {name!r} twice")
  return found


def _split(values: str) -> list[str]:
  """Cuts a list at its commas, those within brackets left out."""
  depth, parts = 0, [""]
  for letter in values:
    depth += _BRACKETS.get(letter, 0)
    if letter == "," and not depth:
      parts.append("")
    else:
      parts[-1] += letter
  return [part.strip() for part in parts]


def _cell(config: Config, values: dict[str, str]) -> Cell:
  own = config
  for key, value in values.items():
    own = settings.override(own, key, value)
  name = ",".join(f"{key}={value}" for key, value in values.items())
  return Cell(_STRANGE.sub("-", name), values, own)


def _attempt(cell: Cell, path: pathlib.Path, shared: Shared) -> Outcome:
  """Trains and evaluates one run, and reads what was found.

  Only a signal gets out of here, and that another process has the run: its
  training, its evaluation or, to mend it, the finished evaluation.
  """
  try:
    loop.run(cell.config, path, shared)
    evaluation_run.run(cell.config, path, shared)
    assessed = report_run.load(path, cell.config, cell.name)
  except (workdir.Preempted, workdir.WorkdirBusy, KeyboardInterrupt):
    raise
  except Exception as error:  # whatever it is, the other runs can go on
    reason = exits.message(error)
    terminal.err(f"{cell.name} failed: {reason}\n")
    return Outcome(cell, exits.exit_code(error), " ".join(reason.split()))
  return Outcome(cell, ExitCode.DONE, assessed=assessed)


def _written(record: Record, folder: pathlib.Path) -> pathlib.Path:
  """Writes the table; on a read-only disk the same one may be there already."""
  try:
    return report.write(record, folder).html
  except OSError as error:
    (table,) = record.tables()
    there = folder / "tables" / f"{table.name}.csv"
    content = report.to_csv(table).encode()
    same = there.is_file() and there.read_bytes() == content
    if error.errno != errno.EROFS or not same:
      raise
    return folder / "report.html"


def _record(outcomes: Sequence[Outcome], seed: int) -> Record:
  failed = [each for each in outcomes if each.code]
  lines = [
    f"{len(outcomes) - len(failed)} of {len(outcomes)} runs are finished.",
    *(f"{each.cell.name} failed: {each.reason}" for each in failed),
  ]
  done = [each.assessed for each in outcomes if each.assessed is not None]
  return Record(
    title="Sweep",
    summary="\n\n".join(lines),
    alarms=[
      *(alarm for each in done for alarm in findings.alarms(each)),
      *findings.unmeasured({each.cell.name: each.reason for each in failed}),
    ],
    sections=[Section("Runs", "", [_table(outcomes, done)])],
    provenance={
      "environment": environment.describe(seed),
      "configuration": {
        each.cell.name: settings.to_dict(each.cell.config) for each in outcomes
      },
      "made_from": {each.name: dict(each.made_from) for each in done},
    },
  )


def _table(outcomes: Sequence[Outcome], done: Sequence[Assessed]) -> Table:
  """A row per run and attack, or one that says why there is none."""
  columns = [
    *(Column(key, key) for key in outcomes[0].cell.values),
    *(Column(key, key) for key in ("status", "attacked", "epsilon")),
    Column("examples", "examples"),
    Column("clean", "clean", True, interval=("clean_low", "clean_high")),
    Column("noise", "random noise", percent=True),
    Column("pgd", "PGD, worst rule", percent=True),
    Column(
      "robust", "worst of all", True, interval=("robust_low", "robust_high")
    ),
    Column("reason", "reason"),
  ]
  found = {each.name: findings.accuracy_rows(each) for each in done}
  rows = [row for each in outcomes for row in _rows(each, found)]
  # A run that failed has nothing where the others have numbers.
  shown = [key for column in columns for key in report.keys_of(column)]
  every = dict.fromkeys(shown + [key for row in rows for key in row])
  return Table(
    name="runs",
    title="Accuracy of every run",
    caption=(
      "Share of test examples classified correctly. 'Worst of all' counts an "
      "example as lost if any attack breaks it, at this radius or in a smaller "
      "ball that lies inside. Intervals are Wilson's, of 95 %. The same "
      "command runs again what failed."
    ),
    columns=columns,
    rows=[every | row for row in rows],
  )


def _rows(
  outcome: Outcome, found: Mapping[str, list[dict]]
) -> list[dict[str, Any]]:
  cell = outcome.cell
  about = {"run": cell.name, **cell.values}
  if outcome.code:
    ended = {"status": "failed", "exit_code": int(outcome.code)}
    return [{**about, **ended, "reason": outcome.reason}]
  ended = {"status": "done", "exit_code": 0}
  return [{**row, **about, **ended} for row in found[cell.name]]
