"""N-MNIST as downloaded: `Train/digit/nnnnn.bin` and `Test/digit/nnnnn.bin`.

File n of a split, counted from 1, is the recording of image n of the same
split of MNIST. A part of the set is its first files; one that is missing in
between is an error.

References:
  G. Orchard, A. Jayawant, G. Cohen, N. Thakor, "Converting Static Image
  Datasets to Spiking Neuromorphic Datasets Using Saccades", 2015,
  arXiv:1507.07629.
"""

import collections
import pathlib
import re
import string
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from snnjax.data import image_files
from snnjax.data.importers import archives, file_trees, idx
from snnjax.data.importers.file_trees import Leaf, Tree
from snnjax.data.recordings import nmnist as recorded

CLASSES = tuple(string.digits)
SENSOR = recorded.SENSOR
SPLITS = ("train", "test")
_FILE = re.compile(r"(\d+)\.bin")
_PLACE = re.compile(r"(.*/)?(train|test)/\d/\d+\.bin", re.IGNORECASE)


class Recording(NamedTuple):
  """One file.

  Attributes:
    number: of its image, from 1.
    label: the digit.
    leaf: where it lies.
  """

  number: int
  label: int
  leaf: Leaf


class Recordings(NamedTuple):
  """The recordings of a folder or archive, by their splits.

  Attributes:
    splits: each split's recordings, the one of image n at n - 1.
    files: what is read: the recordings, or the archives that they lie in.
    left_out: what is not read, counted by its name.
  """

  splits: Mapping[str, tuple[Recording, ...]]
  files: tuple[pathlib.Path, ...]
  left_out: Mapping[str, int]


def _parts(tree: Tree, leaf: Leaf) -> tuple[str, ...]:
  """A file's path with the tree's own name, which may be that of a split."""
  return (tree.name, *leaf.parts)


def _is_recording(parts: tuple[str, ...]) -> bool:
  return _PLACE.fullmatch("/".join(parts)) is not None


def _recording(leaf: Leaf) -> Recording:
  """Raises ValueError for a file of a split that is no recording."""
  *_, digit, name = leaf.parts
  file = _FILE.fullmatch(name)
  if file is None or digit not in CLASSES:
    raise ValueError(
      f"{leaf.where} must be a recording, digit/nnnnn.bin in the folder of its "
      "split; remove it"
    )
  return Recording(int(file[1]), int(digit), leaf)


def _sorted(listed: list[Recording]) -> tuple[Recording, ...]:
  """The recordings by number; raises unless they are 1, 2, 3, ..."""
  listed.sort(key=lambda recording: recording.number)
  for expected, recording in enumerate(listed, 1):
    number, _, leaf = recording
    if number < expected:
      twin = listed[expected - 2]
      reason = (
        "are numbered from 1"
        if number < 1
        else f"have one number each; {twin.leaf.where} has it too"
      )
      raise ValueError(f"{leaf.where} must not be there: recordings {reason}")
    if number > expected:
      raise ValueError(
        f"{expected:05d}.bin is missing from the split of {leaf.where}: a part "
        "of N-MNIST must be its first files, without gaps"
      )
  return tuple(listed)


def _unread(leaf: Leaf) -> str:
  """The name under which an unread file is counted: its topmost folder."""
  return archives.printable(leaf.parts[0]) + "/" * (len(leaf.parts) > 1)


def _read_tree(
  tree: Tree,
) -> tuple[dict[str, list[Recording]], collections.Counter[str]]:
  """The recordings of one tree, by split, and what else there is, counted."""
  splits: dict[str, list[Recording]] = {}
  left_out = collections.Counter(tree.left_out)
  folders: dict[tuple[str, ...], str] = {}
  for leaf in tree.leaves:
    parts = _parts(tree, leaf)
    if _is_recording(parts):
      folders.setdefault(parts[:-2], leaf.where)
  for split in SPLITS:
    own = [folder for folder in folders if folder[-1].lower() == split]
    if len(own) > 1:
      first, other = (folders[folder] for folder in own[:2])
      raise ValueError(
        f"{first} and {other} must lie in one folder {split}: give one of the "
        "two, or move them"
      )
  for leaf in tree.leaves:
    parts = _parts(tree, leaf)
    inside = next((f for f in folders if parts[: len(f)] == f), None)
    if inside is not None:
      _append(splits, inside[-1].lower(), leaf, len(parts) - len(inside))
    else:
      left_out[_unread(leaf)] += 1
  return splits, left_out


