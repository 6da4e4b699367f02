"""The folder of one run: its configuration, its status and its results.

    config.json       the resolved configuration
    environment.json  one entry per session: versions, devices, commit, seed
    data.json         the data, how they were made, and each part's classes
    examples.npz      which examples each part has, by position
    metrics.jsonl     one line per step or epoch, on the disk when written
    status.json       running, done, failed or preempted, and why
    checkpoints/      see `snnjax.storage.checkpoints`
    arrays/*.npz      per-example results of an evaluation
    events/           TensorBoard, where asked for
    .lock             held by the process that runs here, or shared by those
                      that read what is finished

Killed at any moment, the next `open` finds every file whole, and removes what
the killed process had begun to write. Everything but wall times (the ``wall``
key of a metrics line, `environment.json` and `status.json`) is the same for
two runs of one configuration.
"""

import contextlib
import dataclasses
import enum
import io
import pathlib
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from snnjax.storage import configuration, files, folder_lock, identity
from snnjax.storage.configuration import difference, read_config
from snnjax.storage.folder_lock import WorkdirBusy as WorkdirBusy
from snnjax.storage.run_status import Status, read_status, write_status

_CONFIG = configuration.NAME
ACCIDENTS = "non_finite"  # arrays that no run goes on from


class ConfigurationChanged(ValueError):  # noqa: N818 (a state, not a fault)
  """The workdir belongs to a run with another configuration."""


class Preempted(Exception):  # noqa: N818
  """A signal asked the run to stop, and it did, ready to be resumed."""


class Outcome(enum.Enum):
  """What `open` found."""

  FRESH = "fresh"
  RESUMED = "resumed"
  FINISHED = "finished"


