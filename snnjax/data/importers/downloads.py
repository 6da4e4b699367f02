"""What a user downloaded, whichever it is: found out, named, read."""

import collections
import functools
import pathlib
import types
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import numpy as np

from snnjax.data import dataset, image_files
from snnjax.data.importers import (
  archives,
  cifar,
  emnist,
  idx,
  image_folders,
  svhn,
)

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
_NESTED = (  # of EMNIST's zip files, and of torchvision's folders
  "gzip",
  "matlab",
  "raw",
  "raw/gzip",
  "MNIST/raw",
  "FashionMNIST/raw",
  "EMNIST/raw",
  "EMNIST/raw/gzip",
)


class Examples(NamedTuple):
  """One split, ready to be read in any order.

  Attributes:
    labels: [N] int32.
    read: position -> image [H, W, C] uint8.
  """

  labels: np.ndarray
  read: Callable[[int], np.ndarray]

  @property
  def size(self) -> int:
    """The number of examples."""
    return len(self.labels)

  def part(self, positions: np.ndarray) -> "Examples":
    """Returns some of the examples, or all in another order."""
    return Examples(
      self.labels[positions], lambda row: self.read(int(positions[row]))
    )


class Source(NamedTuple):
  """What was found, not yet read.

  Attributes:
    layout: what it is, for reports.
    files: all files that are read.
    classes: the classes' names.
    splits: opens each split.
    formats: of image files, how many there are of each format.
    left_out: what lies among the files and is not read, counted by its name;
      0 for what has nothing in it.
  """

  layout: str
  files: tuple[pathlib.Path, ...]
  classes: tuple[str, ...]
  splits: Mapping[str, Callable[[], Examples]]
  formats: Mapping[str, int] = types.MappingProxyType({})
  left_out: Mapping[str, int] = types.MappingProxyType({})


_Reader = Callable[[pathlib.Path, str], Source | None]


def _examples(load: Callable[[], dataset.Dataset]) -> Examples:
  data = load()
  inputs = np.asarray(data.inputs)
  return Examples(data.labels, lambda row: inputs[row])


def _wanted(path: pathlib.Path, name: str, sets: Collection[str]) -> str | None:
  """Which EMNIST set of a folder a data set's name chooses; None for MNIST.

  Raises:
    ValueError: if it chooses none of several, or one that is not there.
  """
  chosen = name.removeprefix(_EMNIST)
  named = name.startswith(_EMNIST) and chosen in idx.EMNIST_CLASSES
  if named and chosen not in sets:
    raise ValueError(
      f"{path} must hold emnist-{chosen}-train-images-idx3-ubyte.gz and so "
      f"on, or emnist-{chosen}.mat, to be {name}; it holds the EMNIST sets "
      f"{sorted(sets)}"
    )
  if not named and len(sets) > 1:
    names = ", ".join(f"{_EMNIST}{one}" for one in sorted(sets))
    raise ValueError(
      f"{path} holds several EMNIST sets: give the name of one, {names}"
    )
  return chosen if named else next(iter(sets), None)


def _idx(path: pathlib.Path, name: str) -> Source | None:
  plain = idx.is_plain(path)
  sets = idx.emnist_sets(path)
  if not plain and not sets:
    return None
  # Beside MNIST's own files an EMNIST set must be named.
  chosen = None
  if not plain or name.startswith(_EMNIST):
    chosen = _wanted(path, name, sets)
  pairs = {
    split: pair
    for split in ("train", "test")
    if (pair := idx.find_pair(path, split, emnist=chosen))
  }
  data = idx.load_idx_folder(path, next(iter(pairs)), emnist=chosen)
  return Source(
    "IDX files",
    tuple(file for pair in pairs.values() for file in pair),
    _FASHION if name == "fashion_mnist" else data.classes,
    {
      split: functools.partial(
        _examples,
        functools.partial(idx.load_idx_folder, path, split, emnist=chosen),
      )
      for split in pairs
    },
  )


