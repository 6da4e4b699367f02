"""Sparse-gradient regularisation: cross-entropy plus an input-gradient penalty.

References:
  Liu et al. 2024, "Enhancing adversarial robustness in SNNs with sparse
  gradients", ICML 2024, arXiv 2405.20355.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from snnjax.arguments import check_network
from snnjax.backward.rules import check_rule
from snnjax.interfaces import (
  Array,
  Aux,
  BackwardRule,
  Batch,
  Inputs,
  Key,
  Network,
  Objective,
  PyTree,
  Variables,
)
from snnjax.losses import Confidence, cross_entropy, rival_probability
from snnjax.methods.method import accuracy, masked_mean
from snnjax.regularizers import (
  Direction,
  Estimator,
  gradient_penalty,
  sign_direction,
  squared,
)
from snnjax.validation import check_range


def sr(
  network: Network,
  *,
  rule: BackwardRule,
  weight: float = 1e-3,
  confidence: Confidence = rival_probability,
  direction: Direction = sign_direction,
  estimator: Estimator | None = None,
  shape: Callable[[Array], Array] = squared,
) -> Objective:
  """Returns the objective E[cross-entropy + weight * penalty].

  Args:
    network: the network, run in train mode.
    rule: the backward rule of all gradients.
    weight: lambda >= 0.
    confidence: f, ``(logits, labels, rival) -> [B]``.
    direction: where the slope of f is taken; its sign direction makes the
      slope ||g||_1.
    estimator: ``regularizers.Line -> slope [B]``; a finite difference of 0.01
      by default.
    shape: slope -> penalty; `squared` (the released code) or `absolute` (the
      paper).

  Raises:
    ValueError: if the weight is negative.

  Differs from: the released code moves the normalisation statistics in both
    of its passes; here only the clean pass does.
  """
  check_network(network)
  check_rule(rule)
  check_range("weight", weight, 0, float("inf"))

  def objective(
    variables: Variables, key: Key, batch: Batch, step: Array
  ) -> tuple[Array, Aux]:
    del step

    def forward(key: Key, inputs: Inputs) -> tuple[Array, PyTree]:
      # Statistics come back as `aux`, of the clean pass alone: the second
      # forward pass must not move them again.
      run = network.apply(variables, inputs, rule=rule, key=key, train=True)
      return run.logits, run.batch_stats

    penalize = gradient_penalty(
      forward,
      confidence=confidence,
      direction=direction,
      estimator=estimator,
      shape=shape,
    )
    result = penalize(key, batch.inputs, batch.labels)
    natural = masked_mean(
      cross_entropy(result.logits, batch.labels), batch.mask
    )
    penalty = masked_mean(result.penalty, batch.mask)
    # Only looked at: without the stop it would be part of the backward pass.
    slope = masked_mean(jnp.abs(lax.stop_gradient(result.slope)), batch.mask)
    metrics = {
      "loss": natural + weight * penalty,
      "cross_entropy": natural,
      "penalty": penalty,
      "slope": slope,
      "accuracy": accuracy(result.logits, batch),
    }
    return metrics["loss"], Aux(metrics, result.aux)

  return objective
