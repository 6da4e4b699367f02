"""Results of attacks: which of two to keep, and what both have cost."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from snnjax.attacks.threats import ravel
from snnjax.interfaces import Array, AttackResult, Inputs, Labels

Keep = Callable[[AttackResult, AttackResult], Array]  # (held, new) -> [B] take


def _value(loss: Array) -> Array:
  """Returns losses that compare: NaN is worse than everything."""
  return jnp.where(jnp.isnan(loss), -jnp.inf, loss)


def best_loss(held: AttackResult, new: AttackResult) -> Array:
  """Keeps the iterate of the highest loss."""
  return _value(new.loss) > _value(held.loss)


def strongest(held: AttackResult, new: AttackResult) -> Array:
  """Keeps a success over a failure, and the higher loss among equals."""
  same = held.success == new.success
  return (new.success & ~held.success) | (same & best_loss(held, new))


def last(held: AttackResult, new: AttackResult) -> Array:
  """Keeps the latest iterate, good or bad."""
  return jnp.ones_like(new.success) | held.success


@dataclasses.dataclass(frozen=True)
class Nearest:
  """Keeps the nearest success, and of equally near ones the higher loss.

  A failure replaces nothing but `nothing`. An attack that keeps the nearest
  goes on after a success, so that all of its probes count.

  Attributes:
    distance: ``result -> [B]``.
  """

  distance: Callable[[AttackResult], Array]

  def __call__(self, held: AttackResult, new: AttackResult) -> Array:
    """Returns whether to keep the new result, [B]."""
    before, after = self.distance(held), self.distance(new)
    nearer = (after < before) | ((after == before) & best_loss(held, new))
    found = new.success & (nearer | ~held.success)
    return found | (~held.success & (held.loss == -jnp.inf))


def nothing(inputs: Inputs, labels: Labels) -> AttackResult:
  """Returns what any candidate with a loss replaces; it cost no probe."""
  dtype = ravel.wide(*jax.tree.leaves(inputs))
  return AttackResult(
    inputs,
    jnp.full_like(labels, -jnp.inf, dtype),
    jnp.zeros_like(labels, bool),
    jnp.zeros_like(labels, jnp.int32),
  )


def known(result: AttackResult) -> AttackResult:
  """Returns a result whose loss is NaN where no candidate had a loss."""
  loss = jnp.where(result.loss == -jnp.inf, jnp.nan, result.loss)
  return result._replace(loss=loss)


def probed(inputs: Inputs, loss: Array, success: Array) -> AttackResult:
  """Returns points as a result that cost one probe.

  Args:
    inputs: [B, ...] or a mapping of such arrays.
    loss: [B].
    success: [B] booleans.
  """
  return AttackResult(inputs, loss, success, jnp.ones_like(success, jnp.int32))


def settled(keep: Keep, held: AttackResult, new: AttackResult) -> AttackResult:
  """Returns the better of two results, the new one found after the held one.

  Its probes are those of both, or the held ones where these succeeded: what
  comes after the first success does not count, unless the nearest is kept.

  Args:
    keep: ``(held, new) -> [B]``, whether the new one replaces the held one.
    held: the result so far.
    new: the result that follows.
  """
  new = new._replace(loss=new.loss.astype(held.loss.dtype))
  chosen = ravel.select_examples(keep(held, new), new, held)
  over = held.success & (not isinstance(keep, Nearest))
  spent = held.iterations + jnp.where(over, 0, new.iterations)
  return chosen._replace(iterations=spent)
