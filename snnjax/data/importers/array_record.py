"""Writes the splits of an array_record TFDS data set, example by example."""

import contextlib
import errno
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from snnjax.data import manifest
from snnjax.data.importers import downloads

Progress = Callable[[int, int, str], None]  # (done, total, description)

CHUNK = 1000  # examples between two reports
_SHARD_BYTES = 256 << 20


def update(digest: Any, image: np.ndarray, label: int) -> None:
  """Adds one example to a hash of hashlib."""
  digest.update(np.ascontiguousarray(image).data)
  digest.update(label.to_bytes(4, "little"))


def _check(
  image: np.ndarray,
  label: int,
  shape: tuple[int, ...],
  source: downloads.Source,
) -> None:
  if image.dtype != np.uint8 or image.shape != shape:
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
    source: downloads.Source,
  ) -> None:
    self._name, self._version, self._folder = name, version, folder
    self._source = source
    self._writer: Any = None
    self._shape: tuple[int, ...] = ()

  def _start(self, shape: tuple[int, ...]) -> None:
    known = manifest.KNOWN.get(self._name)
    classes = len(self._source.classes)
    if known and (known.shape, known.num_classes) != (shape, classes):
      raise ValueError(
        f"{self._name} must have images {known.shape} of {known.num_classes} "
        f"classes; the source, {self._source.layout}, has {shape} of "
        f"{classes}: give it another name"
      )
    self._shape = shape
    features = tfds.features.FeaturesDict(
      {
        "image": tfds.features.Tensor(
          shape=shape, dtype=np.uint8, encoding="bytes"
        ),
        "label": tfds.features.ClassLabel(names=list(self._source.classes)),
      }
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
      supervised_keys=("image", "label"),
      disable_shuffling=True,
    )
    self._writer = tfds.core.SequentialWriter(
      info,
      max_examples_per_shard=max(1, _SHARD_BYTES // int(np.prod(shape))),
      file_format=manifest.ARRAY_RECORD,
    )

  def write(
    self, split: str, examples: downloads.Examples, progress: Progress
  ) -> str:
    """Writes a split; returns the SHA-256 of its examples."""
    digest = hashlib.sha256()
    chunk: list[dict[str, Any]] = []
    for done, label in enumerate(examples.labels.tolist(), 1):
      image = examples.read(done - 1)
      if self._writer is None:
        self._start(image.shape)
      if done == 1:
        with _disk_errors(self._folder):
          self._writer.initialize_splits([split])
      _check(image, label, self._shape, self._source)
      update(digest, image, label)
      chunk.append({"image": image, "label": label})
      if done % CHUNK == 0 or done == examples.size:
        with _disk_errors(self._folder):
          self._writer.add_examples({split: chunk})
        chunk = []
        progress(done, examples.size, f"write {split}")
    with _disk_errors(self._folder):
      self._writer.close_splits([split])
    return digest.hexdigest()
