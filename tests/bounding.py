"""The plugin that holds fuzz tests to their bounds."""

import pytest

from tests import bounds


def pytest_configure(config):
  config.addinivalue_line(
    "markers",
    "fuzz(seconds, megabytes): tries many inputs within bounds of both",
  )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
  """Runs hypothesis tests and those marked `fuzz` within their bounds."""
  mark = pyfuncitem.get_closest_marker("fuzz")
  many = getattr(pyfuncitem.obj, "is_hypothesis_test", False)
  if mark is None and not many:
    return (yield)
  given = {"seconds": bounds.SECONDS, "megabytes": bounds.MEGABYTES}
  with bounds.bounded(**(given | (mark.kwargs if mark else {}))):
    return (yield)
