"""The report on several evaluated networks, as one record."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from experiments.building import build
from experiments.evaluation.assessment import Assessed
from experiments.reporting import (
  accuracy_table,
  attack_table,
  data_tables,
  findings,
  perceptual_table,
)
from snnjax import plots, report
from snnjax.report import Column, Figure, Record, Section, Table, wording

_SHOWN = "margin"
_NOBODY: Mapping[str, str] = MappingProxyType({})


def record(
  networks: Sequence[Assessed],
  title: str,
  provenance: dict[str, Any],
  left_out: Mapping[str, str] = _NOBODY,
) -> Record:
  """Returns the report on networks that were evaluated alike.

  Args:
    networks: at least one, all with the same modalities and evaluation.
    title: of the report.
    provenance: versions, devices, seeds, configuration, times.
    left_out: by run that was to be reported, why there is nothing to report.
  """
  lines = [f"{name} is not reported: {why}." for name, why in left_out.items()]
  return Record(
    title=title,
    summary="\n\n".join([summary(networks), *lines]),
    alarms=[
      *(alarm for each in networks for alarm in findings.alarms(each)),
      *findings.unmeasured(left_out),
    ],
    sections=[
      data_tables.section(networks),
      _accuracy(networks),
      _gradients(networks),
      _vulnerability(networks),
      _spikes(networks),
    ],
    provenance=provenance,
  )


def summary(networks: Sequence[Assessed]) -> str:
  """Returns the findings in sentences, computed from the numbers."""
  lines = []
  for each in networks:
    row = findings.accuracy_rows(each)[-1]
    sparse = {
      (r["modality"], r["input"]): r
      for r in findings.sparsity_rows(each, _SHOWN)
    }
    norms = ", ".join(
      f"{modality} {_told(sparse[modality, 'clean']['l1'])} clean and "
      f"{_told(sparse[modality, 'adversarial']['l1'])} under attack"
      for modality in each.modalities
    )
    share = {
      key: wording.number(row.get(key), percent=True)
      for key in ("clean", "noise", "robust")
    }
    noise = f", {share['noise']} under random noise" if "noise" in row else ""
    lines.append(
      f"{each.name}: {share['clean']} of the clean test examples are "
      f"classified correctly{noise} and {share['robust']} under the worst "
      f"attack of radius {row['epsilon']} on {row['attacked']}. Mean l1 norm "
      f"of the margin's input gradient: {norms}."
    )
  lines += filter(None, map(_mixing, networks))
  examples = findings.accuracy_rows(networks[0])[-1]["examples"]
  lines.append(
    f"All numbers are from {examples} test examples and one training seed per "
    "network: differences within the intervals below are not findings."
  )
  return "\n\n".join(lines)


def _mixing(each: Assessed) -> str:
  """Whose results depend on the batch, in a sentence; empty if nobody's."""
  size = each.config.evaluation.microbatch
  rule = each.config.model.rule
  plan = each.plan
  names = [name for name in plan.mixing if name not in plan.refused]
  said = [f"the attacks {', '.join(names)}"] if names else []
  if build.depends_on_batch(each.config, rule):
    said.append(f"all gradients under its own rule, {rule}")
  if not said:
    return ""
  return (
    f"{each.name}: what is told of {' and '.join(said)} depends on the batch: "
    f"they take statistics of all {size} examples of a microbatch."
  )


def _told(value: float) -> str:
  return "(no gradient)" if np.isnan(value) else f"{value:.3g}"


def _accuracy(networks: Sequence[Assessed]) -> Section:
  targets = dict.fromkeys(cell.target for cell in networks[0].plan.cells)
  curves: dict[str, dict[str, plots.Curve]] = {}
  for target in targets:
    curves[f"attack on {target}"] = {}
    for each in networks:
      counts = findings.correct_counts(each, target)
      curves[f"attack on {target}"][each.name] = plots.Curve(
        counts["radii"],
        [int(n) for n in counts["correct"]],
        len(each.evaluation.labels),
      )
  figure = plots.accuracy_against_epsilon(
    curves,
    caption=(
      "Accuracy under the worst attack up to each radius, with 95 % Wilson "
      "bands. "
      "Where modalities have different radii, the larger one is drawn."
    ),
  )
  return Section(
    "Accuracy under attack",
    "Attacks change the image, the events or both, within a ball around each "
    "input and inside the data box. Every attack runs under several backward "
    "rules, since a fixed surrogate gradient alone overestimates robustness.",
    [
      accuracy_table.table(networks),
      *_rules(networks),
      *attack_table.tables(networks),
      *perceptual_table.tables(networks),
    ],
    [figure],
  )


def _rules(networks: Sequence[Assessed]) -> list[Table]:
  """The table of single rules, if the suite has any on all examples."""
  rules = [
    rule for each in networks for rule in findings.rules_alone(each.plan)
  ]
  if not rules:
    return []
  rows = [row for each in networks for row in findings.rule_rows(each)]
  every = dict.fromkeys(key for row in rows for key in row)
  return [
    Table(
      name="rules",
      title="One rule alone against the worst of all rules",
      caption=(
        "Accuracy under PGD with one backward rule, per example under the "
        "worst of them, and under the worst of the whole suite. A rule that "
        "leaves much more than the worst case hides the network's weakness."
      ),
      columns=[
        Column("network", "network"),
        Column("attacked", "attacked"),
        Column("epsilon", "epsilon"),
        *(Column(rule, rule, True) for rule in dict.fromkeys(rules)),
        Column("worst", "worst of all rules", True),
        Column("suite", "worst of the suite", True),
      ],
      rows=[every | row for row in rows],
    )
  ]


