"""Compressed tar archives, read in order and never unpacked to the disk."""

import bz2
import gzip
import io
import lzma
import pathlib
import tarfile
import zlib
from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

_OPENERS: dict[bytes, Callable[[pathlib.Path], io.BufferedIOBase]] = {
  b"\x1f\x8b": gzip.GzipFile,
  b"\xfd7zXZ\0": lzma.LZMAFile,
  b"BZh": bz2.BZ2File,
}
_CHUNK = 1 << 20


def _opener(
  path: pathlib.Path,
) -> Callable[[pathlib.Path], io.BufferedIOBase] | None:
  with path.open("rb") as stream:
    start = stream.read(max(map(len, _OPENERS)))
  for magic, opener in _OPENERS.items():
    if start.startswith(magic):
      return opener
  return None


def is_archive(path: pathlib.Path) -> bool:
  """Returns whether a file is called a tar and compressed as one."""
  return path.is_file() and (".tar" in path.name or path.suffix == ".tgz")


class Member(NamedTuple):
  """One entry of an archive.

  Attributes:
    name: with its folders, "/" between.
    content: of a file; None for a folder.
  """

  name: str
  content: bytes | None


def shown(name: str) -> str:
  """Returns a name as it can be printed: one line, in valid text."""
  plain = name.encode("utf-8", "surrogateescape").decode(
    "utf-8", "backslashreplace"
  )
  return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in plain)


def entries(path: pathlib.Path) -> Iterator[Member]:
  """Iterates over the files and folders of an archive.

  The whole stream is read, so that its checksum is compared as well.

  Args:
    path: a tar compressed with gzip, bzip2 or xz; seen from its content.

  Yields:
    Each member, in the archive's order.

  Raises:
    ValueError: if the archive is damaged or truncated, or no such archive; if
      it holds something else than files and folders, such as links.
    FileNotFoundError: if there is no such file.
  """
  opener = _opener(path)
  if opener is None:
    raise ValueError(
      f"{path} must be a tar compressed with gzip, bzip2 or xz; its first "
      "bytes say it is none"
    )
  try:
    with opener(path) as stream:
      # Streaming asks for no seeking, which these formats do slowly.
      with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
          yield _read(path, archive, member)
      while stream.read(_CHUNK):  # its checksum stands at the very end
        pass
  except (
    tarfile.TarError,
    EOFError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    UnicodeDecodeError,
  ) as error:
    raise ValueError(
      f"{path} must be a whole compressed tar; it is damaged or truncated: "
      f"{error}"
    ) from error


def _read(
  path: pathlib.Path, archive: tarfile.TarFile, member: tarfile.TarInfo
) -> Member:
  if member.isdir():
    return Member(member.name, None)
  content = archive.extractfile(member) if member.isreg() else None
  if content is None:
    raise ValueError(
      f"{path}: {shown(member.name)} must be a file or a folder; it is a link "
      "or a device: pack the files themselves (tar --dereference "
      "--hard-dereference)"
    )
  return Member(member.name, content.read())


def members(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
  """Iterates over the files of an archive: name and content of each.

  Raises:
    ValueError: as `entries`.
    FileNotFoundError: as `entries`.
  """
  for member in entries(path):
    if member.content is not None:
      yield member.name, member.content


def names(path: pathlib.Path) -> list[str]:
  """Returns the names of all regular files of an archive or a folder.

  A folder's are those directly inside it.

  Raises:
    ValueError: as `entries`.
  """
  if path.is_dir():
    return sorted(entry.name for entry in path.iterdir() if entry.is_file())
  return [name for name, _ in members(path)]


def read(path: pathlib.Path, wanted: Container[str]) -> dict[str, bytes]:
  """Reads files out of an archive, or out of the folder it was unpacked to.

  Args:
    path: the archive or the folder.
    wanted: the files' names without their folders.

  Returns:
    The contents of those that are there, by name.

  Raises:
    ValueError: as `members`, or if two files of the archive have one name.
  """
  if path.is_dir():
    return {
      name: (path / name).read_bytes() for name in names(path) if name in wanted
    }
  contents: dict[str, bytes] = {}
  for name, content in members(path):
    base = name.rpartition("/")[2]
    if base not in wanted:
      continue
    if base in contents:
      raise ValueError(f"{path} must hold one file {base}; it holds several")
    contents[base] = content
  return contents
