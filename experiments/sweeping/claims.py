"""Which process has a run of a sweep in hand, and how the run ended.

    RUN/.worker      locked by the process that has it in hand
    RUN/ended.json   how it ended last: exit code, reason, seconds

The lock dies with its process: what a killed worker had is free again.
"""

import contextlib
import errno
import io
import pathlib
import secrets
from collections.abc import Iterator
from typing import NamedTuple

from experiments.command import exits
from experiments.command.exits import ExitCode
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from snnjax.storage import files, identity, locks

_WORKER = ".worker"
_ENDED = "ended.json"
_TABLE = ".table"
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_REMEDY = "remove it; the run is looked at again"


class Ended(NamedTuple):
  """How a run ended.

  Attributes:
    code: 0 where it is finished.
    reason: why it is not.
    seconds: that the last session of it took.
    configuration: digest of what it was to be; another one is another run.
    token: another one each time that a run ends.
  """

  code: ExitCode
  reason: str
  seconds: float
  configuration: str
  token: str


def digest(config: Config) -> str:
  """Returns the digest of a run's configuration, less what changes no result.

  Args:
    config: the whole configuration.
  """
  plain = settings.to_dict(config)
  return identity.of_configuration(plain, schema.CHANGEABLE)


@contextlib.contextmanager
def claim(run: pathlib.Path) -> Iterator[bool]:
  """Takes a run in hand for the body, unless another process has it.

  Args:
    run: its folder, which is made.

  Yields:
    Whether this process has it. On a read-only disk everybody has every run:
    nobody can do more than read what is finished.

  Raises:
    OSError: the folder cannot be made.
  """
  try:
    run.mkdir(parents=True, exist_ok=True)
    stream = io.FileIO(run / _WORKER, "a")
  except OSError as error:
    if error.errno not in _READ_ONLY:
      raise
    yield True
    return
  with stream:
    yield locks.take(stream) is not locks.Lock.BUSY


def busy(run: pathlib.Path) -> bool:
  """Returns whether another worker has a run in hand now.

  Args:
    run: its folder, which need not exist.
  """
  try:
    stream = io.FileIO(run / _WORKER)
  except OSError:
    return False
  with stream:  # shared: two that look do not see each other
    return locks.take(stream, shared=True) is locks.Lock.BUSY


@contextlib.contextmanager
def writing_table(path: pathlib.Path) -> Iterator[None]:
  """Holds the sweep's table for the body: one process writes at a time.

  Args:
    path: the sweep's folder.
  """
  try:
    stream = io.FileIO(path / _TABLE, "a")
  except OSError as error:
    if error.errno not in _READ_ONLY:
      raise
    yield
    return
  with stream:
    locks.take(stream, wait=True)
    yield


def write(
  run: pathlib.Path,
  configuration: str,
  error: BaseException | None,
  seconds: float,
) -> None:
  """Writes how a run ended into its folder.

  Args:
    run: its folder.
    configuration: the `digest` of the run's.
    error: what ended it; None where it is finished.
    seconds: that this session of it took.

  Raises:
    OSError: it cannot be written.
  """
  code = ExitCode.DONE if error is None else exits.exit_code(error)
  reason = "" if error is None else exits.message(error)
  ended = Ended(
    code,
    " ".join(reason.split()),
    seconds,
    configuration,
    secrets.token_hex(8),
  )
  files.write_sealed(run / _ENDED, ended._asdict())


def read(run: pathlib.Path, configuration: str) -> Ended | None:
  """Returns how a run of this configuration ended; None where none did.

  A damaged note is none: what is finished shows by itself, and what failed is
  tried again.

  Args:
    run: its folder, which need not exist.
    configuration: the `digest` of the run's.
  """
  try:
    plain = files.read_sealed(run / _ENDED, _REMEDY)
    ended = Ended(**{**plain, "code": ExitCode(plain["code"])})
  except (OSError, TypeError, KeyError, ValueError):
    return None
  return ended if ended.configuration == configuration else None
