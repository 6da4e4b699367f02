"""The lock of a folder: one process changes it, or several read it."""

import errno
import io
import pathlib
import warnings

from snnjax.storage import locks

_NAME = ".lock"
# Where a lock file cannot be made, as on a read-only or a full disk.
_UNWRITABLE = (
  errno.EROFS,
  errno.EACCES,
  errno.EPERM,
  errno.ENOSPC,
  errno.EDQUOT,
)


class WorkdirBusy(OSError):  # noqa: N818
  """Another process runs in the workdir, or reads what is to be changed."""


def hold(root: pathlib.Path) -> io.FileIO:
  """Makes the folder and holds its lock, which dies with the process."""
  try:
    root.mkdir(parents=True, exist_ok=True)
    stream = io.FileIO(root / _NAME, "a")
  except OSError as error:
    raise OSError(
      error.errno, f"workdir cannot be written: {error.strerror}", str(root)
    ) from None
  return _take_or_close(stream, root, shared=False)


def share(root: pathlib.Path) -> io.FileIO | None:
  """Holds the lock of a folder together with other readers.

  None where nobody made the lock file and none can be made: then nobody who
  could write there asks for it.
  """
  place = root / _NAME
  try:
    # Opened for reading: that is all a read-only disk allows.
    stream = io.FileIO(place, "r") if place.exists() else io.FileIO(place, "a+")
  except OSError as error:
    if error.errno in _UNWRITABLE:
      return None
    raise
  return _take_or_close(stream, root, shared=True)


def _take_or_close(
  stream: io.FileIO, root: pathlib.Path, *, shared: bool
) -> io.FileIO:
  """Takes the lock without waiting for it, or closes the file."""
  try:
    match locks.take(stream, shared=shared):
      case locks.Lock.BUSY:
        others = not shared and locks.take(stream, shared=True)
        does = "reads" if others is locks.Lock.HELD else "runs in"
        raise WorkdirBusy(
          errno.EWOULDBLOCK,
          f"another process {does} the workdir; wait until it has ended",
          str(root),
        )
      case locks.Lock.ABSENT:
        warnings.warn(
          f"{root} is on a file system without locks: let no second process in",
          stacklevel=5,
        )
  except BaseException:
    stream.close()
    raise
  return stream
