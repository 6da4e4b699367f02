"""Lists the files of a folder or archive in one form, hidden ones left out."""

import collections
import functools
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from snnjax.data.importers import archives

_DEEPEST = 64  # folders above a file
_WAYS = 16  # by links, to one folder
_JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")


class Leaf(NamedTuple):
  """One file.

  Attributes:
    parts: the folders it lies in and its name, from the tree's root.
    where: for messages.
    read: returns the content.
  """

  parts: tuple[str, ...]
  where: str
  read: Callable[[], bytes]


class Tree(NamedTuple):
  """All files below one folder, or of one archive.

  Attributes:
    name: of the folder or archive, without suffixes.
    leaves: the files, sorted by their places.
    folders: the places of all folders, the root aside.
    left_out: how many files of each name were ignored, because systems write
      them everywhere: names that begin with a dot, __MACOSX and the like.
  """

  name: str
  leaves: tuple[Leaf, ...]
  folders: frozenset[tuple[str, ...]]
  left_out: collections.Counter[str]


def stem(path: pathlib.Path) -> str:
  """Returns the name of a folder, or of an archive without its suffixes."""
  base = path.name.partition(".tar")[0]
  return base.removesuffix(".tgz").removesuffix(".zip")


def _junk(parts: tuple[str, ...]) -> str:
  """The name under which an ignored file is counted; empty for data."""
  for part in parts:
    if part in _JUNK or part.startswith("."):
      return "._*" if part.startswith("._") else archives.printable(part)
  return ""


def _make_tree(
  name: str,
  leaves: list[Leaf],
  folders: set[tuple[str, ...]],
  left_out: collections.Counter[str],
) -> Tree:
  leaves.sort(key=lambda leaf: leaf.parts)
  return Tree(name, tuple(leaves), frozenset(folders), left_out)


def _check_depth(parts: tuple[str, ...], where: str) -> None:
  if len(parts) > _DEEPEST:
    raise ValueError(
      f"{where} lies {len(parts)} folders deep; {_DEEPEST} are the most"
    )


def _refuse(error: OSError) -> None:
  raise error


def of_folder(root: pathlib.Path) -> Tree:
  """Lists a folder; links are followed.

  Raises:
    OSError: if a folder cannot be listed.
    ValueError: if it holds a pipe, a device, a link to nothing or links in a
      circle, or is too deep.
  """
  leaves: list[Leaf] = []
  folders: set[tuple[str, ...]] = set()
  left_out: collections.Counter[str] = collections.Counter()
  reached: collections.Counter[tuple[int, int]] = collections.Counter()
  for place, inner, names in os.walk(root, onerror=_refuse, followlinks=True):
    here = pathlib.Path(place)
    parts = here.relative_to(root).parts
    _check_depth(parts, archives.printable(place))
    status = os.stat(place)
    reached[status.st_dev, status.st_ino] += 1
    if reached[status.st_dev, status.st_ino] > _WAYS:
      raise ValueError(
        f"{archives.printable(place)} is reached by more than {_WAYS} ways: "
        "links go in a circle, or double; remove them"
      )
    left_out.update(
      junk for name in (*inner, *names) if (junk := _junk((name,)))
    )
    inner[:] = sorted(name for name in inner if not _junk((name,)))
    folders.update((*parts, name) for name in inner)
    for name in names:
      if _junk((name,)):
        continue
      path = here / name
      if not path.is_file():
        raise ValueError(
          f"{archives.printable(str(path))} must be a file; it is a pipe, a "
          "device or a link to nothing"
        )
      where = archives.printable(str(path))
      leaves.append(Leaf((*parts, name), where, path.read_bytes))
  return _make_tree(stem(root.resolve()), leaves, folders, left_out)


def _return_content(content: bytes) -> bytes:
  return content


def of_archive(path: pathlib.Path) -> Tree:
  """Lists a tar or zip and keeps the content of its files in memory.

  Raises:
    ValueError: if the archive is damaged, holds a link or one name twice, or is
      too deep.
  """
  leaves: dict[tuple[str, ...], Leaf] = {}
  folders: set[tuple[str, ...]] = set()
  left_out: collections.Counter[str] = collections.Counter()
  for name, content in archives.entries(path):
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    _check_depth(parts, f"{path}: {archives.printable(name)}")
    if junk := _junk(parts):
      left_out[junk] += content is not None
      continue
    above = parts if content is None else parts[:-1]
    folders.update(above[: n + 1] for n in range(len(above)))
    if content is None:
      continue
    where = f"{path}: {archives.printable(name)}"
    if parts in leaves:
      raise ValueError(
        f"{where} must be there once; the archive holds it twice"
      )
    leaves[parts] = Leaf(
      parts, where, functools.partial(_return_content, content)
    )
  return _make_tree(stem(path), list(leaves.values()), folders, +left_out)
