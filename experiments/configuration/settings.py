"""Configurations: a Python file, then ``--config.a.b=value`` on top.

A configuration file has a function ``get_config()`` that returns a
`schema.Config` (``get_config(text)`` for ``--config=file.py:text``), the
field's convention. A value on the command line is read as the type of its
key: numbers may be fractions (``8/255``), sequences are written ``1,2,3`` or
``(1, 2, 3)``, and a key that is not known is an error that names the nearest
ones. Sequences are tuples throughout.
"""

import dataclasses
import difflib
import functools
import inspect
import json
import math
import pathlib
import runpy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.command.exits import UsageError
from experiments.configuration import schema
from experiments.configuration.schema import Config

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_SHOWN = 120  # letters of what somebody wrote, in a message
_NAMED = 12  # of known names, where none is like what was written
_TOLD = 8  # of what is wrong with a configuration


def load(name: str) -> Config:
  """Runs a configuration file.

  A bare name is never that of a file in the current folder, which may have
  come from somebody else: a path has a slash, or ends in ``.py``.

  Args:
    name: a path, or the bare name of a file in experiments/configs; with
      ``:text`` behind it, `get_config` gets that text.

  Raises:
    UsageError: no such file, or it has no `get_config` that returns a
      configuration.
  """
  spelt, colon, text = name.partition(":")
  known = sorted(p.stem for p in FOLDER.glob("[!_]*.py"))
  if spelt in known:
    name = f"{FOLDER / spelt}.py{colon}{text}"
  elif not is_path(spelt):
    raise UsageError(f"no configuration {shown(spelt)}{nearest(spelt, known)}")
  config = returned(name)
  if not isinstance(config, Config):
    raise UsageError(
      f"{spelt}: get_config must return a Config, see {schema.__name__}; got "
      f"{type(config).__name__}"
    )
  return config


def returned(name: str) -> Any:
  """Runs a file and returns what its `get_config` does.

  Args:
    name: a path; with ``:text`` behind it, `get_config` gets that text.

  Raises:
    UsageError: no such file, or it has no working `get_config`.
  """
  spelt, colon, text = name.partition(":")
  path = pathlib.Path(spelt)
  if not _is_file(path):
    known = sorted(p.stem for p in FOLDER.glob("[!_]*.py"))
    raise UsageError(f"no configuration {shown(spelt)}{nearest(spelt, known)}")
  try:
    function = runpy.run_path(str(path))["get_config"]
  except KeyError:
    raise UsageError(f"{path} has no function get_config") from None
  except Exception as error:
    raise UsageError(f"{path} fails: {error!r}") from error
  if not callable(function):
    raise UsageError(f"{path}: get_config is no function")
  takes = len(inspect.signature(function).parameters)
  if colon and not takes:
    raise UsageError(f"{path}: get_config takes no text, got {shown(text)}")
  try:
    return function(text) if colon else function()
  except Exception as error:
    raise UsageError(f"{path}: get_config fails: {error!r}") from error


def override(config: Config, key: str, text: str | None) -> Config:
  """Returns a configuration with one key as the command line has it.

  Args:
    config: the configuration.
    key: dotted, such as ``train.epochs``.
    text: the value; None where the flag had none, which sets a boolean.

  Raises:
    UsageError: an unknown key, or a value that is not of the key's type.
  """
  known = schema.KEYS.get(key)
  if known is None:
    inside = [name for name in schema.KEYS if name.startswith(f"{key}.")]
    if inside:
      raise UsageError(f"{key} is a group; set one of {', '.join(inside)}")
    raise UsageError(
      f"no configuration key {shown(key)}{nearest(key, list(schema.KEYS))}"
    )
  if text is None and (known.kind is not bool or known.listed):
    raise UsageError(f"--config.{key} needs a value: --config.{key}=...")
  return replaced(config, {key: parse(key, "true" if text is None else text)})


