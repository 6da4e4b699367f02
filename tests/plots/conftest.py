"""Drawings, caught before they become pixels."""

import pytest

from tests.plots import letters

pytest.importorskip("matplotlib")


@pytest.fixture
def drawings(monkeypatch):
  """The drawings of the figures of a test, in order; none is rendered."""
  from snnjax.plots import canvas

  caught = []

  def png(drawing):
    caught.append(drawing)
    return b"\x89PNG"

  monkeypatch.setattr(canvas, "png", png)
  return caught


@pytest.fixture
def key(drawings):
  """What the last drawing says above its panels, on one line."""
  return lambda: letters.plain(drawings[-1].get_suptitle())
