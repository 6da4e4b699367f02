"""What every folder and module of the package is called, and what it lists."""

import importlib
import pathlib
import pkgutil
import sys
import types

import pytest

import experiments
import snnjax

MODULES = sorted(
  module.name
  for package in (snnjax, experiments)
  for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)
PACKAGES = [
  "snnjax",
  *(
    module.name
    for module in pkgutil.walk_packages(snnjax.__path__, "snnjax.")
    if module.ispkg
  ),
]
# Records and functions, of which `attacks.<TAB>` shows those that attack.
FOLDERS_OF_ATTACKS = {"gradient", "minimum_norm", "queries", "sparse"}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_folder_lists_what_it_has_and_no_more(name):
  package = importlib.import_module(name)
  assert dir(package) == sorted(package.__all__)
  assert len(set(package.__all__)) == len(package.__all__)
  for listed in package.__all__:
    assert getattr(package, listed) is not None
  with pytest.raises(AttributeError, match="has no attribute 'anything'"):
    package.anything  # noqa: B018


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("snnjax")])
def test_a_module_is_itself_in_its_folder(name):
  parent, _, own = name.rpartition(".")
  importlib.import_module(name)
  assert isinstance(
    getattr(importlib.import_module(parent), own), types.ModuleType
  ), f"{parent} has something else called {own}"


def test_no_module_has_a_name_of_the_standard_library():
  names = {name.rpartition(".")[2] for name in MODULES}
  assert not names & sys.stdlib_module_names


def test_binaries_stand_alone_at_the_top_of_experiments():
  (folder,) = experiments.__path__
  for path in pathlib.Path(folder).glob("*.py"):
    if path.name != "__init__.py":
      assert '\nif __name__ == "__main__":' in path.read_text(), path


def test_attacks_shows_attacks():
  assert not FOLDERS_OF_ATTACKS & set(dir(snnjax.attacks))
  assert {"pgd", "auto_pgd", "fab", "square", "sparse_rs"} <= set(
    dir(snnjax.attacks)
  )
