"""Recognises a downloaded data set by its files and opens its splits.

`recognise` tries the reader of every published form in turn (IDX, EMNIST's
MATLAB files, CIFAR's archives, SVHN, N-MNIST, CIFAR10-DVS, DVS128 Gesture,
folders of images). It returns a `Source`, which names the files and opens each
split on demand, and raises where no reader or more than one knows the files.
"""

import collections
import functools
import pathlib
from collections.abc import Callable, Collection, Mapping

import numpy as np

from snnjax.data import dataset, image_files
from snnjax.data.importers import (
  archives,
  cifar,
  emnist,
  event_sets,
  idx,
  image_folders,
  svhn,
)
from snnjax.data.importers.sources import Examples, Source

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


_Reader = Callable[[pathlib.Path, str], Source | None]


def _examples(load: Callable[[], dataset.Dataset]) -> Examples:
  data = load()
  inputs = np.asarray(data.inputs)
  return Examples(data.labels, lambda row: {"image": inputs[row]})


def _choose_emnist_set(
  path: pathlib.Path, name: str, sets: Collection[str]
) -> str | None:
  """Returns the EMNIST set that the data set's name asks for.

  Args:
    path: the folder, for messages.
    name: of the data set; "emnist_letters" asks for the set "letters".
    sets: the EMNIST sets that the folder has.

  Returns:
    The set; None if the folder has none and the name asks for none.

  Raises:
    ValueError: if the folder has several sets and the name asks for none of
      them, or the name asks for one that is not there.
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
    names = ", ".join(f"{_EMNIST}{emnist_set}" for emnist_set in sorted(sets))
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
    chosen = _choose_emnist_set(path, name, sets)
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
  by_set = emnist.files(folder)
  if path.is_file():
    by_set = {
      emnist_set: file for emnist_set, file in by_set.items() if file == path
    }
  if not by_set:
    return None
  chosen = _choose_emnist_set(path, name, by_set)
  file = by_set[str(chosen)]
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
  batches = [f for split in layout.splits.values() for f in split]
  names = (layout.meta, *batches)
  files = [path] if path.is_file() else [path / file for file in names]
  others: Mapping[str, int] = {}
  if path.is_file():
    others = collections.Counter(
      archives.printable(inner)
      for inner in archives.names(path)
      if inner.rpartition("/")[2] not in names
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
  by_split = {
    split: folder / file
    for split, file in svhn.FILES.items()
    if (folder / file).is_file() and path in (folder, folder / file)
  }
  if not by_split:
    return None
  return Source(
    "SVHN, cropped digits",
    tuple(by_split.values()),
    svhn.CLASSES,
    {
      split: functools.partial(
        _examples, functools.partial(svhn.load, file, split)
      )
      for split, file in by_split.items()
    },
  )


def _images(path: pathlib.Path, name: str) -> Source | None:
  del name
  images = image_folders.read(path)
  if images is None:
    return None
  pictures = (p for listed in images.splits.values() for p in listed)
  survey = image_files.survey(pictures)
  number = {label: n for n, label in enumerate(images.classes)}

  def open_split(split: str) -> Examples:
    listed = images.splits[split]
    labels = np.array([number[picture.label] for picture in listed], np.int32)
    return Examples(
      labels,
      lambda row: {"image": image_files.decode(listed[row], survey.shape)},
    )

  return Source(
    "folder of images",
    images.files,
    images.classes,
    {split: functools.partial(open_split, split) for split in images.splits},
    survey.formats,
    images.left_out,
  )


def _inside(path: pathlib.Path) -> list[pathlib.Path]:
  """The published archives in a folder; without any, the unpacked folders."""
  return next(
    (
      listed
      for names in (_ARCHIVES, _UNPACKED, _NESTED)
      if (listed := [path / name for name in names if (path / name).exists()])
    ),
    [],
  )


def _with_unread_files(source: Source, path: pathlib.Path) -> Source:
  """Adds the folder's other entries to what the source leaves out."""
  if not path.is_dir():
    return source
  others = {
    archives.printable(entry.name) + "/" * entry.is_dir(): 1
    for entry in sorted(path.iterdir())
    if entry not in source.files and entry not in source.files[0].parents
  }
  return source._replace(left_out={**source.left_out, **others})


