"""A download whose files are known, and whose splits are opened on demand."""

import pathlib
import types
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Examples(NamedTuple):
  """One split, ready to be read in any order.

  Attributes:
    labels: [N] int32.
    read: position -> what is stored of each modality: "image" [H, W, C]
      uint8; "events" [M, 5] uint8, see `recordings.nmnist`.
  """

  labels: np.ndarray
  read: Callable[[int], Mapping[str, np.ndarray]]

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
  """A recognised download; its images are read when a split is opened.

  Attributes:
    layout: what it is, for reports.
    files: all files that are read.
    classes: the classes' names.
    splits: opens each split.
    formats: of image files, how many there are of each format.
    left_out: what lies among the files and is not read, counted by its name;
      0 for what has nothing in it.
    images: files from elsewhere that are read besides: the recordings' images.
    sensor: rows and columns of the camera of its events, if it has events.
  """

  layout: str
  files: tuple[pathlib.Path, ...]
  classes: tuple[str, ...]
  splits: Mapping[str, Callable[[], Examples]]
  formats: Mapping[str, int] = types.MappingProxyType({})
  left_out: Mapping[str, int] = types.MappingProxyType({})
  images: tuple[pathlib.Path, ...] = ()
  sensor: tuple[int, int] | None = None