def _emnist(path: pathlib.Path, name: str) -> Source | None:
  folder = path if path.is_dir() else path.parent
  found = emnist.files(folder)
  if path.is_file():
    found = {one: file for one, file in found.items() if file == path}
  if not found:
    return None
  chosen = _wanted(path, name, found)
  file = found[str(chosen)]
  return Source(
    "EMNIST, MATLAB file",
    (file,),
    idx.EMNIST_CLASSES[str(chosen)],
    {
      split: functools.partial(
        _examples, functools.partial(emnist.load, file, split)
      )
      for split in emnist.SPLITS
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
  wanted = (layout.meta, *listed)
  files = [path] if path.is_file() else [path / file for file in wanted]
  others: Mapping[str, int] = {}
  if path.is_file():
    others = collections.Counter(
      archives.shown(inner)
      for inner in archives.names(path)
      if inner.rpartition("/")[2] not in wanted
    )
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
    left_out=others,
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
  found = image_folders.read(path)
  if found is None:
    return None
  every = (p for listed in found.splits.values() for p in listed)
  seen = image_files.survey(every)
  number = {label: n for n, label in enumerate(found.classes)}

  def open_split(split: str) -> Examples:
    listed = found.splits[split]
    labels = np.array([number[picture.label] for picture in listed], np.int32)
    return Examples(
      labels, lambda row: image_files.decode(listed[row], seen.shape)
    )

  return Source(
    "folder of images",
    found.files,
    found.classes,
    {split: functools.partial(open_split, split) for split in found.splits},
    seen.formats,
    found.left_out,
  )


def _inside(path: pathlib.Path) -> list[pathlib.Path]:
  """Known archives, or else known folders that they unpack to, in a folder."""
  return next(
    (
      listed
      for names in (_ARCHIVES, _UNPACKED, _NESTED)
      if (listed := [path / name for name in names if (path / name).exists()])
    ),
    [],
  )


def _beside(source: Source, path: pathlib.Path) -> Source:
  """The source, with what lies in its folder and is not read."""
  if not path.is_dir():
    return source
  others = {
    archives.shown(entry.name) + "/" * entry.is_dir(): 1
    for entry in sorted(path.iterdir())
    if entry not in source.files and entry not in source.files[0].parents
  }
  return source._replace(left_out={**source.left_out, **others})


def recognise(path: str | pathlib.Path, name: str) -> Source:
  """Finds out what a file or folder is.

  Args:
    path: a folder of IDX files; a CIFAR-10 or CIFAR-100 archive in python or
      binary form, the folder it unpacks to, or a folder with one such
      archive; an SVHN file or a folder of them; EMNIST's MATLAB file or a
      folder of them; a folder or compressed tar of images
      (`split/class/file`, or `class/file` of one split), or a folder of such
      tars.
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
  found = _known(path, name)
  inside = _inside(path) if path.is_dir() else []
  several = [one.layout for one in found]
  several += [str(file.relative_to(path)) for file in inside]
  if len(several) > 1:
    raise ValueError(
      f"{path} holds several data sets, {' and '.join(several)}: name one"
    )
  found += [_beside(one, path) for file in inside for one in _known(file, name)]
  if not found and (images := _images(path, name)) is not None:
    return images
  if found:
    return found[0]
  raise ValueError(
    f"{path} must be IDX files, a CIFAR-10 or CIFAR-100 archive (python or "
    "binary), SVHN's train_32x32.mat and test_32x32.mat, EMNIST's "
    "emnist-SET.mat, or images as split/class/file; it is none of these"
    f"{_holding(path)}"
  )


def _known(path: pathlib.Path, name: str) -> list[Source]:
  """What the readers of published data sets find."""
  of_files: tuple[_Reader, ...] = (_svhn, _cifar, _emnist)
  readers = (_idx, *of_files) if path.is_dir() else of_files
  return [
    _beside(source, path)
    for reader in readers
    if (source := reader(path, name)) is not None
  ]


def _holding(path: pathlib.Path) -> str:
  """What is there instead, for a message."""
  if not path.is_dir():
    return ""
  listed = sorted(archives.shown(entry.name) for entry in path.iterdir())
  more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
  return f": it holds {', '.join(listed[:5]) or 'nothing'}{more}"
