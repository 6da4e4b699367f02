"""Which runs a sweep has: every combination of a grid, those of a list, both.

--grid="method.name=vanilla,sr" --grid="seed=0,1,2"
--runs=FILE.py, in which get_runs() returns [{"model.steps": 4}, ...]
"""

import itertools
import pathlib
import re
import runpy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.command.exits import UsageError
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from snnjax.storage import identity

SEED = "seed"  # what runs of one group differ in
_BRACKETS = {"(": 1, "[": 1, ")": -1, "]": -1}
_STRANGE = re.compile(r"[^A-Za-z0-9._=,()+-]")
_LONGEST = 200  # letters of a folder's name; file systems end at 255


class Cell(NamedTuple):
  """One run of a sweep.

  Attributes:
    name: of its folder.
    values: of all keys that differ between the sweep's runs, as a command
      line spells them.
    config: the whole configuration.
    group: equal for runs that differ in their seed alone.
  """

  name: str
  values: Mapping[str, str]
  config: Config
  group: str


def cells(
  config: Config, grid: Sequence[str], runs: Sequence[Mapping[str, Any]] = ()
) -> list[Cell]:
  """Returns every run: each of the list with each combination of the grid.

  Args:
    config: what grid and list leave as it is.
    grid: texts such as ``"seed=0,1,2"`` or ``"model.hidden=(16,),(32,)"``;
      the last key changes fastest.
    runs: mappings of dotted keys to values; none is one without changes.

  Raises:
    UsageError: there is no run, a key comes twice, or a value does not fit.
  """
  axes: dict[str, list[str]] = {}
  for text in grid:
    key, equals, values = text.partition("=")
    key = key.strip().removeprefix("config.")
    if not equals or not values.strip():
      raise UsageError(f"--grid must be KEY=VALUES, got {text!r}")
    if key in axes:
      raise UsageError(f"--grid has {key!r} twice")
    axes[key] = _split(values)
  if not axes and not runs:
    raise UsageError('--grid or --runs is needed, such as --grid="seed=0,1,2"')
  wanted = []
  for listed in runs or ({},):
    own = {key: _text(value) for key, value in listed.items()}
    for key in own.keys() & axes.keys():
      raise UsageError(f"{key!r} must be in --grid or in --runs, not in both")
    wanted += [
      {**own, **dict(zip(axes, values, strict=True))}
      for values in itertools.product(*axes.values())
    ]
  keys = tuple(dict.fromkeys(key for values in wanted for key in values))
  made = [_cell(config, values, keys) for values in wanted]
  names = [cell.name for cell in made]
  for name in names:
    if names.count(name) > 1:
      raise UsageError(f"--grid and --runs have the run {name!r} twice")
  return made


def read_runs(path: str) -> list[Mapping[str, Any]]:
  """Runs a file that lists runs.

  Args:
    path: of a Python file with a function ``get_runs()``, which returns a
      sequence of mappings of dotted keys to values. As it runs, it is a path
      that was typed: it has a slash, or ends in ``.py``.

  Raises:
    UsageError: there is no such file, or it returns something else.
  """
  if not settings.is_path(path) or not pathlib.Path(path).is_file():
    raise UsageError(
      f"--runs must be the path of a Python file; got {settings.shown(path)}"
    )
  try:
    runs = runpy.run_path(path)["get_runs"]()
  except KeyError as error:
    raise UsageError(f"{path} has no {error}; it needs get_runs()") from None
  except Exception as error:
    raise UsageError(f"{path} fails: {error!r}") from error
  if (
    not isinstance(runs, list | tuple)
    or not runs
    or not all(isinstance(run, Mapping) for run in runs)
    or not all(isinstance(key, str) for run in runs for key in run)
  ):
    raise UsageError(
      f"{path}: get_runs must return a list of mappings such as "
      f"{{'seed': 1}}; got {settings.shown(runs)}"
    )
  return list(runs)


def _text(value: Any) -> str:
  """A value of a list as a command line spells it."""
  return value if isinstance(value, str) else settings.spelt(value)


def _split(values: str) -> list[str]:
  """Cuts a list at its commas, those within brackets left out."""
  depth, parts = 0, [""]
  for letter in values:
    depth += _BRACKETS.get(letter, 0)
    if letter == "," and not depth:
      parts.append("")
    else:
      parts[-1] += letter
  return [part.strip() for part in parts]


def _cell(
  config: Config, values: Mapping[str, str], keys: Sequence[str]
) -> Cell:
  own = config
  for key, value in values.items():
    own = settings.override(own, key, value)
  plain = settings.to_dict(own)
  flat = settings.part(own, list(schema.KEYS))
  spelt = {key: _text(flat[key]) for key in keys} | dict(values)
  name = ",".join(f"{key}={value}" for key, value in values.items())
  name = _STRANGE.sub("-", name) or "defaults"
  if len(name) > _LONGEST:
    digest = identity.short(identity.of_value(dict(values)))
    name = f"{name[: _LONGEST - len(digest) - 1]}-{digest}"
  return Cell(name, spelt, own, identity.of_configuration(plain, (SEED,)))
