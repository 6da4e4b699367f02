"""Adversarial training: any objective on adversarial examples.

References:
  Goodfellow, Shlens, Szegedy 2015 (FGSM), arXiv 1412.6572; Madry et al. 2018
  (PGD), arXiv 1706.06083.
"""

from collections.abc import Callable

import jax
from jax import lax

from snnjax.interfaces import (
  Array,
  Attack,
  Aux,
  BackwardRule,
  Batch,
  Key,
  Network,
  Objective,
  ScoredLossFn,
  Variables,
)
from snnjax.losses import LogitsLoss, cross_entropy, scored
from snnjax.models import classifier


def adversarial(
  objective: Objective,
  network: Network,
  craft: Callable[[ScoredLossFn], Attack],
  *,
  rule: BackwardRule,
  loss: LogitsLoss = cross_entropy,
) -> Objective:
  """Returns `objective` on examples that an attack crafts against the weights.

  The attack sees the weights of the step and frozen normalisation statistics;
  the objective then treats its examples as constants. With `vanilla` this is
  adversarial training, with `sr` it is SR*.

  Args:
    objective: what is minimised on the adversarial examples.
    network: the network that is attacked.
    craft: loss -> attack, for instance ``functools.partial(pgd,
      threat=linf(8 / 255), step_size=2 / 255, steps=7)``.
    rule: the backward rule that the attack differentiates under.
    loss: ``(logits, labels) -> [B]``, what the attack ascends.
  """

  def on_adversarial(
    variables: Variables, key: Key, batch: Batch
  ) -> tuple[Array, Aux]:
    attack_key, train_key = jax.random.split(key)
    frozen = lax.stop_gradient(variables)
    attack = craft(scored(classifier(network, frozen, rule=rule), loss))
    result = attack(attack_key, batch.inputs, batch.labels)
    inputs = lax.stop_gradient(result.inputs)
    return objective(variables, train_key, batch._replace(inputs=inputs))

  return on_adversarial
