"""What a wheel and a source distribution hold: all of it, and no more."""

import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
CODE = ("snnjax", "experiments")
DATA = {"snnjax/py.typed", "snnjax/data/mnist.npz"}
LICENCES = {"LICENSE", "LICENSES-DATA.md"}
BUILD = (
  "import setuptools.build_meta as b, sys; folder = sys.argv[1]; "
  "b.build_wheel(folder); b.build_sdist(folder)"
)


def modules() -> set[str]:
  return {
    path.relative_to(ROOT).as_posix()
    for folder in CODE
    for path in (ROOT / folder).rglob("*.py")
  }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  """Both distributions, built with the environment's own setuptools."""
  source = tmp_path_factory.mktemp("source")
  target = tmp_path_factory.mktemp("built")
  for name in ("pyproject.toml", "README.md", *LICENCES):
    shutil.copy(ROOT / name, source / name)
  for name in CODE:
    shutil.copytree(
      ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
    )
  done = subprocess.run(
    [sys.executable, "-c", BUILD, str(target)],
    cwd=source,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  return target


def test_the_wheel_holds_the_package_and_its_licences(built):
  (path,) = built.glob("*.whl")
  with zipfile.ZipFile(path) as archive:
    names = set(archive.namelist())
    (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
    info = metadata.rpartition("/")[0]
    text = archive.read(metadata).decode()
  own = {name for name in names if not name.startswith(f"{info}/")}
  assert own == modules() | DATA
  licences = {n.rpartition("/")[2] for n in names if "/licenses/" in n}
  assert licences == LICENCES
  assert "License-Expression: Apache-2.0" in text
  for extra in ("plot", "test", "bench", "cuda13", "tpu"):
    assert f"Provides-Extra: {extra}" in text


def test_the_source_distribution_holds_what_the_wheel_is_built_from(
  built, tmp_path
):
  (path,) = built.glob("*.tar.gz")
  with tarfile.open(path) as archive:
    archive.extractall(tmp_path, filter="data")
  (source,) = tmp_path.iterdir()
  names = {
    p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()
  }
  missing = (
    modules() | DATA | LICENCES | {"README.md", "pyproject.toml"}
  ) - names
  assert not missing
  strange = {
    name
    for name in names - modules() - DATA
    if "/" in name and not name.startswith("snnjax.egg-info/")
  }
  assert not strange


def test_the_floor_that_is_tested_is_the_one_that_is_declared():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  declared = dict(
    re.fullmatch(r"([\w-]+)>=([\d.]+)", text).groups()
    for text in project["dependencies"]
  )
  lines = (ROOT / ".ci" / "floor.txt").read_text().splitlines()
  tested = dict(line.split("==") for line in lines if not line.startswith("#"))
  assert tested.pop("jaxlib") == tested["jax"]
  parts = {name: text.split(".") for name, text in declared.items()}
  for name, text in tested.items():
    assert text.split(".")[: len(parts.pop(name))] == declared[name].split(".")
  assert not parts


def test_colabs_versions_are_allowed():
  """Nothing of an image has to be upgraded, JAX least of all."""
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
  floors = dict(
    re.fullmatch(r"([\w-]+)>=([\d.]+)", text).groups() for text in wanted
  )
  lines = (ROOT / ".ci" / "colab.txt").read_text().splitlines()
  there = dict(line.split("==") for line in lines if not line.startswith("#"))
  assert {"jax", "jaxlib", "flax", "absl-py", "numpy"} <= set(there)
  for name, text in there.items():
    floor = floors.get(name, floors["jax"])  # jaxlib has jax's versions
    numbers = [[int(n) for n in v.split(".")] for v in (text, floor)]
    assert numbers[0] >= numbers[1], name
