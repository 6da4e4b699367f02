"""Compressed tars and zips, read in order and never unpacked to the disk."""

import bz2
import contextlib
import errno
import functools
import gzip
import io
import lzma
import pathlib
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, NamedTuple, Self

from snnjax.data import size_limits

_OPENERS: dict[bytes, Callable[[pathlib.Path], io.BufferedIOBase]] = {
  b"\x1f\x8b": gzip.GzipFile,
  b"\xfd7zXZ\0": lzma.LZMAFile,
  b"BZh": bz2.BZ2File,
}
_ZIP = b"PK\x03\x04"
_END = 22 + 56 + 20 + (1 << 16)  # bytes of a zip's ends and its comment
# Python unpacks what the other methods give without a bound.
_ZIPPED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK = 1 << 20
_EXTENSION = 1 << 16  # bytes of what a tar says of its next member
_EXTENSIONS = (
  tarfile.XHDTYPE,
  tarfile.XGLTYPE,
  tarfile.SOLARIS_XHDTYPE,
  tarfile.GNUTYPE_LONGNAME,
  tarfile.GNUTYPE_LONGLINK,
)
_SHOWN = 200  # letters of a name


class _Header(tarfile.TarInfo):
  """A header that refuses an oversized extension.

  `tarfile` reads an extension (a long name, for instance) whole into memory
  before it returns the member, so its size is checked here, at the header.
  """

  @classmethod
  def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
    header = super().frombuf(buf, encoding, errors)
    if header.type in _EXTENSIONS and not 0 <= header.size <= _EXTENSION:
      raise size_limits.TooLargeError(
        f"a header says {header.size:,} bytes of the next member; "
        f"{_EXTENSION:,} are the most"
      )
    return header


class _Bounded:
  """A stream that raises TooLargeError once it has given its budget."""

  def __init__(
    self, stream: io.BufferedIOBase, budget: size_limits.Budget
  ) -> None:
    self._stream, self._budget = stream, budget

  def read(self, size: int) -> bytes:
    content = self._stream.read(size)
    self._budget.take(len(content))
    return content


def _start(path: pathlib.Path) -> bytes:
  with path.open("rb") as stream:
    return stream.read(max(map(len, _OPENERS)))


def _opener(start: bytes) -> Callable[[pathlib.Path], io.BufferedIOBase] | None:
  for magic, opener in _OPENERS.items():
    if start.startswith(magic):
      return opener
  return None


def is_archive(path: pathlib.Path) -> bool:
  """Returns whether a file has the name of a compressed tar, or of a zip."""
  named = ".tar" in path.name or path.suffix in (".tgz", ".zip")
  return path.is_file() and named