def parse(key: str, text: str) -> Any:
  """Reads the value of a key.

  Args:
    key: dotted, one of `schema.KEYS`.
    text: what the user wrote.

  Raises:
    UsageError: the text is no such value.
  """
  known = schema.KEYS[key]
  read, allowed = _READERS[known.kind]
  if not known.listed:
    return _read(key, text, read, allowed)
  inner = text.strip()
  if inner[:1] + inner[-1:] in ("()", "[]"):
    inner = inner[1:-1]
  words = [word.strip() for word in inner.split(",")]
  if words[-1] == "":  # (1,) or ()
    words.pop()
  if known.kind is str:
    words = [word.strip("'\"") for word in words]
  return tuple(_read(key, word, read, allowed) for word in words)


def _read(key: str, text: str, read: Callable[[str], Any], allowed: str) -> Any:
  try:
    return read(text)
  except (KeyError, ValueError, OverflowError, ZeroDivisionError):
    pass
  raise UsageError(f"config.{key} must be {allowed}, got {shown(text)}")


def replaced(config: Config, values: Mapping[str, Any]) -> Config:
  """Returns a configuration with other values.

  They may be of any type: programs put traced arrays in the place of numbers.

  Args:
    config: the configuration.
    values: by dotted key.

  Raises:
    TypeError: there is no such key.
  """
  changed: Config = _replaced(config, values)
  return changed


def _replaced(group: Any, values: Mapping[str, Any]) -> Any:
  changes: dict[str, Any] = {}
  inside: dict[str, dict[str, Any]] = {}
  for key, value in values.items():
    name, dot, rest = key.partition(".")
    if dot:
      inside.setdefault(name, {})[rest] = value
    else:
      changes[name] = value
  for name, more in inside.items():
    changes[name] = _replaced(getattr(group, name), more)
  return dataclasses.replace(group, **changes)


def taken(config: Config, other: Config, groups: Sequence[str]) -> Config:
  """Returns a configuration with some keys as another one has them.

  Args:
    config: has all other keys.
    other: has these.
    groups: the keys, or groups of keys.
  """
  return replaced(config, part(other, groups))


def part(config: Config, groups: Sequence[str]) -> dict[str, Any]:
  """Returns the values of some keys, or groups of keys, by dotted key."""
  return {
    key: functools.reduce(getattr, key.split("."), config)
    for key in schema.KEYS
    if schema.covers(groups, key)
  }


def is_path(name: str) -> bool:
  """Returns whether a name of a configuration or suite is a file's path."""
  return "/" in name or name.endswith(".py")


def shown(value: Any) -> str:
  """Returns a value as a message shows it: the beginning of a long one."""
  text = repr(value)
  return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\u2026"


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
  """Dotted keys -> values of a configuration, or of what it is as JSON."""
  if dataclasses.is_dataclass(tree):
    names = [each.name for each in dataclasses.fields(tree)]
    tree = {name: getattr(tree, name) for name in names}
  flat: dict[str, Any] = {}
  for name, value in tree.items():
    if isinstance(value, Mapping) or dataclasses.is_dataclass(value):
      flat |= flatten(value, f"{prefix}{name}.")
    else:
      flat[f"{prefix}{name}"] = value
  return flat


def spelt(value: Any) -> str:
  """Returns a value as a command line says it."""
  if isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, tuple | list) and value:
    return ",".join(map(spelt, value))
  return str(value)


def to_dict(config: Config) -> dict[str, Any]:
  """The resolved configuration as JSON holds it.

  Args:
    config: any configuration.

  Returns:
    Nested dicts of numbers, texts, booleans and lists; of `schema.ADDED` only
    what is not the default.

  Raises:
    UsageError: a value JSON does not hold (NaN, an array, a function).
  """
  for key, value in flatten(config).items():
    try:
      json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
      raise UsageError(f"config.{key} = {shown(value)}: {error}") from None
  plain = dataclasses.asdict(config)
  for key, value in part(Config(), schema.ADDED).items():
    *parents, name = key.split(".")
    group: dict[str, Any] = functools.reduce(dict.__getitem__, parents, plain)
    if group[name] == value:
      del group[name]
  resolved: dict[str, Any] = json.loads(json.dumps(plain))
  return resolved


