"""Losses and confidences of logits, one number per example, never reduced.

A *loss* is what an attack ascends and a training method descends. A
*confidence* is the function f whose input gradient is studied; all confidences
share the signature ``(logits, labels, rival) -> [B]`` so that any can stand
for another, and the rival class is explicit so that it can be held fixed
while the input moves. All are computed, and given, in single precision at
least.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import logistic
from snnjax.arguments import (
  check_array,
  check_takes,
  describe,
  logits_function,
)
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Inputs,
  Key,
  Labels,
  LossFn,
  Scored,
  ScoredLossFn,
)
from snnjax.validation import Constant, check_positive, is_concrete

Confidence = Callable[[Array, Labels, Labels], Array]  # -> [B]
LogitsLoss = Callable[[Array, Labels], Array]  # (logits, labels) -> [B]

_TINY = 1e-12  # keeps tied logits from dividing zero by zero in DLR


def _wide(logits: Array) -> Array:
  """Logits in single precision at least, in which losses are computed."""
  return logits.astype(np.promote_types(logits.dtype, jnp.float32))


def _check_has_type(labels: Any, name: str = "labels") -> None:
  if not hasattr(labels, "dtype"):
    raise ValueError(
      f"{name} must be an array of integer classes; got {describe(labels)}: "
      "jnp.asarray makes one of a list"
    )


def check_labels(logits: Array, labels: Labels, name: str = "labels") -> None:
  """Raises unless `labels` are one class index per row of `logits`.

  The range is checked where the values are known, that is, outside of `jit`;
  under it, the losses of a label that names no class are NaN.

  Args:
    logits: [B, C].
    labels: [B] integers in [0, C).
    name: what to call `labels` in the error.

  Raises:
    ValueError: on a wrong rank, length, type or range.
  """
  sizes = check_array("logits", logits, "[B, C]")
  examples, classes = sizes["B"], sizes["C"]
  _check_has_type(labels, name)
  per_row = "They are classes, one per row of logits"
  check_array(name, labels, "integers [B]", per_row, B=examples)
  if classes < 2:
    raise ValueError(
      f"logits must be of at least 2 classes; got shape {jnp.shape(logits)}. "
      "A single logit z is [0, z] in two: jnp.pad(z, ((0, 0), (1, 0)))"
    )
  known = is_concrete(labels) and getattr(labels, "is_fully_addressable", True)
  if known and examples:
    values = np.asarray(labels)  # under jit, a reduction in jax would be traced
    low, high = values.min(), values.max()
    if low < 0 or high >= classes:
      raise ValueError(
        f"{name} must lie in [0, {classes}); got values in [{low}, {high}]"
      )


def are_classes(logits: Array, labels: Labels) -> Array:
  """Returns which labels name a class of logits [B, C], [B] booleans."""
  return (labels >= 0) & (labels < logits.shape[1])


def predicts(logits: Array, labels: Labels) -> Array:
  """Returns whether the prediction is the label, [B].

  Logits that are not all finite predict nothing, whatever argmax says of
  them: they are wrong, never right.

  Args:
    logits: [B, C].
    labels: [B].
  """
  _check_has_type(labels)
  finite = jnp.all(jnp.isfinite(logits), axis=1)
  return (jnp.argmax(logits, axis=1) == labels) & finite


class TooFewClassesError(ValueError):
  """A loss is not defined for logits of so few classes."""


def _require_classes(logits: Array, least: int, who: str) -> None:
  if logits.shape[1] < least:
    raise TooFewClassesError(
      f"{who} needs logits of at least {least} classes; got {logits.shape[1]}"
    )


def rival(logits: Array, labels: Labels) -> Labels:
  """Returns the strongest class other than the label.

  Args:
    logits: [B, C], C >= 2.
    labels: [B].

  Returns:
    [B] integers; the lowest index among equals.

  Raises:
    ValueError: if labels do not fit, or there are fewer than two classes.
  """
  check_labels(logits, labels)
  _require_classes(logits, 2, "rival")
  is_label = jax.nn.one_hot(labels, logits.shape[1], dtype=bool)
  return jnp.argmax(jnp.where(is_label, -jnp.inf, logits), axis=1)


def cross_entropy(logits: Array, labels: Labels) -> Array:
  """Returns -log softmax(z)_y, [B].

  Args:
    logits: [B, C].
    labels: [B].

  Raises:
    ValueError: if labels do not fit the logits.
  """
  check_labels(logits, labels)
  return -logistic.pick(logistic.log_softmax(_wide(logits)), labels)


def margin_loss(logits: Array, labels: Labels) -> Array:
  """Returns z_r - z_y, r the strongest rival, [B]: positive where wrong.

  Args:
    logits: [B, C].
    labels: [B].

  References:
    Carlini, Wagner 2017, Towards Evaluating the Robustness of Neural
    Networks, arXiv 1608.04644 (without the clamp).
  """
  return -margin(logits, labels, rival(logits, labels))


def dlr(logits: Array, labels: Labels) -> Array:
  """Returns the difference of logits ratio, (z_r - z_y)/(z_(1) - z_(3)), [B].

  z_(k) is the k-th largest logit. The value is invariant to shifts and to
  positive scales of the logits. 1e-12 is added to the denominator, as the
  authors do: rate-coded logits tie often.

  Args:
    logits: [B, C], C >= 3.
    labels: [B].

  Raises:
    ValueError: if labels do not fit, or there are fewer than three classes.

  References:
    Croce, Hein 2020, Reliable Evaluation of Adversarial Robustness with an
    Ensemble of Diverse Parameter-free Attacks, arXiv 2003.01690.
  """
  strongest = rival(logits, labels)
  _require_classes(logits, 3, "dlr")
  third = jax.lax.top_k(logits, 3)[0][:, 2]
  return _over_spread(logits, labels, strongest, third)


def targeted_dlr(logits: Array, labels: Labels, targets: Labels) -> Array:
  """Returns (z_t - z_y)/(z_(1) - (z_(3) + z_(4))/2), [B].

  Ascending it moves the prediction from the label to the target.

  Args:
    logits: [B, C], C >= 4.
    labels: [B], the true classes.
    targets: [B], the classes to be reached.

  Raises:
    ValueError: if classes do not fit, or there are fewer than four.

  References:
    Croce, Hein 2020, arXiv 2003.01690.
  """
  check_labels(logits, labels)
  check_labels(logits, targets, "targets")
  _require_classes(logits, 4, "targeted_dlr")
  top = jax.lax.top_k(_wide(logits), 4)[0]
  return _over_spread(logits, labels, targets, (top[:, 2] + top[:, 3]) / 2)


def _over_spread(
  logits: Array, labels: Labels, targets: Labels, level: Array
) -> Array:
  """Returns (z_t - z_y) / (z_(1) - level + 1e-12), [B].

  With z_(1) in the numerator too it is +-1 plus a rest without it: the form
  whose derivative does not cancel where the rest is the smaller part.
  """
  logits, level = _wide(logits), _wide(level)
  label_logit, target_logit = (
    logistic.pick(logits, labels),
    logistic.pick(logits, targets),
  )
  top = jnp.argmax(logits, axis=1)
  spread = logistic.pick(logits, top) - level + _TINY
  # If the label is on top, z_t - z_y = -(z_y - level + tiny) + (z_t - level +
  # tiny), and the first is minus the spread; if the target is, likewise with +.
  down = labels == top
  rest = jnp.where(
    down, target_logit - level + _TINY, level - label_logit - _TINY
  )
  least = (down | (targets == top)) & (
    jnp.abs(rest) < jnp.abs(target_logit - label_logit)
  )
  sign = jnp.where(down, -1, 1).astype(logits.dtype)
  return jnp.where(
    least, sign + rest / spread, (target_logit - label_logit) / spread
  )


def targeted_margin_loss(
  logits: Array, labels: Labels, targets: Labels
) -> Array:
  """Returns z_t - z_y, [B], to be ascended towards the targets."""
  return -margin(logits, labels, targets)


def targeted(loss: LogitsLoss) -> LogitsLoss:
  """Returns the loss whose ascent makes `loss` at a target small: -loss.

  ``targeted(cross_entropy)(logits, targets)`` is the log-probability of the
  targets.
  """

  def negative_loss(logits: Array, targets: Labels) -> Array:
    return -loss(logits, targets)

  return negative_loss


def kl(logits_p: Array, logits_q: Array, temperature: Constant = 1.0) -> Array:
  """Returns KL(p || q) with p = softmax(z_p / temperature), [B].

  Args:
    logits_p: [B, C], the reference.
    logits_q: [B, C].
    temperature: positive; both logits are divided by it. The factor
      temperature^2 of distillation is left to the caller.

  Raises:
    ValueError: if shapes differ or the temperature is not positive.

  References:
    Zhang et al. 2019, Theoretically Principled Trade-off between Robustness
    and Accuracy (TRADES), arXiv 1901.08573.
  """
  sizes = check_array("logits_p", logits_p, "[B, C]")
  check_array("logits_q", logits_q, "[B, C]", B=sizes["B"], C=sizes["C"])
  check_positive("temperature", temperature)
  # Both as logarithms: a probability that underflows keeps its difference.
  log_p = logistic.log_softmax(_wide(logits_p) / temperature)
  log_q = logistic.log_softmax(_wide(logits_q) / temperature)
  return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1)


def temporal(
  outputs: Array,
  labels: Labels,
  mse_weight: Constant = 0.0,
  level: Constant = 1.0,
) -> Array:
  """Returns mean_t CE(z_t, y) + mse_weight * mean_{t,c} (z_t - level)^2, [B].

  Args:
    outputs: [T, B, C], the output layer at every step.
    labels: [B].
    mse_weight: the weight lambda of the second term.
    level: the value that the second term pulls every output to.

  Raises:
    ValueError: if outputs are not [T, B, C] or labels do not fit.

  References:
    Deng et al. 2022, Temporal Efficient Training of Spiking Neural Network
    via Gradient Re-weighting (TET), arXiv 2202.11946.

  Differs from: the paper and its released code, which weigh the first term
    by 1 - lambda. Here it keeps weight one, so that lambda does not scale the
    cross-entropy against the other penalties of an objective.
  """
  check_array("outputs", outputs, "[T, B, C]")
  check_labels(outputs[0], labels)
  entropy = jax.vmap(cross_entropy, (0, None))(outputs, labels)
  spread = jnp.mean((_wide(outputs) - level) ** 2, axis=(0, 2))
  return jnp.mean(entropy, axis=0) + mse_weight * spread


def margin(logits: Array, labels: Labels, rival: Labels) -> Array:
  """Returns the confidence z_y - z_r, [B].

  Args:
    logits: [B, C].
    labels: [B].
    rival: [B], the class to compare with.
  """
  check_labels(logits, labels)
  check_labels(logits, rival, "rival")
  logits = _wide(logits)
  return logistic.pick(logits, labels) - logistic.pick(logits, rival)


def rival_probability(logits: Array, labels: Labels, rival: Labels) -> Array:
  """Returns the confidence sigmoid(z_y - z_r), [B].

  It saturates: a confident network shows a small gradient whatever its
  sensitivity, so report that of `margin` too.

  Args:
    logits: [B, C].
    labels: [B].
    rival: [B], the class to compare with.

  References:
    Liu et al. 2024, Enhancing Adversarial Robustness in SNNs with Sparse
    Gradients, arXiv 2405.20355.

  Differs from: the released code, which forms exp(z_y)/(exp(z_y) + exp(z_r))
    and overflows for large logits.
  """
  return logistic.sigmoid(margin(logits, labels, rival))


def softmax_probability(logits: Array, labels: Labels, rival: Labels) -> Array:
  """Returns the confidence softmax(z)_y, [B], whatever the rival.

  Args:
    logits: [B, C].
    labels: [B].
    rival: [B], not used; every confidence takes it.
  """
  del rival
  return jnp.exp(-cross_entropy(logits, labels))


def surprisal(logits: Array, labels: Labels, rival: Labels) -> Array:
  """Returns the cross-entropy as the function to be studied, [B].

  It falls where the other confidences rise; the norms of its input gradient
  are read in the same way.

  Args:
    logits: [B, C].
    labels: [B].
    rival: [B], not used; every confidence takes it.
  """
  del rival
  return cross_entropy(logits, labels)


def against_rival(confidence: Confidence) -> LogitsLoss:
  """Returns ``(logits, labels) -> [B]``, the rival taken at these logits.

  The rival follows the logits: where it must stay fixed while the input
  moves, pass it to the confidence instead.
  """

  def measure(logits: Array, labels: Labels) -> Array:
    return confidence(logits, labels, rival(logits, labels))

  return measure


def _check_loss(loss: LogitsLoss) -> None:
  advice = "losses.cross_entropy and losses.margin_loss are such"
  check_takes("loss", loss, ("logits", "labels"), advice)


def scored(logits_fn: AnyLogitsFn, loss: LogitsLoss) -> ScoredLossFn:
  """Returns ``(key, inputs, labels) -> Scored(loss, logits)``.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    loss: ``(logits, labels) -> [B]``.

  Raises:
    ValueError: if a function does not take these arguments; from the loss, if
      the logits are no array [B, C].
  """
  logits_fn = logits_function(logits_fn)
  _check_loss(loss)

  def evaluate(key: Key, inputs: Inputs, labels: Labels) -> Scored:
    logits = logits_fn(key, inputs)
    return Scored(loss(logits, labels), logits)

  return evaluate


def composed(logits_fn: AnyLogitsFn, loss: LogitsLoss) -> LossFn:
  """Returns ``(key, inputs, labels) -> [B]``, the loss of the logits.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    loss: ``(logits, labels) -> [B]``.

  Raises:
    ValueError: as `scored`.
  """
  logits_fn = logits_function(logits_fn)
  _check_loss(loss)

  def evaluate(key: Key, inputs: Inputs, labels: Labels) -> Array:
    return loss(logits_fn(key, inputs), labels)

  return evaluate
