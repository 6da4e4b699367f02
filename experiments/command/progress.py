"""Progress of a long run: a bar on a terminal, plain lines elsewhere.

Library code takes a callback ``progress(done, total, description)`` and knows
nothing of terminals; the binaries pass it a `Reporter`:

    with progress.reporter() as report:
      report(0, steps, "train vanilla")
      for step in range(steps):
        ...
        report(step + 1, steps, "train vanilla", "loss 0.31")
"""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

import tqdm

from experiments.command import terminal

# Not tqdm's own estimate, whose first pieces are compilation.
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} {elapsed}{postfix}"


class Progress(Protocol):
  """What a run calls after every piece of its work; see `Reporter`."""

  def __call__(
    self,
    done: int,
    total: int,
    description: str,
    note: str = "",
    *,
    compiles: bool = False,
  ) -> None:
    """Reports that `done` of `total` pieces of `description` are done."""
    ...


def silent(
  done: int,
  total: int,
  description: str,
  note: str = "",
  *,
  compiles: bool = False,
) -> None:
  """Reports nothing: the callback of a run that nobody watches."""
  del done, total, description, note, compiles


def duration(seconds: float) -> str:
  """A span of time as a person says it: ``2 min 05 s``, ``1 h 02 min``."""
  total = round(seconds)
  if total < 60:
    return f"{total} s"
  minutes, left = divmod(total, 60)
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

  The time left is estimated from the pieces that did not compile: neither the
  first one, nor one that was announced with `compiles`.
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
    self._begun = 0.0
    self._written: float | None = None
    self._last = (0, 0.0)  # pieces and time of the last call
    self._compiling = True
    self._measured = (0, 0.0)  # pieces without compilation, their seconds

  def __call__(
    self,
    done: int,
    total: int,
    description: str,
    note: str = "",
    *,
    compiles: bool = False,
  ) -> None:
    """Reports that `done` of `total` pieces of `description` are done.

    Args:
      done: pieces finished so far, in 0..total.
      total: pieces in all, at least 0.
      description: the task's name; another name starts another bar.
      note: what is to be known of it now, such as a loss.
      compiles: what follows may compile, and is not measured.

    Raises:
      ValueError: `done` lies outside 0..total.
    """
    if not 0 <= done <= total:
      raise ValueError(f"done must lie in 0..total = 0..{total}, got {done}")
    if self._task != (description, total):
      self._start(done, total, description)
    now = self._clock()
    self._measure(done, now)
    self._compiling = self._compiling or compiles
    pieces, seconds = self._measured
    if pieces and done < total:
      left = f"about {duration(seconds / pieces * (total - done))} left"
      note = f"{left}, {note}" if note else left
    if self._terminal:
      self._draw(done, note)
    else:
      self._line(done, total, description, note, now)
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
    self._begun = self._clock()
    self._written = None
    self._last, self._measured = (done, self._begun), (0, 0.0)
    self._compiling = True
    if self._terminal:
      self._bar = tqdm.tqdm(
        total=total,
        desc=description,
        initial=done,
        file=self._stream,
        dynamic_ncols=True,
        bar_format=_BAR,
      )

  def _measure(self, done: int, now: float) -> None:
    """Counts the pieces since the last call, unless they compiled."""
    before, then = self._last
    if done > before:
      if not self._compiling:
        pieces, seconds = self._measured
        self._measured = (pieces + done - before, seconds + now - then)
      self._compiling = False
    self._last = (done, now)

  def _draw(self, done: int, note: str) -> None:
    self._bar.set_postfix_str(note, refresh=False)
    if done == self._bar.n:
      self._bar.refresh()
    self._bar.update(done - self._bar.n)

  def _line(
    self, done: int, total: int, description: str, note: str, now: float
  ) -> None:
    due = self._written is None or now - self._written >= self._interval
    if not due and done < total:
      return
    self._written = now
    percent = 100 if total == 0 else 100 * done // total
    elapsed = now - self._begun
    line = f"{description}: {done}/{total} ({percent} %), {duration(elapsed)}"
    self._stream.write(f"{line}, {note}\n" if note else f"{line}\n")
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
