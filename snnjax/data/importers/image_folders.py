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


class _TreeImages(NamedTuple):
  """The images of one folder tree or tar, while they are being collected."""

  splits: dict[str, list[Picture]]
  classes: set[str]
  left_out: collections.Counter[str]


def _is_image(leaf: Leaf) -> bool:
  return leaf.parts[-1].lower().endswith(SUFFIXES)


def _depth(images: list[Leaf], name: str) -> int:
  """The number of parts of every image's path; raises where they differ."""
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
  """The folder that holds all splits; raises where there are several."""
  bases = {leaf.parts[:-3]: leaf for leaf in images}
  if len(bases) > 1:
    first, other = list(bases.values())[:2]
    raise ValueError(
      f"{first.where} and {other.where} must lie in one folder of splits, as "
      "split/class/file; give one of the folders, or move them"
    )
  return next(iter(bases))


def _place(tree: Tree, images: list[Leaf]) -> _Place:
  """Returns what cuts a path in the tree down to split/class/file.

  It returns () for a path outside the splits.
  """
  if _depth(images, tree.name) == 2:
    return lambda parts: (tree.name, *parts)
  base = _base(images)
  level = len(base)
  return lambda parts: parts[level:] if parts[:level] == base else ()


def _refuse(leaf: Leaf, *, in_class: bool) -> None:
  """Raises about a file that is no image where images are."""
  name = archives.printable(leaf.parts[-1])
  raise ValueError(
    f"{leaf.where} must be an image, one of {SUFFIXES}; remove it or convert it"
    if in_class
    else f"{leaf.where} must not lie there: a split must hold one folder per "
    f"class; {name} is a file"
  )


def _unread_name(parts: tuple[str, ...], *, folder: bool = False) -> str:
  """The name under which an unread file is counted: its topmost folder."""
  return archives.printable(parts[0]) + "/" * (folder or len(parts) > 1)


def _read_tree(tree: Tree, *, packed: bool) -> _TreeImages | None:
  """Collects the images of a tree; None if it has none.

  They lie as `split/class/file`, below any folders, or as `class/file`. The
  one split of the second form gets the tree's name; so does a tar's only
  folder if its name is not that of a split.
  """
  images = [leaf for leaf in tree.leaves if _is_image(leaf)]
  if not images:
    return None
  place = _place(tree, images)
  names = {place(leaf.parts)[0]: place(leaf.parts)[0] for leaf in images}
  if packed and len(names) == 1:
    (name,) = names
    names[name] = name if name.lower() in SPLITS else tree.name
  tree_images = _TreeImages({}, set(), collections.Counter(tree.left_out))
  for leaf in tree.leaves:
    parts = place(leaf.parts)
    if _is_image(leaf):
      picture = Picture(parts[1], leaf.where, leaf.read)
      tree_images.splits.setdefault(names[parts[0]], []).append(picture)
    elif len(parts) > 1 and parts[0] in names:
      _refuse(leaf, in_class=len(parts) > 2)
    elif packed or not archives.is_archive(pathlib.Path(leaf.where)):
      tree_images.left_out[_unread_name(parts or leaf.parts)] += 1
  for folder in tree.folders:
    parts = place(folder)
    if len(parts) == 2 and parts[0] in names:
      tree_images.classes.add(parts[1])
    elif len(parts) == 1 and parts[0] not in names:
      # A folder without files is reported too, as 0 files left out.
      tree_images.left_out[_unread_name(parts, folder=True)] += 0
  return tree_images


def _add(total: _TreeImages, part: _TreeImages, where: pathlib.Path) -> None:
  for split, listed in part.splits.items():
    if split in total.splits:
      raise ValueError(
        f"{where} must not hold the split {archives.printable(split)!r}, which "
        "is there already; give one of the two"
      )
    total.splits[split] = listed
  total.classes.update(part.classes)
  total.left_out.update(part.left_out)


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
  total = _TreeImages({}, set(), collections.Counter())
  files: list[pathlib.Path] = []
  tars = archives.find(path)
  if path.is_dir():
    tree = file_trees.of_folder(path)
    if tree_images := _read_tree(tree, packed=False):
      _add(total, tree_images, path)
      files += [path.joinpath(*x.parts) for x in tree.leaves if _is_image(x)]
    else:
      total.left_out.update(tree.left_out)
      total.left_out.update(
        _unread_name(leaf.parts)
        for leaf in tree.leaves
        if path.joinpath(*leaf.parts) not in tars
      )
  for tar in tars:
    if file_trees.stem(tar) in total.splits:
      total.left_out[archives.printable(tar.name)] += 1
      continue
    tree_images = _read_tree(file_trees.of_archive(tar), packed=True)
    if tree_images is None:
      raise ValueError(f"{tar} must hold class/image files; it holds none")
    _add(total, tree_images, tar)
    files.append(tar)
  if not total.splits:
    return None
  splits = {
    split: tuple(sorted(listed, key=lambda picture: picture[:2]))
    for split, listed in total.splits.items()
  }
  return Images(
    splits, tuple(sorted(total.classes)), tuple(files), dict(total.left_out)
  )
