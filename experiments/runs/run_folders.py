"""Finds the runs below a folder, at any depth, and names them for a report."""

import os
import pathlib
from collections import Counter
from collections.abc import Iterator, Sequence

from snnjax.storage import workdir

# Folders that a run makes in its own: no runs are looked for in them.
_OWN = ("evaluation", "report", "checkpoints", "arrays", "events")


def find(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the folders of all runs at or below a folder, sorted.

  Args:
    path: a run's folder, or one that holds such, nested or not.

  Raises:
    OSError: a folder cannot be read.
    ValueError: a run's status is damaged.
  """
  return list(_runs(path)) if path.is_dir() else []


def names(root: pathlib.Path, runs: Sequence[pathlib.Path]) -> list[str]:
  """Returns what runs are called in a report: unique, and printable.

  Args:
    root: what they lie in; the names are paths from there.
    runs: `root` itself, which bears its own name, or folders below it.
  """
  printable_names = [_printable(_relative(root, run)) for run in runs]
  twice = {
    name for name, count in Counter(printable_names).items() if count > 1
  }
  return [
    f"{name} ({number})" if name in twice else name
    for number, name in enumerate(printable_names, 1)
  ]


def _runs(path: pathlib.Path) -> Iterator[pathlib.Path]:
  visited: set[tuple[int, int]] = set()
  left = [path]
  while left:  # folders may lie deeper than functions can
    folder = left.pop()
    status = folder.stat()
    if (status.st_dev, status.st_ino) in visited:  # links may make a circle
      continue
    visited.add((status.st_dev, status.st_ino))
    is_run = workdir.read_status(folder)[0] is not None
    if is_run:
      yield folder
    with os.scandir(folder) as entries:
      below = sorted(entry.name for entry in entries if entry.is_dir())
    left += [
      folder / name
      for name in reversed(below)
      if not (is_run and name.startswith(_OWN))
    ]


def _relative(root: pathlib.Path, run: pathlib.Path) -> str:
  if run == root:
    # Of a link its own name; of "." and ".." what they stand for.
    return os.path.basename(os.path.abspath(root)) or "run"
  return run.relative_to(root).as_posix()


def _printable(name: str) -> str:
  """A folder's name with every unprintable character escaped."""
  text = os.fsencode(name).decode("utf-8", "backslashreplace")
  return "".join(
    letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
  )
