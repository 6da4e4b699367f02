"""Runs a question: fills the pool, reads the results, writes the answer.

    DIR/networks, DIR/measured    see `pool`
    DIR/results                   what the answer is made of; see `results`
    DIR/NAME                      the answer: report.html and all that it shows

With results from elsewhere nothing is trained: the answer is made of them
alone, and equal results give equal bytes.
"""

import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.building.shared import Shared
from experiments.command import terminal
from experiments.command.exits import ExitCode, UsageError
from experiments.command.progress import duration, say
from experiments.configuration import settings
from experiments.configuration import study as studies
from experiments.configuration.study import Member, Study
from experiments.questions import pool, results, wording
from experiments.questions.results import Measured
from snnjax import report
from snnjax.report import Record

# What one network takes on one core of a shared machine, in seconds by size of
# the study and number of modalities; measured, see BUILD_NOTES.
_SECONDS = {"cpu": {1: 110, 2: 220}}


class Options(NamedTuple):
  """What a person asks a question with.

  Attributes:
    workdir: gets networks, results and the answer.
    study: the study.
    from_results: results to answer from; None fills the pool.
    finished_only: answer from the networks that are measured, and name those
      that are not.
    plan: say what would be run, and run nothing.
    shared: of the devices that are used.
  """

  workdir: pathlib.Path
  study: Study
  from_results: pathlib.Path | None = None
  finished_only: bool = False
  plan: bool = False
  shared: Shared | None = None


Answer = Callable[[Study, Sequence[Measured], Sequence[str]], Record]


def load_study(name: str | None, size: str) -> Study:
  """Returns a study of a size.

  Args:
    name: a Python file whose ``get_config(size)`` returns it; None is this
      project's.
    size: of it.

  Raises:
    UsageError: there is no such file or size.
  """
  file = name or str(settings.FOLDER / "studies" / "questions.py")
  study = settings.returned(f"{file}:{size}")
  if not isinstance(study, Study):
    raise UsageError(
      f"--study: get_config({size!r}) must return a Study; got "
      f"{type(study).__name__}"
    )
  return study


def run(question: str, options: Options, answer: Answer) -> ExitCode:
  """Answers a question.

  Args:
    question: name of it, in the study.
    options: what was asked for.
    answer: ``(study, networks, missing) -> the report``.

  Returns:
    The exit code of the first network that failed, or that for done.

  Raises:
    UsageError: the study does not have what the question asks.
    DataError: networks are missing or damaged; all of them are named.
    Preempted: a signal asked to stop; run again to go on.
  """
  study = options.study
  if question not in study.questions:
    raise UsageError(
      f"the study must have the question {question!r}; got "
      f"{sorted(study.questions)}"
    )
  wanted = studies.members(study, question)
  if options.plan:
    say(describe_plan(study, question, wanted, options.workdir))
    return ExitCode.DONE
  there = options.from_results
  if there is None:
    say(describe_plan(study, question, wanted, options.workdir))
    failed = pool.fill(study, wanted, options.workdir, options.shared)
    for words, _ in failed:
      terminal.err(f"failed: {words}\n")
    if failed and not options.finished_only:
      return failed[0][1]
    there = options.workdir / pool.RESULTS
  measured, missing = results.load(
    study, [question], there, finished_only=options.finished_only
  )
  return write(answer(study, measured, missing), options.workdir / question)


def write(record: Record, folder: pathlib.Path) -> ExitCode:
  """Writes an answer, and says what it comes to.

  Args:
    record: the answer.
    folder: gets report.html and all that it shows.

  Returns:
    The exit code for done.
  """
  written = report.write(wording.rounded(record), folder)
  say(f"\n{record.summary}\n\nreport: {written.html}")
  return ExitCode.DONE


def describe_plan(
  study: Study, question: str, wanted: Sequence[Member], path: pathlib.Path
) -> str:
  """Returns what a question runs, in words: networks and minutes.

  Args:
    study: the study.
    question: name of it.
    wanted: its networks.
    path: the pool's folder, for what is done and how long that took.
  """
  there = results.present(study, question, path / pool.RESULTS)
  done = {own.name for own in there}
  left = [own for own in wanted if own.name not in done]
  counts: dict[str, int] = {}
  for own in wanted:
    counts[own.arm] = counts.get(own.arm, 0) + 1
  arms = ", ".join(f"{arm} {count}" for arm, count in counts.items())
  parts = "".join(
    f" Of {name}, told beside: {sum(own.data == name for own in wanted)}."
    for name in study.questions[question].beside
  )
  return (
    f"{question}, size {study.size}: {len(wanted)} networks ({arms}); "
    f"{len(done)} are measured.{parts} "
    f"{_describe_time(study, left, _seconds(path, there), len(there))}"
  )


def _describe_time(
  study: Study,
  left: Sequence[Member],
  seconds: Mapping[tuple[str, str, str], float],
  done: int,
) -> str:
  """How long the networks that are left take, in words."""
  if seconds:
    usual = statistics.median(seconds.values())
    total = sum(seconds.get(_kind(own), usual) for own in left)
    basis = f"as the {done} that are done took"
  elif study.size in _SECONDS:
    thumb = _SECONDS[study.size]
    total = sum(thumb[min(len(own.modalities), 2)] for own in left)
    basis = "by rule of thumb"
  else:
    return (
      f"How long the other {len(left)} take nobody has measured; several "
      "processes share them."
    )
  return (
    f"The other {len(left)} take about {duration(total)} on one core, {basis}; "
    "several processes share them."
  )


def _kind(own: Member) -> tuple[str, str, str]:
  """What the time of a network depends on."""
  return own.data, own.inputs, own.arm


def _seconds(
  path: pathlib.Path, there: Sequence[Member]
) -> Mapping[tuple[str, str, str], float]:
  """The median time of the networks that are done, by their kind."""
  took: dict[tuple[str, str, str], list[float]] = {}
  for own in there:
    seconds = pool.seconds(path, own)
    if seconds:
      took.setdefault(_kind(own), []).append(seconds)
  return {kind: statistics.median(each) for kind, each in took.items()}
