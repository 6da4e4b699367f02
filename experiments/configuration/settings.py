"""Configurations: a Python file, then ``--config.a.b=value`` on top.

A configuration file has a function ``get_config()`` that returns an
ml_collections ConfigDict (``get_config(text)`` for ``--config=file.py:text``),
the field's convention. A value on the command line is read as the type the
file gave the key: numbers may be fractions (``8/255``), sequences are written
``1,2,3`` or ``(1, 2, 3)``, and a key the file lacks is an error that names
the nearest ones. Sequences are tuples throughout.
"""

import ast
import difflib
import inspect
import json
import math
import pathlib
import runpy
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_SHOWN = 120  # letters of what somebody wrote, in a message
_NAMED = 12  # of known names, where none is like what was written
# Of reading a literal: that of the parser's stack is a MemoryError.
_NO_LITERAL = (SyntaxError, ValueError, MemoryError, RecursionError)


class UsageError(ValueError):
  """The command line asks for what cannot be done; the message says why."""


def load(name: str) -> ml_collections.ConfigDict:
  """Runs a configuration file.

  A bare name is never that of a file in the current folder, which may have
  come from somebody else: a path has a slash, or ends in ``.py``.

  Args:
    name: a path, or the bare name of a file in experiments/configs; with
      ``:text`` behind it, `get_config` gets that text.

  Returns:
    The configuration, locked: it takes no new keys.

  Raises:
    UsageError: no such file, or it has no working `get_config`.
  """
  spelt, colon, text = name.partition(":")
  known = sorted(p.stem for p in FOLDER.glob("[!_]*.py"))
  path = pathlib.Path(spelt)
  if spelt in known:
    path = FOLDER / f"{spelt}.py"
  elif not is_path(spelt) or not _is_file(path):
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
    config = function(text) if colon else function()
  except Exception as error:
    raise UsageError(f"{path}: get_config fails: {error!r}") from error
  if not isinstance(config, ml_collections.ConfigDict):
    raise UsageError(f"{path}: get_config returned {type(config).__name__}")
  config.lock()
  return config


def override(
  config: ml_collections.ConfigDict, key: str, text: str | None
) -> None:
  """Sets one key of a configuration from the command line.

  Args:
    config: changed in place.
    key: dotted, such as ``attack.epsilon``.
    text: the value; None where the flag had none, which sets a boolean.

  Raises:
    UsageError: an unknown key, or a value that is not of the key's type.
  """
  *parents, last = key.split(".")
  holder: Any = config
  for part in parents:
    holder = holder[part] if _has(holder, part) else None
  if not _has(holder, last):
    hint = nearest(key, list(flatten(config)))
    raise UsageError(f"no configuration key {shown(key)}{hint}")
  value = holder[last]
  kind = holder.get_type(last)
  if isinstance(value, ml_collections.ConfigDict):
    names = ", ".join(f"{key}.{name}" for name in value)
    raise UsageError(f"{key} is a group; set one of {names}")
  if text is None and kind is not bool:
    raise UsageError(f"--config.{key} needs a value: --config.{key}=...")
  holder[last] = parse("true" if text is None else text, value, kind, key)


def parse(text: str, like: Any, kind: type, key: str) -> Any:
  """Reads a value of a known type.

  Args:
    text: what the user wrote.
    like: the value so far, which tells a sequence's element type.
    kind: the type.
    key: named in errors.

  Returns:
    The value, a `kind`.

  Raises:
    UsageError: the text is no such value.
  """
  try:
    if kind is bool:
      return _BOOLEANS[text.lower()]
    if kind is int:
      return _integer(text)
    if kind is float:
      return _number(text)
    if kind is str:
      return text
    if kind in (tuple, list):
      return kind(_sequence(text, like or (), key))
    return _literal(text)
  except (KeyError, OverflowError, ZeroDivisionError, *_NO_LITERAL):
    pass
  allowed = {
    bool: "true or false",
    int: "an integer",
    float: "a number or a fraction such as 8/255",
    tuple: "values with commas between",
    list: "values with commas between",
  }
  wanted = allowed.get(kind, "a Python literal")
  raise UsageError(
    f"config.{key} must be {wanted}, got {shown(text)}"
  ) from None


