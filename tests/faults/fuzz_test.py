"""A slice of the fuzz run: no mutation of a file of ours gives other values."""

import tracemalloc

import pytest

from tests.faults import fuzz, world

COUNT = 40  # of each format; `python -m tests.faults.fuzz` runs the whole


@pytest.fixture(scope="module")
def formats(zero, tmp_path_factory):
  folder = tmp_path_factory.mktemp("fuzz")
  whole = world.copy(zero, folder / "run")
  made = {form.name: form for form in fuzz.formats(folder, whole)}
  tracemalloc.start()
  yield made
  tracemalloc.stop()


NAMES = (
  "checkpoint",
  "parameters.npz",
  "parameters.safetensors",
  "config.json",
  "status.json",
  "environment.json",
  "metrics.jsonl, resumed",
  "data.json and examples.npz",
  "report.json",
  "leaderboard.json",
  "evaluation chunk",
  "study.npz",
  "plan.json",
  "metrics.jsonl, times",
  "prepared set, manifest",
  "prepared set, other files",
  "embedded data",
)


def test_no_format_is_left_out(formats):
  assert set(formats) == set(NAMES)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", NAMES)
def test_no_mutation_gives_other_values(formats, name):
  counts, wrong = fuzz.run(formats[name], COUNT, seed=1)
  assert not wrong
  assert counts.total() == COUNT
  assert counts[fuzz.REFUSED] + counts[fuzz.MENDED] > COUNT // 2
