"""Networks with numbers that nobody measured, for tests of what decides."""

import dataclasses

import numpy as np

from experiments.configs.studies import questions
from experiments.configuration import study as studies
from experiments.measuring.named_arrays import ATTACK, METRICS
from experiments.questions.results import Measured

EXAMPLES, FEW, SEEDS = 200, 50, 6
QUESTION = "sparsity_under_attack"
# Shares of examples left, how visible attacks are, and measured over theory.
USUAL = {
  "accuracy": 0.95,
  "fgsm": 0.6,
  "pgd10": 0.4,
  "random": 0.9,
  "one": 0.4,
  "linf": 0.3,
  "l2": 0.3,
  "l1": 0.3,
  "seen_linf": 100.0,
  "seen_l2": 50.0,
  "seen_l1": 10.0,
  "random_factor": 1.0,
  "adversarial_factor": 1.0,
  "outside": 0.0,
}


def study(**claims):
  """The study of size cpu with MNIST alone, six seeds and these claims."""
  own = questions.get_config("cpu")
  question = own.questions[QUESTION]
  asked = dataclasses.replace(
    question,
    data=("mnist",),
    arms=dict.fromkeys(question.arms, SEEDS),
    beside={},
  )
  return dataclasses.replace(own, questions={QUESTION: asked}, claims=claims)


def networks(own_study, values=(), spread=0.005, arms=None):
  """All networks of a study.

  `values` are an arm's own in place of `USUAL`; they differ by multiples of
  `spread` between seeds, the others are the same in all.
  """
  members = studies.members(own_study, QUESTION)
  return [
    network(own_study, own, dict(values).get(own.arm, {}), spread)
    for own in members
    if arms is None or own.arm in arms
  ]


def network(own_study, own, changes, spread):
  """One of them."""
  moved = spread * (0, 1, -1, 2, -2, 0)[own.seed]
  value = USUAL | {name: new + moved for name, new in changes.items()}
  norms, level = own_study.protocol.norms, own_study.protocol.level
  right = np.arange(EXAMPLES) < round(value["accuracy"] * EXAMPLES)

  def broken(share):
    return np.arange(EXAMPLES) >= round(share * EXAMPLES)

  arrays = {
    "label": np.zeros(EXAMPLES, np.int8),
    "correct": right,
    "margin": np.where(right, 1.0, -1.0).astype(np.float16),
    "firing_rate": np.full(EXAMPLES, 0.1, np.float16),
    "gradient": np.zeros((1, 1, len(METRICS), EXAMPLES)),
    "single/fgsm": broken(value["fgsm"]),
    "single/pgd10": broken(value["pgd10"]),
    "random/linf/1": broken(value["random"]),
    "random/linf/2": broken(value["random"]),
  }
  for norm in norms:
    success = broken(value[norm])
    fields = {
      "success": success,
      "rank": np.where(broken(value["one"]), 0, np.where(success, 1, -1)),
      "visibility/image": np.full(EXAMPLES, value[f"seen_{norm}"]),
      "distance/image": np.full(EXAMPLES, 3.0),
      "distance/events": np.full(EXAMPLES, 4.0),
    }
    for field, array in fields.items():
      arrays[ATTACK.format(norm=norm, level=level, field=field)] = array
  if len(own.modalities) == 1:
    arrays["vulnerability"] = np.broadcast_to(
      vulnerability(value), (len(norms), len(own_study.protocol.scales), 6, FEW)
    )
  return Measured(own, {"gradients": arrays}, {"measurements": {}})


def vulnerability(value):
  """[K, A]: a ratio of 10 within [5, 20] where all is as theory says.

  Noise moves the first examples, a share of "outside", next to nothing.
  """
  outside = np.arange(FEW) < round(value["outside"] * FEW)
  random = 0.1 * value["random_factor"] * np.where(outside, 1e-4, 1.0)
  adversarial = np.full(FEW, value["adversarial_factor"])
  flat = np.ones(FEW)
  return np.stack(
    [random, adversarial, 0.1 * flat, flat, 5.0 * flat, 20.0 * flat]
  )
