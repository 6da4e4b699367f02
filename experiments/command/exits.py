"""How a binary ends: exit codes, one clear line, and signals.

| code | meaning | what to do |
|---|---|---|
| 0 | done, or already done | |
| 1 | a defect of this program; a traceback was printed | report it |
| 2 | usage: a flag, a configuration, a missing extra | correct it |
| 3 | bad data: damaged or foreign files, unjudged results | see the message |
| 4 | non-finite: a loss or gradient is NaN or infinite | see the saved batch |
| 5 | I/O: a file or folder cannot be read or written | see the message |
| 6 | disk full; what was saved before is intact | free space, run again |
| 7 | preempted: a signal asked to stop | run again to go on |
| 8 | out of memory | see the advice |
"""

import contextlib
import enum
import errno
import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

from experiments.command import terminal

_MEMORY_ADVICE = (
  "out of memory: lower the batch size, the number of time steps T or the "
  "evaluation's microbatch, or set --config.model.remat=true"
)


GRACE = 25.0  # seconds; batch systems commonly kill 30 after SIGTERM
# SIGTERM comes to the process as a whole, and so there is one flag for it.
_STOP = threading.Event()


class ExitCode(enum.IntEnum):
  """What a binary returns to the shell; see the module's table."""

  DONE = 0
  DEFECT = 1
  USAGE = 2
  BAD_DATA = 3
  NON_FINITE = 4
  IO = 5
  DISK_FULL = 6
  PREEMPTED = 7
  OUT_OF_MEMORY = 8


class UsageError(ValueError):
  """The command line asks for what cannot be done; the message says why."""


class DataError(ValueError):
  """Data are missing, damaged or other than announced; the message says how."""


class NonFiniteError(ArithmeticError):
  """A number of a run is NaN or infinite.

  Attributes:
    step: the training step, or the example.
    term: the name of what is not finite, for instance ``loss/penalty``.
  """

  def __init__(self, step: int, term: str, value: float, saved: str = ""):
    """Describes the accident.

    Args:
      step: the training step, or the example.
      term: what is not finite.
      value: NaN or an infinity.
      saved: the file that holds the batch, if one was written.
    """
    text = f"{term} is {value} at step {step}"
    super().__init__(f"{text}; its batch is in {saved}" if saved else text)
    self.step = step
    self.term = term


@contextlib.contextmanager
def blame_configuration() -> Iterator[None]:
  """Turns a ValueError in the body into a UsageError.

  For code that builds what the configuration asks for. UsageErrors,
  DataErrors and errors of files pass as they are.
  """
  try:
    yield
  except ValueError as error:
    if isinstance(error, UsageError | DataError) or _is_bad_file(error):
      raise
    raise UsageError(str(error)) from error


@contextlib.contextmanager
def blame_data() -> Iterator[None]:
  """Turns a ValueError, EOFError or missing file in the body into a DataError.

  For code that reads data sets. UsageErrors and DataErrors pass as they are.
  """
  try:
    yield
  except (ValueError, FileNotFoundError, EOFError) as error:
    if isinstance(error, UsageError | DataError):
      raise
    raise DataError(str(error)) from error


def exit_code(error: BaseException) -> ExitCode:
  """The exit code an exception stands for."""
  match error:
    case UsageError() | ModuleNotFoundError():
      return ExitCode.USAGE
    case DataError():
      return ExitCode.BAD_DATA
    case NonFiniteError():
      return ExitCode.NON_FINITE
    case KeyboardInterrupt():
      return ExitCode.PREEMPTED
    case MemoryError():
      return ExitCode.OUT_OF_MEMORY
    case OSError(errno=errno.ENOSPC | errno.EDQUOT):
      return ExitCode.DISK_FULL
    case OSError():
      return ExitCode.IO
  if _is_instance(error, "snnjax.storage.workdir", "Preempted"):
    return ExitCode.PREEMPTED
  if _is_instance(error, "snnjax.storage.workdir", "ConfigurationChanged"):
    return ExitCode.USAGE
  if _is_instance(error, "snnjax.evaluation.summary", "UnjudgedError"):
    return ExitCode.BAD_DATA
  if _is_bad_file(error):
    return ExitCode.BAD_DATA
  if _is_instance(error, "jax.errors", "JaxRuntimeError") and (
    "RESOURCE_EXHAUSTED" in str(error)
  ):
    return ExitCode.OUT_OF_MEMORY
  return ExitCode.DEFECT