def find(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the archives of a folder, or the file itself if it is one."""
  if path.is_file():
    return [path] if is_archive(path) else []
  return sorted(
    entry
    for entry in path.iterdir()
    if is_archive(entry) and not entry.name.startswith(".")
  )


class Member(NamedTuple):
  """One entry of an archive.

  Attributes:
    name: with its folders, "/" between.
    content: of a file; None for a folder.
  """

  name: str
  content: bytes | None


def printable(name: str) -> str:
  """Returns a name as it can be printed: one line, in valid text, not long."""
  plain = name.encode("utf-8", "surrogateescape").decode(
    "utf-8", "backslashreplace"
  )
  text = "".join(
    c if c.isprintable() else ascii(c)[1:-1] for c in plain[: _SHOWN + 1]
  )
  return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\u2026"


def join_names(names: Iterable[str], most: int = 12) -> str:
  """Returns names with commas between, and how many there are besides.

  Args:
    names: as they can be printed, see `printable`.
    most: how many names to write out.
  """
  texts = list(names)
  more = f" and {len(texts) - most} more" if len(texts) > most else ""
  return f"{', '.join(texts[:most])}{more}"


def entries(path: pathlib.Path) -> Iterator[Member]:
  """Iterates over the files and folders of an archive.

  The whole stream is read, so that its checksum is compared as well.

  Args:
    path: a tar compressed with gzip, bzip2 or xz, or a zip; seen from its
      content.

  Yields:
    Each member, in the archive's order.

  Raises:
    ValueError: if the archive is damaged or truncated, or no such archive; if
      it holds something else than files and folders, such as links; if it
      unpacks to far more than its size, see `size_limits`.
    FileNotFoundError: if there is no such file.
  """
  for header, read in _headers(path):
    yield Member(header.name, None if header.isdir() else read())


def _headers(
  path: pathlib.Path,
) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
  """Iterates over an archive's headers, with what reads each file."""
  start = _start(path)
  opener = _opener(start)
  if start.startswith(_ZIP):
    yield from _zip_headers(path)
    return
  if opener is None:
    raise ValueError(
      f"{path} must be a zip, or a tar compressed with gzip, bzip2 or xz; its "
      "first bytes say it is none"
    )
  budget = size_limits.Budget(path)
  try:
    with opener(path) as unbounded:
      stream: Any = _Bounded(unbounded, budget)
      # Streaming asks for no seeking, which these formats do slowly.
      with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
        members: list[tarfile.TarInfo] = vars(archive)["members"]
        for member in iter(archive.next, None):
          members.clear()  # tarfile keeps every header it has read
          budget.take_entry()
          budget.check(member.size)
          _check(path, member)
          yield member, functools.partial(_read, archive, member)
      while stream.read(_CHUNK):  # its checksum stands at the very end
        pass
  except size_limits.TooLargeError as error:
    message = str(error)
    raise ValueError(
      message if str(path) in message else f"{path}: {message}"
    ) from None
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


def _zip_headers(
  path: pathlib.Path,
) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
  """The same of a zip; its headers are told as those of a tar."""
  budget = size_limits.Budget(path)
  with _name_damaged_zip(path):
    archive = zipfile.ZipFile(path)
    listed, told = len(archive.infolist()), _count_zipped(path)
    if listed != told:  # of which Python says nothing
      raise ValueError(f"it lists {listed} files and says {told}")
  with archive:
    for info in archive.infolist():
      budget.take_entry()
      budget.check(info.file_size)
      header = tarfile.TarInfo(info.filename)
      if stat.S_ISLNK(info.external_attr >> 16):
        header.type = tarfile.SYMTYPE
      elif info.is_dir():
        header.type = tarfile.DIRTYPE
      _check(path, header)
      if info.compress_type not in _ZIPPED:
        raise ValueError(
          f"{path}: {printable(info.filename)} must be stored or deflated, as "
          f"zip does; its method is {info.compress_type}: pack it again"
        )
      yield header, functools.partial(_unzip, path, archive, info, budget)


def _count_zipped(path: pathlib.Path) -> int:
  """The number of members that a zip's end says it has."""
  with path.open("rb") as stream:
    stream.seek(max(0, path.stat().st_size - _END))
    tail = stream.read()
  end = tail.rindex(b"PK\x05\x06")
  (count,) = struct.unpack_from("<10xH", tail, end)
  if count == 0xFFFF and (wide := tail.rfind(b"PK\x06\x06", 0, end)) >= 0:
    (count,) = struct.unpack_from("<32xQ", tail, wide)
  return int(count)


def _unzip(
  path: pathlib.Path,
  archive: zipfile.ZipFile,
  info: zipfile.ZipInfo,
  budget: size_limits.Budget,
) -> bytes:
  with _name_damaged_zip(path), archive.open(info) as member:
    # Of several members that share their bytes each takes its own size. Read
    # to the end, so that the checksum is compared.
    content = member.read(info.file_size)
    member.read(1)
  budget.take(len(content))
  return content


@contextlib.contextmanager
def _name_damaged_zip(path: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except Exception as error:  # zipfile has many, some of other modules
    # It seeks to wherever a zip says; other errors of the system are a disk's.
    if isinstance(error, OSError) and error.errno != errno.EINVAL:
      raise
    told = printable(str(error) or type(error).__name__)
    raise ValueError(
      f"{path} must be a whole zip without a password; it is damaged, "
      f"truncated or encrypted: {told}"
    ) from error


def _check(path: pathlib.Path, member: tarfile.TarInfo) -> None:
  if member.isdir():
    return
  if not member.isreg():
    raise ValueError(
      f"{path}: {printable(member.name)} must be a file or a folder; it is a "
      "link or a device: pack the files themselves (tar --dereference "
      "--hard-dereference)"
    )
  if member.issparse():
    raise ValueError(
      f"{path}: {printable(member.name)} must be a whole file; it is sparse: "
      "pack it without tar's --sparse"
    )


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
  content = archive.extractfile(member)
  if content is None:
    raise TypeError(f"{member.name!r} was checked to be a file")
  return content.read(member.size)


def names(path: pathlib.Path) -> list[str]:
  """Returns the names of all regular files of an archive or a folder.

  A folder's are those directly inside it.

  Raises:
    ValueError: as `entries`.
  """
  if path.is_dir():
    return sorted(entry.name for entry in path.iterdir() if entry.is_file())
  return [header.name for header, _ in _headers(path) if header.isreg()]


def read(path: pathlib.Path, file_names: Container[str]) -> dict[str, bytes]:
  """Reads files out of an archive, or out of the folder it was unpacked to.

  Args:
    path: the archive or the folder.
    file_names: the files' names without their folders.

  Returns:
    The contents of those that are there, by name.

  Raises:
    ValueError: as `entries`, or if two files of the archive have one name.
  """
  if path.is_dir():
    return {
      name: (path / name).read_bytes()
      for name in names(path)
      if name in file_names
    }
  contents: dict[str, bytes] = {}
  for header, content in _headers(path):
    base = header.name.rpartition("/")[2]
    if base not in file_names or not header.isreg():
      continue
    if base in contents:
      raise ValueError(f"{path} must hold one file {base}; it holds several")
    contents[base] = content()
  return contents
