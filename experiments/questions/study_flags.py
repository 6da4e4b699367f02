"""The flags of the binaries that read a study."""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.command.exits import UsageError

if TYPE_CHECKING:
  from experiments.configuration.study import Study

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the pool of networks, and of what is written."
)
_SIZE = flags.DEFINE_string(
  "size", "cpu", "Of the study, such as smoke, cpu or full."
)
_STUDY = flags.DEFINE_string(
  "study", None, "Python file whose get_config(size) returns another study."
)


def workdir() -> pathlib.Path:
  """Returns the folder to work in.

  Raises:
    UsageError: none was given.
  """
  if not _WORKDIR.value:
    raise UsageError("--workdir must name a folder, for what is written")
  return pathlib.Path(_WORKDIR.value)


def study() -> "Study":
  """Returns the study.

  Raises:
    UsageError: there is no such file or size.
  """
  from experiments.questions import question_run

  return question_run.load_study(_STUDY.value, _SIZE.value)
