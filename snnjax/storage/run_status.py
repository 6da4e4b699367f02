"""How the run in a folder stands: status.json."""

import enum
import os
import pathlib
import time
from typing import Any

from snnjax.storage import files, identity

_NAME = "status.json"


class Status(enum.Enum):
  """How the run in a workdir stands."""

  RUNNING = "running"
  DONE = "done"
  FAILED = "failed"
  PREEMPTED = "preempted"


def write_status(
  path: pathlib.Path | str, status: Status, reason: str = ""
) -> None:
  """Writes status.json.

  Args:
    path: a workdir.
    status: how the run stands now.
    reason: why, for a person; empty where there is nothing to say.

  Raises:
    OSError: it cannot be written.
  """
  files.write_sealed(
    pathlib.Path(path) / _NAME,
    {"status": status.value, "reason": reason, "wall": _wall()},
  )


def read_status(path: pathlib.Path | str) -> tuple[Status | None, str]:
  """How the run in a folder stands.

  Args:
    path: a workdir, or any folder.

  Returns:
    The status, None where no run was opened, and its reason.

  Raises:
    DamagedError: status.json is damaged.
  """
  file = pathlib.Path(path) / _NAME
  if not file.exists():
    return None, ""
  remedy = "remove it and run the same command again"
  record = files.read_sealed(file, remedy)
  try:
    return Status(record["status"]), str(record["reason"])
  except (TypeError, KeyError, ValueError) as error:
    raise identity.damaged(file, repr(error), remedy) from None


def _wall() -> dict[str, Any]:
  now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
  return {"time": now, "pid": os.getpid()}