def recognise(
  path: str | pathlib.Path,
  name: str,
  images: str | pathlib.Path | None = None,
) -> Source:
  """Returns the data set that a downloaded file or folder holds.

  Args:
    path: a folder of IDX files; a CIFAR-10 or CIFAR-100 archive in python or
      binary form, the folder it unpacks to, or a folder with one such
      archive; an SVHN file or a folder of them; EMNIST's MATLAB file or a
      folder of them; a folder or compressed tar of images
      (`split/class/file`, or `class/file` of one split), or a folder of such
      tars; N-MNIST's recordings, `Train/digit/nnnnn.bin`, likewise; the
      unpacked folder of CIFAR10-DVS or of DVS128 Gesture.
    name: the data set's name, which chooses among several EMNIST sets
      (emnist_letters, ...) and names Fashion-MNIST's classes.
    images: the folder of MNIST's IDX files; an example is then the recording
      and the image that it is of. None takes recordings alone.

  Returns:
    The source; its images are not read yet, but those given with recordings.

  Raises:
    ValueError: if it is none or several of these, or damaged; if images are
      given and it is no recordings, or not of these images.
    FileNotFoundError: if there is nothing.
  """
  path = pathlib.Path(path).expanduser()
  if not path.exists():
    raise FileNotFoundError(f"there is no file or folder {path}")
  if images is not None:
    return _paired(path, pathlib.Path(images).expanduser())
  sources = _read_published(path, name)
  inside = _inside(path) if path.is_dir() else []
  several = [source.layout for source in sources]
  several += [str(file.relative_to(path)) for file in inside]
  if len(several) > 1:
    raise ValueError(
      f"{path} holds several data sets, {' and '.join(several)}: name one"
    )
  sources += [
    _with_unread_files(source, path)
    for file in inside
    for source in _read_published(file, name)
  ]
  if sources:
    return sources[0]
  other = (
    event_sets.nmnist_source(path, None)
    or event_sets.cifar10_dvs_source(path)
    or event_sets.dvs_gesture_source(path)
    or _images(path, name)
  )
  if other is not None:
    return other
  raise ValueError(
    f"{path} must be IDX files, a CIFAR-10 or CIFAR-100 archive (python or "
    "binary), SVHN's train_32x32.mat and test_32x32.mat, EMNIST's "
    "emnist-SET.mat, N-MNIST's Train/digit/nnnnn.bin, CIFAR10-DVS' "
    "class/cifar10_class_n.aedat, DVS128 Gesture's folder, or images as "
    f"split/class/file; it is none of these{_describe_content(path)}"
  )


def _paired(path: pathlib.Path, images: pathlib.Path) -> Source:
  """The recordings in `path`, each with its image; raises if there are none."""
  source = event_sets.nmnist_source(path, images)
  if source is None:
    raise ValueError(
      f"{path} must hold N-MNIST's recordings, Train/digit/nnnnn.bin, to be "
      f"paired with images; it holds none{_describe_content(path)}"
    )
  return source


def _read_published(path: pathlib.Path, name: str) -> list[Source]:
  """The sources that the readers of published data sets recognise."""
  of_files: tuple[_Reader, ...] = (_svhn, _cifar, _emnist)
  readers = (_idx, *of_files) if path.is_dir() else of_files
  return [
    _with_unread_files(source, path)
    for reader in readers
    if (source := reader(path, name)) is not None
  ]


def _describe_content(path: pathlib.Path) -> str:
  """Names what a folder holds, for the message that it is not recognised."""
  if not path.is_dir():
    return ""
  listed = sorted(archives.printable(entry.name) for entry in path.iterdir())
  more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
  return f": it holds {', '.join(listed[:5]) or 'nothing'}{more}"
