"""Runs a sweep: every free run, one after the other, into one table.

Any number of processes may do so in one folder at the same time. Each takes
runs that are free and passes over those that another has in hand; all of them
write the same table.
"""

import errno
import pathlib
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.building.shared import Shared
from experiments.command import exits, stopping, terminal
from experiments.command.exits import ExitCode
from experiments.command.progress import duration, say
from experiments.command.stopping import ShouldStop
from experiments.configuration.schema import Config
from experiments.evaluation import evaluation_folders, evaluation_run
from experiments.planning import preflight, suites
from experiments.reporting import console, report_run
from experiments.sweeping import claims, comparison, grid, table
from experiments.sweeping.grid import Cell
from experiments.sweeping.table import Outcome
from experiments.training import programs, training_run
from snnjax import report
from snnjax.report import Record
from snnjax.storage import workdir

LOOK_AGAIN = 1.0  # seconds between looks at what others run
_TABLE_EVERY = 60.0  # seconds from one unfinished table to the next, at least
FOLDER = "table"  # what the report on the sweep is written into


def run(
  config: Config,
  path: pathlib.Path,
  axes: Sequence[str],
  *,
  listed: Sequence[Mapping[str, Any]] = (),
  retry: bool = False,
  shared: Shared | None = None,
) -> ExitCode:
  """Trains and evaluates every run of a sweep, and writes their table.

  Args:
    config: what grid and list leave as it is.
    path: the folder of all runs.
    axes: of the grid, texts such as ``"seed=0,1,2"``.
    listed: runs as mappings of keys to values; see `grid.cells`.
    retry: whether what failed before is run again.
    shared: of the devices that are used.

  Returns:
    The exit code of the first run that failed, or that for done.

  Raises:
    UsageError: there is no run, or one does not fit the configuration;
      nothing is written.
    Preempted: a signal asked to stop; run again to go on.
  """
  runs = grid.cells(config, axes, listed)
  shared = shared or Shared()
  for cell in runs:  # all, before the first is run
    try:
      preflight.check(cell.config)
      shared.devices.check(cell.config)
    except exits.UsageError as error:
      raise exits.UsageError(f"run {cell.name}: {error}") from None
  sweep = Sweep(runs, path, config.seed, retry=retry, shared=shared)
  with exits.stop_on_sigterm() as should_stop:
    try:
      sweep.work(should_stop)
    except (workdir.Preempted, KeyboardInterrupt):
      say(f"\nstopped; {sweep.standing()}")
      raise
    with claims.writing_table(path):
      record = sweep.record()
      shown = next(iter(record.tables()))
      say(f"\n{record.summary}\n\n{console.table(shown)}\n")
      say(f"{console.alarms(record.alarms)}\n")
      say(f"table: {sweep.write(record)}")
  codes = [each.code for each in sweep.outcomes() if each.code]
  return codes[0] if codes else ExitCode.DONE


def tell(
  config: Config,
  path: pathlib.Path,
  axes: Sequence[str],
  *,
  listed: Sequence[Mapping[str, Any]] = (),
) -> None:
  """Says how every run of a sweep stands; runs none and writes nothing.

  Args:
    config: as in `run`.
    path: as in `run`.
    axes: as in `run`.
    listed: as in `run`.

  Raises:
    UsageError: there is no run, or one does not fit the configuration.
  """
  sweep = Sweep(grid.cells(config, axes, listed), path, config.seed)
  sweep.look()
  for each in sweep.outcomes():
    say(f"{each.status:6}  {each.cell.name}  {each.reason}".rstrip())
  say(sweep.standing())


