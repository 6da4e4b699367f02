"""Results of attacks: which of two to keep, and how many probes both took."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnjax.arguments import describe
from snnjax.attacks.threats import ravel
from snnjax.interfaces import Array, AttackResult, Inputs, Labels


class Keep(NamedTuple):
  """A rule that chooses between two results, for each example by itself.

  Attributes:
    replaces: ``(best, new) -> [B]``, whether the new result replaces the best
      one so far.
    counts_after_success: whether `iterations` goes on to count probes after
      the first success. It does where a success is only the beginning: a
      search for the *nearest* one needs all of its probes.
  """

  replaces: Callable[[AttackResult, AttackResult], Array]
  counts_after_success: bool = False


def check_keep(keep: Any) -> None:
  """Raises ValueError unless this is a rule, where a function would not do."""
  if not isinstance(keep, Keep):
    raise ValueError(
      "keep must be a rule such as attacks.success_then_loss; got "
      f"{describe(keep)}: attacks.Keep(replaces) makes one of a function "
      "(best, new) -> [B]"
    )


def _comparable(loss: Array) -> Array:
  """Returns losses with -infinity for NaN, which is less than all others."""
  return jnp.where(jnp.isnan(loss), -jnp.inf, loss)


def _higher(best: AttackResult, new: AttackResult) -> Array:
  return _comparable(new.loss) > _comparable(best.loss)


def _success_first(best: AttackResult, new: AttackResult) -> Array:
  same = best.success == new.success
  return (new.success & ~best.success) | (same & _higher(best, new))


def _always(best: AttackResult, new: AttackResult) -> Array:
  return jnp.ones_like(new.success) | best.success


success_then_loss = Keep(_success_first)
"""Keeps a success over a failure, and the higher loss among equals."""

best_loss = Keep(_higher)
"""Keeps the point of the highest loss, whether it succeeds or not."""

last = Keep(_always)
"""Keeps the latest point, good or bad."""


def nearest_success(distance: Callable[[AttackResult], Array]) -> Keep:
  """Returns the rule that keeps the nearest success.

  Of equally near ones it keeps the higher loss; a failure replaces nothing
  but `no_candidate`. All probes of such an attack count.

  Args:
    distance: ``result -> [B]``.
  """

  def replaces(best: AttackResult, new: AttackResult) -> Array:
    # A search for the nearest is not after high losses: they break ties only.
    before, after = distance(best), distance(new)
    nearer = (after < before) | ((after == before) & _higher(best, new))
    better = new.success & (nearer | ~best.success)
    return better | (~best.success & (best.loss == -jnp.inf))

  return Keep(replaces, counts_after_success=True)


def no_candidate(inputs: Inputs, labels: Labels) -> AttackResult:
  """Returns the result to begin with: any candidate with a loss replaces it.

  Its loss is -infinity and its iterations are 0, so that a loop need not try a
  first point outside of it.
  """
  dtype = ravel.wide_dtype(*jax.tree.leaves(inputs))
  return AttackResult(
    inputs,
    jnp.full_like(labels, -jnp.inf, dtype),
    jnp.zeros_like(labels, bool),
    jnp.zeros_like(labels, jnp.int32),
  )


def mark_unknown(result: AttackResult) -> AttackResult:
  """Returns a result with the loss NaN where no candidate had a loss."""
  loss = jnp.where(result.loss == -jnp.inf, jnp.nan, result.loss)
  return result._replace(loss=loss)


def candidate(inputs: Inputs, loss: Array, success: Array) -> AttackResult:
  """Returns points as a result, which took one probe of the network.

  Args:
    inputs: [B, ...] or a mapping of such arrays.
    loss: [B].
    success: [B] booleans.
  """
  return AttackResult(inputs, loss, success, jnp.ones_like(success, jnp.int32))


def keep_better(
  keep: Keep, best: AttackResult, new: AttackResult
) -> AttackResult:
  """Returns the better of two results of one search, for each example.

  Its `iterations` are the probes of both, the cost of the search up to here.
  Where the best result had succeeded before, the search could have ended: then
  the new probes do not count, unless the rule counts after a success.

  Args:
    keep: chooses.
    best: the best result so far.
    new: the result that follows.
  """
  new = new._replace(loss=new.loss.astype(best.loss.dtype))
  better = ravel.select_examples(keep.replaces(best, new), new, best)
  over = best.success & (not keep.counts_after_success)
  # Also where the best one stays: the probes of the other were made.
  spent = best.iterations + jnp.where(over, 0, new.iterations)
  return better._replace(iterations=spent)
