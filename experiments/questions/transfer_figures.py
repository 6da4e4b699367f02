"""The pictures of the second question: matrix, and size against sparsity."""

from experiments.configuration import study as studies
from experiments.configuration.study import Study
from experiments.questions import network_numbers
from experiments.questions import transfer_numbers as numbers
from experiments.questions.network_numbers import Arms, Cell, Grouped
from experiments.questions.results import Measured
from snnjax import plots, report
from snnjax.report import Figure


def matrices(study: Study, networks: Grouped) -> list[Figure]:
  """Returns the transfer matrix of every cell."""
  norms = study.protocol.transfer_norms
  return [
    plots.transfer_matrix(
      {
        study.arms[arm].about: {
          column: columns[column]
          for column in (*(f"transfer/{n}/mean" for n in norms), "union/mean")
        }
        for arm, columns in numbers.shares(study, arms).items()
      },
      rows={"trained by": [study.arms[arm].about for arm in arms]},
      columns={norm: {f"transfer/{norm}/mean": "mean"} for norm in norms},
      union="union/mean",
      trained={
        study.arms[arm].about: _norms_of(study, arm, cell) for arm in arms
      },
      name=f"transfer_matrix_{_file(cell)}",
      title=f"Accuracy left, {cell.words}",
      caption=(
        "Means over three radii and over seeds, with half the width of the "
        "95 % interval; framed cells are those of a norm that the arm was "
        "attacked in during training. The union counts an example only if it "
        "withstands every norm."
      ),
    )
    for cell, arms in networks.items()
  ]


def scatters(study: Study, networks: Grouped) -> list[Figure]:
  """Returns the scatter of every cell's networks, a panel for each norm."""
  figures = []
  for cell, arms in networks.items():
    points = {
      norm: [
        _point(study, arm, each, norm)
        for arm, seeds in arms.items()
        for each in seeds.values()
      ]
      for norm in study.protocol.transfer_norms
    }
    figures.append(
      plots.size_against_sparsity(
        points,
        slopes=_slopes(study, arms),
        fitted="log robust radius",
        name=f"size_against_sparsity_{_file(cell)}",
        title=f"Size and sparsity of gradients, {cell.words}",
        caption=(
          "Every mark is a network: the clean gradient of the margin, its "
          "1-norm and its participation ratio; the colour is the accuracy left "
          "under attacks of the norm, the mean over three radii. The arrow "
          "points to where the regression finds larger robust radii."
        ),
      )
    )
  return figures


def _point(
  study: Study, arm: str, each: Measured, norm: str
) -> plots.NetworkPoint:
  return plots.NetworkPoint(
    study.arms[arm].about,
    network_numbers.number(study, each, numbers.PATHS[numbers.SIZE]),
    network_numbers.number(study, each, numbers.PATHS[numbers.SPARSITY]),
    network_numbers.number(study, each, f"transfer/{norm}/mean"),
    each.member.words,
  )


def _slopes(study: Study, arms: Arms) -> dict[str, plots.Slopes]:
  """The regression of each norm that has one, the wider interval of each."""
  predictors = (numbers.SIZE, numbers.SPARSITY)
  result = {}
  for norm in study.protocol.transfer_norms:
    try:
      fits = numbers.regressions(study, arms, norm, predictors)
    except ValueError:
      continue  # the table of regressions says why
    result[norm] = plots.Slopes(
      *(
        fits[numbers.wider(fits, name)].coefficients[name]
        for name in predictors
      )
    )
  return result


def _norms_of(study: Study, arm: str, cell: Cell) -> list[str]:
  """The norms of the attacks that an arm is trained on."""
  own = studies.member(study, cell.data, cell.modalities, arm, 0).config.method
  adversarial = own.name in ("adversarial", "sr_adversarial")
  return list(own.adversarial.norms) if adversarial else []


def _file(cell: Cell) -> str:
  return report.file_name(f"{cell.data}_{cell.inputs.replace('+', '_')}")
