"""Digests of what a file was made from, compared when the file is read.

Everything a run leaves on the disk (checkpoints, parameters, the parts of an
evaluation, a report's record, an entry of a leaderboard) carries a mapping
``made_from``: what -> SHA-256. `check` compares it with what the reader has.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_SHOWN = 12  # hexadecimal digits of a digest in messages


class BadFileError(ValueError):
  """A file is damaged, or not what belongs in its place."""


class DamagedError(BadFileError):
  """A file does not hold what was written into it."""


class ForeignError(BadFileError):
  """A file is whole, and was made from something else."""


def damaged(path: object, why: object, remedy: str = "") -> DamagedError:
  """The error that says what is wrong with a file, and what to do."""
  text = " ".join(str(why).split())[:500]
  return DamagedError(
    f"{path} is damaged: {text}{'; ' if remedy else ''}{remedy}"
  )


def of_value(value: Any) -> str:
  """The SHA-256 of what JSON can hold, whatever the order of its keys.

  Args:
    value: nested mappings, sequences, texts, numbers, booleans, None.

  Returns:
    64 hexadecimal digits.

  Raises:
    ValueError: it holds a number that is not finite.
    TypeError: it holds what JSON does not know.
  """
  text = json.dumps(
    value, sort_keys=True, separators=(",", ":"), allow_nan=False
  )
  return hashlib.sha256(text.encode()).hexdigest()


def of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
  """The SHA-256 of names, dtypes, shapes and bits of arrays, in any order."""
  total = hashlib.sha256()
  for name in sorted(arrays):
    array = arrays[name]
    shape = ", ".join(str(size) for size in array.shape)
    total.update(f"{name}\0{array.dtype}[{shape}]\0".encode())
    total.update(array.tobytes())
  return total.hexdigest()


def of_configuration(
  config: Mapping[str, Any], without: Sequence[str] = ()
) -> str:
  """The SHA-256 of a configuration, less what cannot change a result.

  Args:
    config: nested mappings of JSON values; tuples count as lists.
    without: dotted keys, of single values or of whole groups.

  Returns:
    64 hexadecimal digits.
  """
  plain = json.loads(json.dumps(config))
  for key in without:
    *parents, last = key.split(".")
    holder: Any = plain
    for part in parents:
      holder = holder.get(part, {})
    holder.pop(last, None)
  return of_value(plain)


def short(digest: str) -> str:
  """The first digits of a digest, for messages."""
  return digest[:_SHOWN]


def check(
  what: object,
  carried: Mapping[str, str] | None,
  expected: Mapping[str, str],
  remedy: str,
) -> None:
  """Compares what an artefact was made from with what is here.

  Args:
    what: the artefact, for instance its path.
    carried: its ``made_from``; None where it has none.
    expected: what it must have been made from; it may carry more.
    remedy: what a person can do.

  Raises:
    ForeignError: something differs or is not said; one line names the
      artefact, the first thing that differs and both digests.
  """
  if carried is None:
    raise ForeignError(f"{what} does not say what it was made from: {remedy}")
  for name, digest in expected.items():
    carried_digest = carried.get(name)
    if carried_digest != digest:
      origin = (
        f"{name} {short(carried_digest)}" if carried_digest else f"no {name}"
      )
      raise ForeignError(
        f"{what} was made from {origin}, and here is {name} {short(digest)}: "
        f"{remedy}"
      )


def well_formed(made_from: Any) -> bool:
  """Whether `made_from` maps texts to whole digests."""
  return isinstance(made_from, Mapping) and all(
    isinstance(name, str)
    and isinstance(digest, str)
    and len(digest) == 64
    and set(digest) <= set("0123456789abcdef")
    for name, digest in made_from.items()
  )
