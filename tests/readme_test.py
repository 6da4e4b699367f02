"""Every block of code in the README, as a reader would run it."""

import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [
  command
  for language, code in BLOCKS
  if language == "sh"
  for line in code.splitlines()
  for command in line.split("&&")
]


def test_every_block_has_a_language_that_is_tested_here():
  languages = {language for language, _ in BLOCKS}
  assert {"python", "sh"} <= languages <= {"python", "sh", "text", "json"}


def test_python_runs(tmp_path, capsys):
  """All blocks in the order they are read in: they share their names."""
  path = tmp_path / "readme.py"
  path.write_text("\n".join(PYTHON))
  names = runpy.run_path(str(path), run_name="__main__")
  first, *worst, gini, second = capsys.readouterr().out.splitlines()
  told = r"inputs 0\.0\d+ Interval\(estimate=\S+, low=\S+, high=\S+\)"
  assert [bool(re.fullmatch(told, line)) for line in worst] == [True, True]
  for line in (first, second):
    assert re.fullmatch(r"robust .*\], clean .*\], 4 examples", line)
  assert gini.startswith("[")
  assert names["slope"].shape == (784, 10)
  assert 0 < names["spikes"].mean() < 1


# A binary up to where its work begins: its flags are read, the configuration
# is checked.
READING = """
import runpy, sys
from experiments.runs import launch
from experiments.planning import preflight

parse = launch.parse

def checked(*arguments):
  command = parse(*arguments)
  preflight.check(command.config)
  return command

def only_read(prepare, *_, **__):
  prepare(sys.argv)
  sys.exit(0)

launch.parse, launch.start = checked, only_read
runpy.run_module(sys.argv[1], {}, "__main__", alter_sys=True)
"""
BINARIES = [
  words[words.index("-m") + 1 :]
  for words in map(shlex.split, SHELL)
  if any(word.startswith("experiments.") for word in words)
]


def test_every_command_in_a_block_is_known():
  known = {"python3", ".venv/bin/pip", ".venv/bin/python"}
  assert {shlex.split(command)[0] for command in SHELL} <= known
  assert len(BINARIES) >= 6


def read(words, folder):
  module, *arguments = words
  code = READING.replace("sys.argv[1]", repr(module), 1)
  return subprocess.run(
    [sys.executable, "-c", code, *arguments],
    cwd=folder,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )


@pytest.mark.parametrize("words", BINARIES, ids=" ".join)
def test_the_binaries_take_the_flags_and_values_of_shell_blocks(
  words, tmp_path
):
  done = read(words, tmp_path)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wrong", ["--sweet=a", "--config.model.steps=0"])
def test_a_flag_that_is_not_there_would_be_noticed(wrong, tmp_path):
  done = read(["experiments.train", "--workdir=x", wrong], tmp_path)
  assert done.returncode != 0
  assert "UsageError" in done.stderr
