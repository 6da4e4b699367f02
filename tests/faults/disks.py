"""Real file systems to run out of, or to find read-only."""

import contextlib
import os
import subprocess
import sys

import pytest

from experiments.command import exits


@contextlib.contextmanager
def mounted(folder, size="9m"):
  """Mounts an empty tmpfs of its own; skips where that is not allowed."""
  folder.mkdir()
  words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
  try:
    done = subprocess.run(words, capture_output=True, text=True)
  except FileNotFoundError:
    pytest.skip("no real small disk: there is no mount command")
  if done.returncode:
    pytest.skip(f"no real small disk: {done.stderr.strip()}")
  try:
    yield folder
  finally:
    subprocess.run(["umount", "-l", str(folder)], check=True)


def make_read_only(folder):
  """Makes a mounted file system read-only."""
  subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def room(folder):
  """Bytes that are free."""
  found = os.statvfs(folder)
  return found.f_bavail * found.f_frsize


@contextlib.contextmanager
def filled(folder, left):
  """Fills a disk but for `left` bytes, until the context ends."""
  ballast = folder / "ballast"
  with ballast.open("wb") as stream:
    stream.write(bytes(max(0, room(folder) - left)))
  try:
    yield
  finally:
    ballast.unlink()


def leftovers(folder):
  return list(folder.rglob(".tmp-*"))


def guarded(body, *arguments):
  """Runs a body as a binary does; returns its exit code."""
  code = exits.run_guarded(lambda: body(*arguments), "x", False)
  sys.stdout.flush()
  sys.stderr.flush()
  return code
