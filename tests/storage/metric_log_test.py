"""Metrics files: whole lines, and the same after a resume."""

import errno
import json
import math
import re
import resource
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.storage import metric_log


@pytest.fixture
def path(tmp_path):
  return tmp_path / "metrics.jsonl"


def run(path, first, last, after=None, seconds=1.0):
  with metric_log.Metrics(path, after) as writer:
    for step in range(first, last + 1):
      writer.write(step, {"loss": 1.0 / step}, {"seconds": seconds})
      if step % 2 == 0:
        writer.write(step, {"accuracy": step})


def test_lines_come_back(path):
  with metric_log.Metrics(path) as writer:
    writer.write(
      1,
      {"a": 0.5, "b": 2, "c": True, "d": "x", "e": np.int64(3)},
      {"seconds": 1.5},
    )
    writer.write(1, {"jax": jnp.float32(0.25), "bool": np.bool_(False)})
  assert metric_log.read(path) == [
    {"step": 1, "a": 0.5, "b": 2, "c": True, "d": "x", "e": 3},
    {"step": 1, "jax": 0.25, "bool": False},
  ]
  assert metric_log.read(path, wall=True)[0]["wall"] == {"seconds": 1.5}


def test_numbers_that_are_not_finite_are_kept_in_strict_json(path):
  values = {"a": math.nan, "b": math.inf, "c": -math.inf}
  with metric_log.Metrics(path) as writer:
    writer.write(0, values, values)

  def constant(name):
    raise AssertionError(name)

  json.loads(path.read_text(), parse_constant=constant)
  (record,) = metric_log.read(path, wall=True)
  for found in (record, record["wall"]):
    assert math.isnan(found["a"])
    assert (found["b"], found["c"]) == (math.inf, -math.inf)


def test_a_resumed_file_equals_an_uninterrupted_one(path, tmp_path):
  whole = tmp_path / "whole.jsonl"
  run(whole, 1, 6)
  run(path, 1, 5)
  run(path, 5, 6, after=4, seconds=2.0)
  assert metric_log.read(path) == metric_log.read(whole)
  assert path.read_bytes() != whole.read_bytes()
  assert timeless(path) == timeless(whole)


def timeless(path):
  """The bytes of a file, less what depends on the clock."""
  return re.sub(rb', "wall": .*', b"}", path.read_bytes())


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_last_line_is_dropped(path, tmp_path, cut):
  whole = tmp_path / "whole.jsonl"
  run(whole, 1, 4)
  run(path, 1, 3)
  content = path.read_bytes()
  path.write_bytes(content[:-cut])
  assert metric_log.read(path) == metric_log.read(whole)[:3]
  run(path, 3, 4, after=2)
  assert path.read_bytes() == whole.read_bytes()


def test_a_run_that_begins_anew_empties_the_file(path):
  run(path, 1, 3)
  run(path, 1, 1)
  assert metric_log.read(path) == [{"step": 1, "loss": 1.0}]


def test_a_damaged_line_in_the_middle_is_named(path):
  run(path, 1, 3)
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(lines[0] + b"{torn\n" + lines[1])
  with pytest.raises(ValueError, match=r"metrics\.jsonl:2 is damaged"):
    metric_log.read(path)
  with pytest.raises(ValueError, match=r"metrics\.jsonl:2 is damaged"):
    metric_log.Metrics(path, 3)
  assert path.read_bytes() == lines[0] + b"{torn\n" + lines[1]


def test_a_line_that_does_not_fit_leaves_no_part(path):
  old = resource.getrlimit(resource.RLIMIT_FSIZE)
  with metric_log.Metrics(path) as writer:
    writer.write(1, {"a": 1})
    before = path.read_bytes()
    limit = len(before) + 5
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
      with pytest.raises(OSError, match=r"too large: .*metrics") as caught:
        writer.write(2, {"a": 2})
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    writer.write(2, {"a": 2})
  assert [r["a"] for r in metric_log.read(path)] == [1, 2]


def test_bad_arguments_are_refused(path):
  with metric_log.Metrics(path, after=3) as writer:
    with pytest.raises(ValueError, match="at least 3, got 2"):
      writer.write(2, {})
    with pytest.raises(ValueError, match="'wall'"):
      writer.write(4, {"wall": 1})
    with pytest.raises(ValueError, match="'step'"):
      writer.write(4, {"step": 1})
  assert path.read_bytes() == b""


def test_tensorboard_needs_no_tensorflow(tmp_path):
  pytest.importorskip("tensorboardX")
  with metric_log.tensorboard(tmp_path / "events", after=2) as write:
    write(3, {"loss": 0.5, "name": "x"})
  (events,) = (tmp_path / "events").iterdir()
  assert b"loss" in events.read_bytes()
  assert b"name" not in events.read_bytes()
  assert "tensorflow" not in sys.modules


def test_a_missing_tensorboard_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorboardX", None)
  with pytest.raises(ModuleNotFoundError, match=r"snnjax\[tensorboard\]"):
    metric_log.tensorboard(tmp_path).__enter__()
