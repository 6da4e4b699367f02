"""Reads prepared data sets by name, through TFDS and without TensorFlow.

It reads the sets that `importers.prepare` writes and those that TFDS itself
prepared as array_record: `mnist`, `fashion_mnist`, `svhn_cropped`, `cifar10`,
`cifar100` and any other with the features `image` and `label`. Recordings of
an event camera, `events`, are read of sets that `importers.prepare` wrote.

References:
  "TensorFlow Datasets, a collection of ready-to-use datasets",
  https://www.tensorflow.org/datasets.
"""

import contextlib
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

from snnjax.data import (
  dataset,
  descriptions,
  events,
  image_files,
  manifest,
  shards,
)
from snnjax.data.recordings import nmnist

_CHUNK = 4096  # examples read at once; so many are in memory twice
_CHANNELS = {**image_files.CHANNELS, "RGBA": 4}


class Records(NamedTuple):
  """One split on the disk, read at random.

  Attributes:
    read: positions -> inputs [n, ...] uint8 and labels [n] int32; may be
      called from several threads. The inputs are images [n, H, W, C], or a
      mapping of the modalities that were wanted.
    labels: reads the labels of all, [size] int32, and decodes no input.
    size: number of examples.
    shapes: of an image, (H, W, C), and of a recording, (T, height, width, 2).
    num_classes: number of classes.
    name: for reports, e.g. "mnist/test".
    classes: the classes' names.
  """

  read: Callable[[Sequence[int]], tuple[dataset.HostInputs, np.ndarray]]
  labels: Callable[[], np.ndarray]
  size: int
  shapes: Mapping[str, tuple[int, ...]]
  num_classes: int
  name: str
  classes: tuple[str, ...]


class Stored(NamedTuple):
  """One split as it was written, example by example.

  Attributes:
    read: positions -> for each what is stored of each modality, and its label.
      An image is [H, W, C] uint8; events are [M, 5] uint8, see
      `recordings.nmnist`.
    labels: as of `Records`.
    size: number of examples.
    image: shape of an image; () for a set without images.
    name: for reports, e.g. "mnist/test".
    classes: the classes' names.
  """

  read: Callable[[Sequence[int]], Iterator[tuple[dict[str, np.ndarray], int]]]
  labels: Callable[[], np.ndarray]
  size: int
  image: tuple[int, ...]
  name: str
  classes: tuple[str, ...]


def _check_features(features: Any, name: str, wanted: Collection[str]) -> None:
  """Raises unless a set has labels and what is wanted, as it must be stored."""
  missing = {*wanted, "label"} - set(features)
  if missing:
    listed = " and ".join([*sorted(wanted), "label"])
    raise ValueError(
      f"{name} must have the features {listed}; it has {sorted(features)}"
    )
  label = features["label"]
  if not isinstance(label, tfds.features.ClassLabel):
    raise ValueError(
      f"{name}: label must be a ClassLabel; it is {type(label).__name__}"
    )
  if "image" in wanted:
    _check_image(features["image"], name)
  if "events" in wanted:
    _check_events(features["events"], name)


def _check_image(image: Any, name: str) -> None:
  if not isinstance(image, tfds.features.Image | tfds.features.Tensor):
    raise ValueError(
      f"{name}: image must be an Image or a Tensor; it is "
      f"{type(image).__name__}"
    )
  shape = tuple(image.shape)
  if image.np_dtype != np.uint8 or len(shape) != 3 or None in shape:
    raise ValueError(
      f"{name}: images must be uint8 of one shape [H, W, C]; they are "
      f"{image.np_dtype} {shape}"
    )
  descriptions.check_shape(name, shape)


def _check_events(words: Any, name: str) -> None:
  if not isinstance(words, tfds.features.Tensor) or (
    (words.np_dtype, tuple(words.shape)) != (np.uint8, (None, 5))
  ):
    raise ValueError(
      f"{name}: events must be a Tensor of uint8 words (None, 5); it is "
      f"{words!r}"
    )


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