def from_dict(plain: Any) -> Config:
  """The configuration that `to_dict` made plain; its values are not checked.

  Args:
    plain: for instance the content of a workdir's config.json.

  Returns:
    The configuration, with tuples for lists; what is missing of `schema.ADDED`
    has its default.

  Raises:
    UsageError: it has not the keys of a configuration, each of the others.
  """
  wrong: list[str] = []
  config: Config = _built(Config, plain, "", wrong)
  if wrong:
    raise UsageError(listed(wrong))
  return config


def listed(wrong: Sequence[str]) -> str:
  """Returns what is wrong with a configuration as one text, cut short."""
  more = ["and more"] if len(wrong) > _TOLD else []
  return "; ".join([*wrong[:_TOLD], *more])


def _built(kind: type, plain: Any, prefix: str, wrong: list[str]) -> Any:
  """A group of keys of its plain form; `wrong` gets what is wrong with it."""
  if not isinstance(plain, Mapping):
    name = prefix.removesuffix(".") or "it"
    wrong.append(f"{name} must be a group of keys; got {shown(plain)}")
    return None
  fields = {each.name: each.type for each in dataclasses.fields(kind)}
  beside = [f"{prefix}{name}" for name in fields]
  names = list(dict.fromkeys([*beside, *schema.KEYS]))
  for name in plain:
    if name not in fields and len(wrong) <= _TOLD:
      hint = nearest(f"{prefix}{name}", names)
      key = shown(f"{prefix}{name}")
      wrong.append(f"no configuration key {key} is known{hint}")
  values: dict[str, Any] = {}
  for name, inner in fields.items():
    if name not in plain and f"{prefix}{name}" in schema.ADDED:
      continue
    if name not in plain:
      wrong.append(f"{prefix}{name} is missing")
    elif isinstance(inner, type) and dataclasses.is_dataclass(inner):
      values[name] = _built(inner, plain[name], f"{prefix}{name}.", wrong)
    else:
      values[name] = _tuples(plain[name])
  return None if wrong else kind(**values)


def _tuples(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {name: _tuples(inner) for name, inner in value.items()}
  if isinstance(value, list | tuple):
    return tuple(_tuples(inner) for inner in value)
  return value


def nearest(word: str, names: Sequence[str]) -> str:
  """Returns a hint at the known names most like one that is not known.

  Args:
    word: what was written.
    names: dotted, such as ``train.epochs``; its last part counts too.
  """
  found = close(word, names)
  if found:
    return "; did you mean " + " or ".join(found) + "?"
  more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
  return f"; there are {', '.join(names[:_NAMED])}{more}"


def close(word: str, names: Sequence[str]) -> list[str]:
  """Returns the known names most like a word, by last part or by whole.

  Args:
    word: what was written.
    names: as in `nearest`.
  """
  tails = [name.rpartition(".")[2] for name in names]
  last = word.rpartition(".")[2]
  like = difflib.get_close_matches(last, tails, len(tails) or 1, 0.75)
  found = [n for n, t in zip(names, tails, strict=True) if t in like]
  return difflib.get_close_matches(
    word, found or names, 3, 0.0 if found else 0.5
  )


def _is_file(path: pathlib.Path) -> bool:
  try:
    return path.is_file()
  except OSError:  # a name that no file can have, or a closed folder
    return False


def _number(text: str) -> float:
  top, slash, bottom = text.partition("/")
  value = float(top) / float(bottom) if slash else float(top)
  if math.isnan(value):
    raise ValueError(text)
  return value


def _integer(text: str) -> int:
  try:
    return int(text)
  except ValueError:
    value = _number(text)
    if not value.is_integer():  # 1e4 is one, 2.5 is none
      raise
    return int(value)


def _boolean(text: str) -> bool:
  return _BOOLEANS[text.lower()]


# By type: what reads it, and what it may be.
_READERS: Mapping[type, tuple[Callable[[str], Any], str]] = {
  bool: (_boolean, "true or false"),
  int: (_integer, "an integer"),
  float: (_number, "a number or a fraction such as 8/255"),
  str: (str, "a text"),
}
