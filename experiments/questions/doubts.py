"""Reasons not to believe the accuracies of a question's networks.

The checks of every evaluation that can be made of what was measured for a
question, on the examples of all seeds of an arm together.
"""

from collections.abc import Mapping

import numpy as np

from experiments.configuration.study import Study
from experiments.questions.measurement import ATTACK, SINGLE
from experiments.questions.outcomes import Grouped
from experiments.questions.results import Measured
from snnjax.checks import CHECKS, Alarm, Measurements, State, check

# Of a question's measurements nothing says more: extra attacks of the alarms,
# such as ten restarts, are those of `experiments.evaluate`.
_MADE = (
  "One step beats many",
  "A gradient-free attack beats the white box",
  "One rule alone is much weaker than all",
  "Gradients are exactly zero",
)


def alarms(study: Study, networks: Grouped) -> list[Alarm]:
  """Returns the checks of every arm in every cell.

  Args:
    study: its protocol.
    networks: from `outcomes.grouped`.
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
