"""Limits on what a compressed file may unpack to, checked before unpacking.

A kilobyte can unpack to gigabytes. The limit is a multiple of the file's own
size. Where a header gives the unpacked size, the header is checked before
anything is unpacked; elsewhere unpacking stops at the limit.
"""

import gzip
import io
import pathlib
import zlib

TIMES = 10  # published sets unpack to at most five times their files
SPARE = 24 << 20  # bytes; small files may pack better
_ENTRIES = 5_000  # and one more for each
_PER_ENTRY = 64  # bytes of the packed file


class TooLargeError(ValueError):
  """A packed file holds more than it may; the message names it."""


class Budget:
  """The bytes that one packed file may still unpack to."""

  def __init__(self, path: pathlib.Path, packed: int | None = None) -> None:
    """Begins with nothing taken.

    Args:
      path: of the file, for messages.
      packed: its size in bytes; looked up if None.

    Raises:
      OSError: there is no such file.
    """
    self._path = path
    self._packed = path.stat().st_size if packed is None else packed
    self._most = TIMES * self._packed + SPARE
    self._entries = _ENTRIES + self._packed // _PER_ENTRY

  def take(self, size: int) -> None:
    """Takes some bytes.

    Raises:
      TooLargeError: it is more than is left, or negative.
    """
    self._most -= size
    if size < 0 or self._most < 0:
      raise TooLargeError(
        f"{self._path} must not unpack to more than {TIMES} times its "
        f"{self._packed:,} bytes and {SPARE:,} more; it does: if you trust "
        "it, unpack it yourself and give what it unpacks to"
      )

  def check(self, size: int) -> None:
    """Asks whether there is room for some bytes, and takes none.

    Raises:
      TooLargeError: there is not, or it is negative.
    """
    self.take(size)
    self._most += size

  def take_entry(self) -> None:
    """Takes one file of an archive.

    Raises:
      TooLargeError: there are more than so few bytes can hold.
    """
    self._entries -= 1
    if self._entries < 0:
      raise TooLargeError(
        f"{self._path} has {self._packed:,} bytes and must not hold more than "
        f"{_ENTRIES + self._packed // _PER_ENTRY:,} files; it does: if you "
        "trust it, unpack it yourself and give what it unpacks to"
      )


class Unzipped:
  """A gzip file in memory, unpacked as far as it is read."""

  def __init__(self, path: pathlib.Path, content: bytes) -> None:
    """Unpacks nothing yet.

    Args:
      path: for messages.
      content: of the file.
    """
    self._path = path
    self._budget = Budget(path, len(content))
    self._stream = gzip.GzipFile(fileobj=io.BytesIO(content))

  def read(self, size: int) -> bytes:
    """Returns the next bytes; fewer where it ends.

    Raises:
      TooLargeError: it is larger than it may be.
      ValueError: it is damaged.
    """
    self._budget.take(size)
    try:
      return self._stream.read(size)
    except (EOFError, OSError, zlib.error) as error:
      raise ValueError(
        f"{self._path} must be a whole gzip file; it is damaged or truncated: "
        f"{error}"
      ) from error
