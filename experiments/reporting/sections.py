"""Builds the report on several evaluated networks, section by section."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from experiments.building import build
from experiments.evaluation.assessment import Assessed
from experiments.reporting import (
  accuracy_table,
  alarm_findings,
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
      *(
        alarm
        for network in networks
        for alarm in alarm_findings.alarms(network)
      ),
      *alarm_findings.unmeasured(left_out),
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
  for network in networks:
    row = findings.accuracy_rows(network)[-1]
    sparse = {
      (r["modality"], r["input"]): r
      for r in findings.sparsity_rows(network, _SHOWN)
    }
    norms = ", ".join(
      f"{modality} {_format_norm(sparse[modality, 'clean']['l1'])} clean and "
      f"{_format_norm(sparse[modality, 'adversarial']['l1'])} under attack"
      for modality in network.modalities
    )
    share = {
      key: wording.number(row.get(key), percent=True)
      for key in ("clean", "noise", "robust")
    }
    noise = f", {share['noise']} under random noise" if "noise" in row else ""
    several = " in any norm" if row["norm"] == findings.TOGETHER else ""
    lines.append(
      f"{network.name}: {share['clean']} of the clean test examples are "
      f"classified correctly{noise} and {share['robust']} under the worst "
      f"attack{several} of radius {row['epsilon']} on {row['attacked']}. Mean "
      f"l1 norm of the margin's input gradient: {norms}."
    )
  lines += filter(None, map(_describe_batch_dependence, networks))
  examples = findings.accuracy_rows(networks[0])[-1]["examples"]
  lines.append(
    f"All numbers are from {examples} test examples and one training seed per "
    "network: differences within the intervals below are not findings."
  )
  return "\n\n".join(lines)


def _describe_batch_dependence(network: Assessed) -> str:
  """Says which results of a network depend on the batch; empty if none do."""
  size = network.config.evaluation.microbatch
  rule = network.config.model.rule
  plan = network.plan
  names = [name for name in plan.mixing if name not in plan.refused]
  sources = [f"the attacks {', '.join(names)}"] if names else []
  if build.depends_on_batch(network.config, rule):
    sources.append(f"all gradients under its own rule, {rule}")
  if not sources:
    return ""
  return (
    f"{network.name}: what is told of {' and '.join(sources)} depends on the "
    f"batch: they take statistics of all {size} examples of a microbatch."
  )


def _format_norm(value: float) -> str:
  return "(no gradient)" if np.isnan(value) else f"{value:.3g}"


def _curves(networks: Sequence[Assessed], norm: str) -> Figure:
  """Accuracy against the radius of one norm, a line per network."""
  curves: dict[str, dict[str, plots.Curve]] = {}
  for network in networks:
    for words, counts in findings.correct_counts(network, norm).items():
      curves.setdefault(words, {})[network.name] = plots.Curve(
        counts["radii"],
        [int(n) for n in counts["correct"]],
        len(network.evaluation.labels),
      )
  name, title = "accuracy_epsilon", "Accuracy against attack strength"
  axis = findings.axis(networks[0].plan.norms, norm, name, title)
  return plots.accuracy_against_epsilon(
    curves,
    caption=(
      "Accuracy under the worst attack up to each radius, with 95 % Wilson "
      "bands. "
      "Where modalities have different radii, the larger one is drawn."
    ),
    **axis._asdict(),
  )


def _accuracy(networks: Sequence[Assessed]) -> Section:
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
    [_curves(networks, norm) for norm in networks[0].plan.norms],
  )


def _rules(networks: Sequence[Assessed]) -> list[Table]:
  """The table of single rules, if the suite has any on all examples."""
  rules = [
    rule
    for network in networks
    for norm in network.plan.norms
    for rule in findings.rules_alone(network.plan, norm)
  ]
  if not rules:
    return []
  rows = [row for network in networks for row in findings.rule_rows(network)]
  all_columns = dict.fromkeys(key for row in rows for key in row)
  return [
    Table(
      name="rules",
      title="One rule alone against the worst of all rules",
      caption=(
        "Accuracy under PGD (sPGD in l0) with one backward rule, per example "
        "under the "
        "worst of them, and under the worst of the whole suite. A rule that "
        "leaves much more than the worst case hides the network's weakness."
      ),
      columns=[
        Column("network", "network"),
        Column("norm", "norm"),
        Column("attacked", "attacked"),
        Column("epsilon", "epsilon"),
        *(Column(rule, rule, True) for rule in dict.fromkeys(rules)),
        Column("worst", "worst of all rules", True),
        Column("suite", "worst of the suite", True),
      ],
      rows=[all_columns | row for row in rows],
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
        for network in networks
        for row in findings.sparsity_rows(network, confidence)
      ],
    )
    for confidence in ("margin", "rival probability")
  ]
  return Section(
    "Input gradients",
    "The gradient of the network's confidence with respect to its inputs, on "
    "clean inputs, on adversarial ones, and on the way from one to the other; "
    f"the attack is PGD in {networks[0].plan.norms[0]}. "
    "The rival probability saturates where a network is confident: compare "
    "the margin too.",
    tables,
    figures,
  )


def _modality_figures(
  networks: Sequence[Assessed], modality: str
) -> list[Figure]:
  """Gradient maps, sparsity histograms and sparsity along the attack."""
  first = networks[0]
  labels = [first.used.classes[label] for label in first.sample["labels"]]
  maps = plots.gradient_maps(
    {
      network.name: np.asarray(network.study.maps["clean"][modality])
      for network in networks
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
      network.name: {
        condition: _participation_ratios(network, condition, modality)
        for condition in ("clean", "adversarial")
      }
      for network in networks
    },
    metric="participation ratio",
    name=f"sparsity_{modality}",
    title=f"Sparsity of the margin's gradient, {modality}",
    caption="Per example; lower is sparser.",
  )
  course = plots.sparsity_along_attack(
    {
      network.name: findings.metric_along_attack(
        network, modality, "participation_ratio"
      )
      for network in networks
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


def _participation_ratios(
  network: Assessed, condition: str, modality: str
) -> np.ndarray:
  values = network.study.metrics[_SHOWN][condition][modality]
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
    rows=[findings.vulnerability_row(network) for network in networks],
  )
  figures = [
    plots.vulnerability_ratio(
      {
        network.name: plots.Ratios(
          np.asarray(network.study.metrics[_SHOWN]["clean"][modality].l0_exact),
          np.asarray(network.study.ratio[modality]),
        )
        for network in networks
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
      network.spikes,
      name=f"spikes_{report.file_name(network.name)}",
      title=f"Spikes of {network.name}",
      caption="The first test example, layer by layer.",
    )
    for network in networks
  ]
  return Section("Spikes", "What fires, for one example.", (), figures)
