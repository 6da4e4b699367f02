"""Oracles whose loss is the gap to a decision boundary; which result to keep.

The gap is the logit of another class less that of the label: negative while the
prediction is right, 0 on the boundary.
"""

import jax
import jax.numpy as jnp

from snnjax import losses
from snnjax.attacks.candidates import Keep, nearest_success
from snnjax.attacks.oracles import (
  Oracle,
  OracleState,
  Probe,
  white_box,
  withstands,
)
from snnjax.attacks.target_classes import strongest_rivals
from snnjax.attacks.threats.norms import Norm, dual_size
from snnjax.attacks.threats.threat import Threat
from snnjax.interfaces import Array, Inputs, Key, Labels, LogitsFn, Scored
from snnjax.lost_derivatives import guard

_TINY = 1e-12  # keeps a zero gradient from dividing zero by zero


def nearest_boundary(logits_fn: LogitsFn, norm: Norm, rivals: int) -> Oracle:
  """Returns the oracle of the boundary that looks nearest to first order.

  Of the strongest rivals s at the current input, the one of least
  ``|z_s - z_y| / ||grad(z_s - z_y)||_*``, in the norm dual to the
  threat's; the loss is that z_s - z_y.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.
    norm: the threat's.
    rivals: how many rivals to compare, one backward pass each; C - 1 if there
      are fewer.
  """

  def grad(
    key: Key, state: OracleState, inputs: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    watched = guard(lambda points: logits_fn(key, points), inputs)
    logits, pull = jax.vjp(lambda points: logits_fn(key, points), inputs)
    logits = watched(logits)
    classes = logits.shape[1]
    others = strongest_rivals(logits, labels, min(rivals, classes - 1))
    label_logit = jax.nn.one_hot(labels, classes, dtype=logits.dtype)

    # One rival at a time: all slopes at once would take as many times the
    # memory of the network's reverse pass.
    def towards(rival: Labels) -> tuple[Array, Inputs, Array]:
      aim = jax.nn.one_hot(rival, classes, dtype=logits.dtype) - label_logit
      slope = watched(pull(aim)[0])
      gap = jnp.sum(aim * logits, 1)
      steep = dual_size(norm.slopes(slope), norm.blocks(inputs))
      return gap, slope, jnp.abs(gap).astype(steep.dtype) / (steep + _TINY)

    gaps, slopes, distances = jax.lax.map(towards, others.T)
    nearest = jnp.argmin(distances, 0)
    gap, slope = jax.tree.map(
      lambda leaf: leaf[nearest, jnp.arange(len(labels))], (gaps, slopes)
    )
    return Probe(gap, slope, withstands(logits, labels)), state

  return Oracle(init=lambda inputs: (), grad=grad)


def rival_boundary(logits_fn: LogitsFn, rivals: Labels) -> Oracle:
  """Returns the oracle of z_s - z_y for one given rival s per example.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.
    rivals: [B].
  """

  def scored(key: Key, points: Inputs, labels: Labels) -> Scored:
    logits = logits_fn(key, points)
    loss = losses.targeted_margin_loss(logits, labels, rivals)
    return Scored(loss, logits)

  return white_box(scored)


def target_boundary(logits_fn: LogitsFn) -> Oracle:
  """Returns the oracle of z_t - z_r, the labels t being targets.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.
  """
  return white_box(losses.scored(logits_fn, losses.margin_loss), targeted=True)


def closest(threat: Threat, origin: Inputs) -> Keep:
  """Returns the rule that keeps the success nearest to `origin`."""
  return nearest_success(lambda result: threat.distance(result.inputs, origin))
