"""Writes files so that each is complete or absent, even after a crash.

A file is written under a temporary name, flushed to the disk and renamed. A
reader, or a process that starts after kill -9 or a full disk, sees the old
content or the new one, never a part of it.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from snnjax.storage import identity, locks, npz

TEMPORARY = ".tmp-"  # prefix of what is not finished
_SEAL = "sha256"  # key of a sealed document: the digest of all its others


def write_with(path: pathlib.Path, fill: Callable[[BinaryIO], object]) -> None:
  """Writes what `fill` writes into an open file, atomically.

  Args:
    path: the file to create or replace; its folder exists.
    fill: writes the content into the stream it gets.

  Raises:
    OSError: the file cannot be written, and is named; the old one is intact.
  """
  try:
    with _draft(path) as (draft, stream):
      fill(stream)
      stream.flush()
      os.fsync(stream.fileno())
      os.replace(draft, path)
    sync_folder(path.parent)
  except OSError as error:
    if error.errno is None:
      raise
    raise OSError(error.errno, error.strerror, str(path)) from error


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
  write_bytes(path, _text(value))


def _text(value: Any) -> bytes:
  text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
  return text.encode() + b"\n"


def content(path: pathlib.Path) -> bytes:
  """Reads a file that may have come from somebody else.

  Args:
    path: an existing file, or a link to one.

  Returns:
    All it holds.

  Raises:
    OSError: it cannot be read.
    DamagedError: it is a pipe or a device, which need not end, or a folder.
  """
  check_file(path)
  return path.read_bytes()


def check_file(path: pathlib.Path) -> None:
  """Raises unless a path is that of a file, or of a link to one.

  Args:
    path: of what is to be opened.

  Raises:
    OSError: there is nothing, or it cannot be looked at.
    DamagedError: it is a pipe, a device or a folder.
  """
  if not stat.S_ISREG(path.stat().st_mode):
    raise identity.damaged(path, "it is a pipe, a device or a folder")


def read_json(path: pathlib.Path) -> Any:
  """Reads the JSON document `path`.

  Args:
    path: an existing file.

  Returns:
    The document.

  Raises:
    OSError: the file cannot be read.
    DamagedError: it is not JSON; the message names the file.
  """
  try:
    return json.loads(content(path))
  except (ValueError, RecursionError) as error:  # of JSON, or of its UTF-8
    raise identity.damaged(path, f"it is not JSON ({error})") from None


def write_sealed(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes a JSON object with the digest of what it holds, atomically.

  Args:
    path: the file to create or replace; its folder exists.
    value: as for `write_json`; no key ``sha256``.

  Raises:
    OSError: the file cannot be written; the old one is intact.
    ValueError: `value` holds a number that is not finite.
    TypeError: `value` holds what JSON does not know.
  """
  write_bytes(path, sealed_json(value))


def sealed_json(value: Mapping[str, Any]) -> bytes:
  """A JSON object with the digest of its content as ``sha256``.

  Args:
    value: of what JSON can hold; no key ``sha256``.

  Returns:
    What a file holds that `read_sealed` reads.

  Raises:
    ValueError: it has that key, or holds a number that is not finite.
    TypeError: it holds what JSON does not know.
  """
  if _SEAL in value:
    raise ValueError(f"no key may be named {_SEAL!r}")
  # As it will be read back: keys as texts, tuples as lists.
  plain = json.loads(json.dumps(value, allow_nan=False))
  return _text({**plain, _SEAL: identity.of_value(plain)})


def read_sealed(path: pathlib.Path, remedy: str) -> dict[str, Any]:
  """Reads a JSON object that `write_sealed` wrote.

  Args:
    path: an existing file.
    remedy: what a person can do about a damaged one.

  Returns:
    The object, less its digest.

  Raises:
    OSError: the file cannot be read.
    DamagedError: it holds anything but what was written.
  """
  try:
    value = read_json(path)
    if not isinstance(value, dict):
      raise ValueError("it is no JSON object")
    seal = value.pop(_SEAL, None)
    if seal != identity.of_value(value):
      said = "differs from what it holds" if seal else "is missing"
      raise ValueError(f"its SHA-256 {said}")
  except identity.DamagedError as error:
    raise identity.DamagedError(f"{error}; {remedy}") from None
  except ValueError as error:
    raise identity.DamagedError(
      f"{path} is damaged: {error}; {remedy}"
    ) from None
  return value


def write_arrays(
  path: pathlib.Path,
  arrays: Mapping[str, np.ndarray],
  made_from: Mapping[str, str] | None = None,
) -> None:
  """Writes an npz file, atomically; equal arrays give equal bytes.

  Args:
    path: the file to create or replace; its folder exists.
    arrays: by name; of dtypes NumPy itself has, no objects.
    made_from: what they were made from, by name a SHA-256.

  Raises:
    OSError: the file cannot be written; the old one is intact.
    ValueError: an array holds objects.
  """
  write_with(path, lambda stream: npz.write(stream, arrays, made_from))


def read_arrays(
  path: pathlib.Path,
  made_from: Mapping[str, str] | None = None,
  remedy: str = "make it again",
) -> dict[str, np.ndarray]:
  """Reads an npz file that `write_arrays` wrote.

  Args:
    path: an existing file.
    made_from: what it must have been made from; None asks nothing.
    remedy: what a person can do about a damaged or foreign one.

  Returns:
    All its arrays by name.

  Raises:
    OSError: the file cannot be read.
    DamagedError: it holds anything but what was written.
    ForeignError: it was made from something else.
  """
  try:
    stored = npz.read(content(path))
  except ValueError as error:
    raise identity.DamagedError(
      f"{path} is damaged: {error}; {remedy}"
    ) from None
  if made_from is not None:
    identity.check(path, stored.made_from, made_from, remedy)
  return stored.arrays


def sweep(folder: pathlib.Path) -> None:
  """Removes what killed processes began to write into a folder.

  What a living process is writing stays: it holds a lock on it.

  Args:
    folder: need not exist; folders in it are left alone.
  """
  for draft in folder.glob(f"{TEMPORARY}*"):
    with contextlib.suppress(OSError), draft.open("rb") as stream:
      if locks.take(stream) is locks.Lock.HELD:
        draft.unlink()


@contextlib.contextmanager
def _draft(path: pathlib.Path) -> Iterator[tuple[pathlib.Path, BinaryIO]]:
  """Opens a locked temporary file beside `path`; removes it if the body fails.

  The lock tells `sweep` that the file is still being written.
  """
  while True:
    draft = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    stream = draft.open("xb")
    try:
      locks.take(stream, wait=True)
      if os.fstat(stream.fileno()).st_nlink:  # else `sweep` was faster
        yield draft, stream
        return
    except BaseException:
      with contextlib.suppress(OSError):
        draft.unlink()
      raise
    finally:
      with contextlib.suppress(OSError):  # a full disk, told of by the body
        stream.close()


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
    DamagedError: it is a pipe, a device or a folder.
  """
  check_file(path)
  with path.open("rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()
