"""The lines of text before the data of AEDAT files, and the cameras they name.

References:
  iniVation, "AEDAT File Formats", https://docs.inivation.com.
"""

import re
from typing import NamedTuple

from snnjax.data.recordings.records import RecordingError

# Rows and columns, by how a camera's name begins.
CAMERAS = {
  "dvs128": (128, 128),
  "davis128": (128, 128),
  "davis240": (180, 240),
  "davis346": (260, 346),
  "davis640": (480, 640),
}
_MOST = 1 << 20  # bytes of text: jAER writes all its preferences there
_VERSION = re.compile(r"#!AER-DAT(\d\.\d)")


class Header(NamedTuple):
  """The text before the data.

  Attributes:
    version: such as "2.0".
    lines: all lines without their ends, the version's first.
    begin: the byte at which the data begin.
  """

  version: str
  lines: tuple[str, ...]
  begin: int

  def field(self, pattern: str) -> str | None:
    """Returns the first group of the first line that matches from its start."""
    for line in self.lines:
      if match := re.match(pattern, line):
        return match[1]
    return None


def _text(line: bytes) -> str | None:
  """A header line; None for data that happen to begin like one."""
  try:
    text = line.decode().removesuffix("\r")
  except UnicodeDecodeError:
    return None
  controls = any(letter < " " and letter != "\t" for letter in text)
  return None if controls else text


def parse(content: bytes, source: str, version: str, end: str = "") -> Header:
  """Reads the lines that begin with '#'.

  Args:
    content: of the file.
    source: its name.
    version: which it must be.
    end: how the last line begins; it must be there where it is given. Without
      it, the header ends before the first line that is no text.

  Raises:
    RecordingError: if the first line does not name this version, the last one
      is missing, or the text is 1 MB long.
  """
  lines: list[str] = []
  begin, ended = 0, False
  while not ended and content[begin : begin + 1] == b"#":
    after = content.find(b"\n", begin, _MOST)
    text = _text(content[begin : after if after >= 0 else _MOST])
    if text is None or (after < 0 and len(content) < _MOST):
      break
    if after < 0:
      raise RecordingError(
        source, begin, f"the header must be shorter than {_MOST:,} bytes"
      )
    lines.append(text)
    begin = after + 1
    ended = text.startswith(end or "#End Of ASCII Header")
  told = _VERSION.fullmatch(lines[0]) if lines else None
  if told is None or told[1] != version:
    raise RecordingError(
      source,
      0,
      f"the first line must be #!AER-DAT{version}; the file begins with "
      f"{content[:16]!r}",
    )
  if end and not ended:
    raise RecordingError(source, begin, f"a line {end} must end the header")
  return Header(version, tuple(lines), begin)


def sensor_of(camera: str) -> tuple[int, int] | None:
  """Returns the rows and columns of a camera; None if it is not known."""
  name = camera.lower().replace("-", "")
  return next(
    (s for start, s in CAMERAS.items() if name.startswith(start)), None
  )
