"""Worst-case evaluation over attacks and rules, one example at a time."""

from snnjax.evaluation import saving
from snnjax.evaluation.accuracy import RobustAccuracy, robust_accuracy
from snnjax.evaluation.autoattack_suite import (
  Suite,
  autoattack,
  cases,
  find_undefined,
)
from snnjax.evaluation.collecting import collect
from snnjax.evaluation.complete import Lack, earlier_stages, find_lacks
from snnjax.evaluation.gradients import GradientStudy, study_gradients
from snnjax.evaluation.many_rules import SuiteResult, View, evaluate_suite
from snnjax.evaluation.microbatches import Progress, evaluate, stream
from snnjax.evaluation.nesting import contains_ball, with_inner_balls
from snnjax.evaluation.planning import Case, Cell, Plan
from snnjax.evaluation.records import (
  CLEAN,
  Bounds,
  Chunk,
  Clean,
  Evaluation,
  Outcome,
  Trial,
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
  "Cell",
  "Chunk",
  "Clean",
  "Evaluation",
  "GradientStudy",
  "Lack",
  "Outcome",
  "Plan",
  "Progress",
  "RobustAccuracy",
  "Suite",
  "SuiteResult",
  "Summary",
  "Trial",
  "UnjudgedError",
  "View",
  "Worst",
  "autoattack",
  "cases",
  "collect",
  "contains_ball",
  "earlier_stages",
  "evaluate",
  "evaluate_suite",
  "find_lacks",
  "find_undefined",
  "refuse_outside",
  "robust_accuracy",
  "saving",
  "stream",
  "study_gradients",
  "summarize",
  "with_inner_balls",
  "worst",
]


def __dir__() -> list[str]:
  return sorted(__all__)
