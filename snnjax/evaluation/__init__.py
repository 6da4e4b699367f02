"""Worst-case evaluation over attacks and rules, one example at a time."""

from snnjax.evaluation.autoattack import Suite, autoattack, cases, defined
from snnjax.evaluation.records import (
  CLEAN,
  Bounds,
  Case,
  Chunk,
  Clean,
  Evaluation,
  Outcome,
  collect,
)
from snnjax.evaluation.stream import evaluate, stream
from snnjax.evaluation.summary import (
  AttackSummary,
  Summary,
  Worst,
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
  "Outcome",
  "Suite",
  "Summary",
  "Worst",
  "autoattack",
  "cases",
  "collect",
  "defined",
  "evaluate",
  "stream",
  "summarize",
  "worst",
]
