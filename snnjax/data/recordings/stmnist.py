"""ST-MNIST: MATLAB files of a tactile sensor of 10 x 10 taxels.

The array `spiketrain` is [101, M]: of each time a column, with +1 (ON), -1
(OFF) or 0 of every taxel, and in the last row seconds. Taxel n is column n % 10
and row n // 10.

References:
  H. H. See and others, "ST-MNIST: The Spiking Tactile MNIST Neuromorphic
  Dataset", 2020, arXiv:2005.04319.
"""

import pathlib

import numpy as np

from snnjax.data import events
from snnjax.data.importers import matlab
from snnjax.data.recordings import records

MAGIC = b"MATLAB 5.0 MAT-file"
SENSOR = (10, 10)
_NAME = "spiketrain"
_LATEST = 1 << 31  # seconds; more are no times


def read(path: str | pathlib.Path, *, strict: bool = True) -> records.Recording:
  """Reads one recording.

  Args:
    path: of a `.mat` file.
    strict: see `records.checked`; offsets are the columns' numbers.

  Raises:
    RecordingError: if it is no such file, or is damaged; if `strict`, and a
      taxel has another value, or a time is negative, not finite, or earlier
      than the last one.
    FileNotFoundError: if there is no such file.
  """
  source = str(path)
  try:
    train = matlab.read(path, (_NAME,)).get(_NAME)
  except ValueError as error:
    reason = str(error).removeprefix(f"{source} ")
    raise records.RecordingError(source, 0, reason) from error
  height, width = SENSOR
  taxels = height * width
  if train is None or train.ndim != 2 or len(train) != taxels + 1:
    shape = None if train is None else train.shape
    raise records.RecordingError(
      source, 0, f"{_NAME} must be [{taxels + 1}, M]; got {shape}"
    )
  fault = None
  spikes, seconds = train[:-1], np.asarray(train[-1], np.float64)
  size = train.shape[1]
  wrong = ~np.isin(spikes, (-1, 0, 1)).all(0)
  wrong |= ~((seconds >= 0) & (seconds < _LATEST))
  if wrong.any():
    bad = int(wrong.argmax())
    fault = records.Fault(
      bad,
      f"{_NAME} must have values -1, 0 or 1 and seconds from 0 to 2^31; got "
      f"{spikes[:, bad].min():g} to {spikes[:, bad].max():g} and "
      f"{seconds[bad]:g} s",
    )
    spikes, seconds = spikes[:, :bad], seconds[:bad]
  column, taxel = np.nonzero(spikes.T)
  listed = events.Events(
    t=np.rint(seconds * 1e6).astype(np.int64)[column],
    x=(taxel % width).astype(np.int32),
    y=(taxel // width).astype(np.int32),
    p=(spikes[taxel, column] > 0).astype(np.int32),
    height=height,
    width=width,
  )
  draft = records.Draft(
    listed, lambda row: int(column[row]), size, 1, fault=fault
  )
  return records.checked(draft, source, strict=strict)
