"""Metrics as lines of JSON, each on the disk when it is written.

A line is ``{"step": 3, "train/loss": 0.5, ..., "chain": "5f...", "wall":
{...}}``. What changes from run to run of one configuration (times, speeds)
stands under ``wall`` and nowhere else, so that without it an interrupted and
resumed run's file equals an uninterrupted one's. For that, write the lines of
a step before its checkpoint, and give `Metrics` the step that was restored.

``chain`` is a digest of the line and of the line before's ``chain``; ``wall``
has one of its own, ``check``. So `read` notices a line that was altered,
removed, doubled or moved. Lines lost at the end are noticed by comparison with
the `Written` that a checkpoint keeps.
"""

import contextlib
import json
import math
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from snnjax.interfaces import Array
from snnjax.storage import files, identity

Value = bool | int | float | str | np.bool_ | np.integer | Array
_CHAIN = "chain"
_CHECK = "check"
_REMEDY = "move it away to go on without its lines"
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")  # JSON has text for them only


class Written(NamedTuple):
  """What a metrics file holds.

  Attributes:
    lines: how many there are.
    chain: of the last one; empty without any.
  """

  lines: int = 0
  chain: str = ""


class MetricsWarning(UserWarning):
  """A metrics file is not as the run left it."""


class Metrics:
  """Appends to a metrics file.

  Use it as a context manager, or call `close`.
  """

  def __init__(
    self,
    path: pathlib.Path | str,
    after: int | None = None,
    expected: Written | None = None,
  ):
    """Opens the file, or makes it, and removes lines after the restored step.

    Args:
      path: the file.
      after: the restored step; lines of later steps are removed. None removes
        all lines, for a run that begins anew. An incomplete last line is
        removed in any case.
      expected: what must remain; None checks nothing.

    Raises:
      OSError: the file cannot be written.
      DamagedError: a line other than the last is damaged.

    Warns:
      MetricsWarning: lines are lost, or are another run's.
    """
    self._path = pathlib.Path(path)
    content = b""
    self._written = Written()
    if self._path.exists() and after is not None:
      lines = [
        (line, record)
        for line, record in _whole_lines(self._path)
        if record["step"] <= after
      ]
      content = b"".join(line for line, _ in lines)
      if lines:
        self._written = Written(len(lines), lines[-1][1][_CHAIN])
    _compare(self._path, self._written, expected)
    self._stream = self._path.open("ab", buffering=0)
    self._last = -1 if after is None else after
    # Lines rise in step, so what stays is a prefix of the file.
    self._stream.truncate(len(content))
    os.fsync(self._stream.fileno())

  @property
  def written(self) -> Written:
    """What the file holds now, for the checkpoint of this step."""
    return self._written

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
    for name in ("step", _CHAIN, "wall"):
      if name in values:
        raise ValueError(f"no metric may be named {name!r}")
    record: dict[str, Any] = {"step": step, **_to_json(values)}
    record[_CHAIN] = _chain_digest(self._written.chain, record)
    if wall is not None:
      if _CHECK in wall:
        raise ValueError(f"no wall time may be named {_CHECK!r}")
      plain = _to_json(wall)
      record["wall"] = {**plain, _CHECK: _chain_digest(record[_CHAIN], plain)}
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
    self._written = Written(self._written.lines + 1, record[_CHAIN])

  def close(self) -> None:
    """Closes the file."""
    self._stream.close()

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *error: object) -> None:
    self.close()


def read(
  path: pathlib.Path | str,
  wall: bool = False,
  expected: Written | None = None,
) -> list[dict[str, Any]]:
  """Reads a metrics file; a torn last line is left out.

  Args:
    path: the file.
    wall: whether the records keep ``wall``, what depends on the machine.
    expected: what it must hold; None asks nothing.

  Returns:
    One record per line.

  Raises:
    OSError: the file cannot be read.
    DamagedError: a line other than the last is damaged, altered or not the
      one that comes next.

  Warns:
    MetricsWarning: lines are lost, or are another run's.
  """
  records = []
  lines = _whole_lines(pathlib.Path(path))
  chain = lines[-1][1][_CHAIN] if lines else ""
  _compare(pathlib.Path(path), Written(len(lines), chain), expected)
  for _, record in lines:
    restored = {name: _from_json(value) for name, value in record.items()}
    del restored[_CHAIN]
    if "wall" in restored:
      del restored["wall"][_CHECK]
      if not wall:
        del restored["wall"]
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


def _compare(
  path: pathlib.Path, present: Written, expected: Written | None
) -> None:
  """Warns if a file has other lines than expected."""
  if expected is None or expected == present:
    return
  warnings.warn(
    f"{path} must have {expected.lines} lines (chain "
    f"{expected.chain or 'none'}); it has {present.lines} (chain "
    f"{present.chain or 'none'}): what differs is lost",
    MetricsWarning,
    stacklevel=3,
  )


def _to_json(
  values: Mapping[str, Value],
) -> dict[str, bool | int | float | str]:
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


def _from_json(value: Any) -> Any:
  if isinstance(value, dict):
    return {name: _from_json(inner) for name, inner in value.items()}
  return float(value) if value in _NOT_FINITE else value


def _chain_digest(before: str, record: Mapping[str, Any]) -> str:
  """The digest that ties a line to the one before it."""
  return identity.short(identity.of_value([before, record]))


def _whole_lines(path: pathlib.Path) -> list[tuple[bytes, dict[str, Any]]]:
  """The lines of a file with their records, less a torn last one."""
  lines = files.content(path).splitlines(keepends=True)
  records: list[tuple[bytes, dict[str, Any]]] = []
  chain = ""
  for number, line in enumerate(lines, 1):
    try:
      record = _record(line, chain)
    except (
      ValueError,
      TypeError,
      KeyError,
      AttributeError,
      RecursionError,
    ) as error:
      if number == len(lines) and not line.endswith(b"\n"):
        break  # what a killed process was writing
      raise identity.damaged(f"{path}:{number}", error, _REMEDY) from None
    records.append((line, record))
    chain = record[_CHAIN]
  return records


def _record(line: bytes, chain: str) -> dict[str, Any]:
  """Reads a line that comes after one of this chain."""
  record: dict[str, Any] = json.loads(line)
  if not line.endswith(b"\n") or not isinstance(record["step"], int):
    raise ValueError("no whole record")
  plain = {k: v for k, v in record.items() if k not in (_CHAIN, "wall")}
  if record[_CHAIN] != _chain_digest(chain, plain):
    raise ValueError("it is altered, or a line before it is missing")
  wall = record.get("wall")
  if wall is not None:
    times = {name: value for name, value in wall.items() if name != _CHECK}
    if wall[_CHECK] != _chain_digest(record[_CHAIN], times):
      raise ValueError("its wall times are altered")
  return record
