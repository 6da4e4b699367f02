"""Reasons not to believe the accuracies of a question's networks.

The checks of every evaluation that can be made of what was measured for a
question, on the examples of all seeds of an arm together; and what the attacks
did not have, so that nothing of it could be checked.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.configuration.study import Study
from experiments.measuring import attack_chains
from experiments.measuring.named_arrays import ATTACK, BESIDE, SINGLE
from experiments.questions.network_numbers import Grouped
from experiments.questions.results import Measured
from snnjax.attacks.kinds import GRADIENT_FREE
from snnjax.attacks.rule_suites import SuiteAttack
from snnjax.checks import CHECKS, Alarm, Measurements, State, check
from snnjax.report import Column, Section, Table
from snnjax.report.record import Row

# Of a question's measurements nothing says more: `attacks_section` says what
# the attacks lack for others, which are those of `experiments.evaluate`.
_MADE = (
  "One step beats many",
  "A gradient-free attack beats the white box",
  "One rule alone is much weaker than all",
  "Gradients are exactly zero",
)
Attacks = Sequence[SuiteAttack]


def alarms(study: Study, networks: Grouped) -> list[Alarm]:
  """Returns the checks of every arm in every cell.

  Args:
    study: its protocol.
    networks: from `network_numbers.grouped`.
  """
  lines = [line for line in CHECKS if line.name in _MADE]
  result: list[Alarm] = []
  for cell, arms in networks.items():
    for arm, seeds in arms.items():
      measured = _measurements(study, seeds)
      examples = sum(
        len(e.arrays["gradients"]["correct"]) for e in seeds.values()
      )
      where = f"linf {_radius(study, cell.data, cell.inputs):g}"
      about = f"{study.arms[arm].about} on {cell.words}"
      result += check(measured, about, lines, examples, where)
  order = list(State)
  return sorted(result, key=lambda alarm: order.index(alarm.state))


def _radius(study: Study, data: str, inputs: str) -> float:
  return study.data[data].radii[inputs]["linf"][study.protocol.level]


def _measurements(study: Study, seeds: Mapping[int, Measured]) -> Measurements:
  """What the alarms are decided by, of all seeds one after the other."""
  level = study.protocol.level
  rows: dict[str, list[np.ndarray]] = {}
  for each in seeds.values():
    arrays = each.arrays["gradients"]
    correct = arrays["correct"]
    path = ATTACK.format(norm="linf", level=level, field="{}")
    own = {name: correct & ~arrays[f"single/{name}"] for name in SINGLE}
    own |= {
      "all": correct & ~arrays[path.format("success")],
      # The first of the chain follows the training rule.
      "own": correct & (arrays[path.format("rank")] != 0),
      "random": correct & ~arrays[f"random/linf/{level}"],
      "zero": np.isnan(arrays["gradient"][0, -1, 0]),
    }
    for name, values in own.items():
      rows.setdefault(name, []).append(values)
  whole = {name: np.concatenate(parts) for name, parts in rows.items()}
  chain = study.protocol.chains["linf"]
  return Measurements(
    one_step_robust=whole["fgsm"],
    many_steps_robust=whole["pgd10"],
    white_box_robust=whole["all"],
    gradient_free_robust={"random noise": whole["random"]},
    own_rule_robust=whole["own"],
    all_rules_robust=whole["all"],
    rules=len({step.rule for step in chain}),
    zero_gradient={"clean input": whole["zero"]},
  )


def attacks_section(study: Study, measured: Sequence[Measured]) -> Section:
  """Returns what the attacks of the protocol had, and did not have, by norm.

  Args:
    study: its protocol.
    measured: networks, whose measurements tell which norms were attacked in.
  """
  protocol = study.protocol
  measurements = {name for each in measured for name in each.arrays}
  norms = {"gradients": protocol.norms, "transfer": protocol.transfer_norms}
  chains = {
    norm: [attack_chains.of_step(step) for step in protocol.chains[norm]]
    for name, own in norms.items()
    if name in measurements
    for norm in own
  }
  text = _lacks(chains)
  if "stronger" in measurements:
    count = sum("stronger" in each.arrays for each in measured)
    text += (
      f" {count} of {len(measured)} networks were attacked harder under "
      f"{', '.join(protocol.stronger)}, with restarts and without gradients: "
      "see Stronger attacks."
    )
  if "gradients" in measurements:
    text += (
      f" Beside the chains, {protocol.random_draws} draws of random noise were "
      f"tried under {BESIDE}, and under no other norm."
    )
  rows: list[Row] = [
    {
      "norm": norm,
      "attacks": "; ".join(f"{a.name} ({a.steps} steps)" for a in chain),
      "rules": len({rule for attack in chain for rule in attack.rules}),
      "starts": max(attack.restarts for attack in chain),
      "doubled": _has_doubled_steps(chain),
      "gradient_free": ", ".join(_gradient_free(chain)) or "none",
    }
    for norm, chain in chains.items()
  ]
  return Section(
    "What the attacks did not have",
    text,
    [
      Table(
        "attacks",
        "Attacks",
        "The chain of each norm, as the protocol of the study has it.",
        [
          Column("norm", "attacked in"),
          Column("attacks", "attacks, in their order"),
          Column("rules", "backward rules"),
          Column("starts", "most starts of one"),
          Column("doubled", "one with twice the steps"),
          Column("gradient_free", "without a gradient"),
        ],
        rows,
      )
    ],
  )


def _lacks(chains: Mapping[str, Attacks]) -> str:
  """What is missing under which norms, in words."""
  table: list[tuple[Callable[[Attacks], object], str]] = [
    (_restarts, "no attack restarts: each has one start"),
    (
      _has_doubled_steps,
      "no attack is there again with twice its steps: whether it has converged "
      "was not asked",
    ),
    (
      _gradient_free,
      "no attack does without the gradient of the network: where that "
      "misleads, examples count as robust that are not",
    ),
  ]
  parts = ["More or other attacks can leave less, and never more."]
  for has, words in table:
    without = [norm for norm, chain in chains.items() if not has(chain)]
    if without:
      parts.append(f"Under {', '.join(without)} {words}.")
  return " ".join(parts)


def _restarts(chain: Attacks) -> bool:
  """Whether an attack has several starts."""
  return any(attack.restarts > 1 for attack in chain)


def _has_doubled_steps(chain: Attacks) -> bool:
  """Whether an attack is there a second time, with twice the steps."""
  return any(
    (one.kind, one.rules, one.loss) == (other.kind, other.rules, other.loss)
    and other.steps >= 2 * one.steps
    for one in chain
    for other in chain
    if one.steps and other.steps
  )


def _gradient_free(chain: Attacks) -> list[str]:
  """The attacks that use no gradient of the network."""
  return [attack.name for attack in chain if attack.kind in GRADIENT_FREE]
