"""Gradients of a per-example loss with respect to its inputs, four ways.

Every function here turns a loss into a function of ``(key, inputs, labels)``.
The loss is itself one of ``(key, inputs, labels) -> [B]``, or a logits function
and a loss of its logits: ``per_example(logits_fn, losses.margin_loss)``. They
hand it one key per example, folded from a scalar key, so that all of them see
the same draws of a stochastic encoder.

Which of them couple examples: `per_example` never does, each example being a
batch of one. `summed`, `directional_derivative` and `finite_difference` run
the loss on the whole batch: where the loss itself mixes examples (batch
normalisation in train mode), so do they. With frozen statistics `per_example`
and `summed` agree.

All may be differentiated again, in a penalty of one's own. A neuron or a spike
with a `jax.custom_jvp` inside `lax.scan`, or a `jax.custom_vjp`, cannot, and
says so: make it with `surrogates.spike` or `derivatives.replace_derivative`;
see `snnjax.lost_derivatives`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from snnjax import losses
from snnjax.arguments import as_labels, check_losses, check_takes
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Inputs,
  Key,
  Labels,
  LossFn,
)
from snnjax.losses import LogitsLoss
from snnjax.lost_derivatives import guard
from snnjax.precision import exactly
from snnjax.prng import batch_size, example_keys
from snnjax.validation import Constant, check_positive

GradientFn = Callable[[Key, Inputs, Labels], Inputs]
ValueAndGradientFn = Callable[[Key, Inputs, Labels], tuple[Array, Inputs]]
SlopeFn = Callable[[Key, Inputs, Labels, Inputs], Array]  # -> [B]

_OF_WHAT = (
  "Of a logits function say what: per_example(logits_fn, losses.margin_loss)"
)


def value_and_per_example(
  fn: LossFn | AnyLogitsFn, loss: LogitsLoss | None = None
) -> ValueAndGradientFn:
  """Returns a function giving the loss [B] and `per_example` gradients.

  Args:
    fn: ``(key, inputs, labels) -> [B]``, or a logits function.
    loss: of a logits function, ``(logits, labels) -> [B]``.
  """
  of_inputs = _loss_of(fn, loss)

  def alone(key: Key, example: Inputs, label: Labels) -> Array:
    batch_of_one = jax.tree.map(lambda leaf: leaf[None], example)
    return of_inputs(key[None], batch_of_one, label[None])[0]

  mapped = jax.vmap(jax.value_and_grad(alone, argnums=1))

  def evaluate(
    key: Key, inputs: Inputs, labels: Labels
  ) -> tuple[Array, Inputs]:
    size = batch_size(inputs)
    keys, classes = example_keys(key, size), as_labels(labels, size)
    watched = guard(lambda x: of_inputs(keys, x, classes), inputs)
    return watched(mapped(keys, inputs, classes))

  return evaluate


def per_example(
  fn: LossFn | AnyLogitsFn, loss: LogitsLoss | None = None
) -> GradientFn:
  """Returns a function giving g_b = d fn(x_b)_b / d x_b, like the inputs.

  Each example is a batch of its own, so that nothing in `fn` can couple it to
  the others.

  Args:
    fn: ``(key, inputs, labels) -> [B]``, or a logits function.
    loss: of a logits function, ``(logits, labels) -> [B]``.
  """
  evaluate = value_and_per_example(fn, loss)
  return lambda key, inputs, labels: evaluate(key, inputs, labels)[1]


def value_and_summed(
  fn: LossFn | AnyLogitsFn, loss: LogitsLoss | None = None
) -> ValueAndGradientFn:
  """Returns a function giving the loss [B] and the `summed` gradients.

  Args:
    fn: ``(key, inputs, labels) -> [B]``, or a logits function.
    loss: of a logits function, ``(logits, labels) -> [B]``.
  """
  of_inputs = _loss_of(fn, loss)

  def evaluate(
    key: Key, inputs: Inputs, labels: Labels
  ) -> tuple[Array, Inputs]:
    keys = example_keys(key, batch_size(inputs))
    watched = guard(lambda x: of_inputs(keys, x, labels), inputs)
    # Summed over examples, without a mean: the gradient of an example keeps its
    # size whatever the batch.
    value, pull = jax.vjp(lambda x: of_inputs(keys, x, labels), inputs)
    (gradients,) = pull(jnp.ones_like(value))
    return watched((value, gradients))

  return evaluate


def summed(
  fn: LossFn | AnyLogitsFn, loss: LogitsLoss | None = None
) -> GradientFn:
  """Returns a function giving g_b = d (sum_i fn(x)_i) / d x_b, like the inputs.

  One backward pass for the whole batch. In train mode batch statistics make
  every example's loss depend on all inputs, and g_b holds their sum.

  Args:
    fn: ``(key, inputs, labels) -> [B]``, or a logits function.
    loss: of a logits function, ``(logits, labels) -> [B]``.
  """
  evaluate = value_and_summed(fn, loss)
  return lambda key, inputs, labels: evaluate(key, inputs, labels)[1]


def directional_derivative(
  fn: LossFn | AnyLogitsFn, loss: LogitsLoss | None = None
) -> SlopeFn:
  """Returns a function giving the slope <g_b, d_b> along a direction d, [B].

  Exact, by forward mode: on a spiking network it sees the surrogate.

  Args:
    fn: ``(key, inputs, labels) -> [B]``, or a logits function.
    loss: of a logits function, ``(logits, labels) -> [B]``.

  Returns:
    ``(key, inputs, labels, direction) -> [B]``, the direction like the inputs.
  """
  of_inputs = _loss_of(fn, loss)

  def evaluate(
    key: Key, inputs: Inputs, labels: Labels, direction: Inputs
  ) -> Array:
    _check_direction(inputs, direction)
    keys = example_keys(key, batch_size(inputs))
    _, slope = jax.jvp(
      lambda x: of_inputs(keys, x, labels), (inputs,), (direction,)
    )
    return slope

  return evaluate


def finite_difference(
  fn: LossFn | AnyLogitsFn, step: Constant, loss: LogitsLoss | None = None
) -> SlopeFn:
  """Returns a function giving the slope (fn(x + h d) - fn(x)) / h, [B].

  On a spiking network it sees the spikes that flip, not the surrogate. x + h d
  is not clamped to the data box. Both passes use the same keys.

  Args:
    fn: ``(key, inputs, labels) -> [B]``, or a logits function.
    step: h > 0, in the units of the inputs.
    loss: of a logits function, ``(logits, labels) -> [B]``.

  Returns:
    ``(key, inputs, labels, direction) -> [B]``, the direction like the inputs.

  Raises:
    ValueError: if the step is not positive.
  """
  check_positive("step", step)
  of_inputs = _loss_of(fn, loss)

  def evaluate(
    key: Key, inputs: Inputs, labels: Labels, direction: Inputs
  ) -> Array:
    moved = advance(inputs, direction, step)
    keys = example_keys(key, batch_size(inputs))
    # The same keys at both points: the difference is that of the inputs, not of
    # the draws.
    start = of_inputs(keys, inputs, labels)
    return (of_inputs(jax.random.clone(keys), moved, labels) - start) / step

  return evaluate


def _loss_of(fn: Any, loss: LogitsLoss | None) -> LossFn:
  """Returns ``(key, inputs, labels) -> [B]``, checked, of either kind."""
  if loss is None:
    check_takes("fn", fn, ("key", "inputs", "labels"), _OF_WHAT)
  function = fn if loss is None else losses.composed(fn, loss)
  name = "fn" if loss is None else "loss"

  @exactly()
  def run(key: Key, inputs: Inputs, labels: Labels) -> Array:
    value = function(key, inputs, labels)
    check_losses(value, batch_size(inputs), name)
    return value

  return run


def advance(inputs: Inputs, direction: Inputs, step: Constant) -> Inputs:
  """Returns x + h d in every leaf, not clamped to anything.

  Args:
    inputs: a tree of [B, ...] arrays.
    direction: like the inputs.
    step: h, a scalar.

  Raises:
    ValueError: if the trees or the shapes of their leaves differ.
  """
  _check_direction(inputs, direction)
  return jax.tree.map(
    lambda x, d: x + jnp.asarray(step, x.dtype) * d, inputs, direction
  )


def _check_direction(inputs: Inputs, direction: Inputs) -> None:
  shapes = jax.tree.map(jnp.shape, inputs)
  came = jax.tree.map(jnp.shape, direction)
  if shapes != came:
    raise ValueError(
      f"direction must be like the inputs, of shapes {shapes}; got {came}"
    )
