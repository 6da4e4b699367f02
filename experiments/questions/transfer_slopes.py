"""Size or sparsity? Log robust radii regressed on properties of gradients."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.configuration import study as studies
from experiments.configuration.study import Study
from experiments.questions import network_numbers, wording
from experiments.questions import transfer_numbers as numbers
from experiments.questions.network_numbers import Arms, Grouped
from snnjax.replication import MedianRadii, Regression
from snnjax.report import Column, Figure, Section, Table

_BOTH = (numbers.SIZE, numbers.SPARSITY)


class Slopes(NamedTuple):
  """The regressions of all cells and norms.

  Attributes:
    slopes: rows, one of each predictor; of a regression that cannot be made one
      with a note that says why.
    spreads: rows, how well the model of radii fits.
  """

  slopes: Sequence[Mapping[str, Any]]
  spreads: Sequence[Mapping[str, Any]]


def regressed(study: Study, networks: Grouped) -> Slopes:
  """Returns log robust radii on size, sparsity and margin, cell by cell.

  Args:
    study: the study.
    networks: with their transfer measured.
  """
  slopes: list[dict[str, Any]] = []
  spreads: list[dict[str, Any]] = []
  for cell, arms in networks.items():
    for norm in study.protocol.transfer_norms:
      here = {**cell.row, "norm": norm}
      try:
        radii = numbers.radii_of(study, arms, norm)
      except ValueError as error:
        slopes.append({**here, "note": str(error)})
        continue
      spreads.append({**here, **_spread(study, arms, norm, radii)})
      for predictors in (_BOTH, (*_BOTH, numbers.MARGIN)):
        named = {**here, "model": _model(predictors)}
        try:
          fits = numbers.regressions(study, arms, norm, predictors)
        except ValueError as error:
          slopes.append({**named, "note": str(error)})
          continue
        slopes += [
          {**named, **row} for row in _slope_rows(norm, predictors, fits)
        ]
  return Slopes(slopes, spreads)


def sentences(slopes: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns the slopes of the smaller model, a sentence for each cell."""
  told: dict[str, list[str]] = {}
  pairs = {
    (row["data"], row["modalities"], row["norm"], row["predictor"]): row
    for row in slopes
    if row["note"] == "" and row["model"] == _model(_BOTH)
  }
  for (data, inputs, norm, predictor), row in pairs.items():
    if predictor != numbers.SIZE:
      continue
    both = (row, pairs[data, inputs, norm, numbers.SPARSITY])
    size, sparsity = (
      f"{each['slope']:.2f} [{each['low']:.2f}, {each['high']:.2f}] "
      f"(expected {each['expected']})"
      for each in both
    )
    told.setdefault(f"{data}, {inputs}", []).append(
      f"under {norm} {size} on size and {sparsity} on the participation ratio"
    )
  return [
    f"Size or sparsity ({cell}): the slopes of the log robust radius are "
    f"{'; '.join(norms)}."
    for cell, norms in told.items()
  ]


def _model(predictors: Sequence[str]) -> str:
  return " + ".join(predictors)


def section(fitted: Slopes, figures: Sequence[Figure]) -> Section:
  """Returns the tables and pictures: is it size, or sparsity?

  Args:
    fitted: from `regressed`.
    figures: of the networks.
  """
  return Section(
    "Size or sparsity?",
    "For every norm, the logarithm of each network's median robust radius, "
    "regressed over all arms and seeds on the logarithms of the size of its "
    "clean gradient, |g|_1 of the margin, and of its participation ratio "
    "together; then with the logarithm of its median margin too, which theory "
    "takes as equal. Robustness is told as a radius since first-order theory "
    "speaks of radii: log r falls by the logarithm of the gradient's dual norm "
    "in every norm of attack, so that slopes can be set against the expected "
    "ones, while accuracies at a radius saturate. The median radius comes from "
    "the accuracies at three radii, as if the radii of one network's examples "
    "were log-logistic with a spread that all networks share; where a network "
    "loses or keeps nearly all it is extrapolated.\n\n"
    "Errors are clustered by seed and, in turn, by arm; the wider interval is "
    "reported. Own R^2 is what is lost without a predictor: it compares size "
    "and sparsity, what both explain is counted for neither. Theory: slope -1 "
    "on size in every norm; on the participation ratio 0 under linf, 1/2 under "
    "l2 and 1/2 to 1 under l1 (denser gradients transfer); under l0 signs "
    "only. It is about one ball, while here every modality has its own.",
    [
      wording.filled(
        Table(
          "slopes",
          "Slopes",
          "Of log median robust radius, beside those of first-order theory.",
          [
            *wording.CELL_COLUMNS,
            Column("norm", "attacked in"),
            Column("model", "model"),
            Column("predictor", "predictor"),
            Column("slope", "slope", interval=("low", "high")),
            Column("expected", "expected"),
            Column("meets", "interval reaches it"),
            Column("own", "own R^2"),
            Column("r_squared", "R^2"),
            Column("inflation", "variance inflation"),
            Column("clusters", "clustered by"),
            Column("freedom", "degrees of freedom"),
            Column("networks", "networks"),
            Column("note", "note"),
          ],
          fitted.slopes,
        )
      ),
      Table(
        "spreads",
        "Robust radii",
        "The spread of log radii that all networks of a cell share, how far "
        "the fitted accuracies are off (root mean square), and how many "
        "networks have their median beyond the radii that were tried.",
        [
          *wording.CELL_COLUMNS,
          Column("norm", "attacked in"),
          Column("spread", "spread"),
          Column("misfit", "misfit", percent=True),
          Column("beyond", "networks beyond"),
          Column("networks", "networks"),
        ],
        fitted.spreads,
      ),
    ],
    figures,
  )


def _slope_rows(
  norm: str, predictors: Sequence[str], fits: Mapping[str, Regression]
) -> list[dict[str, Any]]:
  """The slopes of one regression, each with the wider of its intervals."""
  rows = []
  for name in predictors:
    word = numbers.wider(fits, name)
    fit = fits[word]
    slope = fit.coefficients[name]
    expected = numbers.PREDICTED[norm][name]
    rows.append(
      {
        "predictor": name,
        "slope": slope.estimate,
        "low": slope.low,
        "high": slope.high,
        "expected": expected.words,
        "meets": expected.meets(slope),
        "own": slope.own_r_squared,
        "r_squared": fit.r_squared,
        "inflation": slope.variance_inflation,
        "clusters": word,
        "freedom": slope.degrees_of_freedom,
        "networks": fit.observations,
        "note": "",
      }
    )
  return rows


def _spread(
  study: Study, arms: Arms, norm: str, fit: MedianRadii
) -> dict[str, Any]:
  """How well the model of radii fits, as a row."""
  every = numbers.every_network(arms)
  left, right = network_numbers.counts_left(study, every, norm)
  radii = studies.check_radii(study, every[0].member)[norm]
  off = left / right[:, None] - fit.shares
  inside = (fit.log_radii >= math.log(radii[0])) & (
    fit.log_radii <= math.log(radii[-1])
  )
  return {
    "spread": fit.spread,
    "misfit": float((off**2).mean() ** 0.5),
    "beyond": int((~inside).sum()),
    "networks": len(every),
  }
