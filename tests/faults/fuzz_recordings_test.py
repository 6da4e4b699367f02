"""A slice of the fuzz run over files of events."""

import random
import sys

import pytest

from snnjax.data import recordings
from tests.datasets import aedat_double, event_files
from tests.faults import fuzz_recordings as fuzz

COUNT = 200  # `python -m tests.faults.fuzz_recordings` runs 2,000 of each
SLOW = {"sample.aedat4, 6 packets": 30}  # unpacked in Python


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("fuzz")


def check(forms, folder, names):
  for name in names:
    count = SLOW.get(name, COUNT)
    counts, wrong, _ = fuzz.run(forms[name], count, 1, folder)
    assert not wrong
    assert counts.total() == count
    assert counts[fuzz.REFUSED] + counts[fuzz.PREFIX] > count // 5, name


WRITTEN = (
  "AEDAT 2, DVS128",
  "AEDAT 2, DAVIS",
  "AEDAT 3.1",
  "DAT",
  "N-MNIST",
  "ST-MNIST",
)


@pytest.mark.fuzz
def test_written_files_are_read_refused_or_cut(folder):
  forms = {form.name: form for form in fuzz.forms(folder, None)}
  assert tuple(forms) == WRITTEN
  check(forms, folder, WRITTEN)


@pytest.mark.fuzz
def test_recorded_files_are_read_refused_or_cut(folder, shared, monkeypatch):
  monkeypatch.setitem(sys.modules, "aedat", aedat_double)
  forms = {form.name: form for form in fuzz.forms(folder, shared)}
  header = "sample_aedat_header.aedat"  # most of its bytes say nothing
  check(forms, folder, set(forms) - {*WRITTEN, header})
  assert not fuzz.run(forms[header], COUNT, 1, folder)[1]


def trusting(path, *, strict):
  """A reader that takes the columns as they come."""
  del strict
  return recordings.Recording(unsound(path.read_bytes()))


def unsound(content):
  number = len(content) // 5
  return event_files.sample((34, 34), number)._replace(height=1)


def failing(path, *, strict):
  raise IndexError(f"{path} {strict}")


def silent(path, *, strict):
  """A reader that leaves out what is damaged, and does not say so."""
  read = recordings.read(path, strict=False)
  return read._replace(dropped=0)


@pytest.mark.parametrize("reader", [trusting, failing, silent])
def test_readers_that_break_their_promise_are_told(folder, reader):
  form = fuzz.forms(folder, None)[WRITTEN.index("N-MNIST")]
  counts, wrong, _ = fuzz.run(form._replace(read=reader), 20, 1, folder)
  assert counts[fuzz.WRONG] == len(wrong) > 8


def test_mutations_change_the_file():
  choose = random.Random(0)
  content = bytes(range(256))
  changed = [fuzz.mutate(content, choose) for _ in range(300)]
  assert sum(other != content for other in changed) > 280