def _gradients(networks: Sequence[Assessed]) -> Section:
  figures: list[Figure] = []
  for modality in networks[0].modalities:
    figures += _modality_figures(networks, modality)
  tables = [
    Table(
      name=f"sparsity_{confidence.replace(' ', '_')}",
      title=f"Sparsity of the gradient of the {confidence}",
      caption=(
        "Means over the examples with a non-zero gradient; 'zero' counts the "
        "others. A sparser gradient has a lower participation ratio and a "
        "higher Gini index. 'halfway' is after half of the attack's steps."
      ),
      columns=[
        Column("network", "network"),
        Column("modality", "modality"),
        Column("input", "input"),
        *(Column(key, header) for key, header in findings.METRICS.items()),
        Column("zero", "zero"),
        Column("examples", "examples"),
      ],
      rows=[
        row
        for each in networks
        for row in findings.sparsity_rows(each, confidence)
      ],
    )
    for confidence in ("margin", "rival probability")
  ]
  return Section(
    "Input gradients",
    "The gradient of the network's confidence with respect to its inputs, on "
    "clean inputs, on adversarial ones, and on the way from one to the other. "
    "The rival probability saturates where a network is confident: compare "
    "the margin too.",
    tables,
    figures,
  )


def _modality_figures(
  networks: Sequence[Assessed], modality: str
) -> list[Figure]:
  """Maps, histograms and the course along the attack, for one modality."""
  first = networks[0]
  labels = [first.used.classes[label] for label in first.sample["labels"]]
  maps = plots.gradient_maps(
    {
      each.name: np.asarray(each.study.maps["clean"][modality])
      for each in networks
    },
    inputs=first.sample[modality],
    labels=labels,
    name=f"gradient_maps_{modality}",
    title=f"Gradient of the margin, {modality}",
    caption=(
      "The same clean inputs under every network, on one colour scale; events "
      "are summed over time and polarity."
    ),
  )
  histograms = plots.sparsity_histograms(
    {
      each.name: {
        condition: _defined(each, condition, modality)
        for condition in ("clean", "adversarial")
      }
      for each in networks
    },
    metric="participation ratio",
    name=f"sparsity_{modality}",
    title=f"Sparsity of the margin's gradient, {modality}",
    caption="Per example; lower is sparser.",
  )
  course = plots.sparsity_along_attack(
    {
      each.name: findings.along(each, modality, "participation_ratio")
      for each in networks
    },
    metric="participation ratio",
    name=f"along_attack_{modality}",
    title=f"Sparsity along the attack, {modality}",
    caption=(
      "Participation ratio of the loss's gradient at every iterate of PGD; "
      "median and middle half of the examples."
    ),
  )
  return [maps, histograms, course]


def _defined(each: Assessed, condition: str, modality: str) -> np.ndarray:
  values = each.study.metrics[_SHOWN][condition][modality]
  zero = np.asarray(values.is_zero, bool)
  return np.where(zero, np.nan, values.participation_ratio)


def _vulnerability(networks: Sequence[Assessed]) -> Section:
  modalities = networks[0].modalities
  table = Table(
    name="vulnerability",
    title="Vulnerability",
    caption=(
      "Mean squared change of the margin under random noise and under PGD of "
      "the same radius, their quotient, and the median of its first-order "
      "form 3 ||g||_1^2 / ||g||_2^2 per modality."
    ),
    columns=[
      Column("network", "network"),
      Column("random", "random"),
      Column("adversarial", "adversarial"),
      Column("ratio", "measured ratio"),
      *(
        Column(f"first_order_{name}", f"first order, {name}")
        for name in modalities
      ),
    ],
    rows=[findings.vulnerability_row(each) for each in networks],
  )
  figures = [
    plots.vulnerability_ratio(
      {
        each.name: plots.Ratios(
          np.asarray(each.study.metrics[_SHOWN]["clean"][modality].l0_exact),
          np.asarray(each.study.ratio[modality]),
        )
        for each in networks
      },
      name=f"vulnerability_{modality}",
      title=f"First-order vulnerability ratio, {modality}",
      caption=(
        "Adversarial over random vulnerability in the linf ball, per example, "
        "between its bounds 3 and 3k for k non-zero entries."
      ),
    )
    for modality in modalities
  ]
  return Section(
    "Vulnerability",
    "To first order a sparser gradient lowers the linf ratio; it says nothing "
    "of the other norms. Spiking networks are piecewise constant, so the "
    "measured ratio may differ from the first-order one.",
    [table],
    figures,
  )


def _spikes(networks: Sequence[Assessed]) -> Section:
  figures = [
    plots.spike_raster(
      each.spikes,
      name=f"spikes_{report.file_name(each.name)}",
      title=f"Spikes of {each.name}",
      caption="The first test example, layer by layer.",
    )
    for each in networks
  ]
  return Section("Spikes", "What fires, for one example.", (), figures)