def _append(
  splits: dict[str, list[Recording]], split: str, leaf: Leaf, depth: int
) -> None:
  if depth != 2:
    raise ValueError(
      f"{leaf.where} must not lie there: a split must hold one folder per "
      "digit with recordings, nnnnn.bin; remove it"
    )
  splits.setdefault(split, []).append(_recording(leaf))


def _holds_recordings(tar: pathlib.Path) -> bool:
  """Whether a tar or zip has a recording; reads on to the first image."""
  stem = file_trees.stem(tar)
  for name, content in archives.entries(tar):
    if content is not None and _is_recording((stem, name)):
      return True
    if name.lower().endswith(image_files.SUFFIXES):
      return False
  return False


def read(path: pathlib.Path) -> Recordings | None:
  """Finds the recordings of a folder or archive; None if it has none.

  They lie as `Train/digit/nnnnn.bin` and `Test/digit/nnnnn.bin`, below any
  folders; one of the two is enough, and may be the folder itself. An archive
  holds both or one; a folder may hold such archives, which are left out where
  recordings lie unpacked beside them.

  Args:
    path: a folder, a compressed tar, or a zip.

  Raises:
    ValueError: if a split holds another file, a number is missing or there
      twice, or an archive is damaged; the message names the file.
    OSError: if something cannot be read.
  """
  trees: dict[pathlib.Path, Tree] = {}
  left_out: collections.Counter[str] = collections.Counter()
  if path.is_dir():
    tree = file_trees.of_folder(path)
    if any(_is_recording(_parts(tree, leaf)) for leaf in tree.leaves):
      trees[path] = tree
    else:
      left_out.update(tree.left_out)
      left_out.update(map(_unread, tree.leaves))
  for file in [] if trees else archives.find(path):
    if _holds_recordings(file):
      trees[file] = file_trees.of_archive(file)
      del left_out[archives.printable(file.name)]
  splits: dict[str, list[Recording]] = {}
  files: list[pathlib.Path] = []
  for place, tree in trees.items():
    own, others = _read_tree(tree)
    for split, listed in own.items():
      splits.setdefault(split, []).extend(listed)
    left_out.update(others)
    files += (
      [place]
      if place.is_file()
      else [
        place.joinpath(*r.leaf.parts) for listed in own.values() for r in listed
      ]
    )
  if not splits:
    return None
  ordered = {
    split: _sorted(splits[split]) for split in SPLITS if split in splits
  }
  return Recordings(ordered, tuple(files), dict(left_out))


def words(recording: Recording) -> np.ndarray:
  """Reads a recording as it is stored: events of 5 bytes, [M, 5] uint8.

  Raises:
    ValueError: if it is cut or empty, or an event lies outside the sensor; the
      message names the file.
    OSError: if it cannot be read.
  """
  content, where = recording.leaf.read(), recording.leaf.where
  listed = recorded.decode(content, where).events
  if not len(listed.t) or listed.t[0] == listed.t[-1]:
    raise ValueError(
      f"{where} must hold events at two times or more; it has "
      f"{len(listed.t)} events in {len(content)} bytes"
    )
  return np.frombuffer(content, np.uint8).reshape(-1, recorded.RECORD)


def paired(
  listed: tuple[Recording, ...], folder: pathlib.Path, split: str
) -> np.ndarray:
  """Returns the image of each recording, [N, 28, 28, 1] uint8.

  Args:
    listed: N recordings of a split, from `read`.
    folder: of MNIST's IDX files, gzip-compressed or not.
    split: "train" or "test".

  Raises:
    ValueError: if a recording has no image, or an image of another digit; the
      message names the file. If the IDX files are damaged.
    FileNotFoundError: if there are no IDX files.
  """
  if not idx.is_plain(folder):
    raise FileNotFoundError(
      "images must be the folder of MNIST's IDX files, "
      f"train-images-idx3-ubyte.gz and so on; there are none in {folder}"
    )
  images = idx.load_idx_folder(folder, split)
  size = len(images.labels)
  if len(listed) > size:
    raise ValueError(
      f"{listed[size].leaf.where} must be of an image of {folder}, whose split "
      f"{split} has {size}"
    )
  for recording, label in zip(listed, images.labels.tolist(), strict=False):
    if recording.label != label:
      raise ValueError(
        f"{recording.leaf.where} must lie in the folder {label}: image "
        f"{recording.number} of the split {split} in {folder} is a {label}; "
        "they are not of one set, or not in its order"
      )
  return np.asarray(images.inputs)[: len(listed)]
