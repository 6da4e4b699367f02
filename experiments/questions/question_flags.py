"""The flags of the binaries that ask a question."""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.command.exits import UsageError
from experiments.questions import study_flags
from experiments.runs import device_flags

if TYPE_CHECKING:
  from experiments.questions import question_run

_FROM_RESULTS = flags.DEFINE_string(
  "from_results", None, "Folder of results to answer from; trains nothing."
)
_FINISHED_ONLY = flags.DEFINE_bool(
  "finished_only", False, "Answer from what is measured; name what is not."
)
_PLAN = flags.DEFINE_bool("plan", False, "Say what would be run, and stop.")


def options() -> "question_run.Options":
  """Returns what the command line asks for.

  Raises:
    UsageError: a flag is missing, or two do not fit each other.
  """
  from experiments.questions import question_run

  workdir = study_flags.workdir()
  if _FROM_RESULTS.value and _PLAN.value:
    raise UsageError(
      "--plan and --from_results are for different things: give one of them"
    )
  there = pathlib.Path(_FROM_RESULTS.value) if _FROM_RESULTS.value else None
  if there is not None and not there.is_dir():
    raise UsageError(f"--from_results must be a folder; {there} is none")
  return question_run.Options(
    workdir,
    study_flags.study(),
    there,
    _FINISHED_ONLY.value,
    _PLAN.value,
    device_flags.shared(),
  )
