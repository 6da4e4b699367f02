"""What a user downloaded, whichever it is: found out, named, read."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from snnjax.data import archives, cifar, dataset, folders, idx, svhn

_FASHION = (
  "T-shirt/top",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
)
_EMNIST = "emnist_"
_ARCHIVES = tuple(
  f"cifar-{classes}-{form}.tar.gz"
  for classes in (10, 100)
  for form in ("python", "binary")
)
_UNPACKED = (
  "cifar-10-batches-py",
  "cifar-10-batches-bin",
  "cifar-100-python",
  "cifar-100-binary",
)


class Examples(NamedTuple):
  """One split, being read.

  Attributes:
    size: number of examples.
    rows: images [H, W, C] uint8 with their labels, in order.
  """

  size: int
  rows: Iterable[tuple[np.ndarray, int]]


class Source(NamedTuple):
  """What was found, not yet read.

  Attributes:
    layout: what it is, for reports.
    files: all files that are read.
    classes: the classes' names.
    splits: opens each split.
  """

  layout: str
  files: tuple[pathlib.Path, ...]
  classes: tuple[str, ...]
  splits: Mapping[str, Callable[[], Examples]]


def _examples(load: Callable[[], dataset.Dataset]) -> Examples:
  data = load()
  inputs = np.asarray(data.inputs)
  return Examples(len(inputs), zip(inputs, data.labels.tolist(), strict=True))


def _idx(path: pathlib.Path, name: str) -> Source | None:
  chosen = name.removeprefix(_EMNIST)
  named = name.startswith(_EMNIST) and chosen in idx.EMNIST_CLASSES
  emnist = chosen if named else None
  pairs = {
    split: pair
    for split in ("train", "test")
    if (pair := idx.find_pair(path, split, emnist=emnist))
  }
  if not pairs:
    return None
  data = idx.load_idx_folder(path, next(iter(pairs)), emnist=emnist)
  return Source(
    "IDX files",
    tuple(file for pair in pairs.values() for file in pair),
    _FASHION if name == "fashion_mnist" else data.classes,
    {
      split: functools.partial(
        _examples,
        functools.partial(idx.load_idx_folder, path, split, emnist=emnist),
      )
      for split in pairs
    },
  )


def _cifar(path: pathlib.Path, name: str) -> Source | None:
  if path.is_file() and not archives.is_archive(path):
    return None
  layout = cifar.recognise(path)
  if layout is None:
    return None
  if name in ("cifar10", "cifar100") and name != layout.dataset:
    raise ValueError(f"{path} must be {name}; it is {layout.name}")
  listed = [f for split in layout.splits.values() for f in split]
  files = [path]
  if path.is_dir():
    files = [path / file for file in (layout.meta, *listed)]
  return Source(
    layout.name,
    tuple(files),
    cifar.classes(path, layout),
    {
      split: functools.partial(
        _examples, functools.partial(cifar.load, path, split, layout)
      )
      for split in layout.splits
    },
  )


def _svhn(path: pathlib.Path, name: str) -> Source | None:
  del name
  folder = path if path.is_dir() else path.parent
  found = {
    split: folder / file
    for split, file in svhn.FILES.items()
    if (folder / file).is_file() and path in (folder, folder / file)
  }
  if not found:
    return None
  return Source(
    "SVHN, cropped digits",
    tuple(found.values()),
    svhn.CLASSES,
    {
      split: functools.partial(
        _examples, functools.partial(svhn.load, file, split)
      )
      for split, file in found.items()
    },
  )


def _images(path: pathlib.Path, name: str) -> Source | None:
  del name
  found = folders.splits(path)
  if not found:
    return None
  listed = {split: folders.pictures(part) for split, part in found.items()}
  labels = sorted({p.label for part in listed.values() for p in part})
  first = next(iter(listed.values()))[0]
  shape = folders.decode(first, None).shape

  def open_split(split: str) -> Examples:
    rows = (
      (folders.decode(picture, shape), labels.index(picture.label))
      for picture in listed[split]
    )
    return Examples(len(listed[split]), rows)

  files = (
    (part,) if part.is_file() else (pathlib.Path(p.name) for p in listed[split])
    for split, part in found.items()
  )
  return Source(
    "folder of images",
    tuple(file for part in files for file in part),
    tuple(labels),
    {split: functools.partial(open_split, split) for split in listed},
  )


def _inside(path: pathlib.Path) -> list[pathlib.Path]:
  """CIFAR's archives, or else the folders they unpack to, in a folder."""
  return next(
    (
      listed
      for names in (_ARCHIVES, _UNPACKED)
      if (listed := [path / name for name in names if (path / name).exists()])
    ),
    [],
  )


def recognise(path: str | pathlib.Path, name: str) -> Source:
  """Finds out what a file or folder is.

  Args:
    path: a folder of IDX files; a CIFAR-10 or CIFAR-100 archive in python or
      binary form, the folder it unpacks to, or a folder with one such
      archive; an SVHN file or a folder of them; a folder of images
      (`split/class/file`), a compressed tar of one split, or a folder of
      such tars.
    name: the data set's name, which chooses among several EMNIST sets
      (emnist_letters, ...) and names Fashion-MNIST's classes.

  Returns:
    The source; its images are not read yet.

  Raises:
    ValueError: if it is none or several of these, or damaged.
    FileNotFoundError: if there is nothing.
  """
  path = pathlib.Path(path).expanduser()
  if not path.exists():
    raise FileNotFoundError(f"there is no file or folder {path}")
  inside = _inside(path)
  if len(inside) > 1:
    listed = ", ".join(file.name for file in inside)
    raise ValueError(f"{path} holds several archives, {listed}: name one")
  path = inside[0] if inside else path
  found = [
    source
    for reader in ((_idx, _svhn, _cifar) if path.is_dir() else (_svhn, _cifar))
    if (source := reader(path, name)) is not None
  ]
  if not found and (images := _images(path, name)) is not None:
    found = [images]
  if len(found) == 1:
    return found[0]
  if found:
    layouts = " and ".join(source.layout for source in found)
    raise ValueError(f"{path} holds several data sets: {layouts}; name a file")
  raise ValueError(
    f"{path} must be IDX files, a CIFAR-10 or CIFAR-100 archive (python or "
    "binary), SVHN's train_32x32.mat and test_32x32.mat, or images as "
    "split/class/file; it is none of these"
  )