def is_path(name: str) -> bool:
  """Returns whether a name of a configuration or suite is a file's path."""
  return "/" in name or name.endswith(".py")


def shown(value: Any) -> str:
  """Returns a value as a message shows it: the beginning of a long one."""
  text = repr(value)
  return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\u2026"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Dotted keys -> values of a nested configuration."""
  flat: dict[str, Any] = {}
  for name, value in tree.items():
    if isinstance(value, Mapping | ml_collections.ConfigDict):
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


def to_dict(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The resolved configuration as JSON holds it.

  Args:
    config: any configuration; references are followed.

  Returns:
    Nested dicts of numbers, texts, booleans, None and lists.

  Raises:
    UsageError: a value JSON does not hold (NaN, an array, a function).
  """
  plain = config.to_dict()
  for key, value in flatten(plain).items():
    try:
      json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
      raise UsageError(f"config.{key} = {shown(value)}: {error}") from None
  resolved: dict[str, Any] = json.loads(json.dumps(plain))
  return resolved


def from_dict(plain: Mapping[str, Any]) -> ml_collections.ConfigDict:
  """The configuration that `to_dict` made plain, locked.

  Args:
    plain: for instance the content of a workdir's config.json.

  Returns:
    The configuration, with tuples for lists.
  """
  config = ml_collections.ConfigDict(_tuples(plain))
  config.lock()
  return config


def replaced(
  config: ml_collections.ConfigDict, values: Mapping[str, Any]
) -> ml_collections.ConfigDict:
  """Returns the configuration with other values, which may be of any type.

  It is for programs, in which traced arrays stand for numbers.

  Args:
    config: stays as it is.
    values: by dotted key, each of which it has.
  """
  plain = config.to_dict()
  for key, value in values.items():
    *parents, last = key.split(".")
    holder = plain
    for part in parents:
      holder = holder[part]
    holder[last] = value
  return ml_collections.ConfigDict(plain)


def _has(holder: Any, name: str) -> bool:
  return isinstance(holder, ml_collections.ConfigDict) and name in holder


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


def _sequence(text: str, like: Sequence[Any], key: str) -> list[Any]:
  kinds = {type(value) for value in like}
  if len(kinds) != 1 or kinds & {tuple, list, dict}:
    value = _literal(text if text.startswith(("(", "[")) else f"({text},)")
    if not isinstance(value, tuple):  # the whole as a text
      raise ValueError(text)
    return list(value)
  (kind,) = kinds
  inner = text.strip()
  if inner[:1] + inner[-1:] in ("()", "[]"):
    inner = inner[1:-1]
  words = [word.strip() for word in inner.split(",")]
  if words[-1] == "":  # (1,) or ()
    words.pop()
  if kind is str:
    words = [word.strip("'\"") for word in words]
  return [parse(word, None, kind, key) for word in words]


def _literal(text: str) -> Any:
  """A literal, with fractions, or plain text where it is none."""
  try:
    return _evaluate(ast.parse(text.strip(), mode="eval").body, text)
  except _NO_LITERAL:
    return text


def _evaluate(node: ast.expr, text: str) -> Any:
  match node:
    case ast.Constant(value=bool() | int() | float() | str() | None as value):
      return value
    case ast.Name(id="true" | "false" as name):
      return _BOOLEANS[name]
    case ast.Name(id="none"):
      return None
    case ast.Name(id=name):
      return name
    case ast.Tuple(elts=nodes) | ast.List(elts=nodes):
      return tuple(_evaluate(inner, text) for inner in nodes)
    case ast.UnaryOp(op=ast.USub(), operand=inner):
      return -_real(inner, text)
    case ast.BinOp(left=left, op=ast.Div(), right=right):
      return _real(left, text) / _real(right, text)
    case _:
      raise ValueError(text)


def _real(node: ast.expr, text: str) -> float:
  value = _evaluate(node, text)
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise ValueError(text)
  return value