def message(error: BaseException) -> str:
  """Returns the message for the user: one line, where possible with advice."""
  code = exit_code(error)
  text = str(error)
  match code:
    case ExitCode.OUT_OF_MEMORY:
      return f"{_MEMORY_ADVICE} ({_line(text)})" if text else _MEMORY_ADVICE
    case ExitCode.DISK_FULL:
      return f"disk full: {_line(text)}; what was saved before is intact"
    case ExitCode.PREEMPTED:
      return f"{_line(text) or 'interrupted'}; run the same command to go on"
    case ExitCode.USAGE | ExitCode.BAD_DATA:
      # A configuration's difference has a line per key, and what prepares a
      # missing data set is a command to copy.
      return text
    case ExitCode.DEFECT:
      return f"internal error: {type(error).__name__}: {_line(text)}"
  return _line(text)


def run_guarded(body: Callable[[], object], name: str, debug: bool) -> ExitCode:
  """Runs a binary's body and turns how it ended into an exit code.

  Args:
    body: the work.
    name: of the binary, before the message on standard error.
    debug: whether to print the traceback of every error, not of defects only.

  Returns:
    The code for `sys.exit`.
  """
  try:
    body()
  except SystemExit:
    raise
  except BaseException as error:
    code = exit_code(error)
    if debug or code is ExitCode.DEFECT:
      traceback.print_exception(error)
    terminal.err(f"{name}: {message(error)}\n")
    return code
  return ExitCode.DONE


@contextlib.contextmanager
def stop_on_sigterm(
  grace: float | None = None, *, to_the_end: bool = False
) -> Iterator[Callable[[], bool]]:
  """Turns SIGTERM into a question that every loop asks at each step.

  There is one flag for the whole process. A context inside another one shares
  it, and once SIGTERM has come the answer stays True until the outermost
  context ends. So a later phase of a run cannot miss a signal that came in an
  earlier one.

  The loop saves a checkpoint and raises `snnjax.storage.workdir.Preempted`. If
  it has not come out of the outermost context `grace` seconds after the signal
  (it may be compiling), the process exits as preempted without it: every file
  is whole at every moment, and the next run goes on from the last checkpoint.

  Python runs handlers between bytecodes of the main thread, which a long
  compilation does not reach; so a thread waits for the byte that the
  interpreter's own handler writes. Outside the main thread, where Python
  takes no handlers, SIGTERM ends the process as ever, unless the main thread
  is in this context.

  Args:
    grace: seconds, at least 0; `GRACE` if None.
    to_the_end: whether the process ends with the context: SIGTERM is ignored
      from then on, so that the exit code stays what it is.

  Yields:
    ``should_stop()``, True once SIGTERM has come.

  Raises:
    ValueError: `grace` is negative.
  """
  grace = GRACE if grace is None else grace
  if grace < 0:
    raise ValueError(f"grace must be at least 0 seconds, got {grace}")
  main = threading.current_thread() is threading.main_thread()
  if not main or signal.getsignal(signal.SIGTERM) is _note_stop:
    yield _STOP.is_set
    return
  is_left = threading.Event()
  reader, writer = os.pipe()
  os.set_blocking(writer, False)

  def watch() -> None:
    while (byte := os.read(reader, 1)) not in (b"", b"\0"):
      if byte[0] == signal.SIGTERM:
        _STOP.set()
        break
    if _STOP.is_set() and not is_left.wait(grace):
      terminal.err(
        f"no checkpoint within {grace:g} s of SIGTERM; "
        "run the same command to go on from the last one\n"
      )
      sys.stderr.flush()
      os._exit(ExitCode.PREEMPTED)

  previous = signal.signal(signal.SIGTERM, _note_stop)
  previous_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  watcher = threading.Thread(target=watch, name="sigterm", daemon=True)
  watcher.start()
  try:
    yield _STOP.is_set
  finally:
    # Python gives other handlers back to the system before its own last
    # moments; that a signal is ignored it leaves.
    signal.signal(signal.SIGTERM, signal.SIG_IGN if to_the_end else previous)
    is_left.set()
    signal.set_wakeup_fd(previous_writer)
    os.write(writer, b"\0")
    watcher.join()
    os.close(reader)
    os.close(writer)
    _STOP.clear()


def _note_stop(number: int, frame: types.FrameType | None) -> None:
  del number, frame
  _STOP.set()


def _is_bad_file(error: BaseException) -> bool:
  """Whether a file is damaged, or is not what belongs in its place."""
  return _is_instance(error, "snnjax.storage.identity", "BadFileError")


def _is_instance(error: BaseException, module: str, name: str) -> bool:
  """Whether `error` is of a class, without importing the class's module.

  If the module was never imported, no error can be of its classes.
  """
  kind: Any = getattr(sys.modules.get(module), name, None)
  return kind is not None and isinstance(error, kind)


def _line(text: str) -> str:
  return " ".join(text.split())[:500]
