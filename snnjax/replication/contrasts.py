"""The difference that a treatment makes, paired over seeds."""

import dataclasses
import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from scipy import special

from snnjax.replication.estimates import Estimate

# Differences that are equal but for rounding have no spread: 0.3 - 0.1 is not
# 0.4 - 0.2, by one unit in the last place of the larger number.
_ROUNDING = 8 * np.finfo(float).eps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrast(Estimate):
  """The mean of paired differences; `replicates` counts the seeds.

  Attributes:
    effect_size: Hedges' g_z: the mean over the standard deviation of the
      differences, times the correction for small samples; no unit. NaN where
      the differences have no spread.
    differences: treated - control of each seed.
  """

  effect_size: float
  differences: Mapping[Hashable, float]


def paired_contrast(
  treated: Mapping[Any, float],
  control: Mapping[Any, float],
  *,
  confidence: float = 0.95,
) -> Contrast:
  r"""Returns the mean difference of two arms over the seeds that both ran.

  ``m -+ t s / sqrt(n)`` for the mean m and the standard deviation s of n
  differences, t of n - 1 degrees of freedom; `p_value` is of the paired t test
  (`scipy.stats.ttest_rel`). The effect size is
  ``g_z = J(n - 1) m / s`` with
  ``J(v) = Gamma(v/2) / (sqrt(v/2) Gamma((v - 1)/2))``.

  Args:
    treated: one number per seed, such as a mean over test examples.
    control: the same of the arm it is compared with, in the same unit.
    confidence: the coverage wanted, strictly between 0 and 1.

  Returns:
    treated - control, with its interval, test and effect size.

  Raises:
    ValueError: if a seed is in one arm only, a number is not finite (the
      message names the arm and the seed), or fewer than two seeds are left.

  References:
    Student (1908), The probable error of a mean, Biometrika 6.
    L. V. Hedges (1981), Distribution theory for Glass's estimator of effect
    size and related estimators, Journal of Educational Statistics 6.
    D. Lakens (2013), Calculating and reporting effect sizes to facilitate
    cumulative science, Frontiers in Psychology 4 (for the name g_z).
  """
  check_paired(treated, control)
  pairs = {
    seed: (_number("treated", treated, seed), _number("control", control, seed))
    for seed in treated
  }
  values = np.array(list(pairs.values()))
  differences = values[:, 0] - values[:, 1]
  count = len(differences)
  deviation = float(np.std(differences, ddof=1))
  if np.ptp(differences) <= _ROUNDING * np.abs(values).max():
    deviation = 0.0
  mean = float(np.mean(differences))
  size = math.nan
  if deviation:
    size = _small_sample_correction(count - 1) * mean / deviation
  return Contrast(
    estimate=mean,
    standard_error=deviation / math.sqrt(count),
    degrees_of_freedom=count - 1,
    replicates=count,
    confidence=confidence,
    effect_size=size,
    differences=dict(zip(pairs, differences.tolist(), strict=True)),
  )


def check_paired(
  treated: Mapping[Any, Any], control: Mapping[Any, Any]
) -> None:
  """Raises unless two arms have the same seeds, two or more.

  Raises:
    ValueError: if a seed is in one arm only; the message names it.
  """
  for name, arm in (("treated", treated), ("control", control)):
    if not isinstance(arm, Mapping):
      raise ValueError(
        f"{name} must be a mapping of seeds to numbers, so that pairs are of "
        f"one seed; got a {type(arm).__name__}"
      )
  for name, arm, other in (
    ("treated", treated, control),
    ("control", control, treated),
  ):
    alone = [seed for seed in arm if seed not in other]
    if alone:
      raise ValueError(
        f"treated and control must have the same seeds; {name} alone has "
        f"{', '.join(map(str, alone))}. Run the missing arm, or leave the seed "
        "out of both and say so"
      )
  if len(treated) < 2:
    raise ValueError(
      f"treated and control must have at least 2 seeds; got {len(treated)}"
    )


def _number(name: str, arm: Mapping[Any, Any], seed: Hashable) -> float:
  value = np.asarray(arm[seed])
  if value.shape or value.dtype.kind not in "biuf" or not np.isfinite(value):
    raise ValueError(
      f"{name} of seed {seed} must be one finite number; got {arm[seed]!r}"
    )
  return float(value)


def _small_sample_correction(degrees: int) -> float:
  """Hedges' J; of one degree 0, since Gamma(0) is infinite."""
  logs = special.gammaln([degrees / 2.0, (degrees - 1) / 2.0])
  return float(np.exp(logs[0] - logs[1]) / math.sqrt(degrees / 2.0))
