"""The manifest of one checkpoint: what it holds, and whether its files agree.

manifest.json          step, origin, notes, the size and SHA-256 of every
file, and of every leaf its type and SHA-256
manifest.json.sha256   its digest, as `sha256sum -c` reads it
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from snnjax.storage import files, identity

NAME = "manifest.json"
_SEAL = "manifest.json.sha256"
_FORMAT = 2


class CheckpointError(identity.BadFileError):
  """No checkpoint can be used, or the one asked for does not fit."""


def write(place: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes the manifest of a folder whose other files are whole, and its seal.

  Every other file is brought to the disk first.

  Args:
    place: the folder of one step.
    content: what it says beside the format and the files, "step" and "leaves"
      among it.

  Raises:
    OSError: it cannot be written.
  """
  entries = {}
  for path in sorted(place.rglob("*")):
    if path.is_dir():
      files.sync_folder(path)
    else:
      files.sync_file(path)
      entries[path.relative_to(place).as_posix()] = {
        "bytes": path.stat().st_size,
        "sha256": files.sha256(path),
      }
  said = {"format": _FORMAT, **content, "files": entries}
  files.write_json(place / NAME, said)
  files.write_bytes(place / _SEAL, _seal(place))


def read(place: pathlib.Path) -> dict[str, Any]:
  """Reads the manifest of a step all of whose files are as they were written.

  Args:
    place: the folder of one step.

  Returns:
    What `write` wrote.

  Raises:
    CheckpointError: a file is missing, altered or too many, or the manifest
      is none.
    OSError: one cannot be read.
  """
  for name in (NAME, _SEAL):
    if not (place / name).is_file():
      raise CheckpointError(f"{name} is missing")
  if files.content(place / _SEAL) != _seal(place):
    raise CheckpointError(f"{NAME} and {_SEAL} do not agree")
  try:
    return _check_files(place, json.loads(files.content(place / NAME)))
  except CheckpointError:
    raise
  except (
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    ValueError,
  ) as error:
    raise CheckpointError(f"{NAME} lacks {str(error)[:200]!r}") from None


def _seal(place: pathlib.Path) -> bytes:
  return f"{files.sha256(place / NAME)}  {NAME}\n".encode()


def _check_files(
  place: pathlib.Path, manifest: dict[str, Any]
) -> dict[str, Any]:
  """Returns the manifest; raises unless all files are as it says."""
  if manifest["format"] != _FORMAT:
    raise CheckpointError(
      f"{NAME} has format {manifest['format']}, not {_FORMAT}"
    )
  if manifest["step"] != int(place.name):
    raise CheckpointError(f"it was saved as step {manifest['step']}")
  there = {
    p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()
  }
  surplus = sorted(there - manifest["files"].keys() - {NAME, _SEAL})
  if surplus:
    raise CheckpointError(f"{surplus[0]} was not saved with it")
  for name, entry in manifest["files"].items():
    path = place / name
    if not path.is_file():
      raise CheckpointError(f"{name} is missing")
    size = path.stat().st_size
    if size != entry["bytes"]:
      raise CheckpointError(f"{name} has {size} bytes, not {entry['bytes']}")
    if files.sha256(path) != entry["sha256"]:
      raise CheckpointError(f"{name} is altered: its SHA-256 differs")
  for entry in manifest["leaves"].values():
    for key in ("type", "stored", "sha256"):
      if not isinstance(entry[key], str):
        raise CheckpointError(f"{NAME} says no text of a leaf's {key}")
    if not isinstance(entry["random"], str | None):
      raise CheckpointError(f"{NAME} says no name of a random key")
  return manifest
