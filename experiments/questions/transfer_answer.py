"""The answer to the second question: robustness that transfers across norms."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.configuration import study as studies
from experiments.configuration.study import Question, Study
from experiments.questions import doubts, outcomes, transfer_figures, wording
from experiments.questions import transfer_numbers as numbers
from experiments.questions.outcomes import Compared, Decided, Grouped
from experiments.questions.results import Measured
from snnjax import replication
from snnjax.replication import MedianRadii, Regression
from snnjax.report import Column, Figure, Record, Section, Table

NAME = "norm_transfer"


def answer(
  study: Study, measured: Sequence[Measured], missing: Sequence[str]
) -> Record:
  """Returns the report that answers the question.

  Args:
    study: its decision rules and protocol.
    measured: the networks.
    missing: those that are not there, in words.
  """
  question = study.questions[NAME]
  networks = outcomes.grouped(measured)
  compared = outcomes.compare(study, question, networks)
  decided = outcomes.decide(question, compared)
  slopes, spreads = _regression_rows(study, networks)
  return Record(
    title="Does sparse-gradient training make robustness transfer?",
    summary="\n\n".join(
      [
        wording.summary(study, question, decided, missing),
        *_size_or_sparsity(slopes),
      ]
    ),
    alarms=doubts.alarms(study, networks),
    sections=[
      wording.rules_section(question),
      _answer_section(question, compared, decided),
      _matrix_section(study, networks),
      _gap_section(study, networks),
      _regression_section(
        slopes, spreads, transfer_figures.scatters(study, networks)
      ),
      wording.networks_section(study, measured),
    ],
    provenance=wording.provenance(study, measured),
  )


def _answer_section(
  question: Question,
  compared: Sequence[Compared],
  decided: Mapping[str, Decided],
) -> Section:
  return Section(
    "The contrasts",
    "Differences in accuracy of two arms trained from the same initial weights "
    "on the same order of examples, seed by seed; intervals are Student's over "
    "seeds. Accuracies are means over the three radii of a norm, `rest` is the "
    "mean over the norms other than linf. Contrasts at equal linf robustness "
    "or gradient size subtract, seed by seed, what the arms' difference in it "
    "is worth along two reference arms.",
    [wording.contrast_table(compared, decided)],
    [wording.verdict_figure(question, compared, decided)],
  )


def _matrix_section(study: Study, networks: Grouped) -> Section:
  """The transfer matrix: means over radii, then every radius."""
  wide: list[dict[str, Any]] = []
  rows: list[dict[str, Any]] = []
  norms = study.protocol.transfer_norms
  means = {f"transfer/{norm}/mean": f"left by {norm}" for norm in norms}
  means |= {"union/mean": "left by all norms"}
  for cell, arms in networks.items():
    for arm, columns in numbers.shares(study, arms).items():
      who = {
        "data": cell.data,
        "modalities": cell.inputs,
        "arm": study.arms[arm].about,
        "seeds": len(arms[arm]),
      }
      clean = outcomes.by_seed(study, arms[arm], "accuracy")
      row = {**who, **wording.over_seeds("accuracy", list(clean.values()))}
      for path in means:
        row |= wording.over_seeds(path, list(columns[path].values()))
      wide.append(row)
      radii = studies.check_radii(study, next(iter(arms[arm].values())).member)
      for path, by_seed in columns.items():
        *kind, level = path.split("/")
        if level == "mean":
          continue
        norm = kind[1] if len(kind) > 1 else "all"
        values = wording.over_seeds("left", list(by_seed.values()))
        rows.append(
          {
            **who,
            "norm": norm,
            "level": int(level),
            "radius": radii[norm][int(level)] if norm in radii else None,
            **values,
          }
        )
  who_columns = [
    Column("data", "data set"),
    Column("modalities", "modalities"),
    Column("arm", "trained by"),
    Column("seeds", "seeds"),
  ]
  return Section(
    "The transfer matrix",
    "Accuracy over the first test examples that every norm of attack leaves, "
    "means over seeds with 95 % intervals. `All norms` counts an example only "
    "if it withstands every norm. Radii are those at which a conventional "
    "network keeps about 60, 30 and 5 %; under l0 they are numbers of sites in "
    "each modality.",
    [
      Table(
        "matrix",
        "Transfer matrix",
        "Means over the radii of each norm.",
        [
          *who_columns,
          wording.seeds_column("accuracy", "clean accuracy", percent=True),
          *(
            wording.seeds_column(path, heading, percent=True)
            for path, heading in means.items()
          ),
        ],
        wide,
      ),
      Table(
        "radii",
        "Every radius",
        "The same at each radius; level 0 is the smallest.",
        [
          *who_columns,
          Column("norm", "attacked in"),
          Column("level", "level"),
          Column("radius", "radius"),
          wording.seeds_column("left", "accuracy left", percent=True),
        ],
        rows,
      ),
    ],
    transfer_figures.matrices(study, networks),
  )


def _gap_section(study: Study, networks: Grouped) -> Section:
  """What is left under other norms at equal linf robustness."""
  rows: list[dict[str, Any]] = []
  for cell, arms in networks.items():
    if not {numbers.ORDINARY, numbers.HARDENED} <= set(arms):
      continue
    for arm in arms:
      if arm in (numbers.ORDINARY, numbers.HARDENED):
        continue
      for norm in (outcomes.REST, *outcomes.transfer_norms(study)):
        rows.append(
          {
            "data": cell.data,
            "modalities": cell.inputs,
            "arm": study.arms[arm].about,
            "norm": norm,
            **_gap(study, arms, arm, norm),
          }
        )
  return Section(
    "The transfer gap at equal linf robustness",
    "A regression over the networks of an arm, of the conventional one and of "
    "adversarial training for linf: accuracy left under a norm on accuracy "
    "left under linf (both means over radii) and on whether the network is of "
    "the arm; errors are clustered by seed. A gap above 0 is robustness beyond "
    "what as much linf robustness brings along. Where the variance inflation "
    "is large the data cannot tell the arm from its linf robustness.",
    [
      wording.filled(
        Table(
          "gaps",
          "Transfer gaps",
          "In accuracy; `rest` is the mean over the norms other than linf.",
          [
            Column("data", "data set"),
            Column("modalities", "modalities"),
            Column("arm", "trained by"),
            Column("norm", "attacked in"),
            Column("gap", "gap", percent=True, interval=("low", "high")),
            Column("p", "p"),
            Column("inflation", "variance inflation"),
            Column("networks", "networks"),
            Column("note", "note"),
          ],
          rows,
        )
      )
    ],
  )


def _gap(
  study: Study,
  arms: Mapping[str, Mapping[int, Measured]],
  arm: str,
  norm: str,
) -> dict[str, Any]:
  """One gap as a row of the table, or why there is none."""
  chosen = [
    (name, seed, each)
    for name in (numbers.ORDINARY, numbers.HARDENED, arm)
    for seed, each in arms[name].items()
  ]
  left, against_linf = (
    [outcomes.number(study, each, f"transfer/{n}/mean") for *_, each in chosen]
    for n in (norm, "linf")
  )
  try:
    fit = replication.regress(
      left,
      {
        "arm": [float(name == arm) for name, *_ in chosen],
        "linf": against_linf,
      },
      clusters=[seed for _, seed, _ in chosen],
    )
  except ValueError as error:
    return {"note": str(error)}
  gap = fit.coefficients["arm"]
  return {
    "gap": gap.estimate,
    "low": gap.low,
    "high": gap.high,
    "p": gap.p_value,
    "inflation": gap.variance_inflation,
    "networks": fit.observations,
    "note": "",
  }


def _regression_rows(
  study: Study, networks: Grouped
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
  """The tables of slopes and of spreads."""
  slopes: list[dict[str, Any]] = []
  spreads: list[dict[str, Any]] = []
  for cell, arms in networks.items():
    who = {"data": cell.data, "modalities": cell.inputs}
    for norm in study.protocol.transfer_norms:
      here = {**who, "norm": norm}
      try:
        radii = numbers.radii_of(study, arms, norm)
      except ValueError as error:
        slopes.append({**here, "note": str(error)})
        continue
      spreads.append({**here, **_spread(study, arms, norm, radii)})
      for predictors in (
        (numbers.SIZE, numbers.SPARSITY),
        (numbers.SIZE, numbers.SPARSITY, numbers.MARGIN),
      ):
        model = _model(predictors)
        try:
          fits = numbers.regressions(study, arms, norm, predictors)
        except ValueError as error:
          slopes.append({**here, "model": model, "note": str(error)})
          continue
        slopes += [
          {**here, "model": model, **row}
          for row in _slope_rows(norm, predictors, fits)
        ]
  return slopes, spreads


def _size_or_sparsity(slopes: Sequence[Mapping[str, Any]]) -> list[str]:
  """The slopes of the smaller model, a sentence for each cell."""
  told: dict[str, list[str]] = {}
  pairs = {
    (row["data"], row["modalities"], row["norm"], row["predictor"]): row
    for row in slopes
    if row["note"] == ""
    and row["model"] == _model((numbers.SIZE, numbers.SPARSITY))
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
    f"{'; '.join(sentences)}."
    for cell, sentences in told.items()
  ]


def _model(predictors: Sequence[str]) -> str:
  return " + ".join(predictors)


def _regression_section(
  slopes: Sequence[Mapping[str, Any]],
  spreads: Sequence[Mapping[str, Any]],
  figures: Sequence[Figure],
) -> Section:
  """Is it the size of the gradient, or its sparsity?"""
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
            Column("data", "data set"),
            Column("modalities", "modalities"),
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
          slopes,
        )
      ),
      Table(
        "spreads",
        "Robust radii",
        "The spread of log radii that all networks of a cell share, how far "
        "the fitted accuracies are off (root mean square), and how many "
        "networks have their median beyond the radii that were tried.",
        [
          Column("data", "data set"),
          Column("modalities", "modalities"),
          Column("norm", "attacked in"),
          Column("spread", "spread"),
          Column("misfit", "misfit", percent=True),
          Column("beyond", "networks beyond"),
          Column("networks", "networks"),
        ],
        spreads,
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
    slopes = {word: fit.coefficients[name] for word, fit in fits.items()}
    word = max(slopes, key=lambda key: slopes[key].high - slopes[key].low)
    slope, fit = slopes[word], fits[word]
    expected = (
      numbers.MARGIN_SLOPES.get(norm, numbers.MARGIN_SLOPE)
      if name == numbers.MARGIN
      else numbers.PREDICTED[norm][name]
    )
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
  study: Study,
  arms: Mapping[str, Mapping[int, Measured]],
  norm: str,
  fit: MedianRadii,
) -> dict[str, Any]:
  """How well the model of radii fits, as a row."""
  every = numbers.every_network(arms)
  left, right = outcomes.counts_left(study, every, norm)
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
