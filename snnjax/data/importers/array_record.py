"""Writes the splits of an array_record TFDS data set, example by example."""

import contextlib
import errno
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from snnjax.data import manifest
from snnjax.data.importers import sources

Progress = Callable[[int, int, str], None]  # (done, total, description)

CHUNK = 1000  # examples between two reports
_SHARD_BYTES = 256 << 20


def update(digest: Any, stored: Mapping[str, np.ndarray], label: int) -> None:
  """Adds one example to a hash of hashlib.

  Args:
    digest: the hash.
    stored: what `sources.Examples.read` returns.
    label: its class.
  """
  if "image" in stored:
    digest.update(np.ascontiguousarray(stored["image"]).data)
  if "events" in stored:  # of any number, so that goes before them
    words = np.ascontiguousarray(stored["events"])
    digest.update(len(words).to_bytes(8, "little"))
    digest.update(words.data)
  digest.update(label.to_bytes(4, "little"))


def _check(
  image: np.ndarray | None,
  label: int,
  shape: tuple[int, ...],
  source: sources.Source,
) -> None:
  if image is not None and (image.dtype != np.uint8 or image.shape != shape):
    raise ValueError(
      f"{source.layout}: every image must be uint8 {shape}, as the first one; "
      f"got {image.dtype} {image.shape}"
    )
  if not 0 <= label < len(source.classes):
    raise ValueError(
      f"{source.layout}: labels must be in [0, {len(source.classes)}); got "
      f"{label}"
    )


@contextlib.contextmanager
def _disk_errors(folder: pathlib.Path) -> Iterator[None]:
  """Turns the writer's errors into OSErrors that name what is written."""
  try:
    yield
  except OSError as error:
    if error.errno is None or error.filename is not None:
      raise
    raise OSError(error.errno, error.strerror, str(folder)) from error
  except RuntimeError as error:
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
      if os.strerror(code) in str(error):
        raise OSError(code, str(error)) from error
    raise OSError(errno.EIO, str(error)) from error


class Writer:
  """Writes one data set's splits, one after the other."""

  def __init__(
    self,
    name: str,
    version: str,
    folder: pathlib.Path,
    source: sources.Source,
  ) -> None:
    self._name, self._version, self._folder = name, version, folder
    self._source = source
    self._writer: Any = None
    self._shape: tuple[int, ...] = ()  # of its images

  @property
  def modalities(self) -> dict[str, tuple[int, ...]]:
    """What an example holds: the shape of an image, of one event frame."""
    image = {"image": self._shape} if self._shape else {}
    sensor = self._source.sensor
    return {**image, **({"events": (*sensor, 2)} if sensor else {})}

  def _check_known(self) -> None:
    known = manifest.KNOWN.get(self._name)
    classes = len(self._source.classes)
    if known is None:
      return
    shape = self._shape or known.shape  # a set may be without images
    if (known.shape, known.num_classes) != (shape, classes):
      raise ValueError(
        f"{self._name} must have images {known.shape} of {known.num_classes} "
        f"classes; the source, {self._source.layout}, has {shape} of "
        f"{classes}: give it another name"
      )

  def _start(self, stored: Mapping[str, np.ndarray]) -> None:
    """Begins a data set whose first example is given."""
    self._shape = stored["image"].shape if "image" in stored else ()
    self._check_known()
    tensors = {
      name: tfds.features.Tensor(
        shape=array.shape if name == "image" else (None, *array.shape[1:]),
        dtype=np.uint8,
        encoding="bytes",
      )
      for name, array in sorted(stored.items(), reverse=True)
    }
    classes = list(self._source.classes)
    features = tfds.features.FeaturesDict(
      {**tensors, "label": tfds.features.ClassLabel(names=classes)}
    )
    identity = tfds.core.DatasetIdentity(
      name=self._name,
      version=tfds.core.Version(self._version),
      data_dir=os.fspath(self._folder),
      module_name=__name__,
    )
    info = tfds.core.DatasetInfo(
      builder=identity,
      description=f"Made from {self._source.layout}.",
      features=features,
      supervised_keys=(next(iter(tensors)), "label"),
      disable_shuffling=True,
    )
    self._writer = tfds.core.SequentialWriter(
      info,
      max_examples_per_shard=max(
        1, _SHARD_BYTES // sum(array.nbytes for array in stored.values())
      ),
      file_format=manifest.ARRAY_RECORD,
    )

  def write(
    self, split: str, examples: sources.Examples, progress: Progress
  ) -> str:
    """Writes a split; returns the SHA-256 of its examples."""
    digest = hashlib.sha256()
    chunk: list[dict[str, Any]] = []
    for done, label in enumerate(examples.labels.tolist(), 1):
      stored = examples.read(done - 1)
      if self._writer is None:
        self._start(stored)
      if done == 1:
        with _disk_errors(self._folder):
          self._writer.initialize_splits([split])
      _check(stored.get("image"), label, self._shape, self._source)
      update(digest, stored, label)
      chunk.append({**stored, "label": label})
      if done % CHUNK == 0 or done == examples.size:
        with _disk_errors(self._folder):
          self._writer.add_examples({split: chunk})
        chunk = []
        progress(done, examples.size, f"write {split}")
    with _disk_errors(self._folder):
      self._writer.close_splits([split])
    return digest.hexdigest()
