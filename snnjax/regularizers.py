"""Penalties on the input gradient, on weights and on firing rates.

A gradient penalty is made of four parts, each a plain function: the
*confidence* f whose gradient g is studied, the *direction* d(g) held constant,
the *estimator* of the slope of f along d, and what is made of the slope. Along
d = sign(g) the slope is ||g||_1, along g/||g||_2 it is ||g||_2, along the
one-hot peak it is ||g||_inf. Along the derivative of the participation ratio it
is 0, but its derivative is that of the ratio.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from snnjax import logistic, losses, vectors
from snnjax.arguments import check_array, check_logits, check_takes, with_key
from snnjax.input_gradients import advance
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Inputs,
  Key,
  Labels,
  PyTree,
  Trace,
)
from snnjax.lost_derivatives import guard
from snnjax.precision import exactly
from snnjax.prng import batch_size, example_keys
from snnjax.validation import (
  Constant,
  check_count,
  check_positive,
  check_range,
)

ForwardFn = Callable[[Key, Inputs], tuple[Array, Any]]  # -> (logits, aux)
Direction = Callable[[PyTree], PyTree]  # gradients -> direction, alike


class Line(NamedTuple):
  """A line through x along d, and what an estimator of f's slope there may use.

  Attributes:
    confidence: f, ``inputs -> [B]``, with keys, labels and rivals fixed.
    inputs: x.
    change: ``other inputs -> [B]``, f there less f(x), without cancellation.
    direction: d, like the inputs; constant.
    pull: returns g, like the inputs, open to differentiation.
  """

  confidence: Callable[[Inputs], Array]
  inputs: Inputs
  change: Callable[[Inputs], Array]
  direction: Inputs
  pull: Callable[[], Inputs]


class Penalized(NamedTuple):
  """A penalty with the clean pass that it came from, to be used again.

  Attributes:
    penalty: [B].
    slope: [B], the estimate of the gradient's norm, signed.
    gradient: g, like the inputs; constant.
    logits: [B, C] of the clean inputs.
    aux: what the forward function gave beside the clean logits.
  """

  penalty: Array
  slope: Array
  gradient: Inputs
  logits: Array
  aux: Any


Estimator = Callable[[Line], Array]  # -> slope [B]
Shape = Callable[[Array], Array]  # slope [B] -> penalty [B]
PenaltyFn = Callable[[Key, Inputs, Labels], Penalized]
PenaltiesFn = Callable[[Key, Inputs, Labels], tuple[Penalized, ...]]


class Term(NamedTuple):
  """One of several penalties on the same gradient; see `gradient_penalty`."""

  direction: Direction
  estimator: Estimator
  shape: Shape


def _flat(leaf: Array) -> Array:
  return leaf.reshape(leaf.shape[0], -1)


def sign_direction(gradients: Inputs) -> Inputs:
  """Returns sign(g) in every modality: slopes add up to sum_m ||g_m||_1."""
  return jax.tree.map(jnp.sign, gradients)


def unit_direction(gradients: Inputs) -> Inputs:
  """Returns g/||g||_2 per modality, 0 for g = 0: slopes are sum_m ||g_m||_2."""
  return jax.tree.map(vectors.unit, gradients)


def peak_direction(gradients: Inputs) -> Inputs:
  """Returns sign(g_i) at i = argmax|g| of each modality, 0 elsewhere.

  Slopes are sum_m ||g_m||_inf; the first of equal entries is taken.
  """

  def peak(gradient: Array) -> Array:
    flat = _flat(gradient)
    place = jnp.argmax(jnp.abs(flat), axis=1)
    chosen = jax.nn.one_hot(place, flat.shape[1], dtype=flat.dtype)
    return (jnp.sign(flat) * chosen).reshape(gradient.shape)

  return jax.tree.map(peak, gradients)


def participation_direction(gradients: Inputs) -> Inputs:
  """Returns dPR/dg of every modality, PR = ||g||_1^2 / (d ||g||_2^2).

  (2/d) (n/||g||_2) (sign(g) - n g/||g||_2), with n = ||g||_1/||g||_2. PR does
  not change with the length of g, so that the slope along it is 0 (Euler): use
  the shape `signed`, whose derivative with respect to the weights is that of
  sum_m PR_m, and an exact estimator, `jvp` or `double_backpropagation`; a
  finite difference would see the slope alone. PR is that of every increasing
  function of f, but where a probability saturates its gradient vanishes: of
  `losses.margin` it does not.

  It is 0 for g = 0, and for a g so short (||g||_2 < 1e-31 in single precision)
  that 1/||g||_2 times the weights of a network would overflow.

  References: none; a probe of ours that moves the sparsity of a gradient and
    leaves its size to other terms.
  """

  def derivative(gradient: Array) -> Array:
    flat = _flat(gradient)
    length, unit = vectors.l2_norm(flat), vectors.unit(flat)
    spread = jnp.sum(jnp.abs(unit), axis=1, keepdims=True)
    limits = jnp.finfo(flat.dtype)
    long = (length >= limits.tiny / limits.eps)[:, None]
    of_unit = 2 * spread / flat.shape[1] * (jnp.sign(flat) - spread * unit)
    whole = of_unit / jnp.where(long, length[:, None], 1)
    return jnp.where(long, whole, 0).reshape(gradient.shape)

  return jax.tree.map(derivative, gradients)


def zero_direction(gradients: Inputs) -> Inputs:
  """Returns zeros: leaves a modality out of the penalty."""
  return jax.tree.map(jnp.zeros_like, gradients)


def per_modality(directions: Mapping[str, Direction]) -> Direction:
  """Returns a direction function with one of its own for every modality.

  Args:
    directions: by modality name; `zero_direction` leaves one out.

  Raises:
    ValueError: when applied to inputs with other modalities.
  """

  def direct(gradients: Inputs) -> Inputs:
    came = sorted(gradients) if isinstance(gradients, Mapping) else "one array"
    if not isinstance(gradients, Mapping) or set(gradients) != set(directions):
      raise ValueError(
        f"inputs must have the modalities {sorted(directions)}; got {came}"
      )
    return {name: directions[name](leaf) for name, leaf in gradients.items()}

  return direct


def finite_difference(step: Constant = 1e-2) -> Estimator:
  """Returns the estimator (f(x + h d) - f(x)) / h, without a clamp.

  On a spiking network it sees the spikes that really flip. It costs one more
  forward pass. The difference of two `rival_probability`s, or of two
  `softmax_probability`s, is formed from their odds: two numbers of almost one
  are equal in floating point. Any other f is subtracted.

  Args:
    step: h > 0, in the units of the inputs; may be traced.

  Raises:
    ValueError: if the step is not positive.
  """
  check_positive("step", step)

  def slope(line: Line) -> Array:
    moved = advance(line.inputs, line.direction, step)
    return line.change(moved) / step

  return slope


def jvp(line: Line) -> Array:
  """Estimates the slope <g, d> exactly, by forward mode through surrogates."""
  return jax.jvp(line.confidence, (line.inputs,), (line.direction,))[1]


def double_backpropagation(line: Line) -> Array:
  """Estimates the slope <g, d> exactly, differentiating g itself.

  Since d is where the norm is attained, <g, d> has both the value and the
  derivative of the norm, and no singularity at g = 0.

  References:
    Drucker, Le Cun 1992, Improving Generalization Performance Using Double
    Backpropagation, IEEE Transactions on Neural Networks 3(6).
  """
  products = jax.tree.map(
    lambda g, d: jnp.sum(_flat(g * d), axis=1), line.pull(), line.direction
  )
  return jax.tree.reduce(jnp.add, products)


def squared(slope: Array) -> Array:
  """Returns slope^2, what SR's released code penalises."""
  return slope**2


