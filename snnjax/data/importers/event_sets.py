"""Downloads of recordings as sources: N-MNIST, CIFAR10-DVS, DVS128 Gesture."""

import functools
import pathlib

import numpy as np

from snnjax.data.importers import cifar10_dvs, dvs_gesture, idx, nmnist
from snnjax.data.importers.sources import Examples, Source


def nmnist_source(
  path: pathlib.Path, images: pathlib.Path | None
) -> Source | None:
  """Returns N-MNIST's recordings in a folder or archive; None without any.

  Args:
    path: see `nmnist.read`.
    images: of MNIST's IDX files; an example then has its image too.
  """
  recordings = nmnist.read(path)
  if recordings is None:
    return None
  pictures = {
    split: nmnist.paired(listed, images, split)
    for split, listed in recordings.splits.items()
    if images is not None
  }

  def open_split(split: str) -> Examples:
    listed, paired = recordings.splits[split], pictures.get(split)

    def read(row: int) -> dict[str, np.ndarray]:
      image = {} if paired is None else {"image": paired[row]}
      return {**image, "events": nmnist.words(listed[row])}

    labels = [recording.label for recording in listed]
    return Examples(np.array(labels, np.int32), read)

  return Source(
    "N-MNIST recordings" + " with their images" * (images is not None),
    recordings.files,
    nmnist.CLASSES,
    {
      split: functools.partial(open_split, split) for split in recordings.splits
    },
    left_out=recordings.left_out,
    images=tuple(
      file
      for split in recordings.splits
      if images is not None
      for file in idx.find_pair(images, split)
    ),
    sensor=nmnist.SENSOR,
  )


def cifar10_dvs_source(path: pathlib.Path) -> Source | None:
  """Returns CIFAR10-DVS' recordings in a folder; None without any."""
  found = cifar10_dvs.read(path)
  if found is None:
    return None
  leaves, labels, left_out = found

  def open_split() -> Examples:
    return Examples(
      labels, lambda row: {"events": cifar10_dvs.words(leaves[row])}
    )

  return Source(
    "CIFAR10-DVS recordings",
    tuple(path.joinpath(*leaf.parts) for leaf in leaves),
    cifar10_dvs.CLASSES,
    {"train": open_split},
    left_out=left_out,
    sensor=cifar10_dvs.SENSOR,
  )


def dvs_gesture_source(path: pathlib.Path) -> Source | None:
  """Returns DVS128 Gesture's gestures in a folder; None without any."""
  found = dvs_gesture.read(path)
  if found is None:
    return None

  def open_split(split: str) -> Examples:
    listed = found.splits[split]
    labels = np.array([gesture.span.label for gesture in listed], np.int32)
    return Examples(
      labels, lambda row: {"events": dvs_gesture.words(listed[row])}
    )

  return Source(
    "DVS128 Gesture recordings",
    found.files,
    dvs_gesture.CLASSES,
    {split: functools.partial(open_split, split) for split in found.splits},
    left_out=found.left_out,
    sensor=dvs_gesture.SENSOR,
  )