class Sweep:
  """One process's part in a sweep, and what it knows of the others'."""

  def __init__(
    self,
    cells: Sequence[Cell],
    path: pathlib.Path,
    seed: int,
    *,
    retry: bool = False,
    shared: Shared | None = None,
  ) -> None:
    """Looks at what has ended.

    Args:
      cells: all runs, at least one.
      path: the folder of all runs.
      seed: of the configuration that they change, for the table.
      retry: whether what has failed by now is run again; what fails from now
        on, here or elsewhere, is not.
      shared: what its runs share.
    """
    self._cells = cells
    self._path = path
    self._seed = seed
    self._shared = shared or Shared()
    self._ended: dict[str, Outcome] = {}
    self._shapes = {cell.name: programs.shape(cell.config) for cell in cells}
    self._digests = {cell.name: claims.digest(cell.config) for cell in cells}
    notes = [self._note(cell) for cell in cells]
    self._retried = {note.token for note in notes if retry and note}
    self._written = time.monotonic()

  def outcomes(self) -> list[Outcome]:
    """Returns how every run stands, in their order."""
    return [
      self._ended.get(cell.name)
      or Outcome(
        cell, "busy" if claims.busy(self._path / cell.name) else "free"
      )
      for cell in self._cells
    ]

  def look(self) -> None:
    """Notes which of the runs that were left have ended."""
    for cell in self._left():
      outcome = self._outcome(cell)
      if outcome is not None:
        self._ended[cell.name] = outcome

  def standing(self) -> str:
    """Returns how many runs are done, failed, busy and free, and the time left.

    What this process has in hand is busy too.
    """
    now = self.outcomes()
    statuses = [each.status for each in now]
    words = [
      f"{statuses.count(status)} {status}"
      for status in ("done", "failed", "busy", "free")
      if statuses.count(status) or status == "done"
    ]
    text = f"{len(now)} runs: {', '.join(words)}"
    known = [each.seconds for each in now if each.seconds]
    busy, free = statuses.count("busy"), statuses.count("free")
    if known and busy + free:
      # Of those in hand half is left, on the mean. The median, as the first
      # run of an architecture compiles.
      workers = max(busy, 1)
      left = statistics.median(known) * (free + busy / 2) / workers
      text += f"; about {duration(left)} left for {workers} at work"
    return text

  def work(self, should_stop: ShouldStop) -> None:
    """Runs what is free until every run has ended, here or elsewhere.

    Args:
      should_stop: asked before every run, and by it.

    Raises:
      Preempted: as `should_stop` wanted.
    """
    self.look()
    say(f"sweep: {self.standing()}")
    if len(self._ended) < len(self._cells):
      say(
        "the same command, at the same time elsewhere, takes a part of them; "
        "stopped at any moment, it goes on from there"
      )
    waiting = ""
    while left := self._left():
      stopping.stop_before(
        f"one of {len(left)} runs that are left", should_stop
      )
      if time.monotonic() - self._written > _TABLE_EVERY:
        self._write_unfinished()
      before = len(self._ended)
      for cell in self._preferred(left):
        if self._take(cell):
          waiting = ""
          break
      else:
        self.look()
        if len(self._ended) == before:
          now = f"waiting for {len(left)} that others have in hand"
          if now != waiting:
            say(f"sweep: {now}")
          waiting = now
          time.sleep(LOOK_AGAIN)

  def record(self) -> Record:
    """Returns the report on all that is known now, here or elsewhere.

    Under `claims.writing_table`, no table is older than the one it replaces.
    """
    self.look()
    return table.record(self.outcomes(), self._seed)

  def write(self, record: Record) -> pathlib.Path:
    """Writes a report into the sweep's folder, and returns its page.

    Raises:
      OSError: it cannot be written; on a read-only disk the same one may be
        there already.
    """
    self._written = time.monotonic()
    return _written(record, self._path / FOLDER)

  def _write_unfinished(self) -> None:
    """Writes the table so far; the sweep goes on where that fails."""
    try:
      with claims.writing_table(self._path):
        self.write(self.record())
    except OSError as error:
      terminal.err(f"no table yet: {exits.message(error)}\n")

  def _left(self) -> list[Cell]:
    return [cell for cell in self._cells if cell.name not in self._ended]

  def _preferred(self, cells: Sequence[Cell]) -> list[Cell]:
    """The runs that nobody has in hand, those first that compile least.

    That is: what is compiled here, then what nobody else has begun to
    compile, then the others; in the order of the grid.
    """
    busy = [cell for cell in cells if claims.busy(self._path / cell.name)]
    theirs = [self._shapes[cell.name] for cell in busy]

    def cost(cell: Cell) -> int:
      shape = self._shapes[cell.name]
      if self._shared.has("shapes", shape):
        return 0
      return 2 if shape in theirs else 1

    return sorted((cell for cell in cells if cell not in busy), key=cost)

  def _take(self, cell: Cell) -> bool:
    """Runs one run unless another process has it; says whether it ended."""
    place = self._path / cell.name
    with claims.claim(place) as mine:
      if not mine:
        return False
      # Only now: another process may have ended it a moment ago.
      outcome = self._outcome(cell)
      if outcome is None:
        number = 1 + self._cells.index(cell)
        say(f"\nsweep: {self.standing()}")
        say(f"run {number} of {len(self._cells)}: {cell.name}")
        self._shared.get("shapes", self._shapes[cell.name], lambda: True)
        outcome = self._attempt(cell, place)
      if outcome is None:
        return False
      self._ended[cell.name] = outcome
      return True

  def _outcome(self, cell: Cell) -> Outcome | None:
    """How a run has ended; None where it has not, or is to be run again."""
    place, note = self._path / cell.name, self._note(cell)
    try:
      if _finished(cell, place):
        assessed = report_run.load(place, cell.config, cell.name)
        seconds = note.seconds if note and not note.code else 0.0
        return Outcome(
          cell, "done", seconds=seconds, numbers=table.numbers(assessed)
        )
    except (OSError, ValueError):
      pass  # It is mended where it is run again, or fails with a reason.
    if note and note.code and note.token not in self._retried:
      return Outcome(cell, "failed", note.code, note.reason)
    return None

  def _note(self, cell: Cell) -> claims.Ended | None:
    """How a run is noted to have ended, if it is the run of this sweep."""
    return claims.read(self._path / cell.name, self._digests[cell.name])

  def _attempt(self, cell: Cell, place: pathlib.Path) -> Outcome | None:
    """Trains and evaluates one run, reads the result, and notes the end.

    Only a signal gets out of here. None where a process that is no worker of
    a sweep has the run: its training, its evaluation or, to mend it, the
    finished evaluation.
    """
    begun = time.monotonic()
    problem: Exception | None = None
    try:
      training_run.run(cell.config, place, self._shared)
      evaluation_run.run(cell.config, place, self._shared, console.networks)
      assessed = report_run.load(place, cell.config, cell.name)
      outcome = Outcome(cell, "done", numbers=table.numbers(assessed))
    except (workdir.Preempted, KeyboardInterrupt):
      raise
    except workdir.WorkdirBusy:
      say(f"{cell.name}: another process has it; looked at again later")
      return None
    except Exception as error:  # whatever it is, the other runs can go on
      problem = error
      reason = exits.message(error)
      terminal.err(f"{cell.name} failed: {reason}\n")
      outcome = Outcome(
        cell, "failed", exits.exit_code(error), " ".join(reason.split())
      )
    seconds = time.monotonic() - begun
    if outcome.code is ExitCode.DISK_FULL:
      return outcome  # The machine failed, not the run; nor is there room.
    digest = self._digests[cell.name]
    try:
      claims.write(place, digest, problem, seconds)
    except OSError as error:  # this process knows, others will find out
      terminal.err(f"{cell.name}: its end is not noted: {error}\n")
    return outcome._replace(seconds=0.0 if problem else seconds)


def _finished(cell: Cell, place: pathlib.Path) -> bool:
  """Whether a run is trained and evaluated as its configuration says.

  Whether the evaluation is whole is seen when it is read.

  Raises:
    OSError: a file cannot be read.
    ValueError: a file is damaged, or another run's.
  """
  if not comparison.trained(cell.config, place):
    return False
  folder = evaluation_folders.folder(place, suites.resolved(cell.config))
  return workdir.read_status(folder)[0] is workdir.Status.DONE


def _written(record: Record, folder: pathlib.Path) -> pathlib.Path:
  """Writes the table; on a read-only disk the same one may be there already."""
  try:
    return report.write(record, folder).html
  except OSError as error:
    tables = {each.name: each for each in record.tables()}
    there = folder / "tables" / "runs.csv"
    content = report.to_csv(tables["runs"]).encode()
    same = there.is_file() and there.read_bytes() == content
    if error.errno != errno.EROFS or not same:
      raise
    return folder / "report.html"
