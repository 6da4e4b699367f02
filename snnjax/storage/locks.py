"""Locks of files and folders that die with the process that holds them."""

import enum
import errno
import fcntl
from typing import Protocol

_UNLOCKABLE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class Opened(Protocol):
  """A file that is open."""

  def fileno(self) -> int:
    """Its descriptor."""
    ...


class Lock(enum.Enum):
  """The result of asking for a file's lock."""

  HELD = "held"
  BUSY = "busy"  # another process holds it
  ABSENT = "absent"  # the file system has none


def take(
  opened: int | Opened, *, shared: bool = False, wait: bool = False
) -> Lock:
  """Asks for the lock of an open file or folder, until that is closed.

  Args:
    opened: the file, or a descriptor; on network file systems a shared lock
      needs one that can be read, the other kind one that can be written.
    shared: whether others may hold it too, if theirs is shared.
    wait: until it is free.

  Returns:
    How it stands; never `Lock.BUSY` if `wait`.

  Raises:
    OSError: it cannot be asked for.
  """
  kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
  try:
    fcntl.flock(opened, kind if wait else kind | fcntl.LOCK_NB)
  except BlockingIOError:
    return Lock.BUSY
  except OSError as error:
    if error.errno not in _UNLOCKABLE:
      raise
    return Lock.ABSENT
  return Lock.HELD
