"""Heidelberg's spoken digits (SHD) and commands (SSC): HDF5 files of spikes.

`spikes/times` has seconds and `spikes/units` the channels of each recording,
700 of a model of the inner ear; `labels` its class. Some published times are
not finite: such spikes are skipped. The order in a list is not promised, so it
is sorted by time. Reading needs `h5py`, the extra `events`. Its C library is
not proof against files made to harm: read files that you trust.

References:
  B. Cramer, Y. Stradmann, J. Schemmel, F. Zenke, "The Heidelberg Spiking Data
  Sets for the Systematic Evaluation of Spiking Neural Networks", 2020,
  arXiv:1910.07407.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from snnjax.data import events
from snnjax.data.recordings import records

MAGIC = b"\x89HDF\r\n\x1a\n"
UNITS = 700
_LATEST = 1 << 31  # seconds; more are no times
_MOST_CLASSES = 1 << 15


class Spoken(NamedTuple):
  """The recordings of an open file.

  Attributes:
    labels: [N] int32 classes.
    read: position -> recording: a sensor of one row and 700 columns, all
      spikes ON. It raises RecordingError, see `decode`.
  """

  labels: np.ndarray
  read: Callable[[int], records.Recording]


def decode(
  seconds: np.ndarray, units: np.ndarray, source: str, *, strict: bool = True
) -> records.Recording:
  """Makes a recording of one list of spikes.

  Args:
    seconds: [M] floats.
    units: [M] integers.
    source: what messages call it.
    strict: see `records.checked`; offsets are the spikes' numbers.

  Returns:
    The recording, ordered by time; spikes whose time is not finite are
    skipped.

  Raises:
    RecordingError: if the two are no such arrays; if `strict`, and they have
      not one length, a channel is not in [0, 700), or a time negative.
  """
  seconds, units = np.asarray(seconds), np.asarray(units)
  lists = seconds.ndim == units.ndim == 1
  if not lists or seconds.dtype.kind != "f" or units.dtype.kind not in "iu":
    raise records.RecordingError(
      source,
      0,
      "times must be floats [M] and units integers [M]; got "
      f"{seconds.dtype} {seconds.shape} and {units.dtype} {units.shape}",
    )
  size, fault = min(len(seconds), len(units)), None
  if len(seconds) != len(units):
    reason = (
      f"times and units must be as many; got {len(seconds)}, {len(units)}"
    )
    fault = records.Fault(size, reason)
  finite = np.isfinite(seconds[:size])
  exact = np.where(finite, seconds[:size], 0).astype(np.float64)
  wrong = (exact < 0) | (exact >= _LATEST)
  wrong |= (units[:size] < 0) | (units[:size] >= UNITS)
  if wrong.any():
    size = int(wrong.argmax())
    fault = records.Fault(
      size,
      f"a unit must be in [0, {UNITS}) and its time from 0 to 2^31 s; got "
      f"{units[size]} at {seconds[size]:g} s",
    )
  kept = finite[:size]
  t = np.rint(exact[:size][kept] * 1e6).astype(np.int64)
  order = np.argsort(t, kind="stable")
  zeros = np.zeros(len(t), np.int32)
  listed = events.Events(
    t=t[order],
    x=units[:size][kept][order].astype(np.int32),
    y=zeros,
    p=zeros + 1,
    height=1,
    width=UNITS,
  )
  total = max(len(seconds), len(units))
  draft = records.Draft(
    listed, lambda row: row, total, 1, kept=kept, fault=fault
  )
  return records.checked(draft, source, strict=strict)


def _package() -> Any:
  try:
    import h5py
  except ModuleNotFoundError:
    raise ModuleNotFoundError(
      "HDF5 files of events need an extra: pip install 'snnjax[events]'"
    ) from None
  return h5py


def _dataset(h5py: Any, file: Any, name: str, source: str) -> Any:
  """One list of the file; links and storage in other files are refused."""
  group, parts = file, name.split("/")
  for part in parts:
    if not isinstance(group, h5py.Group) or part not in group:
      raise records.RecordingError(source, 0, f"must have {name}; it has not")
    if not isinstance(group.get(part, getlink=True), h5py.HardLink):
      raise records.RecordingError(source, 0, f"{name} must be no link")
    group = group[part]
  if not isinstance(group, h5py.Dataset) or group.ndim != 1:
    raise records.RecordingError(source, 0, f"{name} must be a list")
  if group.external or group.is_virtual:
    raise records.RecordingError(source, 0, f"{name} must lie in the file")
  return group


def _spoken(h5py: Any, file: Any, path: pathlib.Path, strict: bool) -> Spoken:
  source = str(path)
  times, units, labels = (
    _dataset(h5py, file, name, source)
    for name in ("spikes/times", "spikes/units", "labels")
  )
  lengths = {len(times), len(units), len(labels)}
  # A recording takes bytes: a length that the file cannot hold is not read.
  if len(lengths) != 1 or max(lengths) > path.stat().st_size:
    raise records.RecordingError(
      source,
      0,
      "times, units and labels must be as many, and fit into the file; got "
      f"{len(times)}, {len(units)}, {len(labels)}",
    )
  for name, listed in (("times", times), ("units", units)):
    if h5py.check_vlen_dtype(listed.dtype) is None:
      raise records.RecordingError(
        source, 0, f"{name} must have one list a recording; got {listed.dtype}"
      )
  classes = labels[:] if labels.dtype.kind in "iu" else np.array([-1])
  wrong = (classes < 0) | (classes >= _MOST_CLASSES)
  if wrong.any():
    raise records.RecordingError(
      source,
      int(wrong.argmax()),
      f"labels must be integers from 0 on; got {classes[wrong][0]} of "
      f"{labels.dtype}",
    )

  def read(row: int) -> records.Recording:
    if not 0 <= row < len(classes):
      raise ValueError(f"row must be in [0, {len(classes)}); got {row}")
    with _told(path):
      seconds, channels = times[row], units[row]
    where = f"{source}, recording {row}"
    return decode(seconds, channels, where, strict=strict)

  return Spoken(classes.astype(np.int32), read)


@contextlib.contextmanager
def _told(path: pathlib.Path) -> Iterator[None]:
  """Turns the errors of h5py into a RecordingError."""
  try:
    yield
  except records.RecordingError:
    raise
  except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
    raise records.RecordingError(
      str(path), 0, f"must be a whole HDF5 file; h5py: {error}"
    ) from error


@contextlib.contextmanager
def opened(
  path: str | pathlib.Path, *, strict: bool = True
) -> Iterator[Spoken]:
  """Opens a file of recordings, to be read one by one.

  Args:
    path: such as `shd_train.h5`.
    strict: of each recording, see `decode`.

  Yields:
    The recordings; to be read before the context ends.

  Raises:
    RecordingError: if it is no such file, or damaged.
    ModuleNotFoundError: if `h5py` is not installed.
    FileNotFoundError: if there is no such file.
  """
  path = pathlib.Path(path)
  path.stat()
  h5py = _package()
  with contextlib.ExitStack() as stack:
    with _told(path):
      file = stack.enter_context(h5py.File(path, "r"))
      spoken = _spoken(h5py, file, path, strict)
    yield spoken
