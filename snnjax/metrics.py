"""Metrics as lines of JSON, each on the disk when it is written.

A line is ``{"step": 3, "train/loss": 0.5, ..., "wall": {...}}``. What changes
from run to run of one configuration (times, speeds) stands under ``wall`` and
nowhere else, so that without it an interrupted and resumed run's file equals
an uninterrupted one's. For that, write the lines of a step before its
checkpoint, and give `Metrics` the step that was restored.
"""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from snnjax.types import Array

Value = bool | int | float | str | np.bool_ | np.integer | Array
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")  # JSON has text for them only


class Metrics:
  """Appends to a metrics file.

  Use it as a context manager, or call `close`.
  """

  def __init__(self, path: pathlib.Path | str, after: int | None = None):
    """Opens the file, made where it is missing, and cuts what is undone.

    Args:
      path: the file.
      after: the restored step; lines of later steps go. None: all lines go,
        the run begins anew. A torn last line goes in any case.

    Raises:
      OSError: the file cannot be written.
      ValueError: a line other than the last is damaged.
    """
    self._path = pathlib.Path(path)
    kept = b""
    if self._path.exists() and after is not None:
      lines = _whole_lines(self._path)
      kept = b"".join(line for line, record in lines if record["step"] <= after)
    self._stream = self._path.open("ab", buffering=0)
    self._last = -1 if after is None else after
    # Lines rise in step, so what stays is a prefix of the file.
    self._stream.truncate(len(kept))
    os.fsync(self._stream.fileno())

  def write(
    self,
    step: int,
    values: Mapping[str, Value],
    wall: Mapping[str, Value] | None = None,
  ) -> None:
    """Appends one line and waits until the disk has it.

    Args:
      step: not below that of the line before.
      values: named scalars that depend on the configuration alone; NaN and
        infinities are kept, as text.
      wall: named scalars that depend on the machine and the moment.

    Raises:
      OSError: it cannot be written; no part of the line stays.
      ValueError: a falling step, or a reserved name.
    """
    if step < self._last:
      raise ValueError(f"step must be at least {self._last}, got {step}")
    for name in ("step", "wall"):
      if name in values:
        raise ValueError(f"no metric may be named {name!r}")
    record: dict[str, Any] = {"step": step, **_finite(values)}
    if wall is not None:
      record["wall"] = _finite(wall)
    line = json.dumps(record, allow_nan=False).encode() + b"\n"
    size = os.fstat(self._stream.fileno()).st_size
    try:
      rest = memoryview(line)
      while rest:  # a nearly full disk takes a part, and then none
        rest = rest[self._stream.write(rest) :]
      os.fsync(self._stream.fileno())
    except OSError as error:
      with contextlib.suppress(OSError):
        self._stream.truncate(size)
      raise OSError(error.errno, error.strerror, str(self._path)) from None
    self._last = step

  def close(self) -> None:
    """Closes the file."""
    self._stream.close()

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *error: object) -> None:
    self.close()


def read(path: pathlib.Path | str, wall: bool = False) -> list[dict[str, Any]]:
  """Reads a metrics file; a torn last line is left out.

  Args:
    path: the file.
    wall: whether the records keep ``wall``, what depends on the machine.

  Returns:
    One record per line.

  Raises:
    OSError: the file cannot be read.
    ValueError: a line other than the last is damaged.
  """
  records = []
  for _, record in _whole_lines(pathlib.Path(path)):
    restored = {name: _restored(value) for name, value in record.items()}
    if not wall:
      restored.pop("wall", None)
    records.append(restored)
  return records


@contextlib.contextmanager
def tensorboard(
  folder: pathlib.Path | str, after: int | None = None
) -> Iterator[Callable[[int, Mapping[str, Value]], None]]:
  """Writes scalars as TensorBoard events, without TensorFlow.

  Args:
    folder: of the events; made where it is missing.
    after: the restored step; TensorBoard hides events of later steps. None
      for a new run.

  Yields:
    ``write(step, values)``; texts are left to the metrics file. A thread
    brings what is written to the disk, all of it when the context ends.

  Raises:
    ModuleNotFoundError: tensorboardX is not installed.
  """
  try:
    import tensorboardX
  except ModuleNotFoundError:
    raise ModuleNotFoundError(
      "TensorBoard events need an extra: pip install 'snnjax[tensorboard]'"
    ) from None
  purge = None if after is None else after + 1

  def write(step: int, values: Mapping[str, Value]) -> None:
    for name, value in values.items():
      if not isinstance(value, str):
        writer.add_scalar(name, float(value), step)

  with tensorboardX.SummaryWriter(str(folder), purge_step=purge) as writer:
    yield write


def _finite(values: Mapping[str, Value]) -> dict[str, bool | int | float | str]:
  plain: dict[str, bool | int | float | str] = {}
  for name, value in values.items():
    if isinstance(value, bool | int | str):
      plain[name] = value
    elif isinstance(value, np.bool_ | np.integer):
      plain[name] = value.item()
    else:
      number = float(value)
      special = "NaN" if math.isnan(number) else "Infinity"
      sign = "-" if number == -math.inf else ""
      plain[name] = number if math.isfinite(number) else sign + special
  return plain


def _restored(value: Any) -> Any:
  if isinstance(value, dict):
    return {name: _restored(inner) for name, inner in value.items()}
  return float(value) if value in _NOT_FINITE else value


def _whole_lines(path: pathlib.Path) -> list[tuple[bytes, dict[str, Any]]]:
  """The lines of a file with their records, less a torn last one."""
  lines = path.read_bytes().splitlines(keepends=True)
  whole = []
  for number, line in enumerate(lines, 1):
    try:
      record = json.loads(line)
      if not line.endswith(b"\n") or not isinstance(record["step"], int):
        raise ValueError("no whole record")
    except (ValueError, TypeError, KeyError) as error:
      if number == len(lines):
        break
      raise ValueError(f"{path}:{number} is damaged: {error}") from None
    whole.append((line, record))
  return whole
