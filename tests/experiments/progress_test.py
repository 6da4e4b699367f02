"""Progress: lines in a log, a bar on a terminal."""

import io

import pytest

from experiments.command import progress


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
  report(85, 100, "train")
  clock.now += 2.0
  report(90, 100, "train")
  clock.now += 5.0
  report(95, 100, "train")
  assert stream.getvalue().splitlines() == [
    "train: 85/100 (85 %), 0 s",
    "train: 90/100 (90 %), 2 s",
    "train: 95/100 (95 %), 7 s, about 5 s left",
  ]


def compiling(report, clock):
  """Steps of a second; the first one and the validation compile."""
  report(0, 10, "train")
  clock.now += 61.0
  report(1, 10, "train", "loss 2.3")
  for done in (2, 3):
    clock.now += 1.0
    report(done, 10, "train", f"loss {done}")
  report(3, 10, "train", "loss 3", compiles=True)
  clock.now += 30.0
  report(3, 10, "train", "loss 3")
  clock.now += 1.0
  report(4, 10, "train", "loss 4")


def test_compilation_is_not_part_of_the_estimate():
  stream, clock = io.StringIO(), Clock()
  compiling(progress.reporter(stream, 0.0, clock), clock)
  assert stream.getvalue().splitlines() == [
    "train: 0/10 (0 %), 0 s",
    "train: 1/10 (10 %), 1 min 01 s, loss 2.3",
    "train: 2/10 (20 %), 1 min 02 s, about 8 s left, loss 2",
    "train: 3/10 (30 %), 1 min 03 s, about 7 s left, loss 3",
    "train: 3/10 (30 %), 1 min 03 s, about 7 s left, loss 3",
    "train: 3/10 (30 %), 1 min 33 s, about 7 s left, loss 3",
    "train: 4/10 (40 %), 1 min 34 s, about 6 s left, loss 4",
  ]


def test_a_stage_that_compiles_is_not_part_of_the_estimate():
  """Each stage begins where the last one ended, with a call of its own."""
  stream, clock = io.StringIO(), Clock()
  report = progress.reporter(stream, 0.0, clock)
  for stage in range(2):
    report(4 * stage, 8, "attack", f"attack {stage}", compiles=True)
    for piece in range(1, 5):
      clock.now += 40.0 if piece == 1 else 2.0
      report(4 * stage + piece, 8, "attack", f"attack {stage}")
  lines = stream.getvalue().splitlines()
  assert lines[1] == "attack: 1/8 (12 %), 40 s, attack 0"
  assert "42 s, about 12 s left, attack 0" in lines[2]
  assert "1 min 26 s, about 6 s left, attack 1" in lines[6]


def test_a_terminal_shows_the_note_and_the_same_estimate():
  stream, clock = Terminal(), Clock()
  with progress.reporter(stream, 0.0, clock) as report:
    compiling(report, clock)
  text = stream.getvalue()
  shown = text.split("\r")[-1]
  assert "4/10" in shown
  assert "about 6 s left, loss 4" in shown
  assert "s/it" not in text


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
