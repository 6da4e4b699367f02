"""The main table: clean and robust accuracy of every network."""

from collections.abc import Sequence

from experiments.evaluation.assessment import Assessed
from experiments.planning import suites
from experiments.reporting import findings
from snnjax.report import Column, Table


def table(networks: Sequence[Assessed]) -> Table:
  """Returns the main table: accuracy by network, norm, target and radius."""
  names = {
    "clean": "clean",
    "robust": "worst of all",
    "success": "success rate",
    **{
      key: heading
      for network in networks
      for key, (heading, _) in findings.shares(network).items()
    },
  }
  rows = [
    row for network in networks for row in findings.accuracy_rows(network)
  ]
  # What one network has no attack of is not measured for it.
  all_columns = dict.fromkeys(key for row in rows for key in row)
  suite = suites.title(networks[0].config)
  return Table(
    name="accuracy",
    title="Accuracy",
    caption=(
      "Share of test examples classified correctly, with 95 % Wilson "
      "intervals. 'PGD, worst rule' counts an example as lost if PGD under "
      f"any backward rule breaks it; 'worst of all' if any attack of the suite "
      f"{suite!r} does, at this radius or in a smaller ball that lies inside. "
      "'Success rate' is the share of the correct examples that it breaks."
      f"{_of_norms(networks[0])}"
    ),
    columns=[
      Column("network", "network"),
      Column("norm", "norm"),
      Column("attacked", "attacked"),
      Column("epsilon", "epsilon"),
      *(
        Column(key, header, True, interval=(f"{key}_low", f"{key}_high"))
        for key, header in names.items()
      ),
    ],
    rows=[all_columns | row for row in rows],
  )


def _of_norms(network: Assessed) -> str:
  """What the caption says of norms; nothing of one alone but l0."""
  norms = network.plan.norms
  words = ""
  if "l0" in norms:
    words += " l0 counts the sites that change, and PGD is sPGD there."
  if len(norms) > 1:
    words += (
      f" {findings.TOGETHER.capitalize()} an example is lost if it is in any "
      "of the norms."
    )
  return words