def open_stored(
  prepared: manifest.Prepared, split: str, wanted: Collection[str]
) -> Stored:
  """Opens one split of a prepared data set as it was written.

  Args:
    prepared: from `manifest.locate`, or just written and without a manifest.
    split: one of its splits.
    wanted: which modalities to read, some of "image" and "events".

  Returns:
    The examples; each read decodes only what it is asked for.

  Raises:
    ValueError: as `open_prepared`.
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
  _check_features(features, name, wanted)
  image = features["image"] if "image" in wanted else None
  shape = () if image is None else tuple(image.shape)

  def decode(example: Any, where: str) -> dict[str, np.ndarray]:
    stored = {}
    if image is not None:
      content = example["image"].bytes_list.value[0]
      if isinstance(image, tfds.features.Image):
        image_files.check(content, where, shape, _CHANNELS)
      stored["image"] = image.decode_example_np(content)
    if "events" in wanted:
      content = example["events"].bytes_list.value[0]
      stored["events"] = np.frombuffer(content, np.uint8).reshape(-1, 5)
    return stored

  def read(
    positions: Sequence[int],
  ) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    rows = [int(position) for position in positions]
    if rows and not 0 <= min(rows) <= max(rows) < size:
      raise ValueError(f"positions must be in [0, {size}); got {rows}")
    with _name_damaged_set(prepared.path):
      for row, example in zip(rows, _parse(records, rows), strict=True):
        label = example["label"].int64_list.value[0]
        yield decode(example, f"{name}[{row}]"), label

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

  classes = tuple(features["label"].names)
  return Stored(read, read_labels, size, shape, name, classes)


def open_prepared(
  prepared: manifest.Prepared,
  split: str,
  *,
  wanted: Sequence[str] | None = None,
  frames: int | None = None,
) -> Records:
  """Opens one split of a prepared data set.

  A recording becomes counts of its events in T bins of equal length, from its
  first event to its last, see `events.to_frames`.

  Args:
    prepared: from `manifest.locate`.
    split: one of its splits.
    wanted: some of its modalities, which are then read as a mapping. None
      reads its images, as one array.
    frames: number T of event frames, where events are wanted.

  Returns:
    The records; each read decodes only what it is asked for.

  Raises:
    ValueError: if the split is unknown, or the data set does not hold what is
      wanted with labels; if images have not one shape; if it names what TFDS
      would import.
  """
  names = ("image",) if wanted is None else tuple(wanted)
  manifest.check_wanted(prepared.name, prepared.modalities, names, frames)
  stored = open_stored(prepared, split, names)
  shapes = {"image": stored.image} if "image" in names else {}
  if "events" in names:
    shapes["events"] = (frames or 0, *prepared.modalities["events"])
    descriptions.check_shape(stored.name, shapes["events"])

  def read(positions: Sequence[int]) -> tuple[dataset.HostInputs, np.ndarray]:
    inputs = {
      name: np.empty((len(positions), *shape), np.uint8)
      for name, shape in shapes.items()
    }
    labels = np.empty(len(positions), np.int32)
    for row, (example, label) in enumerate(stored.read(positions)):
      labels[row] = label
      if "image" in shapes:
        inputs["image"][row] = example["image"]
      if "events" in shapes:
        where = f"{stored.name}[{positions[row]}]"
        words, shape = example["events"], shapes["events"]
        with _name_damaged_set(prepared.path):
          counts = _count(words.tobytes(), where, shape)
        inputs["events"][row] = _to_bytes(counts, where)
    return inputs["image"] if wanted is None else inputs, labels

  return Records(
    read,
    stored.labels,
    stored.size,
    shapes,
    len(stored.classes),
    stored.name,
    stored.classes,
  )


def _count(content: bytes, where: str, shape: tuple[int, ...]) -> np.ndarray:
  frames, height, width, _ = shape
  recording = nmnist.decode(content, where, sensor=(height, width))
  return events.to_frames(recording.events, frames)


def _to_bytes(counts: np.ndarray, where: str) -> np.ndarray:
  if counts.max() > np.iinfo(np.uint8).max:
    raise ValueError(
      f"{where}: a pixel must have at most 255 events in one frame; got "
      f"{counts.max()} in one of {len(counts)}: use more frames"
    )
  return counts.astype(np.uint8)


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
  name: str,
  split: str,
  data_dir: str | pathlib.Path | None = None,
  *,
  wanted: Sequence[str] | None = None,
  frames: int | None = None,
) -> Records:
  """Opens one split of a data set by name, to be read piece by piece.

  The shards' SHA-256 are not compared, which would read all of them; the
  record format's own checksums are, as pieces are read.

  Args:
    name: of the data set; "name/config" for one of TFDS' configurations.
    split: for instance "train" or "test".
    data_dir: see `manifest.data_folder`.
    wanted: see `open_prepared`.
    frames: likewise.

  Raises:
    MissingDataError: if it is not prepared, at once and with the command.
    ValueError: see `open_prepared`.
  """
  prepared = manifest.locate(name, data_dir)
  return open_prepared(prepared, split, wanted=wanted, frames=frames)


def load(
  name: str,
  split: str,
  data_dir: str | pathlib.Path | None = None,
  *,
  wanted: Sequence[str] | None = None,
  frames: int | None = None,
) -> dataset.Dataset:
  """Loads one split of a data set by name into memory.

  Args:
    name: of the data set; "name/config" for one of TFDS' configurations.
    split: for instance "train" or "test".
    data_dir: see `manifest.data_folder`.
    wanted: see `open_prepared`.
    frames: likewise.

  Returns:
    Images [N, H, W, C] uint8, or a mapping of what is wanted, with labels [N]
    int32, in the prepared order.

  Raises:
    MissingDataError: if it is not prepared, at once and with the command.
    ValueError: if a shard has changed since it was prepared; see also
      `open_prepared`.
  """
  prepared = manifest.locate(name, data_dir)
  manifest.verify(prepared, (split,))
  source = open_prepared(prepared, split, wanted=wanted, frames=frames)
  inputs = {
    modality: np.empty((source.size, *shape), np.uint8)
    for modality, shape in source.shapes.items()
  }
  labels = np.empty(source.size, np.int32)
  for begin in range(0, source.size, _CHUNK):
    rows = range(begin, min(begin + _CHUNK, source.size))
    part, labels[rows.start : rows.stop] = source.read(rows)
    for modality, stored in inputs.items():
      stored[rows.start : rows.stop] = (
        part[modality] if isinstance(part, Mapping) else part
      )
  return dataset.validate(
    dataset.Dataset(
      inputs["image"] if wanted is None else inputs,
      labels,
      source.num_classes,
      source.name,
      source.classes,
    )
  )
