"""CIFAR10-DVS unpacked: `class/cifar10_class_n.aedat`, AEDAT 2.0 files.

Each of ten classes has recordings 0 to 999 of a DVS128; there are no splits.
They are stored as N-MNIST's events, their times from the first event on.

References:
  H. Li, H. Liu, X. Ji, G. Li, L. Shi, "CIFAR10-DVS: An Event-Stream Dataset
  for Object Classification", 2017.
"""

import collections
import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from snnjax.data.importers import archives, file_trees
from snnjax.data.importers.file_trees import Leaf
from snnjax.data.recordings import aedat_2, nmnist

CLASSES = (
  "airplane",
  "automobile",
  "bird",
  "cat",
  "deer",
  "dog",
  "frog",
  "horse",
  "ship",
  "truck",
)
CAMERA = "DVS128"
SENSOR = (128, 128)
_FILE = re.compile(rf"cifar10_({'|'.join(CLASSES)})_(\d{{1,4}})\.aedat")


class Recordings(NamedTuple):
  """The recordings of a folder, ordered by class and number.

  Attributes:
    leaves: where they lie.
    labels: [N] int32.
    left_out: what is not read, counted by its name.
  """

  leaves: tuple[Leaf, ...]
  labels: np.ndarray
  left_out: Mapping[str, int]


def read(path: pathlib.Path) -> Recordings | None:
  """Finds the recordings of a folder; None if it has none.

  Args:
    path: holds the classes' folders, at any depth.

  Raises:
    ValueError: if a recording lies in another class' folder, or is there twice.
    OSError: if a folder cannot be listed.
  """
  if not path.is_dir():
    return None
  tree = file_trees.of_folder(path)
  left_out = collections.Counter(tree.left_out)
  places: dict[tuple[int, int], Leaf] = {}
  for leaf in tree.leaves:
    match = _FILE.fullmatch(leaf.parts[-1])
    if match is None:
      left_out[archives.printable(leaf.parts[0])] += 1
      continue
    folder = (tree.name, *leaf.parts)[-2]
    if folder != match[1]:
      raise ValueError(
        f"{leaf.where} must lie in a folder {match[1]}, as its name says; it "
        f"lies in {archives.printable(folder)}"
      )
    key = (CLASSES.index(match[1]), int(match[2]))
    if key in places:
      raise ValueError(
        f"{leaf.where} must be there once; {places[key].where} is it too"
      )
    places[key] = leaf
  if not places:
    return None
  keys = sorted(places)
  return Recordings(
    tuple(places[key] for key in keys),
    np.array([label for label, _ in keys], np.int32),
    left_out,
  )


def words(leaf: Leaf) -> np.ndarray:
  """Reads a recording as it is stored, see `recordings.nmnist`: [M, 5] uint8.

  Raises:
    ValueError: if it is damaged or has no events at two times; the message
      names the file.
    OSError: if it cannot be read.
  """
  read_one = aedat_2.decode(leaf.read(), leaf.where, camera=CAMERA)
  return nmnist.encode(read_one.events, leaf.where)
