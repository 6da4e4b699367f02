"""CIFAR-10 and CIFAR-100 as downloaded, in python and in binary form.

The python form is a tar of pickled dictionaries (see `plain_pickle`); the
binary form a tar of records: one label byte (CIFAR-100: coarse, then fine),
then 3072 bytes of red, green and blue rows. CIFAR-100's labels are the fine
ones.

References:
  A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
  2009.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from snnjax.data import dataset
from snnjax.data.importers import archives, plain_pickle

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


class Layout(NamedTuple):
  """What one published archive looks like.

  Attributes:
    name: for reports.
    dataset: the data set's name, cifar10 or cifar100.
    splits: the files of each split, in order.
    meta: the file with the classes' names.
    labels: the python form's key of the labels; None in binary form.
    meta_key: the python form's key of the names; None in binary form.
    label_bytes: the binary form's label bytes, of which the last counts.
    num_classes: number of classes.
  """

  name: str
  dataset: str
  splits: Mapping[str, tuple[str, ...]]
  meta: str
  labels: str | None
  meta_key: str | None
  label_bytes: int
  num_classes: int


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
LAYOUTS = (
  Layout(
    "CIFAR-10, python form",
    "cifar10",
    {"train": _BATCHES, "test": ("test_batch",)},
    "batches.meta",
    "labels",
    "label_names",
    0,
    10,
  ),
  Layout(
    "CIFAR-10, binary form",
    "cifar10",
    {
      "train": tuple(f"{name}.bin" for name in _BATCHES),
      "test": ("test_batch.bin",),
    },
    "batches.meta.txt",
    None,
    None,
    1,
    10,
  ),
  Layout(
    "CIFAR-100, python form",
    "cifar100",
    {"train": ("train",), "test": ("test",)},
    "meta",
    "fine_labels",
    "fine_label_names",
    0,
    100,
  ),
  Layout(
    "CIFAR-100, binary form",
    "cifar100",
    {"train": ("train.bin",), "test": ("test.bin",)},
    "fine_label_names.txt",
    None,
    None,
    2,
    100,
  ),
)


def recognise(path: pathlib.Path) -> Layout | None:
  """Returns the layout of an archive or unpacked folder; None if it has none.

  It is the one whose file of class names is there beside a batch.

  Raises:
    ValueError: if the archive is damaged.
  """
  present = {name.rpartition("/")[2] for name in archives.names(path)}
  for layout in LAYOUTS:
    batches = {name for split in layout.splits.values() for name in split}
    if layout.meta in present and batches & present:
      return layout
  return None


def _get(content: Mapping[str, Any], key: str, where: str) -> Any:
  if key not in content:
    keys = archives.join_names(map(archives.printable, sorted(content)))
    raise ValueError(f"{where} must hold {key!r}; it holds {keys}")
  return content[key]


def _python_batch(
  content: bytes, layout: Layout, where: str
) -> tuple[np.ndarray, np.ndarray]:
  batch = plain_pickle.loads(content, where)
  pixels = _get(batch, "data", where)
  labels = _get(batch, str(layout.labels), where)
  if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (_PIXELS,):
    raise ValueError(
      f"{where}: data must be bytes [N, {_PIXELS}]; got "
      f"{getattr(pixels, 'shape', type(pixels).__name__)}"
    )
  if not isinstance(labels, list) or len(labels) != len(pixels):
    raise ValueError(
      f"{where}: {layout.labels} must be a list of {len(pixels)}, one label "
      "per image"
    )
  if not all(type(label) is int for label in labels):
    raise ValueError(f"{where}: {layout.labels} must be whole numbers")
  return pixels, np.array(labels, np.int64)


def _binary_batch(
  content: bytes, layout: Layout, where: str
) -> tuple[np.ndarray, np.ndarray]:
  length = layout.label_bytes + _PIXELS
  if not content or len(content) % length:
    raise ValueError(
      f"{where} must hold whole records of {length} bytes; it has "
      f"{len(content)} bytes: damaged or truncated"
    )
  rows = np.frombuffer(content, np.uint8).reshape(-1, length)
  labels = rows[:, layout.label_bytes - 1].astype(np.int64)
  return rows[:, layout.label_bytes :], labels


def _classes(content: bytes, layout: Layout, where: str) -> tuple[str, ...]:
  if layout.meta_key is None:
    lines: list[bytes] = content.split()
  else:
    names = _get(plain_pickle.loads(content, where), layout.meta_key, where)
    lines = names if isinstance(names, list) else []
  if len(lines) != layout.num_classes or not all(
    isinstance(line, bytes) for line in lines
  ):
    raise ValueError(
      f"{where} must name {layout.num_classes} classes; it names {len(lines)}"
    )
  return tuple(line.decode("ascii", "replace") for line in lines)


def classes(path: pathlib.Path, layout: Layout) -> tuple[str, ...]:
  """Returns the names of the classes.

  Raises:
    ValueError: if the file with them is damaged.
  """
  content = archives.read(path, (layout.meta,))[layout.meta]
  return _classes(content, layout, f"{path}: {layout.meta}")


def load(
  path: str | pathlib.Path, split: str, layout: Layout | None = None
) -> dataset.Dataset:
  """Loads one split of CIFAR-10 or CIFAR-100.

  Args:
    path: the archive as downloaded (cifar-10-python.tar.gz,
      cifar-10-binary.tar.gz, ...), or the folder it was unpacked to.
    split: "train" or "test".
    layout: which of `LAYOUTS`; recognised from the files if None.

  Returns:
    Images [N, 32, 32, 3] uint8 with labels [N] int32, in the archive's order.

  Raises:
    ValueError: if the split is unknown, or the archive is damaged, truncated
      or none of these.
    FileNotFoundError: if there is no such file.
  """
  path = pathlib.Path(path)
  layout = layout or recognise(path)
  if layout is None:
    raise ValueError(
      f"{path} must be one of {[known.name for known in LAYOUTS]}; its files "
      "are of none"
    )
  if split not in layout.splits:
    raise ValueError(
      f"split must be one of {sorted(layout.splits)}; got {split!r}"
    )
  file_names = (layout.meta, *layout.splits[split])
  contents = archives.read(path, file_names)
  for name in file_names:
    if name not in contents:
      raise ValueError(f"{path} must hold {name}; it does not: truncated?")
  decode = _binary_batch if layout.labels is None else _python_batch
  batches = [
    decode(contents.pop(name), layout, f"{path}: {name}")
    for name in layout.splits[split]
  ]
  pixels = np.concatenate([batch[0] for batch in batches])
  images = pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
  return dataset.validate(
    dataset.Dataset(
      np.ascontiguousarray(images),
      np.concatenate([batch[1] for batch in batches]).astype(np.int32),
      layout.num_classes,
      f"{layout.dataset}/{split}",
      _classes(contents[layout.meta], layout, f"{path}: {layout.meta}"),
    )
  )
