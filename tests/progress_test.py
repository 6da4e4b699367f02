"""Progress: lines in a log, a bar on a terminal."""

import io

import pytest

from experiments import progress


class Terminal(io.StringIO):
  def isatty(self):
    return True


class Clock:
  def __init__(self):
    self.now = 100.0

  def __call__(self):
    return self.now


def test_lines_are_rate_limited_and_the_end_is_always_written():
  stream, clock = io.StringIO(), Clock()
  report = progress.reporter(stream, 5.0, clock)
  for done in range(101):
    report(done, 100, "attack")
    clock.now += 0.125
  lines = stream.getvalue().splitlines()
  assert lines == [
    "attack: 0/100 (0 %), 0 s",
    "attack: 40/100 (40 %), 5 s, about 8 s left",
    "attack: 80/100 (80 %), 10 s, about 2 s left",
    "attack: 100/100 (100 %), 12 s",
  ]
  assert "\r" not in stream.getvalue()


def test_a_resumed_task_estimates_from_where_it_started():
  stream, clock = io.StringIO(), Clock()
  report = progress.reporter(stream, 0.0, clock)
  report(90, 100, "train")
  clock.now += 5.0
  report(95, 100, "train")
  assert stream.getvalue().splitlines() == [
    "train: 90/100 (90 %), 0 s",
    "train: 95/100 (95 %), 5 s, about 5 s left",
  ]


def test_every_task_says_where_it_starts():
  """Its first piece may last, whatever was written a moment before."""
  stream, clock = io.StringIO(), Clock()
  report = progress.reporter(stream, 5.0, clock)
  for name in ("a", "b", "c"):
    for done in range(3):
      report(done, 2, name)
  assert stream.getvalue().splitlines() == [
    "a: 0/2 (0 %), 0 s",
    "a: 2/2 (100 %), 0 s",
    "b: 0/2 (0 %), 0 s",
    "b: 2/2 (100 %), 0 s",
    "c: 0/2 (0 %), 0 s",
    "c: 2/2 (100 %), 0 s",
  ]


def test_an_empty_task_ends_at_once():
  stream = io.StringIO()
  progress.reporter(stream)(0, 0, "nothing")
  assert stream.getvalue() == "nothing: 0/0 (100 %), 0 s\n"


def test_a_terminal_has_one_bar_per_task():
  stream = Terminal()
  with progress.reporter(stream) as report:
    for name in ("train", "attack"):
      for done in range(5):
        report(done, 4, name)
  text = stream.getvalue()
  assert "\r" in text
  assert "train: 100%" in text
  assert "attack: 100%" in text
  assert "4/4" in text
  assert text.count("\n") == 2


def test_leaving_early_ends_the_bar_where_it_stands():
  stream = Terminal()
  with progress.reporter(stream) as report:
    report(1, 4, "train")
  assert stream.getvalue().endswith("\n")
  assert "1/4" in stream.getvalue()


def test_the_default_is_standard_error(capsys):
  progress.reporter()(1, 1, "x")
  captured = capsys.readouterr()
  assert captured.out == ""
  assert captured.err == "x: 1/1 (100 %), 0 s\n"


@pytest.mark.parametrize("done", [-1, 5])
def test_a_count_outside_its_total_is_refused(done):
  with pytest.raises(ValueError, match=f"got {done}"):
    progress.reporter(io.StringIO())(done, 4, "x")


def test_a_negative_interval_is_refused():
  with pytest.raises(ValueError, match="interval"):
    progress.reporter(io.StringIO(), -1.0)


def test_silent_writes_nothing(capsys):
  progress.silent(1, 2, "x")
  assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
  ("seconds", "text"),
  [(3.6, "4 s"), (60, "1 min 00 s"), (125, "2 min 05 s"), (3720, "1 h 02 min")],
)
def test_durations_read_as_people_say_them(seconds, text):
  assert progress.duration(seconds) == text
