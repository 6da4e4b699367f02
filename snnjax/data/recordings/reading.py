"""Opens a recording of any format, told by how the file begins."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from snnjax.data.recordings import (
  aedat_2,
  aedat_4,
  aedat_31,
  heidelberg,
  nmnist,
  prophesee,
  records,
  stmnist,
)


class Format(NamedTuple):
  """How a format is told, and who reads it.

  Attributes:
    name: for messages.
    magic: the file's first bytes.
    takes: arguments of `read` that it has beside `strict`.
    read: (path, strict, those arguments) -> recording.
  """

  name: str
  magic: bytes
  takes: tuple[str, ...]
  read: Callable[..., records.Recording]


def _of_content(decode: Callable[..., records.Recording]) -> Any:
  """The reader of a decoder that takes a file's whole content."""

  def read_file(path: pathlib.Path, **options: Any) -> records.Recording:
    return decode(path.read_bytes(), str(path), **options)

  return read_file


_FORMATS = (
  Format(
    "AEDAT 2.0",
    aedat_2.MAGIC,
    ("sensor", "camera"),
    _of_content(aedat_2.decode),
  ),
  Format(
    "AEDAT 3.1", aedat_31.MAGIC, ("sensor",), _of_content(aedat_31.decode)
  ),
  Format("AEDAT 4.0", aedat_4.MAGIC, (), aedat_4.read),
  Format("DAT", prophesee.MAGIC, ("sensor",), _of_content(prophesee.decode)),
  Format("ST-MNIST", stmnist.MAGIC, (), stmnist.read),
)
_NMNIST = Format("N-MNIST", b"", ("sensor",), _of_content(nmnist.decode))


def read(
  path: str | pathlib.Path,
  *,
  sensor: tuple[int, int] | None = None,
  camera: str | None = None,
  strict: bool = True,
) -> records.Recording:
  """Reads one recording.

  The format is told by the first bytes; N-MNIST's, which has no mark, by the
  name's end `.bin`.

  Args:
    path: of the file.
    sensor: rows and columns, where the file does not tell them: of N-MNIST
      (34, 34) if None; of AEDAT 2.0, 3.1 and DAT as the header says if None.
    camera: such as "DVS128"; of AEDAT 2.0 alone, as the header says if None.
    strict: whether a fault is an error. If not, the recording ends before it:
      `dropped` counts what was left out, `reason` says why. A header that
      cannot be read is an error in either case.

  Returns:
    The events, checked.

  Raises:
    RecordingError: if it is none of these, damaged, or has no known sensor;
      with the file, the offset and the reason.
    ModuleNotFoundError: of AEDAT 4.0, if the package `aedat` is not installed.
    FileNotFoundError: if there is no such file.
    ValueError: if the sensor is no size, or an argument is not of the format.
  """
  path = pathlib.Path(path)
  form = _recognise(path)
  options = {"sensor": sensor, "camera": camera}
  given = {name: value for name, value in options.items() if value is not None}
  for name, value in given.items():
    if name not in form.takes:
      raise ValueError(
        f"{name} must be left out for {path}, which is {form.name}; got "
        f"{value!r}"
      )
  return form.read(path, strict=strict, **given)


def _recognise(path: pathlib.Path) -> Format:
  if path.exists() and not path.is_file():  # a pipe may never end
    raise records.RecordingError(str(path), 0, "must be a file; it is none")
  with path.open("rb") as stream:
    start = stream.read(32)
  for form in _FORMATS:
    if start.startswith(form.magic):
      return form
  if start.startswith(heidelberg.MAGIC):
    raise records.RecordingError(
      str(path),
      0,
      "HDF5 files hold many recordings: open them with "
      "recordings.heidelberg.opened",
    )
  if path.suffix.lower() == ".bin":
    return _NMNIST
  listed = ", ".join(form.name for form in _FORMATS)
  raise records.RecordingError(
    str(path),
    0,
    f"must be {listed}, or N-MNIST's .bin; it begins with {start[:16]!r}",
  )
