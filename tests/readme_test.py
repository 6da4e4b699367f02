"""Every block of code in the README, as a reader would run it."""

import pathlib
import re
import runpy
import shlex

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


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_runs(code, tmp_path):
  path = tmp_path / "readme.py"
  path.write_text(code)
  runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("command", SHELL)
def test_shell_names_what_there_is(command):
  words = shlex.split(command)
  assert words, command
  if "-m" not in words or not words[words.index("-m") + 1].startswith("exp"):
    return
  name = words[words.index("-m") + 1].partition(".")[2]
  assert (ROOT / "experiments" / f"{name}.py").is_file(), command