def absolute(slope: Array) -> Array:
  """Returns |slope|, what the SR paper penalises."""
  return jnp.abs(slope)


def signed(slope: Array) -> Array:
  """Returns the slope itself, for `participation_direction`.

  Of either sign: with a negative weight the participation ratio rises.
  """
  return slope


def gradient_penalty(
  forward: ForwardFn | AnyLogitsFn,
  *,
  confidence: losses.Confidence = losses.rival_probability,
  direction: Direction = sign_direction,
  estimator: Estimator | None = None,
  shape: Shape = squared,
) -> PenaltyFn:
  """Returns a function giving shape(slope of f along d(g)) per example.

  The rival is the strongest other class at x and stays the same at x + h d, as
  do the keys. The direction comes from one backward pass of the summed
  confidence, and the clean forward pass is run once: with the default
  estimator two forward passes and one backward pass in all, and the
  cross-entropy needs no other. `aux` is that of the clean pass, so that
  normalisation statistics move once. Where batch statistics couple examples,
  g_b holds the effect of x_b on all of them.

  Args:
    forward: ``(key, inputs) -> (logits [B, C], aux)``, or a logits function,
      of inputs alone if it takes no key, whose aux is None.
    confidence: f, ``(logits, labels, rival) -> [B]``.
    direction: gradients -> direction, held constant; one per modality, the
      contributions of modalities add up.
    estimator: ``Line -> slope [B]``; `finite_difference()` by default.
    shape: slope -> penalty; `squared` (the released code) or `absolute` (the
      paper).

  Returns:
    ``(key, inputs, labels) -> Penalized``. Differentiating it is a ValueError
    where the forward function has a `jax.custom_jvp` inside a loop, or a
    `jax.custom_vjp`, which the two differentiations would lose; see
    `snnjax.lost_derivatives`.

  References:
    Liu et al. 2024, Enhancing Adversarial Robustness in SNNs with Sparse
    Gradients, arXiv 2405.20355.

  Differs from: the released code, whose second forward pass in train mode
    moves the running statistics a second time.
  """
  estimate = finite_difference() if estimator is None else estimator
  penalize = gradient_penalties(
    forward, [Term(direction, estimate, shape)], confidence=confidence
  )
  return lambda key, inputs, labels: penalize(key, inputs, labels)[0]


