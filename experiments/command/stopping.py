"""Ends work where SIGTERM asked for it; see `exits.stop_on_sigterm`."""

from collections.abc import Callable

from experiments.command.progress import Progress
from snnjax.storage.workdir import Preempted

ShouldStop = Callable[[], bool]


def never() -> bool:
  """The question of work that nobody stops."""
  return False


def before(what: str, should_stop: ShouldStop) -> None:
  """Ends the process's work where a stop was asked for.

  Args:
    what: comes next.
    should_stop: whether a stop was asked for.

  Raises:
    Preempted: it was; run again to go on.
  """
  if should_stop():
    raise Preempted(f"stopped before {what}")


def asking(progress: Progress, should_stop: ShouldStop) -> Progress:
  """Returns a progress callback that ends a task between two of its parts.

  It is for tasks of which nothing is kept until they are whole: what is
  whole when a stop is asked for is kept, and the next task ends the work.

  Args:
    progress: told of every part.
    should_stop: whether a stop was asked for.
  """

  def told(
    done: int,
    total: int,
    description: str,
    note: str = "",
    *,
    compiles: bool = False,
  ) -> None:
    progress(done, total, description, note, compiles=compiles)
    if done < total and should_stop():
      raise Preempted(f"stopped at {done} of {total} of {description!r}")

  return told
