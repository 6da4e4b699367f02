"""Evidence from what this repository has committed: benchmarks and suites."""

import csv
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.command.exits import DataError
from experiments.configuration import settings
from experiments.configuration.study import Claim
from experiments.questions import network_evidence
from experiments.questions.claim_evidence import Context, Row
from snnjax.intervals import Interval, paired_difference
from snnjax.replication import Estimate
from snnjax.storage import files

COMMITTED = pathlib.Path(__file__).resolve().parents[2] / "results"
_BENCHMARK = "benchmark/a_b.json"
_SUITE = "suite_standard"
# Of a normal distribution: the quartiles' distance in standard deviations, and
# the standard error of a median in those of a mean.
_QUARTILES, _MEDIAN = 1.349, 1.2533


def hire_cost(context: Context, claim: Claim) -> list[Row]:
  """The time of a step of crafted-noise training over a conventional one's.

  Beside it, what the method's definition asks for: steps of the network,
  forward and backward, for each batch.

  Raises:
    DataError: the committed benchmark is damaged.
  """
  place = f"results/{_BENCHMARK}"
  path = context.committed / _BENCHMARK
  rows = [_definition(context)]
  if not path.is_file():
    return [*rows, Row("seconds", None, place, "timed turn", "no such file")]
  kinds: dict[str, dict[str, Mapping[str, Any]]] = {}
  try:
    for record in files.read_json(path)["records"]:
      task = dict(record["task"])
      kind, _ = task.pop("kind"), task.pop("libraries")
      own = kinds.setdefault(json.dumps(task, sort_keys=True), {})
      own[kind] = {**record["libraries"]["snnjax"], "name": record["name"]}
    rows += [
      _timed(claim, own["hire"], own["train"], place)
      for own in kinds.values()
      if {"hire", "train"} <= own.keys()
    ]
  except (KeyError, TypeError, ValueError) as error:
    raise DataError(
      f"{path} must be a benchmark's; got {error!r}. Restore it, or time it "
      "again: python -m experiments.benchmark --rows=H,A,B --out="
      f"{path.with_suffix('')}"
    ) from None
  return rows


def _definition(context: Context) -> Row:
  """What the method does for each batch, by its definition."""
  study = context.study
  config = settings.replaced(study.base, study.arms["hire"].keys)
  steps, periods = config.model.steps, config.method.hire.periods
  each = steps // periods
  more = periods * each / steps - 1
  return Row(
    "passes, by definition",
    None,
    "snnjax/methods/crafted_noise.py",
    "none: it is a count",
    f"for a batch {periods} updates, each forward and backward through {each} "
    f"of the {steps} time steps; conventional training makes 1 through "
    f"{steps}. The input gradient comes with that of the weights; the first "
    "layer's current, which a constant image gives at every step alike, is "
    "computed for each update",
    decides=False,
    interval=Interval(more, more, more),
  )


def _timed(
  claim: Claim,
  treated: Mapping[str, Any],
  control: Mapping[str, Any],
  place: str,
) -> Row:
  """How much more time one task takes; from medians and quartiles of turns."""
  quotient = treated["median"] / control["median"]
  turns = [treated["turns"], control["turns"]]
  relative = [
    _MEDIAN
    * (own["high"] - own["low"])
    / (_QUARTILES * own["median"] * math.sqrt(own["turns"]))
    for own in (treated, control)
  ]
  return Row(
    f"seconds of {treated['name']}",
    Estimate(
      estimate=quotient - 1,
      standard_error=quotient * math.hypot(*relative),
      degrees_of_freedom=min(turns) - 1,
      replicates=min(turns),
      confidence=1 - claim.alpha,
    ),
    place,
    "timed turn",
    f"medians of {turns[0]} and {turns[1]} turns, errors from their quartiles; "
    "timed by python -m experiments.benchmark --rows=H,A,B",
  )


def overestimated(context: Context, claim: Claim) -> list[Row]:
  """What one rule leaves over what all leave: networks, then the suite.

  Raises:
    DataError: the committed tables of the suite are damaged.
  """
  return [*network_evidence.overestimated(context, claim), *_suite(context)]


def _suite(context: Context) -> list[Row]:
  """The committed evaluation, of one seed a network: told beside."""
  folder = context.committed / _SUITE
  place = f"results/{_SUITE}/rules.csv"
  if not (folder / "rules.csv").is_file():
    return []
  rows = []
  try:
    counts = {_who(r): int(r["examples"]) for r in _table(folder, "accuracy")}
    for row in _table(folder, "rules"):
      examples = counts[_who(row)]
      more = float(row["bptt_triangle"]) - float(row["suite"])
      interval = paired_difference(round(more * examples), 0, examples)
      rows.append(
        Row(
          f"standard suite, {row['network']}, {row['attacked']} "
          f"{row['epsilon']}",
          None,
          place,
          "none: one network",
          f"{examples} examples; commands in results/{_SUITE}/README.md",
          decides=False,
          interval=interval,
        )
      )
  except (KeyError, TypeError, ValueError) as error:
    raise DataError(
      f"{folder} must have the tables of a report; got {error!r}. Restore it"
    ) from None
  return rows


def _who(row: Mapping[str, str]) -> tuple[str, ...]:
  return row["network"], row["attacked"], row["epsilon"]


def _table(folder: pathlib.Path, name: str) -> list[dict[str, str]]:
  with (folder / f"{name}.csv").open(newline="") as stream:
    return list(csv.DictReader(stream))
