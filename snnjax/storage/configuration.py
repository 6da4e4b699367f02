"""The configuration of the run in a folder: config.json, and what changed."""

import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from snnjax.storage import files

NAME = "config.json"


def read_config(path: pathlib.Path | str) -> dict[str, Any]:
  """The configuration of the run in a workdir.

  Args:
    path: a workdir.

  Returns:
    What JSON holds.

  Raises:
    FileNotFoundError: no run was opened there.
    DamagedError: config.json is damaged.
  """
  return files.read_sealed(
    pathlib.Path(path) / NAME, "put back a copy of it, or remove the folder"
  )


def difference(
  old: Mapping[str, Any],
  new: Mapping[str, Any],
  changeable: Collection[str] = (),
) -> list[str]:
  """What changed between two configurations, a line per key.

  Args:
    old: nested mappings of JSON values.
    new: likewise.
    changeable: dotted keys, or groups of keys, that are passed over.

  Returns:
    Lines such as ``attack.steps: 10 -> 20``, sorted by key.
  """
  before, after = _flat(old), _flat(new)
  lines = []
  groups = tuple(f"{key}." for key in changeable)
  for key in sorted(before.keys() | after.keys()):
    if key in changeable or key.startswith(groups):
      continue
    if key not in after:
      lines.append(f"{key}: {json.dumps(before[key])} -> (absent)")
    elif key not in before:
      lines.append(f"{key}: (absent) -> {json.dumps(after[key])}")
    elif json.dumps(before[key]) != json.dumps(after[key]):
      lines.append(
        f"{key}: {json.dumps(before[key])} -> {json.dumps(after[key])}"
      )
  return lines


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a configuration as it will be read back, tuples as lists.

  Raises:
    ValueError: JSON cannot hold one of its values; the message names its key.
  """
  for key, value in _flat(config).items():
    try:
      json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
      raise ValueError(f"config.{key} = {value!r}: {error}") from None
  again: dict[str, Any] = json.loads(json.dumps(config))
  return again


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    if isinstance(value, Mapping) and value:
      flat |= _flat(value, f"{prefix}{key}.")
    else:
      flat[f"{prefix}{key}"] = value
  return flat
