"""Groups networks that can be compared, and reports group after group."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.configuration import schema, settings
from experiments.evaluation import evaluation_folders
from experiments.evaluation.assessment import Assessed
from experiments.reporting import sections
from snnjax import report
from snnjax.report import Record, Section

TITLE = "Robustness and input-gradient sparsity of spiking networks"
# Keys that only training sees: networks may differ there and be compared.
_UNSEEN = (
  *schema.CHANGEABLE,
  "data.train_examples",
  "data.validation",
  "data.augment",
  "data.stream",
)


class Group(NamedTuple):
  """Networks that saw the same inputs and the same attacks.

  Attributes:
    title: what the attacks were.
    networks: at least one.
    left_out: by name, why a run of the folder is not among them.
  """

  title: str
  networks: Sequence[Assessed]
  left_out: Mapping[str, str] = MappingProxyType({})


def group_alike(
  networks: Sequence[Assessed],
  names: Mapping[str, Sequence[str]],
  left_out: Mapping[str, str],
) -> list[Group]:
  """Parts networks into groups that can be compared.

  Args:
    networks: one run several times where it has several evaluations.
    names: by run, the names of its evaluations' folders.
    left_out: by run without an evaluation, why there is none.

  Returns:
    The groups, in the order of their first network. Of several, networks are
    called by run and evaluation.
  """
  parts: dict[str, list[Assessed]] = {}
  for network in networks:
    parts.setdefault(_comparison_key(network), []).append(network)
  titles: list[str] = []
  groups = []
  for members in parts.values():
    title = _title(members[0], titles)
    titles.append(title)
    names_here = {network.name for network in members}
    missing = {
      name: f"it is not evaluated so, but as {', '.join(folders)}"
      for name, folders in names.items()
      if name not in names_here
    }
    if len(parts) > 1:
      members = [
        network._replace(name=f"{network.name}, {title}") for network in members
      ]
    groups.append(Group(title, members, {**missing, **left_out}))
  return groups


def record(groups: Sequence[Group], provenance: Mapping[str, Any]) -> Record:
  """Returns the report on all groups, one after the other.

  Args:
    groups: at least one.
    provenance: versions, devices, seeds, configuration, times.
  """
  records = [
    sections.record(group.networks, TITLE, dict(provenance), group.left_out)
    for group in groups
  ]
  if len(groups) == 1:
    return records[0]
  return Record(
    title=TITLE,
    summary="\n\n".join(record_of_group.summary for record_of_group in records),
    alarms=[
      alarm for record_of_group in records for alarm in record_of_group.alarms
    ],
    sections=[
      _add_title(section, group.title)
      for group, record_of_group in zip(groups, records, strict=True)
      for section in record_of_group.sections
    ],
    provenance=provenance,
  )


def _add_title(section: Section, title: str) -> Section:
  """A section of one group, its files told apart from those of others."""

  def name(part_name: str) -> str:
    return report.file_name(f"{part_name}-{title.lower()}")

  return section._replace(
    title=f"{section.title}: {title}",
    tables=[part._replace(name=name(part.name)) for part in section.tables],
    figures=[part._replace(name=name(part.name)) for part in section.figures],
  )


def _title(assessed: Assessed, taken: Sequence[str]) -> str:
  plain = evaluation_folders.name(assessed.config).replace("_", " ")
  number, title = 1, plain
  while title in taken:
    number += 1
    title = f"{plain} ({number})"
  return title


def _comparison_key(assessed: Assessed) -> str:
  """A text that is equal for two networks if they can be compared.

  It holds the data set's digest and every key of the configuration that
  changes the inputs or the attacks, but not where the data lie.
  """
  flat = settings.flatten(settings.to_dict(assessed.config))
  return json.dumps(
    {
      key: value
      for key, value in flat.items()
      if schema.covers((*schema.ATTACKING, "data", *schema.RECORDING), key)
      and not schema.covers(_UNSEEN, key)
    }
    | {"digest of the data": assessed.made_from["data"]},
    sort_keys=True,
  )
