"""Reads the configuration of the run in a workdir, and guards its use.

A binary that goes on with a run takes the run's configuration. It refuses
code that only that configuration names, and flags that would have no effect.
"""

import pathlib
from collections.abc import Mapping, Sequence

from experiments.command import exits
from experiments.configuration import schema, settings, validity
from experiments.configuration.schema import Config


def read(path: pathlib.Path) -> Config | None:
  """Returns the configuration of the run in a workdir; None without a run.

  Args:
    path: the workdir.

  Raises:
    UsageError: it cannot be read.
    DataError: what it says is damaged, or not allowed.
  """
  try:
    if not (path / "config.json").is_file():
      return None
    from snnjax.storage import workdir  # numpy, which --help does without

    plain = workdir.read_config(path)
  except OSError as error:
    raise exits.UsageError(
      f"--workdir cannot be read: {error.strerror}: {settings.shown(str(path))}"
    ) from None
  except ValueError as error:
    raise exits.DataError(str(error)) from None
  return validity.recorded(plain, path)


def refuse_code(
  config: Config,
  typed: Sequence[str],
  read: Sequence[str],
  path: pathlib.Path,
) -> None:
  """Raises if code would run that only the workdir's configuration names.

  A run's folder may have come from somebody else: its configuration chooses
  among what is here, and brings no code.

  Args:
    config: the whole configuration.
    typed: the keys, or groups of keys, that the command line sets.
    read: those that the binary reads.
    path: the workdir.

  Raises:
    UsageError: a key that is read names a file and was not typed.
  """
  flat = settings.flatten(config)
  for key in schema.CODE:
    name = str(flat.get(key, "")).partition(":")[0]
    if schema.covers(typed, key) or not settings.is_path(name):
      continue
    if schema.covers(read, key):
      raise exits.UsageError(
        f"{key} is that of the run in {path}, the file "
        f"{settings.shown(name)}: code runs only from a path given in this "
        f"command: give --config.{key}={settings.shown(name)} if you trust "
        f"that file, or one of {', '.join(schema.SUITES)}"
      )


def refuse_unread(
  config: Config,
  before: Mapping[str, object],
  typed: Sequence[str],
  read: Sequence[str],
  path: pathlib.Path,
) -> None:
  """Raises if the command line sets a key that this binary does not read.

  Such a flag would have no effect, and its user would not know. The value
  that the run in the workdir has is allowed, so that one set of flags serves
  several binaries.

  Args:
    config: the whole configuration.
    before: the values without the command line's, by dotted key.
    typed: dotted keys.
    read: the keys, or groups of keys, that the binary reads.
    path: the workdir.

  Raises:
    UsageError: another value was given of a key that is not read.
  """
  refusals = [
    f"{key} is that of the run in {path}, {settings.spelt(before[key])}"
    for key, value in settings.flatten(config).items()
    if key in typed and not schema.covers(read, key) and value != before[key]
  ]
  if refusals:
    readable = " and ".join(
      key if key in before else f"{key}.*" for key in read
    )
    raise exits.UsageError(
      f"{'; '.join(refusals)}: it is not read here, only {readable}"
    )
