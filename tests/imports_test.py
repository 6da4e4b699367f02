"""The directions of the design, read from the source of every module."""

import ast
import os
import pathlib
import resource
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "snnjax"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each unit may import units of lower rank, and units of its own rank only if
# they are itself (a package's modules may import each other).
RANKS = {
  "interfaces": 0,
  "precision": 0,
  "sharding": 0,
  "submodules": 0,
  "malloc": 1,
  "arguments": 1,
  "validation": 1,
  "prng": 1,
  "vectors": 1,
  "intervals": 1,
  "derivatives": 1,
  "lost_derivatives": 1,
  "logistic": 1,
  "kernels": 2,
  "surrogates": 2,
  "losses": 2,
  "encoders": 2,
  "replication": 2,
  "sparsity": 3,
  "storage": 3,
  "neurons": 3,
  "input_gradients": 3,
  "data": 4,
  "backward": 4,
  "certify": 4,
  "readouts": 4,
  "vulnerability": 4,
  "regularizers": 4,
  "models": 5,
  "attacks": 5,
  "methods": 6,
  "training": 7,
  "evaluation": 8,
  "checks": 9,
  "report": 10,
  "plots": 11,
}
# The same for the folders of experiments; the binaries stand above them all.
WORKROOMS = {
  "command": 0,
  "configuration": 1,
  "building": 2,
  "planning": 3,
  "configs": 4,
  "runs": 4,
  "training": 5,
  "evaluation": 6,
  "reporting": 7,
  "measuring": 7,
  "sweeping": 8,
  "questions": 9,
  "benchmarks": 8,
}
ONLY_IN = {
  "flax": {"models"},
  "tensorflow_datasets": {"data"},
  "array_record": {"data"},
  "grain": {"data"},
  "orbax": {"storage"},
  "matplotlib": {"plots"},
}
BINARIES = sorted(
  path.stem
  for path in (ROOT / "experiments").glob("*.py")
  if "\nif __name__ ==" in path.read_text()
)
WORKROOM_FILES = sorted(
  path
  for path in (ROOT / "experiments").rglob("*.py")
  if path.parent != ROOT / "experiments" and path.name != "__init__.py"
)
NOWHERE = {"torch", "tensorflow", "pickle", "foolbox", "tonic", "expelliarmus"}


def unit(path: pathlib.Path) -> str:
  parts = path.relative_to(PACKAGE).with_suffix("").parts
  return parts[0]


def imported(path: pathlib.Path) -> list[str]:
  """Every module that a file imports, `from a import b` as a.b."""
  names = []
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      names += [f"{node.module}.{alias.name}" for alias in node.names]
  return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_directions(path):
  own = unit(path)
  if own == "__init__":
    return
  assert own in RANKS, f"give {own} a rank in this test"
  for name in imported(path):
    top, *rest = name.split(".")
    assert top not in NOWHERE, name
    assert own in ONLY_IN.get(top, {own}), f"{name} belongs elsewhere"
    if top == "snnjax" and rest and rest[0] in RANKS and rest[0] != own:
      assert RANKS[rest[0]] < RANKS[own], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", WORKROOM_FILES, ids=lambda p: p.stem)
def test_workrooms_follow_their_directions(path):
  own = path.parent.relative_to(ROOT / "experiments").parts[0]
  for name in imported(path):
    top, *rest = name.split(".")
    if top == "experiments" and rest[0] != own:
      assert WORKROOMS[rest[0]] < WORKROOMS[own], f"{path} imports {name}"


def test_every_workroom_has_a_rank():
  assert set(WORKROOMS) == {
    path.name for path in (ROOT / "experiments").iterdir() if path.is_dir()
  } - {"__pycache__"}


def test_every_rank_has_a_module():
  assert set(RANKS) == {unit(path) for path in FILES} - {"__init__"}


def test_import_is_light():
  heavy = (
    "tensorflow_datasets",
    "tensorflow",
    "orbax",
    "grain",
    "matplotlib",
    "flax.nnx",
  )
  script = (
    f"import sys, snnjax; print([m for m in {heavy} if m in sys.modules])"
  )
  result = subprocess.run(
    [sys.executable, "-c", script],
    capture_output=True,
    text=True,
    check=True,
    cwd=ROOT,
  )
  assert result.stdout.strip() == "[]"


def seconds(code: str) -> float:
  """The CPU time of a process: other work makes the wall's longer."""
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_import_takes_little_more_than_jax():
  # The best of three tries: a busy machine slows even CPU time.
  jax, tries = "import jax.numpy", range(3)
  assert any(seconds("import snnjax") < seconds(jax) + 0.3 for _ in tries)


@pytest.mark.parametrize("binary", BINARIES)
def test_help_is_quick(binary):
  code = (
    f"import runpy, sys; sys.argv = [{binary!r}, '--help']; "
    f"sys.stdout = open({os.devnull!r}, 'w')\n"
    f"try: runpy.run_module('experiments.{binary}', run_name='__main__')\n"
    "except SystemExit as end: assert not end.code\n"
    "assert 'jax' not in sys.modules"
  )
  assert any(seconds(code) < 0.5 for _ in range(3))
