"""Conventional training: the loss of the clean inputs."""

from collections.abc import Callable

from snnjax.arguments import check_network
from snnjax.backward.rules import check_rule
from snnjax.interfaces import (
  Array,
  Aux,
  BackwardRule,
  Batch,
  Forward,
  Key,
  Labels,
  Network,
  Objective,
  Variables,
)
from snnjax.losses import cross_entropy
from snnjax.methods.method import accuracy, masked_mean

ForwardLoss = Callable[[Forward, Labels], Array]  # -> [B]


def logits_cross_entropy(forward: Forward, labels: Labels) -> Array:
  """Returns the cross-entropy of the logits, [B]."""
  return cross_entropy(forward.logits, labels)


def vanilla(
  network: Network,
  *,
  rule: BackwardRule,
  loss: ForwardLoss = logits_cross_entropy,
) -> Objective:
  """Returns the objective E[loss(x, y)].

  Args:
    network: the network, run in train mode.
    rule: the backward rule of the weights' gradient.
    loss: ``(forward, labels) -> [B]``; the logits' cross-entropy by default.
  """
  check_network(network)
  check_rule(rule)

  def objective(
    variables: Variables, key: Key, batch: Batch, step: Array
  ) -> tuple[Array, Aux]:
    del step
    forward = network.apply(
      variables, batch.inputs, rule=rule, key=key, train=True
    )
    total = masked_mean(loss(forward, batch.labels), batch.mask)
    metrics = {"loss": total, "accuracy": accuracy(forward.logits, batch)}
    return total, Aux(metrics, forward.batch_stats)

  return objective
