"""A comparison that cannot be made is said, and is a failure under CI."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("ci", "words"), [("", "skipped"), ("true", "error")])
def test_a_missing_peer_is_loud(tmp_path, ci, words):
  # In front of the installed one: a foolbox that cannot be imported.
  (tmp_path / "foolbox.py").write_text("raise ImportError('not installed')\n")
  done = subprocess.run(
    [
      *(sys.executable, "-m", "pytest", "-q", "-n", "0"),
      *("-p", "no:cacheprovider", "tests/parity/foolbox_test.py"),
    ],
    cwd=ROOT,
    env={**os.environ, "PYTHONPATH": str(tmp_path), "CI": ci},
    capture_output=True,
    text=True,
  )
  assert f"1 {words}" in done.stdout
  assert "not compared with foolbox: pip install" in done.stdout
  if not ci:
    assert "PARITY NOT TESTED" in done.stdout
  assert done.returncode != 0  # 5, no test was run, or 2, a failure
