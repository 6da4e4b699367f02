"""The numbers of the second question: accuracies by norm, radii, slopes."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.configuration import study as studies
from experiments.configuration.study import Study
from experiments.questions import network_numbers
from experiments.questions.network_numbers import Arms
from experiments.questions.results import Measured
from snnjax import replication
from snnjax.replication import Coefficient, MedianRadii, Regression

# Of the regression; each a path of `network_numbers.number`. Gradients are
# those of the margin, clean, of all that the network sees.
SIZE, SPARSITY, MARGIN = "log size", "log participation ratio", "log margin"
PATHS = {
  SIZE: "mean/margin/clean/own/whole/log_l1",
  SPARSITY: "mean/margin/clean/own/whole/log_participation_ratio",
  MARGIN: "log_margin",
}
# At equal strength against linf: networks between these two arms.
ORDINARY, HARDENED = "conventional", "at_linf"


class Predicted(NamedTuple):
  """A slope that first-order theory expects, docs/theory.md, section 6.

  Attributes:
    low: the least of it.
    high: the largest.
    words: for a table.
  """

  low: float
  high: float
  words: str

  def meets(self, estimate: Coefficient) -> bool:
    """Whether an interval reaches it."""
    return estimate.low <= self.high and estimate.high >= self.low


_FALLS, _RISES = (
  Predicted(-math.inf, 0.0, "below 0"),
  Predicted(0.0, math.inf, "above 0"),
)
_IN_A_BALL = {
  SIZE: Predicted(-1.0, -1.0, "-1"),
  MARGIN: Predicted(1.0, 1.0, "1"),
}
# Where sites are counted theory has signs only, section 4: the sum of the
# largest gains grows with the gradient, and is larger where few sites hold it.
PREDICTED: Mapping[str, Mapping[str, Predicted]] = {
  "linf": {**_IN_A_BALL, SPARSITY: Predicted(0.0, 0.0, "0")},
  "l2": {**_IN_A_BALL, SPARSITY: Predicted(0.5, 0.5, "1/2")},
  "l1": {**_IN_A_BALL, SPARSITY: Predicted(0.5, 1.0, "1/2 to 1")},
  "l0": {SIZE: _FALLS, SPARSITY: _RISES, MARGIN: _RISES},
}


def shares(study: Study, arms: Arms) -> dict[str, dict[str, dict[int, float]]]:
  """Returns the transfer matrix of a cell: arm -> path -> seed -> accuracy.

  The paths are numbers of `network_numbers`: ``transfer/NORM/LEVEL`` of every
  norm and radius, their means ``transfer/NORM/mean``, and those of ``union``.

  Args:
    study: the study.
    arms: the networks of a cell, by arm and seed.
  """
  return {
    arm: {
      path: network_numbers.by_seed(study, seeds, path)
      for path in _paths(study, next(iter(seeds.values())))
    }
    for arm, seeds in arms.items()
  }


def _paths(study: Study, any_network: Measured) -> list[str]:
  """All columns of the matrix."""
  radii = studies.check_radii(study, any_network.member)
  norms = study.protocol.transfer_norms
  levels = [*range(len(radii[norms[0]])), "mean"]
  kinds = [*(f"transfer/{norm}" for norm in norms), "union"]
  return [f"{kind}/{level}" for kind in kinds for level in levels]


def radii_of(study: Study, arms: Arms, norm: str) -> MedianRadii:
  """Returns the median robust radii of a cell's networks, arm by arm.

  Args:
    study: the study.
    arms: the networks, by arm and seed.
    norm: of the attack.

  Raises:
    ValueError: accuracy does not fall with the radius.
  """
  every = every_network(arms)
  left, right = network_numbers.counts_left(study, every, norm)
  radii = studies.check_radii(study, every[0].member)[norm]
  return replication.median_radii(left, right, radii)


def regressions(
  study: Study,
  arms: Arms,
  norm: str,
  predictors: Sequence[str],
) -> dict[str, Regression]:
  """Returns log robust radius on properties, by what errors are clustered by.

  Args:
    study: the study.
    arms: the networks of a cell, by arm and seed.
    norm: of the attack.
    predictors: of `SIZE`, `SPARSITY` and `MARGIN`.

  Raises:
    ValueError: there are too few networks, or they do not differ; see
      `replication.regress`.
  """
  columns = {
    name: [
      network_numbers.number(study, each, PATHS[name])
      for each in every_network(arms)
    ]
    for name in predictors
  }
  places = [(arm, seed) for arm, seeds in arms.items() for seed in seeds]
  radii = radii_of(study, arms, norm).log_radii
  return {
    word: replication.regress(radii, columns, clusters=labels)
    for word, labels in (
      ("seed", [seed for _, seed in places]),
      ("arm", [arm for arm, _ in places]),
    )
  }


def wider(fits: Mapping[str, Regression], name: str) -> str:
  """Returns what errors are clustered by in the wider interval of a slope.

  Args:
    fits: from `regressions`.
    name: of the predictor.
  """

  def width(word: str) -> float:
    slope = fits[word].coefficients[name]
    return slope.high - slope.low

  return max(fits, key=width)


def every_network(arms: Arms) -> list[Measured]:
  """Returns the networks of a cell, arm by arm."""
  return [each for seeds in arms.values() for each in seeds.values()]
