"""Reads prepared data sets by name, through TFDS and without TensorFlow.

It reads the sets that `importers.prepare` writes and those that TFDS itself
prepared as array_record: `mnist`, `fashion_mnist`, `svhn_cropped`, `cifar10`,
`cifar100` and any other with the features `image` and `label`.

References:
  "TensorFlow Datasets, a collection of ready-to-use datasets",
  https://www.tensorflow.org/datasets.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

from snnjax.data import dataset, descriptions, image_files, manifest, shards

_CHUNK = 4096  # examples read at once; so many are in memory twice
_CHANNELS = {**image_files.CHANNELS, "RGBA": 4}


class Records(NamedTuple):
  """One split on the disk, read at random.

  Attributes:
    read: positions -> images [n, H, W, C] uint8 and labels [n] int32; may be
      called from several threads.
    labels: reads the labels of all, [size] int32, and decodes no image.
    size: number of examples.
    shape: of an image, (H, W, C).
    num_classes: number of classes.
    name: for reports, e.g. "mnist/test".
    classes: the classes' names.
  """

  read: Callable[[Sequence[int]], tuple[np.ndarray, np.ndarray]]
  labels: Callable[[], np.ndarray]
  size: int
  shape: tuple[int, ...]
  num_classes: int
  name: str
  classes: tuple[str, ...]


def _features(
  features: Any, name: str
) -> tuple[Any, tuple[int, ...], tuple[str, ...]]:
  missing = {"image", "label"} - set(features)
  if missing:
    raise ValueError(
      f"{name} must have the features image and label; it has "
      f"{sorted(features)}"
    )
  image, label = features["image"], features["label"]
  if not (
    isinstance(image, tfds.features.Image | tfds.features.Tensor)
    and isinstance(label, tfds.features.ClassLabel)
  ):
    raise ValueError(
      f"{name}: image must be an Image or a Tensor, label a ClassLabel; they "
      f"are {type(image).__name__} and {type(label).__name__}"
    )
  shape = tuple(image.shape)
  if image.np_dtype != np.uint8 or len(shape) != 3 or None in shape:
    raise ValueError(
      f"{name}: images must be uint8 of one shape [H, W, C]; they are "
      f"{image.np_dtype} {shape}"
    )
  descriptions.check_shape(name, shape)
  return image, shape, tuple(label.names)


@contextlib.contextmanager
def _name_damaged_set(folder: pathlib.Path) -> Iterator[None]:
  """Turns any error of the three reading libraries into one ValueError.

  It says that the set in `folder` is damaged. OSErrors pass as they are.
  """
  try:
    yield
  except OSError:  # of the disk, or a missing file: it says so
    raise
  except Exception as error:  # many classes, some of them private
    raise ValueError(f"{folder} is damaged: {error!r}") from error


def open_prepared(prepared: manifest.Prepared, split: str) -> Records:
  """Opens one split of a prepared data set.

  Args:
    prepared: from `manifest.locate`.
    split: one of its splits.

  Returns:
    The records; each read decodes only what it is asked for.

  Raises:
    ValueError: if the split is unknown, or the data set holds no images of
      one shape with labels; if it names what TFDS would import.
  """
  name = f"{prepared.name}/{split}"
  manifest.verify(prepared, ())
  if split not in prepared.splits:
    raise ValueError(
      f"split of {prepared.name} must be one of {sorted(prepared.splits)}; "
      f"got {split!r}"
    )
  descriptions.check(prepared.path)
  with _name_damaged_set(prepared.path):
    builder = tfds.builder_from_directory(prepared.path)
    features = builder.info.features
    # Raw records: decoding one TFDS example costs five times as much.
    records = builder.as_data_source(
      split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    size = _count_examples(builder, split)
  image, shape, classes = _features(features, name)

  def read(positions: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    rows = [int(position) for position in positions]
    if rows and not 0 <= min(rows) <= max(rows) < size:
      raise ValueError(f"positions must be in [0, {size}); got {rows}")
    images = np.empty((len(rows), *shape), np.uint8)
    labels = np.empty(len(rows), np.int32)
    with _name_damaged_set(prepared.path):
      for row, example in enumerate(_parse(records, rows)):
        content = example["image"].bytes_list.value[0]
        if isinstance(image, tfds.features.Image):
          where = f"{name}[{rows[row]}]"
          image_files.check(content, where, shape, _CHANNELS)
        images[row] = image.decode_example_np(content)
        labels[row] = example["label"].int64_list.value[0]
    return images, labels

  def read_labels() -> np.ndarray:
    labels = np.empty(size, np.int32)
    with _name_damaged_set(prepared.path):
      for begin in range(0, size, _CHUNK):
        rows = range(begin, min(begin + _CHUNK, size))
        labels[rows.start : rows.stop] = [
          example["label"].int64_list.value[0]
          for example in _parse(records, rows)
        ]
    return labels

  return Records(read, read_labels, size, shape, len(classes), name, classes)


def _count_examples(builder: Any, split: str) -> int:
  """The number of examples; raises if the shards hold another number."""
  info = builder.info.splits[split]
  for path, expected in zip(info.filepaths, info.shard_lengths, strict=True):
    shards.check(pathlib.Path(path))
    reader = array_record_module.ArrayRecordReader(str(path))
    count = reader.num_records()
    reader.close()
    if count != expected:
      raise ValueError(
        f"{path} must hold {expected} examples; it holds {count}"
      )
  return int(info.num_examples)


def _parse(records: Any, positions: Sequence[int]) -> Iterator[Any]:
  """Yields the features of some examples, their images still encoded."""
  for raw in records.__getitems__(list(positions)):
    yield tf_example_pb2.Example.FromString(raw).features.feature


def records(
  name: str, split: str, data_dir: str | pathlib.Path | None = None
) -> Records:
  """Opens one split of a data set by name, to be read piece by piece.

  The shards' SHA-256 are not compared, which would read all of them; the
  record format's own checksums are, as pieces are read.

  Args:
    name: of the data set; "name/config" for one of TFDS' configurations.
    split: for instance "train" or "test".
    data_dir: see `manifest.data_folder`.

  Raises:
    MissingDataError: if it is not prepared, at once and with the command.
    ValueError: see `open_prepared`.
  """
  return open_prepared(manifest.locate(name, data_dir), split)


def load(
  name: str, split: str, data_dir: str | pathlib.Path | None = None
) -> dataset.Dataset:
  """Loads one split of a data set by name into memory.

  Args:
    name: of the data set; "name/config" for one of TFDS' configurations.
    split: for instance "train" or "test".
    data_dir: see `manifest.data_folder`.

  Returns:
    Images [N, H, W, C] uint8 with labels [N] int32, in the prepared order.

  Raises:
    MissingDataError: if it is not prepared, at once and with the command.
    ValueError: if a shard has changed since it was prepared; see also
      `open_prepared`.
  """
  prepared = manifest.locate(name, data_dir)
  manifest.verify(prepared, (split,))
  source = open_prepared(prepared, split)
  images = np.empty((source.size, *source.shape), np.uint8)
  labels = np.empty(source.size, np.int32)
  for begin in range(0, source.size, _CHUNK):
    rows = range(begin, min(begin + _CHUNK, source.size))
    images[rows.start : rows.stop], labels[rows.start : rows.stop] = (
      source.read(rows)
    )
  return dataset.validate(
    dataset.Dataset(
      images, labels, source.num_classes, source.name, source.classes
    )
  )
