"""What a calibration is asked for, and whether the study has it."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.command.exits import UsageError
from experiments.configuration import schema
from experiments.configuration.study import Study
from experiments.questions import calibration
from experiments.questions.network_numbers import Cell

ARM = "conventional"  # whose difficulty radii are units of


class Match(NamedTuple):
  """Two arms whose gradients shall be of one size.

  Attributes:
    arm: whose weight is chosen.
    other: whose gradients have the size.
  """

  arm: str
  other: str


class Options(NamedTuple):
  """What a person calibrates.

  Attributes:
    workdir: gets the networks, and all that is written.
    study: the study.
    cells: the data sets and modalities.
    seeds: of the networks.
    match: the arms whose gradients are matched; None chooses radii.
    grids: by norm, the radii that are tried.
  """

  workdir: pathlib.Path
  study: Study
  cells: tuple[Cell, ...]
  seeds: tuple[int, ...]
  match: Match | None = None
  grids: Mapping[str, Sequence[float]] = calibration.GRIDS


def options(
  workdir: pathlib.Path,
  study: Study,
  *,
  data: Sequence[str] | None = None,
  modalities: Sequence[str] | None = None,
  seeds: Sequence[str] | None = None,
  match_size: str | None = None,
) -> Options:
  """Returns what the words of a command line ask for.

  Args:
    workdir: the folder of the networks.
    study: the study.
    data: names of its data sets; None is all of them.
    modalities: sets such as ``image+events``; None is what the questions ask
      of each data set, with the arms that are matched.
    seeds: of the networks; None is `calibration.FIRST_SEED`.
    match_size: ``ARM:OTHER``.

  Raises:
    UsageError: one of them is not in the study, a seed is a question's, or
      there is nothing to do.
  """
  for name in data or ():
    if name not in study.data:
      raise UsageError(
        f"--data must be among {','.join(study.data)}; got {name!r}"
      )
  match = _match(study, match_size) if match_size is not None else None
  arms = match or (ARM,)
  for arm in arms:
    if arm not in study.arms:
      raise UsageError(
        f"the study must have the arm {arm!r}; got {', '.join(study.arms)}"
      )
  names = list(data or study.data)
  if modalities is None:
    asked = _asked(study, names, arms)
  else:
    sets = [_inputs(word) for word in modalities]
    asked = [Cell(name, inputs) for name in names for inputs in sets]
  if not asked:
    raise UsageError(
      f"no question asks of {','.join(names)} with {' and '.join(arms)}: name "
      "the sets of modalities with --modalities"
    )
  return Options(workdir, study, tuple(asked), _seeds(study, seeds), match)


def _match(study: Study, word: str) -> Match:
  arm, _, other = word.partition(":")
  if arm not in study.arms or other not in study.arms:
    raise UsageError(
      f"--match_size must be ARM:OTHER, of {', '.join(study.arms)}; got "
      f"{word!r}"
    )
  return Match(arm, other)


def _asked(
  study: Study, names: Sequence[str], arms: Sequence[str]
) -> list[Cell]:
  """What the questions ask of some data sets, of networks of all these arms."""
  return list(
    dict.fromkeys(
      Cell(name, "+".join(modalities))
      for question in study.questions.values()
      for of_data, part in question.parts
      for name in of_data
      for modalities in part.modalities
      if name in names and all(arm in part.arms for arm in arms)
    )
  )


def _inputs(word: str) -> str:
  """A set of modalities, in the order that the study has them in."""
  parts = word.split("+")
  if len(set(parts)) < len(parts) or not set(parts) <= set(schema.MODALITIES):
    raise UsageError(
      f"--modalities must be sets of {', '.join(schema.MODALITIES)}, such as "
      f"{'+'.join(schema.MODALITIES)}; got {word!r}"
    )
  return "+".join(name for name in schema.MODALITIES if name in parts)


def _seeds(study: Study, words: Sequence[str] | None) -> tuple[int, ...]:
  first = max(question.seeds for question in study.questions.values())
  result = []
  for word in words or (str(calibration.FIRST_SEED),):
    seed = int(word) if word.isdecimal() else -1
    if seed < first or not schema.SEEDS.holds(seed) or seed in result:
      raise UsageError(
        f"--seeds must be different whole numbers from {first} on, which no "
        f"question of the study uses, such as {calibration.FIRST_SEED}; got "
        f"{','.join(words or ())!r}"
      )
    result.append(seed)
  return tuple(result)
