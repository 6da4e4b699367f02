"""Files that are either whole or not there, after a crash as well.

Everything is written beside its place, flushed to the disk, and renamed: a
reader, or a process that starts after kill -9 or a full disk, sees the old
content or the new one, never half of it.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

TEMPORARY = ".tmp-"  # prefix of what is not finished; safe to remove


def write_with(path: pathlib.Path, fill: Callable[[BinaryIO], object]) -> None:
  """Writes what `fill` writes into an open file, atomically.

  Args:
    path: the file to create or replace; its folder exists.
    fill: writes the content into the stream it gets.

  Raises:
    OSError: the file cannot be written; the old one is intact.
  """
  draft = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
  try:
    with draft.open("wb") as stream:
      fill(stream)
      stream.flush()
      os.fsync(stream.fileno())
    os.replace(draft, path)
  except BaseException:
    with contextlib.suppress(OSError):
      draft.unlink()
    raise
  sync_folder(path.parent)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
  """Writes `content` into the file `path`, atomically.

  Args:
    path: the file to create or replace; its folder exists.
    content: all the file shall hold.

  Raises:
    OSError: the file cannot be written; the old one is intact.
  """
  write_with(path, lambda stream: stream.write(content))


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON document a person can read, atomically.

  Args:
    path: the file to create or replace; its folder exists.
    value: what JSON can hold; no NaN and no infinity, which JSON cannot.

  Raises:
    OSError: the file cannot be written; the old one is intact.
    ValueError: `value` holds a number that is not finite.
    TypeError: `value` holds what JSON does not know.
  """
  text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
  write_bytes(path, text.encode() + b"\n")


def read_json(path: pathlib.Path) -> Any:
  """Reads the JSON document `path`.

  Args:
    path: an existing file.

  Returns:
    The document.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is not JSON; the message names the file.
  """
  try:
    return json.loads(path.read_bytes())
  except (ValueError, RecursionError) as error:  # of JSON, or of its UTF-8
    raise ValueError(f"{path} is damaged: not JSON ({error})") from None


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes an npz file, atomically; equal arrays give equal bytes.

  Args:
    path: the file to create or replace; its folder exists.
    arrays: by name; of dtypes NumPy itself has, no objects.

  Raises:
    OSError: the file cannot be written; the old one is intact.
    ValueError: an array holds objects.
  """

  def fill(stream: BinaryIO) -> None:
    with zipfile.ZipFile(stream, "w") as archive:
      for name, array in arrays.items():
        # The default date is a constant; `np.savez` takes no name "file".
        entry = zipfile.ZipInfo(f"{name}.npy")
        with archive.open(entry, "w", force_zip64=True) as member:
          np.lib.format.write_array(member, array, allow_pickle=False)

  write_with(path, fill)


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads an npz file, without pickle.

  Args:
    path: an existing file.

  Returns:
    All its arrays by name.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is no npz, is damaged, or holds objects.
  """
  try:
    with np.load(path, allow_pickle=False) as archive:
      return {name: archive[name] for name in archive.files}
  except zipfile.BadZipFile as error:
    raise ValueError(f"{path} is damaged: {error}") from None
  except (ValueError, KeyError, EOFError, TypeError, AttributeError) as error:
    raise ValueError(f"{path} is no npz of plain arrays: {error}") from None


def sync_folder(folder: pathlib.Path) -> None:
  """Flushes the names in `folder` to the disk, as a rename asks for."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def sync_file(path: pathlib.Path) -> None:
  """Flushes the content of a file that somebody else wrote to the disk."""
  with path.open("rb") as stream:
    os.fsync(stream.fileno())


def sha256(path: pathlib.Path) -> str:
  """The SHA-256 of a file's content, in hexadecimal.

  Args:
    path: an existing file.

  Returns:
    64 hexadecimal digits.

  Raises:
    OSError: the file cannot be read.
  """
  with path.open("rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()
