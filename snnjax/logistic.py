"""Softmax and sigmoid, no value or derivative of which cancels anywhere.

``1 - s`` has no digit left where a probability s is almost one, and so has the
derivative ``s (1 - s)`` that differentiation makes of a sigmoid: from a margin
of 17 on it is exactly 0 in single precision. All functions here keep their
digits in both tails, and so do their derivatives of every order, in plain
operations, which no transformation drops.
"""

import jax
import jax.numpy as jnp

from snnjax.interfaces import Array, Labels


def pick(values: Array, classes: Labels) -> Array:
  """Returns values[b, classes[b]], [B]; NaN where there is no such class."""
  # An index of -1 is the last one to JAX.
  picked = jnp.take_along_axis(values, classes[:, None], axis=1)[:, 0]
  known = (classes >= 0) & (classes < values.shape[1])
  return jnp.where(known, picked, jnp.nan)


def log_softmax(logits: Array) -> Array:
  """Returns log softmax(z), [B, C].

  With m the largest class it is z - z_m - log1p(sum over the others of
  exp(z_j - z_m)); the usual form loses m's own where that sum is small.

  Args:
    logits: [B, C].
  """
  top = jnp.argmax(logits, axis=1)
  is_top = jax.nn.one_hot(top, logits.shape[1], dtype=bool)
  # Masked, not subtracted from itself: its derivative would cancel.
  behind = jnp.where(is_top, 0, logits - pick(logits, top)[:, None])
  others = jnp.sum(jnp.where(is_top, 0, jnp.exp(behind)), axis=1, keepdims=True)
  return behind - jnp.log1p(others)


def log_odds(logits: Array, labels: Labels) -> Array:
  """Returns log(p / (1 - p)) with p = softmax(z)_y, [B].

  Args:
    logits: [B, C].
    labels: [B].
  """
  is_label = jax.nn.one_hot(labels, logits.shape[1], dtype=bool)
  # log p - log(1 - p) is minus the logsumexp of the other classes' distances:
  # neither p nor 1 - p is computed.
  behind = logits - pick(logits, labels)[:, None]
  return -jax.nn.logsumexp(jnp.where(is_label, -jnp.inf, behind), axis=1)


def sigmoid(x: Array) -> Array:
  """Returns 1 / (1 + exp(-x)), elementwise."""
  # exp of a negative number only: it never overflows.
  rising = x >= 0
  small = jnp.exp(jnp.where(rising, -x, x))
  return jnp.where(rising, 1 / (1 + small), small / (1 + small))


def sigmoid_change(start: Array, end: Array) -> Array:
  """Returns sigmoid(end) - sigmoid(start), elementwise."""
  # s(b) - s(a) = (1 - e^(a-b)) s(b) s(-a) for a <= b: a product of factors
  # none of which cancels. The larger one is put first, so that no exponent is
  # positive.
  rising = end >= start
  low, high = jnp.where(rising, start, end), jnp.where(rising, end, start)
  size = -jnp.expm1(low - high) * sigmoid(high) * sigmoid(-low)
  return jnp.where(rising, size, -size)
