"""Ends work where SIGTERM asked for it; see `exits.stop_on_sigterm`."""

from collections.abc import Callable

from experiments.command.progress import Progress
from snnjax.storage.workdir import Preempted

ShouldStop = Callable[[], bool]


def never() -> bool:
  """Returns False: the `should_stop` of work that nobody stops."""
  return False


def stop_before(what: str, should_stop: ShouldStop) -> None:
  """Raises Preempted if a stop was asked for.

  Args:
    what: the work that comes next, for the message.
    should_stop: whether a stop was asked for.

  Raises:
    Preempted: it was; run again to go on.
  """
  if should_stop():
    raise Preempted(f"stopped before {what}")


def make_interruptible(progress: Progress, should_stop: ShouldStop) -> Progress:
  """Returns a progress callback that raises Preempted between two parts.

  It is for tasks whose result is saved only when all parts are done. After
  the last part it does not raise, so that a finished task can be saved.

  Args:
    progress: called first, with every report.
    should_stop: whether a stop was asked for.
  """

  def report(
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

  return report
