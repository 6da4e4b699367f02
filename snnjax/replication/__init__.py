"""Results over repetitions: intervals, corrections and verdicts.

The seed is the unit of replication: a network trained again. Test examples are
nested in it, and many of them make no second seed.
"""

from snnjax.replication.bootstrap import hierarchical_bootstrap
from snnjax.replication.contrasts import Contrast, paired_contrast
from snnjax.replication.corrections import holm
from snnjax.replication.estimates import Estimate
from snnjax.replication.regression import Coefficient, Regression, regress
from snnjax.replication.robust_radii import MedianRadii, median_radii
from snnjax.replication.rules import Rule, describe
from snnjax.replication.sensitivity import Sensitivity, what_would_change
from snnjax.replication.verdicts import Conclusion, Verdict, decide

__all__ = [
  "Coefficient",
  "Conclusion",
  "Contrast",
  "Estimate",
  "MedianRadii",
  "Regression",
  "Rule",
  "Sensitivity",
  "Verdict",
  "decide",
  "describe",
  "hierarchical_bootstrap",
  "holm",
  "median_radii",
  "paired_contrast",
  "regress",
  "what_would_change",
]


def __dir__() -> list[str]:
  return sorted(__all__)
