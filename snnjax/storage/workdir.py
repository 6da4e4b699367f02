"""The folder of one run: what it was, how far it came, what it found.

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
import errno
import io
import json
import os
import pathlib
import shutil
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from snnjax.storage import files, identity, locks

_CONFIG = "config.json"
_STATUS = "status.json"
_LOCK = ".lock"
ACCIDENTS = "non_finite"  # arrays that no run goes on from
# Where a lock file cannot be made, as on a read-only or a full disk.
_UNWRITABLE = (
  errno.EROFS,
  errno.EACCES,
  errno.EPERM,
  errno.ENOSPC,
  errno.EDQUOT,
)


class ConfigurationChanged(ValueError):  # noqa: N818 (a state, not a fault)
  """The workdir belongs to a run with another configuration."""


class WorkdirBusy(OSError):  # noqa: N818
  """Another process runs in the workdir, or reads what is to be changed."""


class Preempted(Exception):  # noqa: N818
  """A signal asked the run to stop, and it did, ready to be resumed."""


class Outcome(enum.Enum):
  """What `open` found."""

  FRESH = "fresh"
  RESUMED = "resumed"
  FINISHED = "finished"


class Status(enum.Enum):
  """How the run in a workdir stands."""

  RUNNING = "running"
  DONE = "done"
  FAILED = "failed"
  PREEMPTED = "preempted"


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
    files.write_sealed(
      self.path / _STATUS,
      {"status": status.value, "reason": reason, "wall": _wall()},
    )

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
    files.write_arrays(path, arrays, _placed(name, made_from))

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
    expected = _placed(name, made_from)
    return files.read_arrays(self.array_file(name), expected, remedy)

  def array_names(self) -> tuple[str, ...]:
    """The names of all saved arrays, sorted."""
    root = self.path / "arrays"
    found = (p.relative_to(root) for p in root.rglob("*.npz"))
    whole = (p for p in found if not p.name.startswith(files.TEMPORARY))
    return tuple(sorted(p.as_posix().removesuffix(".npz") for p in whole))

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


def _placed(
  name: str, made_from: Mapping[str, str] | None
) -> Mapping[str, str] | None:
  """The origin of arrays that have one, and for which place they were made."""
  if made_from is None:
    return None
  return {**made_from, "place": identity.of_value(name)}


def _whole(folder: Workdir) -> str:
  del folder
  return ""


def open(
  path: pathlib.Path | str,
  config: Mapping[str, Any],
  changeable: Collection[str] = (),
  lacking: Callable[[Workdir], str] = _whole,
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
  plain = _plain(config)
  finished = _finished(root)
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
  lock = _lock(root)
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
def reading(path: pathlib.Path | str) -> Iterator[Workdir]:
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
  workdir = _finished(root)
  if workdir is None:
    status, _ = read_status(root)
    state = "none" if status is None else f"one that is {status.value}"
    raise ValueError(f"{root} must hold a finished run; it holds {state}")
  try:
    yield workdir
  finally:
    workdir.close()


@contextlib.contextmanager
def opened(
  path: pathlib.Path | str,
  config: Mapping[str, Any],
  changeable: Collection[str] = (),
  lacking: Callable[[Workdir], str] = _whole,
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


def read_status(path: pathlib.Path | str) -> tuple[Status | None, str]:
  """How the run in a folder stands.

  Args:
    path: a workdir, or any folder.

  Returns:
    The status, None where no run was opened, and its reason.

  Raises:
    DamagedError: status.json is damaged.
  """
  file = pathlib.Path(path) / _STATUS
  if not file.exists():
    return None, ""
  remedy = "remove it and run the same command again"
  record = files.read_sealed(file, remedy)
  try:
    return Status(record["status"]), str(record["reason"])
  except (TypeError, KeyError, ValueError) as error:
    raise identity.damaged(file, repr(error), remedy) from None


def read_config(path: pathlib.Path | str) -> dict[str, Any]:
  """The configuration of the run in a workdir.

  Args:
    path: a workdir.

  Returns:
    What JSON holds.

  Raises:
    FileNotFoundError: no run was opened there.
    DamagedError: config.json is damaged.
  """
  return files.read_sealed(
    pathlib.Path(path) / _CONFIG, "put back a copy of it, or remove the folder"
  )


def difference(
  old: Mapping[str, Any],
  new: Mapping[str, Any],
  changeable: Collection[str] = (),
) -> list[str]:
  """What changed between two configurations, a line per key.

  Args:
    old: nested mappings of JSON values.
    new: likewise.
    changeable: dotted keys, or groups of keys, that are passed over.

  Returns:
    Lines such as ``attack.steps: 10 -> 20``, sorted by key.
  """
  before, after = _flat(old), _flat(new)
  lines = []
  groups = tuple(f"{key}." for key in changeable)
  for key in sorted(before.keys() | after.keys()):
    if key in changeable or key.startswith(groups):
      continue
    if key not in after:
      lines.append(f"{key}: {json.dumps(before[key])} -> (absent)")
    elif key not in before:
      lines.append(f"{key}: (absent) -> {json.dumps(after[key])}")
    elif json.dumps(before[key]) != json.dumps(after[key]):
      lines.append(
        f"{key}: {json.dumps(before[key])} -> {json.dumps(after[key])}"
      )
  return lines


def begun(path: pathlib.Path | str) -> bool:
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
  found = [
    *(root / "checkpoints").glob("*"),
    *(
      file
      for file in (root / "arrays").rglob("*.npz")
      if file.relative_to(root / "arrays").parts[0] != ACCIDENTS
    ),
  ]
  return not all(p.name.startswith(files.TEMPORARY) for p in found)


def _settle(
  root: pathlib.Path, config: dict[str, Any], changeable: Collection[str]
) -> Outcome:
  """Compares a locked folder with `config`; writes that where it is new."""
  if not (root / _CONFIG).exists():
    ours = [
      n
      for n in ("metrics.jsonl", "checkpoints", "arrays")
      if (root / n).exists()
    ]
    if ours:
      raise identity.BadFileError(
        f"workdir {root} has {', '.join(ours)} but no {_CONFIG}: put it back, "
        "or choose another folder"
      )
    files.write_sealed(root / _CONFIG, config)
    return Outcome.FRESH
  there = read_config(root)
  lines = difference(there, config, changeable)
  if lines and not begun(root):
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


def _finished(root: pathlib.Path) -> Workdir | None:
  """Opens a finished run for reading; None where none has finished."""
  if read_status(root)[0] is not Status.DONE or not (root / _CONFIG).exists():
    return None
  lock = _shared_lock(root)
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


def _lock(root: pathlib.Path) -> io.FileIO:
  """Makes the folder and holds its lock, which dies with the process."""
  try:
    root.mkdir(parents=True, exist_ok=True)
    stream = io.FileIO(root / _LOCK, "a")
  except OSError as error:
    raise OSError(
      error.errno, f"workdir cannot be written: {error.strerror}", str(root)
    ) from None
  return _locked(stream, root, shared=False)


def _shared_lock(root: pathlib.Path) -> io.FileIO | None:
  """Holds the lock of a folder together with other readers.

  None where nobody made the lock file and none can be made: then nobody who
  could write there asks for it.
  """
  place = root / _LOCK
  try:
    # Opened for reading: that is all a read-only disk allows.
    stream = io.FileIO(place, "r") if place.exists() else io.FileIO(place, "a+")
  except OSError as error:
    if error.errno in _UNWRITABLE:
      return None
    raise
  return _locked(stream, root, shared=True)


def _locked(
  stream: io.FileIO, root: pathlib.Path, *, shared: bool
) -> io.FileIO:
  """Takes the lock without waiting for it, or closes the file."""
  try:
    match locks.take(stream, shared=shared):
      case locks.Lock.BUSY:
        others = not shared and locks.take(stream, shared=True)
        does = "reads" if others is locks.Lock.HELD else "runs in"
        raise WorkdirBusy(
          errno.EWOULDBLOCK,
          f"another process {does} the workdir; wait until it has ended",
          str(root),
        )
      case locks.Lock.ABSENT:
        warnings.warn(
          f"{root} is on a file system without locks: let no second process in",
          stacklevel=5,
        )
  except BaseException:
    stream.close()
    raise
  return stream


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
  """A configuration as it will be read back, tuples as lists."""
  for key, value in _flat(config).items():
    try:
      json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
      raise ValueError(f"config.{key} = {value!r}: {error}") from None
  plain: dict[str, Any] = json.loads(json.dumps(config))
  return plain


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    if isinstance(value, Mapping) and value:
      flat |= _flat(value, f"{prefix}{key}.")
    else:
      flat[f"{prefix}{key}"] = value
  return flat


def _wall() -> dict[str, Any]:
  now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
  return {"time": now, "pid": os.getpid()}
