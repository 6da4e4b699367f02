"""Least squares of a result on several properties of the same networks."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from snnjax.arguments import check_array
from snnjax.replication.estimates import Estimate

# A column of whose squares less than this share is its own is taken for a sum
# of the others: its coefficient would be rounding.
_OWN_SHARE = 1e-10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coefficient(Estimate):
  """A slope with its cluster-robust error; `replicates` counts the clusters.

  Attributes:
    variance_inflation: ``1/(1 - R_j^2)``, with the R^2 of this predictor on
      all others and the groups: by how much collinearity multiplies the
      variance of the slope. 1 is none; above 10 the data hardly tell this
      predictor from the others.
    own_r_squared: how much of R^2 is lost without this predictor (the squared
      semipartial correlation). It has no unit and compares predictors; what
      collinear ones explain together is counted for none of them.
  """

  variance_inflation: float
  own_r_squared: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regression:
  """A fit by least squares.

  Attributes:
    coefficients: by predictor.
    r_squared: the share of the variance of y that predictors and groups
      explain.
    fitted: [N] what they predict.
    observations: N.
  """

  coefficients: Mapping[str, Coefficient]
  r_squared: float
  fitted: np.ndarray
  observations: int


def regress(
  y: Any,
  predictors: Mapping[str, Any],
  *,
  clusters: Sequence[Any],
  groups: Mapping[str, Sequence[Any]] | None = None,
  confidence: float = 0.95,
) -> Regression:
  r"""Returns the least-squares fit of y on predictors and groups.

  An intercept is always there; each group adds one for each of its levels but
  the first. Errors are CR2 ("bias-reduced linearization"): with X the columns,
  ``M = (X'X)^-1``, e the residuals and H = X M X',

  ``V = M (sum_g X_g' A_g e_g e_g' A_g X_g) M``, ``A_g = (I - H_gg)^(-1/2)``

  (the pseudo-inverse where a group belongs to one cluster), and a slope's
  degrees of freedom are Satterthwaite's, ``(tr B)^2 / tr(B^2)`` with the
  matrix B of its error as a quadratic form of equal, independent residuals.
  They are fewer than the clusters less one where few clusters carry the slope;
  below 4 the interval is not to be trusted.

  Args:
    y: [N] one number per network, such as a robust accuracy.
    predictors: by name [N], such as the log of a gradient's size.
    clusters: [N] which networks are not independent of each other, such as
      their seed or their arm; any labels. Networks of one arm are trained
      alike, those of one seed begin alike: the wider interval of the two is
      the one to report.
    groups: by name [N] labels whose levels differ by a constant, such as the
      data set.
    confidence: of the intervals of the slopes.

  Returns:
    The slopes, in units of y per unit of the predictor, and the fit.

  Raises:
    ValueError: if lengths differ, a number is not finite (the message names
      it, its place and its cluster), y does not vary, a predictor is a sum of
      the others and the groups, there are fewer than two clusters or not more
      networks than columns, or one cluster alone tells a slope.

  References:
    R. M. Bell, D. F. McCaffrey (2002), Bias reduction in standard errors for
    linear regression with multi-stage samples, Survey Methodology 28.
    J. E. Pustejovsky, E. Tipton (2018), Small-sample methods for
    cluster-robust variance estimation and hypothesis testing in fixed effects
    models, Journal of Business and Economic Statistics 36.
  """
  labels = [str(label) for label in clusters]
  response = _numbers("y", y, labels)
  if np.ptp(response) == 0:
    raise ValueError(f"y must vary; got {response[0]:g} everywhere")
  if not predictors:
    raise ValueError("predictors must name at least one; got none")
  columns = {
    name: _numbers(f"predictors[{name!r}]", values, labels)
    for name, values in predictors.items()
  }
  design = np.column_stack(
    [*columns.values(), np.ones(len(labels)), *_dummies(groups or {}, labels)]
  )
  members = _members(labels)
  if len(members) < 2 or len(response) <= design.shape[1]:
    raise ValueError(
      "regress needs at least 2 clusters, and more networks than columns; got "
      f"{len(members)} clusters, {len(response)} networks and "
      f"{design.shape[1]} columns"
    )
  own = [_own_part(design, place, name) for place, name in enumerate(columns)]
  _check_told_by_several(design, list(columns), labels, members)
  inverse = np.linalg.pinv(design)
  weights = inverse @ response
  fitted = design @ weights
  variation = float(np.sum((response - response.mean()) ** 2))
  errors, freedoms = _robust(
    design, inverse, response - fitted, members, len(columns)
  )
  return Regression(
    coefficients={
      name: Coefficient(
        estimate=float(weights[place]),
        standard_error=errors[place],
        degrees_of_freedom=freedoms[place],
        replicates=len(members),
        confidence=confidence,
        variance_inflation=1.0 / share,
        own_r_squared=float(weights[place] ** 2) * square / variation,
      )
      for place, (name, (share, square)) in enumerate(
        zip(columns, own, strict=True)
      )
    },
    r_squared=1.0 - float(np.sum((response - fitted) ** 2)) / variation,
    fitted=fitted,
    observations=len(response),
  )


def _numbers(name: str, values: Any, labels: Sequence[str]) -> np.ndarray:
  array = np.asarray(values)
  check_array(
    name, array, "numbers [N]", "There is one per network", N=len(labels)
  )
  array = array.astype(float)
  if not np.isfinite(array).all():
    place = int(np.flatnonzero(~np.isfinite(array))[0])
    raise ValueError(
      f"{name} must be finite; got {array[place]} at place {place}, of cluster "
      f"{labels[place]}"
    )
  return array


def _dummies(
  groups: Mapping[str, Sequence[Any]], labels: Sequence[str]
) -> list[np.ndarray]:
  columns = []
  for name, values in groups.items():
    if len(values) != len(labels):
      raise ValueError(
        f"groups[{name!r}] must have one label per network, {len(labels)}; got "
        f"{len(values)}"
      )
    levels = np.array([str(value) for value in values])
    # The first level is the one that the intercept stands for.
    columns += [(levels == one).astype(float) for one in np.unique(levels)[1:]]
  return columns


def _members(labels: Sequence[str]) -> list[np.ndarray]:
  """The places of each cluster."""
  array = np.array(labels)
  return [np.flatnonzero(array == label) for label in np.unique(array)]


def _own_part(design: np.ndarray, place: int, name: str) -> tuple[float, float]:
  """What the other columns leave of one: a share, and its sum of squares."""
  column = design[:, place]
  centred = column - column.mean()
  square = _left(design, place)
  if square is None:
    raise ValueError(
      f"predictors[{name!r}] must not be a sum of the other predictors and the "
      "groups, or constant: leave one of them out"
    )
  return square / float(centred @ centred), square


def _left(design: np.ndarray, place: int) -> float | None:
  """The squares that the others leave of a column; None of rounding alone."""
  column, others = design[:, place], np.delete(design, place, 1)
  rest = column - others @ (np.linalg.pinv(others) @ column)
  square = float(rest @ rest)
  return square if square > _OWN_SHARE * float(column @ column) else None


def _check_told_by_several(
  design: np.ndarray,
  names: Sequence[str],
  labels: Sequence[str],
  members: Sequence[np.ndarray],
) -> None:
  # A slope that one cluster alone tells has no spread over clusters, and CR2
  # would give it that of the other slopes.
  for rows in members:
    others = np.delete(design, rows, 0)
    for place, name in enumerate(names):
      if _left(others, place) is None:
        raise ValueError(
          f"predictors[{name!r}] must vary in several clusters; without "
          f"cluster {labels[rows[0]]} nothing tells its slope from the other "
          "predictors and the groups"
        )


def _robust(
  design: np.ndarray,
  inverse: np.ndarray,
  residuals: np.ndarray,
  members: Sequence[np.ndarray],
  slopes: int,
) -> tuple[list[float], list[float]]:
  """CR2 errors of the first columns, and their degrees of freedom."""
  bread = inverse @ inverse.T
  scores, lengths, crossed = [], [], []
  for rows in members:
    part = design[rows]
    hat = part @ bread @ part.T
    adjusted = _inverse_root(np.eye(len(rows)) - hat) @ part @ bread
    scores.append(adjusted.T @ residuals[rows])
    lengths.append((adjusted**2).sum(0))
    crossed.append(part.T @ adjusted)
  errors = np.sqrt((np.array(scores) ** 2).sum(0))[:slopes]
  freedoms = []
  for place in range(slopes):
    # B[g, h] = w_g' (I - H)_gh w_h for the vectors w of this column.
    across = np.array([one[:, place] for one in crossed])
    form = np.diag([one[place] for one in lengths]) - across @ bread @ across.T
    freedoms.append(float(np.trace(form)) ** 2 / float((form**2).sum()))
  return errors.tolist(), freedoms


def _inverse_root(matrix: np.ndarray) -> np.ndarray:
  """The pseudo-inverse of the square root of a symmetric matrix."""
  values, vectors = np.linalg.eigh(matrix)
  kept = values > 1e-9
  roots = np.where(kept, 1.0 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
  return (vectors * roots) @ vectors.T
