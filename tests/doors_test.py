"""Nothing of ours runs what a file says; the doors there are, are listed.

Read from the syntax tree, so that no other spelling of a name gets by: an
alias of `eval` is a use of the name, an import under another name an import.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted(
  path
  for folder in ("snnjax", "experiments", "scripts")
  for path in (ROOT / folder).rglob("*.py")
)
NAMES = {"eval", "exec", "compile", "__import__", "__builtins__"}
MODULES = {
  "builtins",
  "cloudpickle",
  "code",
  "codeop",
  "dill",
  "imp",
  "joblib",
  "jsonpickle",
  "marshal",
  "pickle",
  "runpy",
  "shelve",
  "yaml",
}
# Functions of allowed modules that run or import what they are given.
CALLS = {
  "import_module",
  "exec_module",
  "load_module",
  "fromstring",
  "genfromtxt",
}
# file: what it may use, because its own text says why.
ALLOWED = {
  # Runs the configuration file that a person typed.
  "experiments/configuration/settings.py": {"runpy"},
  # Runs the file of a sweep's runs, which a person typed as well.
  "experiments/sweeping/grid.py": {"runpy"},
  # Loads the package's own submodules when they are first used.
  "snnjax/submodules.py": {"import_module"},
  # Loads Pallas, of which it names the one module, where it is asked for.
  "snnjax/kernels/scan.py": {"import_module"},
  # Imports modules named in a table of its own, never in a file.
  "experiments/command/doctor_checks.py": {"import_module"},
  "experiments/benchmarks/worker.py": {"import_module"},
}


def uses(source: str) -> set[str]:
  """Returns what a file uses of all that could run what it reads."""
  found = set()
  for node in ast.walk(ast.parse(source)):
    match node:
      case ast.Name(id=name) if name in NAMES:
        found.add(name)
      case ast.Import(names=names):
        found |= {n.name.split(".")[0] for n in names} & MODULES
      case ast.ImportFrom(module=module, names=names):
        found |= {str(module).split(".")[0]} & MODULES
        found |= {n.name for n in names} & (CALLS | NAMES)
      case ast.Attribute(attr=name) if name in CALLS:
        found.add(name)
      case ast.Call(func=ast.Name(id="getattr"), args=[_, name, *_]):
        found |= {getattr(name, "value", None)} & (NAMES | CALLS)
      case ast.Subscript(slice=ast.Constant(value=str(name))):
        found |= {name} & NAMES
      case ast.keyword(arg="allow_pickle", value=value):
        if not (isinstance(value, ast.Constant) and value.value is False):
          found.add("allow_pickle")
      case ast.keyword(arg="shell", value=value):
        if not (isinstance(value, ast.Constant) and value.value is False):
          found.add("shell")
  return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_runs_what_it_reads(path):
  allowed = ALLOWED.get(path.relative_to(ROOT).as_posix(), set())
  assert uses(path.read_text()) == allowed


@pytest.mark.parametrize(
  "source",
  [
    "eval(text)",
    "run = exec",
    "import pickle as p",
    "from pickle import loads",
    "import os, marshal",
    "np.load(path, allow_pickle=True)",
    "np.load(path, allow_pickle=flag)",
    "getattr(module, 'eval')",
    "vars(module)['exec']",
    "from builtins import eval as e",
    "importlib.import_module(name)",
    "from importlib import import_module as load",
    "import yaml",
    "runpy.run_path(path); import runpy",
    "subprocess.run(text, shell=True)",
  ],
)
def test_every_spelling_is_seen(source):
  assert uses(source)


@pytest.mark.parametrize(
  "source",
  [
    "model.eval()",
    "jitted.lower(x).compile()",
    "re.compile(text)",
    "np.load(path, allow_pickle=False)",
    "import pickletools",
    "ast.literal_eval(text)",
    "ast.parse(text, mode='eval')",
  ],
)
def test_what_runs_nothing_is_left_alone(source):
  assert not uses(source)
