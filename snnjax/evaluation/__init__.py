"""Worst-case evaluation over attacks and rules, one example at a time."""

from snnjax.evaluation.accuracy import RobustAccuracy, robust_accuracy
from snnjax.evaluation.autoattack_suite import (
  Suite,
  autoattack,
  cases,
  undefined,
)
from snnjax.evaluation.collecting import collect
from snnjax.evaluation.complete import Lack, lacking, spared
from snnjax.evaluation.microbatches import Progress, evaluate, stream
from snnjax.evaluation.nesting import holds, nested
from snnjax.evaluation.records import (
  CLEAN,
  Bounds,
  Case,
  Chunk,
  Clean,
  Evaluation,
  Outcome,
)
from snnjax.evaluation.summary import (
  AttackSummary,
  Summary,
  UnjudgedError,
  Worst,
  refuse_outside,
  summarize,
  worst,
)

__all__ = [
  "CLEAN",
  "AttackSummary",
  "Bounds",
  "Case",
  "Chunk",
  "Clean",
  "Evaluation",
  "Lack",
  "Outcome",
  "Progress",
  "RobustAccuracy",
  "Suite",
  "Summary",
  "UnjudgedError",
  "Worst",
  "autoattack",
  "cases",
  "collect",
  "evaluate",
  "holds",
  "lacking",
  "nested",
  "refuse_outside",
  "robust_accuracy",
  "spared",
  "stream",
  "summarize",
  "undefined",
  "worst",
]


def __dir__() -> list[str]:
  return sorted(__all__)