@dataclasses.dataclass(frozen=True)
class Workdir:
  """An open workdir.

  Attributes:
    path: the folder.
    config: the resolved configuration, as JSON gives it back.
    outcome: whether the run is new, goes on, or has finished before.
    lock: the open lock file; closing it lets another process in. Of a run
      that has finished it is shared with other readers, and None where it
      can neither be opened nor made.
  """

  path: pathlib.Path
  config: Mapping[str, Any]
  outcome: Outcome
  lock: io.FileIO | None

  @property
  def checkpoints(self) -> pathlib.Path:
    """The folder for `snnjax.storage.checkpoints`."""
    return self.path / "checkpoints"

  @property
  def metrics(self) -> pathlib.Path:
    """The file for `snnjax.storage.metric_log`."""
    return self.path / "metrics.jsonl"

  @property
  def events(self) -> pathlib.Path:
    """The folder for TensorBoard events."""
    return self.path / "events"

  def set_status(self, status: Status, reason: str = "") -> None:
    """Writes status.json.

    Args:
      status: how the run stands now.
      reason: why, for a person; empty where there is nothing to say.

    Raises:
      OSError: it cannot be written.
    """
    write_status(self.path, status, reason)

  def save_arrays(
    self,
    name: str,
    arrays: Mapping[str, np.ndarray],
    made_from: Mapping[str, str] | None = None,
  ) -> None:
    """Writes arrays/`name`.npz, atomically.

    Args:
      name: may hold slashes, for instance ``test/pgd``.
      arrays: per-example results [N, ...], by name.
      made_from: what they were made from, by name a SHA-256.

    Raises:
      ValueError: `name` leaves the folder, or an array holds objects.
      OSError: the file cannot be written; the old one is intact.
    """
    path = self.array_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_arrays(path, arrays, _add_place(name, made_from))

  def load_arrays(
    self,
    name: str,
    made_from: Mapping[str, str] | None = None,
    remedy: str = "make it again",
  ) -> dict[str, np.ndarray]:
    """Reads arrays/`name`.npz.

    Args:
      name: as given to `save_arrays`.
      made_from: what they must have been made from; None asks nothing.
      remedy: what a person can do about a damaged or foreign file.

    Returns:
      The arrays by name.

    Raises:
      FileNotFoundError: there are none of that name.
      DamagedError: the file is damaged.
      ForeignError: it was made from something else, or under another name.
      ValueError: `name` leaves the folder.
    """
    expected = _add_place(name, made_from)
    return files.read_arrays(self.array_file(name), expected, remedy)

  def array_names(self) -> tuple[str, ...]:
    """The names of all saved arrays, sorted."""
    root = self.path / "arrays"
    paths = (p.relative_to(root) for p in root.rglob("*.npz"))
    finished = (p for p in paths if not p.name.startswith(files.TEMPORARY))
    return tuple(sorted(p.as_posix().removesuffix(".npz") for p in finished))

  def close(self) -> None:
    """Lets another process in."""
    if self.lock is not None:
      self.lock.close()

  def array_file(self, name: str) -> pathlib.Path:
    """The file of the arrays of one name; see `save_arrays`.

    Raises:
      ValueError: `name` leaves the folder.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
      raise ValueError(f"name must be a relative path, got {name!r}")
    return self.path / "arrays" / f"{name}.npz"


def _add_place(
  name: str, made_from: Mapping[str, str] | None
) -> Mapping[str, str] | None:
  """Adds to an origin the name that the arrays are saved under.

  So a file that was moved to another name is noticed. None stays None.
  """
  if made_from is None:
    return None
  return {**made_from, "place": identity.of_value(name)}


def _lack_nothing(folder: Workdir) -> str:
  del folder
  return ""


def open(
  path: pathlib.Path | str,
  config: Mapping[str, Any],
  changeable: Collection[str] = (),
  lacking: Callable[[Workdir], str] = _lack_nothing,
) -> Workdir:
  """Opens the workdir of a run: a new one, or one to go on with.

  A new folder gets `config`, and the status ``running``. A finished run is
  opened to be read: nothing is written, it may lie on a read-only disk, and
  other processes may read it too. A run of which there is neither checkpoint
  nor result does not hold its folder: another configuration begins anew there.

  Args:
    path: the folder; made where it is missing.
    config: the resolved configuration, of what JSON holds.
    changeable: dotted keys, or groups of keys, that change no result: an
      unfinished run goes on with other values of them.
    lacking: asked of a run that has finished: what of it is missing or
      damaged, in words. Unless it is nothing, the run is gone on with, and a
      warning says why.

  Returns:
    The workdir; see its `outcome`.

  Raises:
    ConfigurationChanged: the folder's run has another configuration; the
      message has one line per key.
    WorkdirBusy: another process runs here, or reads what is to be changed.
    OSError: the folder cannot be made or written.
    DamagedError: one of its files is damaged.
  """
  root = pathlib.Path(path)
  plain = configuration.plain(config)
  finished = _share_finished(root)
  if finished is not None:
    workdir = dataclasses.replace(finished, config=plain)
    try:
      _settle(root, plain, changeable)
      if not lacking(workdir):
        return workdir
    except BaseException:
      workdir.close()
      raise
    workdir.close()  # it has to be gone on with, alone
  lock = folder_lock.hold(root)
  try:
    outcome = _settle(root, plain, changeable)
    workdir = Workdir(root, plain, outcome, lock)
    lost = lacking(workdir) if outcome is Outcome.FINISHED else ""
    if lost:
      warnings.warn(f"{root} is gone on with: {lost}", stacklevel=2)
      outcome = Outcome.RESUMED
      workdir = dataclasses.replace(workdir, outcome=outcome)
    if outcome is Outcome.RESUMED and read_config(root) != plain:
      files.write_sealed(root / _CONFIG, plain)
    _sweep(root)
    if outcome is not Outcome.FINISHED:
      workdir.set_status(Status.RUNNING)
  except BaseException:
    lock.close()
    raise
  return workdir


@contextlib.contextmanager
def open_finished(path: pathlib.Path | str) -> Iterator[Workdir]:
  """Opens a finished run to read it, beside others that do; writes nothing.

  Args:
    path: the folder.

  Yields:
    The workdir.

  Raises:
    WorkdirBusy: another process runs here.
    ValueError: there is no finished run, or one of its files is damaged.
  """
  root = pathlib.Path(path)
  workdir = _share_finished(root)
  if workdir is None:
    status, _ = read_status(root)
    state = "none" if status is None else f"one that is {status.value}"
    raise ValueError(f"{root} must hold a finished run; it holds {state}")
  try:
    yield workdir
  finally:
    workdir.close()


@contextlib.contextmanager
def open_with_status(
  path: pathlib.Path | str,
  config: Mapping[str, Any],
  changeable: Collection[str] = (),
  lacking: Callable[[Workdir], str] = _lack_nothing,
) -> Iterator[Workdir]:
  """Opens a workdir and writes how the body ended into its status.

  That is ``done``, ``preempted`` (by `Preempted` or Ctrl-C) or ``failed``,
  the last two with the reason. Of a run that had finished nothing changes.

  Args:
    path: as in `open`.
    config: as in `open`.
    changeable: as in `open`.
    lacking: as in `open`.

  Yields:
    The workdir.

  Raises:
    What `open` raises, and what the body raises.
  """
  workdir = open(path, config, changeable, lacking)
  try:
    yield workdir
    if workdir.outcome is not Outcome.FINISHED:
      workdir.set_status(Status.DONE)
  except BaseException as error:
    stopped = isinstance(error, Preempted | KeyboardInterrupt)
    status = Status.PREEMPTED if stopped else Status.FAILED
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    if workdir.outcome is not Outcome.FINISHED:
      with contextlib.suppress(OSError):  # a full disk must not hide `error`
        workdir.set_status(status, reason[:1000])
    raise
  finally:
    workdir.close()


def has_results(path: pathlib.Path | str) -> bool:
  """Whether a folder holds what a run can go on from, or has finished.

  Args:
    path: a workdir, or any folder.

  Returns:
    False where nothing was opened, or the run ended before its first
    checkpoint and its first array; what an accident left does not count.

  Raises:
    ValueError: status.json is damaged.
  """
  root = pathlib.Path(path)
  if read_status(root)[0] is Status.DONE:
    return True
  entries = [
    *(root / "checkpoints").glob("*"),
    *(
      file
      for file in (root / "arrays").rglob("*.npz")
      if file.relative_to(root / "arrays").parts[0] != ACCIDENTS
    ),
  ]
  return not all(p.name.startswith(files.TEMPORARY) for p in entries)


def _settle(
  root: pathlib.Path, config: dict[str, Any], changeable: Collection[str]
) -> Outcome:
  """Compares the configuration of a locked folder with `config`.

  In a new folder, and in one without results, `config` is written.

  Returns:
    How the run stands.

  Raises:
    ConfigurationChanged: the folder has results of another configuration.
    BadFileError: it has results and no configuration.
  """
  if not (root / _CONFIG).exists():
    own_files = [
      n
      for n in ("metrics.jsonl", "checkpoints", "arrays")
      if (root / n).exists()
    ]
    if own_files:
      raise identity.BadFileError(
        f"workdir {root} has {', '.join(own_files)} but no {_CONFIG}: put it "
        "back, or choose another folder"
      )
    files.write_sealed(root / _CONFIG, config)
    return Outcome.FRESH
  there = read_config(root)
  lines = difference(there, config, changeable)
  if lines and not has_results(root):
    files.write_sealed(root / _CONFIG, config)
    return Outcome.FRESH
  if lines:
    raise ConfigurationChanged(
      f"workdir {root} belongs to another configuration; choose another "
      "folder, or undo (there -> now):\n  " + "\n  ".join(lines)
    )
  if read_status(root)[0] is Status.DONE:
    return Outcome.FINISHED
  return Outcome.RESUMED


def _share_finished(root: pathlib.Path) -> Workdir | None:
  """Opens a finished run for reading; None where none has finished."""
  if read_status(root)[0] is not Status.DONE or not (root / _CONFIG).exists():
    return None
  lock = folder_lock.share(root)
  workdir = Workdir(root, {}, Outcome.FINISHED, lock)
  try:
    if read_status(root)[0] is Status.DONE:  # now that nobody changes it
      return dataclasses.replace(workdir, config=read_config(root))
  except BaseException:
    workdir.close()
    raise
  workdir.close()
  return None


def _sweep(root: pathlib.Path) -> None:
  """Removes what killed processes began to write; the folder is locked."""
  arrays = root / "arrays"
  for folder in (root, arrays, *(p for p in arrays.rglob("*") if p.is_dir())):
    files.sweep(folder)
  for draft in (root / "checkpoints").glob(f"{files.TEMPORARY}*"):
    shutil.rmtree(draft, ignore_errors=True)
