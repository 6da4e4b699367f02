"""What attacks with restarts, and without a gradient, take of a question's."""

from collections.abc import Mapping
from typing import Any

from experiments.configuration import study as studies
from experiments.configuration.study import Study
from experiments.questions import network_numbers, seed_pairs, wording
from experiments.questions.contrasts import Compared, Findings
from experiments.questions.network_numbers import Cell, Grouped
from experiments.questions.results import Measured
from snnjax.replication import Contrast
from snnjax.report import Column, Section, Table

# By path of `network_numbers`, a column's heading.
_PATHS = {
  "chain": "left by the chain",
  "stronger": "left by all",
  "taken": "taken by them",
}


def sections(study: Study, networks: Grouped) -> list[Section]:
  """Returns what they took, arm by arm; nothing where none were tried.

  Args:
    study: its protocol.
    networks: from `network_numbers.grouped`.
  """
  rows = []
  for cell, arms in networks.items():
    for arm, seeds in arms.items():
      attacked = {s: e for s, e in seeds.items() if "stronger" in e.arrays}
      if attacked:
        rows += _rows(study, cell, arm, attacked)
  if not rows:
    return []
  return [
    Section(
      "Stronger attacks",
      "The attacks of the chains have one start, and follow gradients: where "
      "these mislead, examples are left that other attacks would break. On the "
      f"first {study.protocol.stronger_examples} examples of some networks, "
      "more was tried at the middle radius on what the chains left. What they "
      "take of one arm and not of another changes what is said of both.",
      [
        Table(
          "stronger",
          "What stronger attacks take",
          "Shares of these examples, means over seeds with 95 % intervals. "
          "`By which` counts, over all seeds, the examples that each attack "
          "broke; it met what those before it had left.",
          [
            *wording.arm_columns("trained by"),
            Column("norm", "attacked in"),
            Column("radius", "radius"),
            *(
              wording.seeds_column(path, heading, percent=True)
              for path, heading in _PATHS.items()
            ),
            Column("attacks", "by which"),
          ],
          rows,
        )
      ],
    )
  ]


def sentences(findings: Findings) -> list[str]:
  """Returns what they make of the contrasts that decide, a sentence each.

  Of those contrasts that compare arms under one norm as they are.

  Args:
    findings: what the networks say.
  """
  study = findings.study
  told = []
  for each in findings.compared:
    kind, _, norm = each.contrast.measure.removesuffix("/mean").partition("/")
    as_they_are = kind == "transfer" and not each.contrast.matched
    if not each.decides or not as_they_are:
      continue
    if norm not in study.protocol.stronger:
      continue
    by_chain, by_all = (
      _difference(findings, each, f"{path}/{norm}")
      for path in ("chain", "stronger")
    )
    if by_chain and by_all:
      told.append(
        f"Stronger attacks, {each.name}, {by_all.replicates} seeds: of the "
        f"first {study.protocol.stronger_examples} examples at the middle "
        f"radius {_interval(by_chain)} by the chain that decides, "
        f"{_interval(by_all)} when restarts, targets and attacks without a "
        "gradient are added."
      )
  return told


def _difference(
  findings: Findings, compared: Compared, path: str
) -> Contrast | None:
  """The arms of a contrast, by another number of their networks."""
  arms = findings.networks[compared.cell]
  treated, control = (
    network_numbers.by_seed(findings.study, arms.get(arm, {}), path)
    for arm in (compared.contrast.treated, compared.contrast.control)
  )
  return seed_pairs.difference(treated, control, findings.question.alpha)


def _interval(difference: Contrast) -> str:
  """A difference of accuracies, in points."""
  low, high = (100 * end for end in (difference.low, difference.high))
  return f"{100 * difference.estimate:+.1f} points [{low:.1f}, {high:.1f}]"


def _rows(
  study: Study, cell: Cell, arm: str, attacked: Mapping[int, Measured]
) -> list[dict[str, Any]]:
  """One arm in one cell, norm by norm."""
  any_network = next(iter(attacked.values()))
  radii = studies.check_radii(study, any_network.member)
  rows = []
  for norm, steps in study.protocol.stronger.items():
    row = wording.arm_row(study, cell, arm, attacked)
    for path in _PATHS:
      values = network_numbers.by_seed(study, attacked, f"{path}/{norm}")
      row |= wording.over_seeds(path, list(values.values()), share=True)
    counts = sum(
      network_numbers.taken(study, each, norm).sum(1)
      for each in attacked.values()
    )
    words = [
      f"{step.name} {count}" for step, count in zip(steps, counts, strict=True)
    ]
    row |= {
      "norm": norm,
      "radius": radii[norm][study.protocol.level],
      "attacks": "; ".join(words),
    }
    rows.append(row)
  return rows
