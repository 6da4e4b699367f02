"""Folders of images, `split/class/file`, and tars of such folders."""

import collections
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from snnjax.data.image_files import SUFFIXES, Picture
from snnjax.data.importers import archives, file_trees
from snnjax.data.importers.file_trees import Leaf, Tree

SPLITS = (
  "train",
  "training",
  "test",
  "testing",
  "val",
  "valid",
  "validation",
  "dev",
  "eval",
  "extra",
)


class Images(NamedTuple):
  """The images of a folder or tar, by their splits.

  Attributes:
    splits: each split's images, sorted by class and name.
    classes: of all splits, sorted; of folders without an image too.
    files: what is read: the images, or the tars that they lie in.
    left_out: what is not read, counted by its name.
  """

  splits: Mapping[str, tuple[Picture, ...]]
  classes: tuple[str, ...]
  files: tuple[pathlib.Path, ...]
  left_out: Mapping[str, int]


_Place = Callable[[tuple[str, ...]], tuple[str, ...]]


class _Found(NamedTuple):
  """The same of one tree; the classes are not sorted."""

  splits: dict[str, list[Picture]]
  classes: set[str]
  left_out: collections.Counter[str]


def _is_image(leaf: Leaf) -> bool:
  return leaf.parts[-1].lower().endswith(SUFFIXES)


def _depth(images: list[Leaf], name: str) -> int:
  """How many parts every image's place has; raises naming one that differs."""
  depths = collections.Counter(len(leaf.parts) for leaf in images)
  depth = max(depths, key=lambda length: (depths[length], length))
  odd = [leaf for leaf in images if len(leaf.parts) != depth]
  if odd:
    raise ValueError(
      f"{odd[0].where} must lie as deep as the other images of {name}, "
      "split/class/file"
    )
  if depth < 2:
    raise ValueError(f"{images[0].where} must lie in a folder, its class")
  return depth


def _base(images: list[Leaf]) -> tuple[str, ...]:
  """The folder of all splits."""
  bases = {leaf.parts[:-3]: leaf for leaf in images}
  if len(bases) > 1:
    one, other = list(bases.values())[:2]
    raise ValueError(
      f"{one.where} and {other.where} must lie in one folder of splits, as "
      "split/class/file; give one of the folders, or move them"
    )
  return next(iter(bases))


def _place(tree: Tree, images: list[Leaf]) -> _Place:
  """From a place in the tree to split/class/file; () outside the splits."""
  if _depth(images, tree.name) == 2:
    return lambda parts: (tree.name, *parts)
  base = _base(images)
  level = len(base)
  return lambda parts: parts[level:] if parts[:level] == base else ()


def _refuse(leaf: Leaf, *, in_class: bool) -> None:
  """Raises about a file that is no image where images are."""
  name = archives.shown(leaf.parts[-1])
  raise ValueError(
    f"{leaf.where} must be an image, one of {SUFFIXES}; remove it or convert it"
    if in_class
    else f"{leaf.where} must not lie there: a split must hold one folder per "
    f"class; {name} is a file"
  )


def _beside(parts: tuple[str, ...], *, folder: bool = False) -> str:
  """What lies beside the splits is counted as: its topmost folder."""
  return archives.shown(parts[0]) + "/" * (folder or len(parts) > 1)


def _found(tree: Tree, *, packed: bool) -> _Found | None:
  """Reads a tree's layout off its images; None if it has none.

  `split/class/file` below any folders, or `class/file` of one split, which
  is called after the tree, as is a tar's one folder of another name.
  """
  images = [leaf for leaf in tree.leaves if _is_image(leaf)]
  if not images:
    return None
  place = _place(tree, images)
  names = {place(leaf.parts)[0]: place(leaf.parts)[0] for leaf in images}
  if packed and len(names) == 1:
    (name,) = names
    names[name] = name if name.lower() in SPLITS else tree.name
  found = _Found({}, set(), collections.Counter(tree.left_out))
  for leaf in tree.leaves:
    parts = place(leaf.parts)
    if _is_image(leaf):
      picture = Picture(parts[1], leaf.where, leaf.read)
      found.splits.setdefault(names[parts[0]], []).append(picture)
    elif len(parts) > 1 and parts[0] in names:
      _refuse(leaf, in_class=len(parts) > 2)
    elif packed or not archives.is_archive(pathlib.Path(leaf.where)):
      found.left_out[_beside(parts or leaf.parts)] += 1
  for folder in tree.folders:
    parts = place(folder)
    if len(parts) == 2 and parts[0] in names:
      found.classes.add(parts[1])
    elif len(parts) == 1 and parts[0] not in names:
      found.left_out[_beside(parts, folder=True)] += 0  # said, though empty
  return found


def _tars(path: pathlib.Path) -> list[pathlib.Path]:
  return sorted(
    entry
    for entry in path.iterdir()
    if archives.is_archive(entry) and not entry.name.startswith(".")
  )


def _add(whole: _Found, part: _Found, where: pathlib.Path) -> None:
  for split, listed in part.splits.items():
    if split in whole.splits:
      raise ValueError(
        f"{where} must not hold the split {archives.shown(split)!r}, which is "
        "there already; give one of the two"
      )
    whole.splits[split] = listed
  whole.classes.update(part.classes)
  whole.left_out.update(part.left_out)


def read(path: pathlib.Path) -> Images | None:
  """Finds the images of a folder or tar; None if it has none.

  They lie as `split/class/file`, below any folders. A tar may hold several
  splits or one, `class/file`, which is then called after the tar; a folder
  may hold such tars. A tar whose split lies unpacked beside it is left out.

  Args:
    path: a folder, or a compressed tar.

  Raises:
    ValueError: if a file lies elsewhere or is no image, two splits have one
      name, or a tar is damaged or has no image.
    OSError: if something cannot be read.
  """
  whole = _Found({}, set(), collections.Counter())
  files: list[pathlib.Path] = []
  tars = [path] if path.is_file() else _tars(path)
  if path.is_dir():
    tree = file_trees.of_folder(path)
    if found := _found(tree, packed=False):
      _add(whole, found, path)
      files += [path.joinpath(*x.parts) for x in tree.leaves if _is_image(x)]
    else:
      whole.left_out.update(tree.left_out)
      whole.left_out.update(
        _beside(leaf.parts)
        for leaf in tree.leaves
        if path.joinpath(*leaf.parts) not in tars
      )
  for tar in tars:
    if not archives.is_archive(tar):
      continue
    if file_trees.stem(tar) in whole.splits:
      whole.left_out[archives.shown(tar.name)] += 1
      continue
    found = _found(file_trees.of_tar(tar), packed=True)
    if found is None:
      raise ValueError(f"{tar} must hold class/image files; it holds none")
    _add(whole, found, tar)
    files.append(tar)
  if not whole.splits:
    return None
  splits = {
    split: tuple(sorted(listed, key=lambda picture: picture[:2]))
    for split, listed in whole.splits.items()
  }
  return Images(
    splits, tuple(sorted(whole.classes)), tuple(files), dict(whole.left_out)
  )
