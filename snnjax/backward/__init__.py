"""Backward rules: how a gradient passes through time and spikes."""

from snnjax.backward.assg import Assg, assg_rule
from snnjax.backward.pdsg import Pdsg
from snnjax.backward.rules import (
  Bptr,
  Bptt,
  Hart,
  PerLayer,
  Rga,
  StraightThrough,
  check_rule,
  depends_on_batch,
)

__all__ = [
  "Assg",
  "Bptr",
  "Bptt",
  "Hart",
  "Pdsg",
  "PerLayer",
  "Rga",
  "StraightThrough",
  "assg_rule",
  "check_rule",
  "depends_on_batch",
]


def __dir__() -> list[str]:
  return sorted(__all__)
