"""Progress of a long run: a bar on a terminal, plain lines elsewhere.

Library code takes a callback ``progress(done, total, description)`` and knows
nothing of terminals; the binaries pass it a `Reporter`:

    with progress.reporter() as report:
      for step in range(steps):
        ...
        report(step + 1, steps, "train vanilla")
"""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

import tqdm

from experiments import terminal

Progress = Callable[[int, int, str], None]  # (done, total, description)


def silent(done: int, total: int, description: str) -> None:
  """Reports nothing: the callback of a run that nobody watches."""
  del done, total, description


def duration(seconds: float) -> str:
  """A span of time as a person says it: ``2 min 05 s``, ``1 h 02 min``."""
  whole = round(seconds)
  if whole < 60:
    return f"{whole} s"
  minutes, left = divmod(whole, 60)
  if minutes < 60:
    return f"{minutes} min {left:02d} s"
  hours, minutes = divmod(minutes, 60)
  return f"{hours} h {minutes:02d} min"


def say(text: str) -> None:
  """Writes a line for the user to standard output."""
  terminal.out(f"{text}\n")


class Reporter:
  """A `Progress` callback that writes to a stream.

  On a terminal each description has a tqdm bar. Elsewhere (a log file, a
  notebook's captured output, a batch system) it is one line at the start, one
  every `interval` seconds and one at the end. A new description or total
  starts a new bar.
  """

  def __init__(
    self, stream: TextIO, interval: float, clock: Callable[[], float]
  ) -> None:
    self._stream = stream
    self._interval = interval
    self._clock = clock
    self._terminal = stream.isatty()
    self._task: tuple[str, int] | None = None
    self._bar: Any = None
    self._first = 0  # a resumed run starts above 0 and must not look fast
    self._begun = 0.0
    self._written: float | None = None

  def __call__(self, done: int, total: int, description: str) -> None:
    """Reports that `done` of `total` pieces of `description` are done.

    Args:
      done: pieces finished so far, in 0..total.
      total: pieces in all, at least 0.
      description: the task's name; another name starts another bar.

    Raises:
      ValueError: `done` lies outside 0..total.
    """
    if not 0 <= done <= total:
      raise ValueError(f"done must lie in 0..total = 0..{total}, got {done}")
    if self._task != (description, total):
      self._start(done, total, description)
    if self._terminal:
      self._bar.update(done - self._bar.n)
    else:
      self._line(done, total, description)
    if done == total:
      self.close()

  def close(self) -> None:
    """Ends the current bar where it stands; does nothing without one."""
    if self._bar is not None:
      self._bar.close()
      self._bar = None
    self._task = None

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self.close()

  def _start(self, done: int, total: int, description: str) -> None:
    self.close()
    self._task = (description, total)
    self._first = done
    self._begun = self._clock()
    self._written = None
    if self._terminal:
      self._bar = tqdm.tqdm(
        total=total,
        desc=description,
        initial=done,
        file=self._stream,
        dynamic_ncols=True,
      )

  def _line(self, done: int, total: int, description: str) -> None:
    now = self._clock()
    due = self._written is None or now - self._written >= self._interval
    if not due and done < total:
      return
    self._written = now
    percent = 100 if total == 0 else 100 * done // total
    elapsed = now - self._begun
    line = f"{description}: {done}/{total} ({percent} %), {duration(elapsed)}"
    if self._first < done < total:
      left = elapsed / (done - self._first) * (total - done)
      line += f", about {duration(left)} left"
    self._stream.write(line + "\n")
    self._stream.flush()


def reporter(
  stream: TextIO | None = None,
  interval: float = 5.0,
  clock: Callable[[], float] = time.monotonic,
) -> Reporter:
  """A reporter on `stream`, a bar if that is a terminal and lines if not.

  Args:
    stream: where to write; standard error if None.
    interval: least seconds between two plain lines of unfinished tasks.
    clock: the time in seconds.

  Returns:
    The callback, also a context manager that ends an unfinished bar.

  Raises:
    ValueError: `interval` is negative.
  """
  if interval < 0:
    raise ValueError(f"interval must be at least 0 seconds, got {interval}")
  return Reporter(sys.stderr if stream is None else stream, interval, clock)
