"""Sparse-gradient regularisation: cross-entropy plus an input-gradient penalty.

A second term, of our own, moves the sparsity of the gradient by itself.

References:
  Liu et al. 2024, "Enhancing adversarial robustness in SNNs with sparse
  gradients", ICML 2024, arXiv 2405.20355.
"""

import jax
import jax.numpy as jnp
from jax import lax

from snnjax import regularizers, sparsity
from snnjax.arguments import check_network
from snnjax.backward.rules import check_rule
from snnjax.derivatives import with_gradient_of
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
from snnjax.methods.method import accuracy, by_modality, masked_mean
from snnjax.regularizers import (
  Direction,
  Estimator,
  Penalized,
  Shape,
  Term,
  sign_direction,
  squared,
)
from snnjax.validation import Constant, check_number, check_range


def sr(
  network: Network,
  *,
  rule: BackwardRule,
  weight: Constant = 1e-3,
  confidence: Confidence = rival_probability,
  direction: Direction = sign_direction,
  estimator: Estimator | None = None,
  shape: Shape = squared,
  participation: Constant | None = None,
  participation_estimator: Estimator = regularizers.jvp,
) -> Objective:
  """Returns E[cross-entropy + weight * penalty + participation * sum_m PR_m].

  PR_m = ||g_m||_1^2 / (d_m ||g_m||_2^2), of the gradient of modality m, says
  how much of it takes part, whatever its size: with the penalty holding the
  size, this term makes the gradient sparser (weight above 0) or denser (below).
  PR is reported as "participation", with "/modality" where inputs are a
  mapping: the mean over the examples whose gradient there is not zero, 0 where
  there are none. In the loss a zero gradient counts as a PR of 0, and pulls at
  no weight.

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
    participation: the weight of sum_m PR_m, of any sign; None leaves the term
      out, and costs nothing.
    participation_estimator: an exact one, `regularizers.jvp` or
      `regularizers.double_backpropagation`; see
      `regularizers.participation_direction`.

  Raises:
    ValueError: if the weight is negative, or the other is no number.

  Differs from: the released code moves the normalisation statistics in both
    of its passes; here only the clean pass does.
  """
  check_network(network)
  check_rule(rule)
  check_range("weight", weight, 0, float("inf"))
  estimate = (
    regularizers.finite_difference() if estimator is None else estimator
  )
  terms = [Term(direction, estimate, shape)]
  if participation is not None:
    check_number("participation", participation)
    terms.append(
      Term(
        regularizers.participation_direction,
        participation_estimator,
        regularizers.signed,
      )
    )

  def objective(
    variables: Variables, key: Key, batch: Batch, step: Array
  ) -> tuple[Array, Aux]:
    del step

    def forward(key: Key, inputs: Inputs) -> tuple[Array, PyTree]:
      # Statistics come back as `aux`, of the clean pass alone: the second
      # forward pass must not move them again.
      run = network.apply(variables, inputs, rule=rule, key=key, train=True)
      return run.logits, run.batch_stats

    penalize = regularizers.gradient_penalties(
      forward, terms, confidence=confidence
    )
    result, *others = penalize(key, batch.inputs, batch.labels)
    natural = masked_mean(
      cross_entropy(result.logits, batch.labels), batch.mask
    )
    penalty = masked_mean(result.penalty, batch.mask)
    loss = natural + weight * penalty
    if participation is not None:
      loss += participation * masked_mean(_probed(*others), batch.mask)
    # Only looked at: without the stop it would be part of the backward pass.
    slope = masked_mean(jnp.abs(lax.stop_gradient(result.slope)), batch.mask)
    metrics = {
      "loss": loss,
      "cross_entropy": natural,
      "penalty": penalty,
      "slope": slope,
      **_participation(result.gradient, batch.mask),
      "accuracy": accuracy(result.logits, batch),
    }
    return loss, Aux(metrics, result.aux)

  return objective


def _probed(probe: Penalized) -> Array:
  """Returns sum_m PR_m, [B], where a zero gradient adds 0."""
  ratios = jax.tree.map(_ratio, probe.gradient)
  total = jax.tree.reduce(jnp.add, ratios).astype(probe.penalty.dtype)
  # The slope is 0; its derivative is that of the ratio.
  return with_gradient_of(total, probe.penalty)


def _participation(gradient: Inputs, mask: Array) -> dict[str, Array]:
  """Returns PR by metric name, over the gradients that are not zero."""

  def mean(leaf: Array) -> Array:
    ratio = _ratio(leaf)
    return masked_mean(ratio, mask & (ratio > 0))

  return by_modality("participation", jax.tree.map(mean, gradient))


def _ratio(gradient: Array) -> Array:
  """Returns the participation ratio, [B], 0 for a zero gradient."""
  zero = sparsity.linf(gradient) == 0
  return jnp.where(zero, 0, sparsity.participation_ratio(gradient))
