"""Made-up numbers for the figures of the questions."""

import numpy as np

from snnjax import plots
from snnjax.intervals import Interval

ARMS = (
  "conventional",
  "crafted noise (HIRE-style)",
  "as many updates, no noise",
  "as many updates, random noise",
  "SR, weak",
  "SR",
  "adversarial (linf)",
  "adversarial (l2)",
  "adversarial (l1)",
  "worst of norms, adversarial",
  "SR on adversarial examples",
  "a_name_of_one_word_that_goes_on_and_on_for_$5",
  "probe: participation ratio at matched l1",
)
CELLS = ("MNIST, image+events", "SVHN, image+events", "MNIST, image")
NAN = float("nan")
CONTROL = ARMS[2]


def numbers(*shape):
  return np.random.default_rng(0).uniform(0.1, 0.9, shape)


def paired(arms=ARMS, cells=CELLS):
  return {
    cell: {
      arm: plots.PairedArm(
        dict(enumerate(row)),
        None if arm == CONTROL else Interval(-0.123, -0.234, 0.012),
      )
      for arm, row in zip(arms, rows, strict=True)
    }
    for cell, rows in zip(cells, numbers(len(cells), len(arms), 3), strict=True)
  }


def bands(arms=ARMS, cells=CELLS, steps=5):
  rows = numbers(len(cells), len(arms), 3, steps + 1)
  return {
    cell: dict(zip(arms, of_cell, strict=True))
    for cell, of_cell in zip(cells, rows, strict=True)
  }


def matrix(arms=ARMS, norms=("linf", "l2", "l1", "l0"), radii=3):
  columns = {
    norm: {f"{norm}/{n}": f"{0.01 * (n + 1):.2g}" for n in range(radii)}
    for norm in norms
  }
  keys = [key for norm in columns.values() for key in norm] + ["union"]
  values = {
    arm: {
      key: dict(enumerate(seeds)) for key, seeds in zip(keys, row, strict=True)
    }
    for arm, row in zip(arms, numbers(len(arms), len(keys), 3), strict=True)
  }
  rows = {"First": list(arms[:2]), "Others": list(arms[2:])}
  return values, {"rows": rows, "columns": columns, "union": "union"}


def points(arms=ARMS, norms=("linf", "l2", "l1")):
  drawn = np.random.default_rng(1).uniform(0, 1, (len(norms), len(arms), 3))
  return {
    norm: [
      plots.NetworkPoint(arm, 3 * a, 4 + b, c, f"{arm} 0")
      for arm, (a, b, c) in zip(arms, rows, strict=True)
    ]
    for norm, rows in zip(norms, drawn, strict=True)
  }


SLOPES = plots.Slopes(
  Interval(-0.12, -0.15, -0.09), Interval(0.05, -0.02, 0.12)
)


def contrasts():
  row = plots.ContrastRow
  rows = [
    row(
      "crafted noise against conventional training",
      cell,
      Interval(effect, effect - 0.1, effect + 0.1),
      0.05,
      "in log participation ratio",
      "less",
      verdict,
    )
    for cell, effect, verdict in zip(
      CELLS, (-0.2, 0.01, -0.06), ("verified", "refuted", ""), strict=True
    )
  ]
  return [
    *rows,
    row(
      "SR",
      CELLS[0],
      Interval(0.1, 0.04, 0.16),
      0.02,
      "of accuracy",
      verdict="verified",
    ),
    row("SR", CELLS[1], None, 0.02, "of accuracy", "two-sided"),
  ]


RADII = plots.RadiusCurve(
  (1.0, 10.0, 100.0), [[1.0, 0.6, 0.0], [0.8, 0.4, 0.0]], (10**0.5, 10.0)
)


def radii(
  norms=("linf", "l2", "l1"), inputs=("image", "events", "image+events")
):
  return {norm: dict.fromkeys(inputs, RADII) for norm in norms}
