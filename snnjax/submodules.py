"""Submodules that are imported when they are first used."""

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType


def lazily(
  package: str, modules: Sequence[str], names: Sequence[str] = ()
) -> tuple[Callable[[str], ModuleType], Callable[[], list[str]]]:
  """Returns `__getattr__` and `__dir__` for the `__init__` of a package.

  Args:
    package: its `__name__`.
    modules: what is imported when it is first used.
    names: what the package binds itself and lists as well.
  """

  def load(name: str) -> ModuleType:
    if name in modules:
      return importlib.import_module(f"{package}.{name}")
    raise AttributeError(f"module {package!r} has no attribute {name!r}")

  def listed() -> list[str]:
    return sorted([*modules, *names])

  return load, listed
