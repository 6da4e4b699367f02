"""The report's section on data: their origin, and counts of each class."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.building.examples import Used
from experiments.evaluation.assessment import Assessed
from snnjax.data import counts
from snnjax.report import Column, Section, Table


def coverage(used: Used) -> dict[str, Any]:
  """Returns the fields of `checks.Measurements` about classes."""
  return {
    "missing_classes": {
      name: len(counts.absent(part.counts, used.classes))
      for name, part in used.parts.items()
    },
    "num_classes": len(used.classes),
  }


def to_record(used: Used) -> dict[str, Any]:
  """Returns the data's description for a leaderboard's entry, as JSON."""
  return {
    **used.made,
    "seed": used.seed,
    "parts": {
      name: {"of": part.size, "counts": list(part.counts)}
      for name, part in used.parts.items()
    },
  }


def section(networks: Sequence[Assessed]) -> Section:
  """Returns the report's section on the data of all networks."""
  sentences = dict.fromkeys(
    _describe_origin(network.used.made) for network in networks
  )
  return Section(
    "Data",
    " ".join(sentences)
    + " A part of a split has of every class its share; which examples, is "
    "kept by their positions beside every run and evaluation.",
    [_table(networks)],
  )


def _describe_origin(made: Mapping[str, Any]) -> str:
  source = made["source"]
  title = f"{made['name']} {made['version']}".strip()
  text = f"{title} was made from: {source['layout']}"
  if "sha256" in source:
    text += f", SHA-256 {source['sha256'][:16]}"
  options = made.get("made")
  if options is None:
    return f"{text}."
  formats = ", ".join(options["formats"])
  text += f", {formats} images" if formats else ""
  text += f", written in the order of seed {options['shuffle_seed']}"
  if options["hold_out"]:
    text += f", {options['hold_out']:g} of train held out as test"
  return f"{text}."


def _table(networks: Sequence[Assessed]) -> Table:
  rows: dict[tuple[Any, ...], list[str]] = {}
  for network in networks:
    for name, part in network.used.parts.items():
      description = counts.describe(part.counts, network.used.classes)
      fault = counts.fault(part.counts, network.used.classes)
      cells = (name, sum(part.counts), part.size, description, fault)
      rows.setdefault(cells, []).append(network.name)
  headings = {
    "networks": "networks",
    "part": "part",
    "examples": "examples",
    "of": "of the split's",
    "counts": "of each class",
    "fault": "amiss",
  }
  table_rows = [
    dict(zip(headings, (_names(names, networks), *cells), strict=True))
    for cells, names in rows.items()
  ]
  return Table(
    name="data",
    title="Examples",
    caption=(
      "How many examples of each class the networks were trained, selected "
      "and evaluated on."
    ),
    columns=[Column(key, heading) for key, heading in headings.items()],
    rows=table_rows,
  )


def _names(names: Sequence[str], networks: Sequence[Assessed]) -> str:
  alone = len(networks) == 1 or len(names) < len(networks)
  return ", ".join(names) if alone else "all"
