"""DVS128 Gesture unpacked: `userNN_light.aedat`, AEDAT 3.1 files, and spans.

A recording is one person in one light; `userNN_light_labels.csv` says where
its gestures are, which are the examples. `trials_to_train.txt` and
`trials_to_test.txt` list the recordings of the splits. The gestures are stored
as N-MNIST's events, their times from the first event on.

References:
  A. Amir and others, "A Low Power, Fully Event-Based Gesture Recognition
  System", 2017.
"""

import collections
import functools
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from snnjax.data import events
from snnjax.data.importers import archives
from snnjax.data.recordings import aedat_31, gesture_labels, nmnist
from snnjax.data.recordings.gesture_labels import CLASSES, Span

SENSOR = (128, 128)
LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
_MOST = 1 << 16  # bytes of a list

__all__ = ["CLASSES", "LISTS", "SENSOR", "Gesture", "Gestures", "read", "words"]


class Gesture(NamedTuple):
  """One example.

  Attributes:
    path: of its recording.
    number: of its span there.
    span: the class and the times.
  """

  path: pathlib.Path
  number: int
  span: Span


class Gestures(NamedTuple):
  """The gestures of a folder, by their splits.

  Attributes:
    splits: each split's gestures, in the lists' order.
    files: recordings, spans and lists that are read.
    left_out: what is not read, counted by its name.
  """

  splits: Mapping[str, tuple[Gesture, ...]]
  files: tuple[pathlib.Path, ...]
  left_out: Mapping[str, int]


def _listed(path: pathlib.Path) -> list[pathlib.Path]:
  """The recordings that a list names, each of which lies beside it."""
  with path.open("rb") as stream:
    content = stream.read(_MOST)
  recordings = []
  for line in content.decode("ascii", "replace").split():
    recording = path.parent / line
    if "/" in line or not line.endswith(".aedat") or not recording.is_file():
      raise ValueError(
        f"{path} must name recordings beside it, NAME.aedat; it names "
        f"{archives.printable(line)!r}, which is none"
      )
    recordings.append(recording)
  return recordings


def read(path: pathlib.Path) -> Gestures | None:
  """Finds the gestures of a folder; None if it has neither of the lists.

  Args:
    path: the folder of recordings, spans and lists.

  Raises:
    ValueError: if a list names what is not there, one recording is listed
      twice, or spans are damaged; the message names the file.
    OSError: if something cannot be read.
  """
  lists = {
    split: path / name
    for split, name in LISTS.items()
    if (path / name).is_file()
  }
  splits: dict[str, tuple[Gesture, ...]] = {}
  files: dict[pathlib.Path, None] = {}
  for split, file in lists.items():
    gestures: list[Gesture] = []
    files[file] = None
    for recording in _listed(file):
      if recording in files:
        raise ValueError(
          f"{recording} must be listed once; {file} lists it too"
        )
      labels = recording.with_name(f"{recording.stem}_labels.csv")
      files |= dict.fromkeys((recording, labels))
      gestures += (
        Gesture(recording, number, span)
        for number, span in enumerate(gesture_labels.read(labels))
      )
    splits[split] = tuple(gestures)
  if not files:
    return None
  left_out = collections.Counter(
    archives.printable(entry.name)
    for entry in path.iterdir()
    if entry not in files
  )
  return Gestures(splits, tuple(files), left_out)


@functools.lru_cache(maxsize=1)
def _decoded(path: pathlib.Path, changed: int) -> events.Events:
  del changed  # another time of change is another file
  return aedat_31.decode(path.read_bytes(), str(path), sensor=SENSOR).events


def words(gesture: Gesture) -> np.ndarray:
  """Reads a gesture as it is stored, see `recordings.nmnist`: [M, 5] uint8.

  Raises:
    ValueError: if its recording is damaged, or it has no events at two times;
      the message names the file.
    OSError: if it cannot be read.
  """
  path, number, span = gesture
  listed = _decoded(path, path.stat().st_mtime_ns)
  (part,) = gesture_labels.parts(listed, (span,), str(path))
  return nmnist.encode(part, f"{path}, gesture {number + 1}")
