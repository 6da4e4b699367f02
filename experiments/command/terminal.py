"""Writes text to the terminal without control characters.

Names of classes, folders and networks come from files, which may be somebody
else's, and a terminal obeys control characters in them: it moves the cursor,
changes colours or renames itself. Here they are written as escapes.
"""

import sys


def plain(text: str) -> str:
  """Returns a text whose every letter is printable, a line's end or a tab."""
  return "".join(
    letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1]
    for letter in text
  )


def out(text: str) -> None:
  """Writes a text to standard output, at once."""
  sys.stdout.write(plain(text))
  sys.stdout.flush()


def err(text: str) -> None:
  """Writes a text to standard error."""
  sys.stderr.write(plain(text))
