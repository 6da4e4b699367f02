"""The runs that all tests of faults copy and damage."""

import pytest

from tests.faults import world
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)


@pytest.fixture(scope="session")
def zero(compiled, tmp_path_factory):  # noqa: F811
  """A whole run of seed 0."""
  return world.make(tmp_path_factory.mktemp("zero") / "run", 0)


@pytest.fixture(scope="session")
def five(compiled, tmp_path_factory):  # noqa: F811
  """The same of seed 5."""
  return world.make(tmp_path_factory.mktemp("five") / "run", 5)


@pytest.fixture(scope="session")
def insects(tmp_path_factory):
  """A prepared data set, and another one of the same name."""
  root = tmp_path_factory.mktemp("insects")
  return [world.insects(root / str(n), n) for n in range(2)]
