"""The notebook's cells run, in their order, at a small size."""

import json
import pathlib
import sys
import types

import pytest

from tests import tiny_runs

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOK = json.loads((ROOT / "notebooks" / "quickstart.ipynb").read_text())
CELLS = NOTEBOOK["cells"]
SMALL = (
  tiny_runs.TINY
  | tiny_runs.SHORT
  | {
    "compared": "vanilla,",
    "data.modalities": "image,",
    "data.validation": "0",
    "modalities.image.epsilons.linf": "0.1,",
  }
)


def source(cell):
  return "".join(cell["source"])


@pytest.fixture
def shown(monkeypatch):
  """What the cells display; a stand-in where IPython is not installed."""
  things = []
  display = types.ModuleType("IPython.display")
  display.display = things.append
  display.HTML = lambda text: ("html", text)
  display.Image = lambda data: ("image", data)
  package = types.ModuleType("IPython")
  package.display = display
  package.version_info = (9, 0)  # Matplotlib asks
  monkeypatch.setitem(sys.modules, "IPython", package)
  monkeypatch.setitem(sys.modules, "IPython.display", display)
  return things


def test_it_is_a_notebook_of_few_cells_without_results():
  assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 4)
  assert len(CELLS) <= 12
  kinds = {"markdown", "code"}
  assert {cell["cell_type"] for cell in CELLS} == kinds
  code = [cell for cell in CELLS if cell["cell_type"] == "code"]
  assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
  # A cell that must stay plain Python is executed by the test below.
  assert not any(
    line.startswith(("!", "%")) for c in code for line in c["source"]
  )


def test_the_first_cell_keeps_the_jax_that_is_here(monkeypatch, tmp_path):
  """It is told to pip as a constraint, and nothing is upgraded."""
  import importlib.metadata
  import subprocess

  class Installed:
    def __init__(self, name, version):
      self.metadata, self.version = {"Name": name}, version

  present = [
    Installed("jax", "0.7.2"),
    Installed("jaxlib", "0.7.2"),
    Installed("jax-cuda12-plugin", "0.7.2"),
    Installed("numpy", "2.1.3"),
  ]
  calls = []
  monkeypatch.setattr(importlib.metadata, "distributions", lambda: present)
  monkeypatch.setattr(
    subprocess, "run", lambda command, check: calls.append((command, check))
  )
  monkeypatch.setattr(sys, "path", list(sys.path))
  monkeypatch.chdir(ROOT / "notebooks")
  first = next(cell for cell in CELLS if cell["cell_type"] == "code")
  exec(compile(source(first), "first cell", "exec"), {})
  ((command, check),) = calls
  assert check
  assert not {"-U", "--upgrade", "--force-reinstall"} & set(command)
  assert command[-2:] == ["-e", f"{ROOT}[plot]"]
  constraints = pathlib.Path(command[command.index("-c") + 1]).read_text()
  assert constraints.split() == [
    "jax==0.7.2",
    "jaxlib==0.7.2",
    "jax-cuda12-plugin==0.7.2",
  ]
  monkeypatch.chdir(tmp_path)
  with pytest.raises(FileNotFoundError, match="clone it here"):
    exec(compile(source(first), "first cell", "exec"), {})


def test_the_cells_run(shown, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(sys, "path", list(sys.path))
  monkeypatch.chdir(ROOT / "notebooks")
  names = {"__name__": "__main__"}
  tagged = 0
  for number, cell in enumerate(CELLS):
    if cell["cell_type"] != "code":
      continue
    exec(compile(source(cell), f"cell {number}", "exec"), names)
    if "parameters" in cell["metadata"].get("tags", ()):
      tagged += 1
      names |= {"CHANGES": SMALL, "RUN": str(tmp_path / "run")}
  assert tagged == 1
  (report, figure) = shown
  assert report[0] == "html"
  assert "<main>" in report[1]
  assert figure[0] == "image"
  assert figure[1].startswith(b"\x89PNG")
  printed = capsys.readouterr().out
  assert printed.count("robust") >= 3
  assert printed.count("Gini coefficient") == 3
