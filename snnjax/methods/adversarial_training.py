"""Adversarial training: any objective on adversarial examples.

References:
  Goodfellow, Shlens, Szegedy 2015 (FGSM), arXiv 1412.6572; Madry et al. 2018
  (PGD), arXiv 1706.06083.
"""

from collections.abc import Callable

import jax
from jax import lax

from snnjax.models import classifier
from snnjax.interfaces import (
  Array,
  Attack,
  Aux,
  BackwardRule,
  Batch,
  Key,
  LogitsFn,
  Network,
  Objective,
  Variables,
)


def adversarial(
  objective: Objective,
  network: Network,
  craft: Callable[[LogitsFn], Attack],
  *,
  rule: BackwardRule,
) -> Objective:
  """Returns `objective` on examples that an attack crafts against the weights.

  The attack sees the weights of the step and frozen normalisation statistics;
  the objective then treats its examples as constants. With `vanilla` this is
  adversarial training, with `sr` it is SR*.

  Args:
    objective: what is minimised on the adversarial examples.
    network: the network that is attacked.
    craft: logits function -> attack, for instance ``functools.partial(pgd,
      threat=linf(8 / 255), steps=7)``.
    rule: the backward rule that the attack differentiates under.
  """

  def on_adversarial(
    variables: Variables, key: Key, batch: Batch
  ) -> tuple[Array, Aux]:
    attack_key, train_key = jax.random.split(key)
    frozen = lax.stop_gradient(variables)
    attack = craft(classifier(network, frozen, rule=rule))
    result = attack(attack_key, batch.inputs, batch.labels)
    inputs = lax.stop_gradient(result.inputs)
    return objective(variables, train_key, batch._replace(inputs=inputs))

  return on_adversarial