def gradient_penalties(
  forward: ForwardFn | AnyLogitsFn,
  terms: Sequence[Term],
  *,
  confidence: losses.Confidence = losses.rival_probability,
) -> PenaltiesFn:
  """Returns several `gradient_penalty`s that share the clean pass and g.

  Args:
    forward: as in `gradient_penalty`.
    terms: at least one.
    confidence: f, ``(logits, labels, rival) -> [B]``.

  Returns:
    ``(key, inputs, labels) -> tuple of Penalized``, one for each term, of which
    penalty and slope are its own.

  Raises:
    ValueError: if there is no term, or one of its parts is something else.
  """
  forward_pass = _with_aux(forward)
  terms = tuple(terms)
  if not terms:
    raise ValueError("terms must hold at least one Term; got none")
  _check_part("confidence", confidence)
  for term in terms:
    for name, function in term._asdict().items():
      _check_part(name, function)

  def penalize(
    key: Key, inputs: Inputs, labels: Labels
  ) -> tuple[Penalized, ...]:
    keys = example_keys(key, batch_size(inputs))

    def clean(x: Inputs) -> tuple[Array, tuple[Array, Any, Array]]:
      logits, aux = forward_pass(keys, x)
      rival = losses.rival(logits, labels)
      return confidence(logits, labels, rival), (logits, aux, rival)

    # Differentiated twice, here and for the weights: what cannot be is refused.
    watched = guard(clean, inputs)
    value, pull, others = jax.vjp(clean, inputs, has_aux=True)
    logits, aux, rival = watched(others)

    def logits_again(x: Inputs) -> Array:
      # The same draws as in the clean pass: the difference is the inputs'.
      return forward_pass(jax.random.clone(keys), x)[0]

    def fixed_confidence(x: Inputs) -> Array:
      return confidence(logits_again(x), labels, rival)

    def change(x: Inputs) -> Array:
      return _change(confidence, (logits, logits_again(x)), labels, rival)

    def gradient() -> Inputs:
      return watched(pull(jnp.ones_like(value))[0])

    # Freezing what the backward pass reads, not what it gives, spares the
    # outer differentiation a second-order program that it would throw away.
    frozen = jax.tree.map(lax.stop_gradient, pull)
    (constant,) = frozen(jnp.ones_like(value))

    def penalized(term: Term) -> Penalized:
      along = jax.tree.map(lax.stop_gradient, term.direction(constant))
      line = Line(fixed_confidence, inputs, change, along, gradient)
      slope = term.estimator(line)
      return Penalized(term.shape(slope), slope, constant, logits, aux)

    return tuple(map(penalized, terms))

  return penalize


def _check_part(name: str, function: Any) -> None:
  """Raises ValueError unless a part of a penalty takes what it must."""
  parameters, advice = _PARTS[name]
  check_takes(name, function, parameters, f"{advice} is one")


