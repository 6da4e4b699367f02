"""The bounds of fuzz tests can fail, and every such test has them."""

import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import bounds

ROOT = pathlib.Path(__file__).resolve().parents[1]


def spend(seconds):
  end = time.process_time() + seconds
  while time.process_time() < end:
    pass


def test_too_much_time_fails():
  with bounds.bounded(seconds=1):
    spend(0.05)
  says = r"of 0\.1 s of processor time"
  with (
    pytest.raises(AssertionError, match=says),
    bounds.bounded(seconds=0.1),
  ):
    spend(0.2)


def test_too_much_memory_fails_also_when_it_was_given_back():
  with (
    pytest.raises(AssertionError, match="of 100 MB of memory"),
    bounds.bounded(megabytes=100),
  ):
    np.ones(300 << 17)  # 300 MB, freed at once
  with bounds.bounded(megabytes=100):
    np.ones(10 << 17)


@given(st.just(0))
def hypothetical(_):
  pass


def test_hypothesis_tests_are_told_by_their_mark():
  """What `conftest.py` asks a function for."""
  assert hypothetical.is_hypothesis_test


SLOW = """
import pytest
from hypothesis import given, settings, strategies as st
from tests import bounds
from tests.bounds_test import spend

bounds.SECONDS = 0.1

@settings(deadline=None)
@given(st.just(0))
def test_of_hypothesis(_):
  spend(0.3)

@pytest.mark.fuzz
def test_marked():
  spend(0.3)

@pytest.mark.fuzz(seconds=60)
def test_with_a_bound_of_its_own():
  spend(0.3)

def test_of_another_kind():
  spend(0.3)
"""


def test_a_slow_fuzz_test_fails_the_run(tmp_path):
  (tmp_path / "slow_test.py").write_text(SLOW)
  options = ["-q", "-p", "no:cacheprovider", "-p", "tests.bounding"]
  ran = subprocess.run(
    [
      *(sys.executable, "-m", "pytest", *options),
      *("--noconftest", "-c", str(ROOT / "pyproject.toml")),
      str(tmp_path / "slow_test.py"),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert "2 failed, 2 passed" in ran.stdout, ran.stdout + ran.stderr
  assert ran.stdout.count("of 0.1 s of processor time\n") >= 2
