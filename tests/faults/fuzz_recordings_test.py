"""A slice of the fuzz run over files of events."""

import random
import sys

import pytest

from tests.datasets import aedat_double
from tests.faults import fuzz_recordings as fuzz

COUNT = 200  # `python -m tests.faults.fuzz_recordings` runs 2,000 of each
SLOW = {"sample.aedat4": 6}  # unpacked in Python where `aedat` is not


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("fuzz")


def check(forms, folder, names):
  for name in names:
    count = SLOW.get(name, COUNT)
    counts, wrong, _ = fuzz.run(forms[name], count, 1, folder)
    assert not wrong
    assert counts.total() == count
    assert counts[fuzz.REFUSED] + counts[fuzz.PREFIX] > count // 3, name


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
  if "aedat" not in sys.modules:
    monkeypatch.setitem(sys.modules, "aedat", aedat_double)
  forms = {form.name: form for form in fuzz.forms(folder, shared)}
  check(
    forms, folder, set(forms) - set(WRITTEN) - {"sample_aedat_header.aedat"}
  )


def test_a_reader_that_forgets_a_check_is_told(folder, monkeypatch):
  form = fuzz.forms(folder, None)[4]
  monkeypatch.setattr(
    fuzz.recordings.records.events, "first_fault", lambda e: None
  )
  _, wrong, _ = fuzz.run(form, COUNT, 1, folder)
  assert not wrong  # whoever checks has the same fault


def test_mutations_change_the_file():
  choose = random.Random(0)
  content = bytes(range(256))
  changed = [fuzz.mutate(content, choose) for _ in range(300)]
  assert sum(other != content for other in changed) > 280
