"""Adversarial training: any method on adversarial examples.

References:
  Goodfellow, Shlens, Szegedy 2015 (FGSM), arXiv 1412.6572; Madry et al. 2018
  (PGD), arXiv 1706.06083.
"""

from collections.abc import Callable

import jax
from jax import lax

from snnjax.arguments import check_network, check_takes
from snnjax.backward.rules import check_rule
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
  PyTree,
  Variables,
)
from snnjax.methods.method import Method, Stage, as_method
from snnjax.models import classifier


def adversarial(
  method: Method | Objective,
  network: Network,
  craft: Callable[[LogitsFn], Attack],
  *,
  rule: BackwardRule,
) -> Method:
  """Returns a method on examples that an attack crafts against the weights.

  The attack sees the weights of the update and frozen normalisation
  statistics; the method then treats its examples as constants. A method of
  several updates per batch is attacked in each of them. With `vanilla` this
  is adversarial training, with `sr` it is SR*.

  Args:
    method: a `Method` or an `Objective`, trained on the adversarial examples.
    network: the network that is attacked.
    craft: logits function -> attack, for instance ``functools.partial(pgd,
      threat=linf(8 / 255), steps=7)``.
    rule: the backward rule that the attack differentiates under.
  """
  check_network(network)
  check_rule(rule)
  check_takes(
    "craft",
    craft,
    ("logits_fn",),
    "functools.partial(attacks.fgsm, threat=threat) is one",
  )
  inner = as_method(method)

  def on_adversarial(
    variables: Variables,
    stage: Stage,
    key: Key,
    batch: Batch,
    step: Array,
    update: int,
  ) -> tuple[Array, tuple[Aux, PyTree]]:
    attack_key, train_key = jax.random.split(key)
    frozen = lax.stop_gradient(variables)
    attack = craft(classifier(network, frozen, rule=rule))
    result = attack(attack_key, batch.inputs, batch.labels)
    crafted = batch._replace(inputs=lax.stop_gradient(result.inputs))
    return inner.objective(variables, stage, train_key, crafted, step, update)

  return inner._replace(objective=on_adversarial)