_PARTS: Mapping[str, tuple[tuple[str, ...], str]] = {
  "confidence": (("logits", "labels", "rival"), "losses.margin"),
  "direction": (("gradients",), "regularizers.sign_direction"),
  "estimator": (("line",), "regularizers.finite_difference(0.01)"),
  "shape": (("slope",), "regularizers.squared"),
}


def _with_aux(forward: Any) -> ForwardFn:
  """Returns ``(key, inputs) -> (logits, aux)``, checked, of either kind."""
  function: Any = with_key(forward, "forward")

  @exactly()
  def run(key: Key, inputs: Inputs) -> tuple[Array, Any]:
    answer = function(key, inputs)
    if type(answer) is tuple and len(answer) != 2:
      raise ValueError(
        f"forward must return logits [B, C], or a pair (logits, aux); got "
        f"{len(answer)} values"
      )
    logits, aux = answer if type(answer) is tuple else (answer, None)
    check_logits(logits, "forward")
    return logits, aux

  return run


# What the confidences that are probabilities are the sigmoid of.
_ODDS: Mapping[losses.Confidence, losses.Confidence] = {
  losses.rival_probability: losses.margin,
  losses.softmax_probability: lambda z, y, rival: logistic.log_odds(z, y),
}


def _change(
  confidence: losses.Confidence,
  logits: tuple[Array, Array],
  labels: Labels,
  rival: Labels,
) -> Array:
  """Returns f at the second logits less f at the first, [B]."""
  odds = _ODDS.get(confidence)
  start, end = ((odds or confidence)(z, labels, rival) for z in logits)
  return end - start if odds is None else logistic.sigmoid_change(start, end)


def orthogonalize(
  kernel: Array,
  key: Key,
  rate: Constant = 0.004,
  *,
  many: int = 200,
  share: float = 0.3,
) -> Array:
  """Moves a weight's rows towards orthogonality: (1 + b) W - b W W^T W.

  Rows are outputs. Where there are many, only a random share of them moves,
  towards orthogonality among themselves.

  Args:
    kernel: [..., outputs], as flax keeps it: a dense [inputs, outputs] or a
      convolution [kh, kw, inputs, outputs].
    key: a scalar key, drawn from only where there are many rows.
    rate: b > 0.
    many: from this number of rows on, only a share moves.
    share: that share, in (0, 1].

  Returns:
    The moved kernel, of the same shape.

  Raises:
    ValueError: on a kernel without two axes or a constant out of range.

  References:
    Ding et al. 2022, SNN-RAT: Robustness-enhanced Spiking Neural Network
    through Regularized Adversarial Training, NeurIPS 2022; Cisse et al. 2017,
    Parseval Networks, arXiv 1704.08847.

  Differs from: the released code, which picks random rows in dense layers
    only.
  """
  check_positive("rate", rate)
  check_count("many", many)
  check_range("share", share, 0.0, 1.0)
  check_positive("share", share)
  check_array("kernel", kernel, "[..., inputs, outputs]")
  # flax keeps outputs last; the paper's rows are outputs.
  rows = kernel.reshape(-1, kernel.shape[-1]).T
  if rows.shape[0] < many:
    moved = _retract(rows, rate)
  else:
    count = max(1, int(share * rows.shape[0]))
    chosen = jax.random.permutation(key, rows.shape[0])[:count]
    moved = rows.at[chosen].set(_retract(rows[chosen], rate))
  return moved.T.reshape(kernel.shape)


def _retract(rows: Array, rate: Constant) -> Array:
  multiply = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
  return (1 + rate) * rows - multiply(rate * multiply(rows, rows.T), rows)


def firing_rate(traces: Mapping[str, Trace], target: Constant = 0.0) -> Array:
  """Returns mean over layers of (rate - target)^2, [B].

  The rate is the mean number of spikes per neuron and step of one example.

  Args:
    traces: of every spiking layer, by name, spikes [T, B, ...].
    target: the desired rate, in [0, 1].

  Raises:
    ValueError: if there is no layer, or a known target is not a rate.
  """
  check_range("target", target, 0.0, 1.0)
  if not traces:
    raise ValueError("traces must hold at least one spiking layer; got none")
  # Over steps and neurons, not over examples: each has a rate of its own.
  excesses = [
    jnp.mean(t.spikes, axis=(0, *range(2, t.spikes.ndim))) - target
    for t in traces.values()
  ]
  return jnp.mean(jnp.stack(excesses) ** 2, axis=0)
