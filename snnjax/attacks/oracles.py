"""Oracles: where an attack's gradient comes from.

An oracle is always ascended. Targeted attacks negate the loss here, so that
no stepper ever needs to know; adaptive gradients keep their moments in the
oracle's state, so that the attacked network stays stateless.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from snnjax import prng
from snnjax.arguments import (
  check_loss,
  check_scored,
  describe,
  logits_function,
)
from snnjax.attacks.threats import ravel
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Inputs,
  Key,
  Labels,
  Scored,
  ScoredLossFn,
)
from snnjax.losses import (
  LogitsLoss,
  are_classes,
  cross_entropy,
  predicts,
  scored,
)
from snnjax.lost_derivatives import guard
from snnjax.precision import exactly
from snnjax.validation import check_count

OracleState = Any
Memory = TypeVar("Memory")
Sums = tuple[Array, Inputs, Array]  # loss, gradient, correct


class Probe(NamedTuple):
  """What an oracle says about one batch of points.

  Attributes:
    loss: [B], to be made large.
    gradient: like the inputs, of each example's own loss.
    correct: [B] booleans, True while the attack has not succeeded: the
      prediction is the label (targeted: is not the target).
  """

  loss: Array
  gradient: Inputs
  correct: Array


class Oracle(NamedTuple):
  """A source of losses and gradients, with a memory.

  Attributes:
    init: ``inputs -> state``, before the first probe.
    grad: ``(key, state, inputs, labels) -> (Probe, state)``.
  """

  init: Callable[[Inputs], OracleState]
  grad: Callable[[Key, OracleState, Inputs, Labels], tuple[Probe, OracleState]]


# What an attack follows: a logits function of (key, inputs) or of inputs alone,
# or an oracle. On a logits function it ascends its argument `loss`, a function
# of (logits, labels) such as `losses.dlr`. An oracle has a loss of its own:
# `white_box` makes one of any ``(key, inputs, labels) -> Scored``, also to go
# towards target classes; others average draws (`eot`) or rules
# (`gradient_mean`), or do without a gradient (`nes`, `spsa`).
Source = AnyLogitsFn | Oracle
_SOURCE = (
  "It may be an oracle too: attacks.white_box(loss) makes one of a loss that "
  "returns Scored(loss, logits)"
)


def withstands(logits: Array, labels: Labels, targeted: bool = False) -> Array:
  """Returns whether an attack has not succeeded at these logits, [B].

  Logits that are not finite predict nothing: an attack on a label has
  succeeded there, one towards a target has not. Nothing succeeds against a
  label that names no class.

  Args:
    logits: [B, C].
    labels: [B], or targets.
    targeted: whether labels are targets to be predicted.
  """
  hit = predicts(logits, labels)
  return (hit ^ targeted) | ~are_classes(logits, labels)


def white_box(loss: ScoredLossFn, targeted: bool = False) -> Oracle:
  """Returns the oracle that differentiates the loss itself.

  One reverse pass of the *summed* per-example losses; with frozen
  normalisation statistics that is each example's own gradient.

  Args:
    loss: ``(key, inputs, labels) -> Scored``.
    targeted: whether `labels` are targets: the loss is then negated, and
      success means predicting them.

  Raises:
    ValueError: if the loss does not take these arguments; from the oracle, if
      it does not return `Scored`, with one loss per example.
  """
  check_loss(loss)

  def probe(
    memory: tuple[()], key: Key, inputs: Inputs, labels: Labels
  ) -> tuple[Scored, tuple[()]]:
    return loss(key, inputs, labels), memory

  return with_memory(lambda inputs: (), probe, targeted)


def with_memory(
  init: Callable[[Inputs], Memory],
  probe: Callable[[Memory, Key, Inputs, Labels], tuple[Scored, Memory]],
  targeted: bool = False,
) -> Oracle:
  """Returns the oracle that differentiates a loss and carries a memory.

  Args:
    init: ``inputs -> memory``, before the first probe.
    probe: ``(memory, key, inputs, labels) -> (Scored, memory)``; the memory it
      returns is not differentiated.
    targeted: as in `white_box`.
  """
  sign = -1 if targeted else 1

  @exactly()
  def grad(
    key: Key, state: OracleState, inputs: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    def total(points: Inputs) -> tuple[Array, tuple[Scored, OracleState]]:
      scored, memory = probe(state, key, points, labels)
      check_scored(scored, labels)
      return sign * jnp.sum(scored.loss), (scored, memory)

    watched = guard(total, inputs)
    gradient, (scored, memory) = watched(jax.grad(total, has_aux=True)(inputs))
    # Not in the network's type, which may be too coarse for sums and ties.
    value = jnp.asarray(scored.loss, ravel.wide_dtype(scored.loss))
    loss = jnp.where(are_classes(scored.logits, labels), value, jnp.nan)
    correct = withstands(scored.logits, labels, targeted)
    return Probe(sign * loss, gradient, correct), memory

  return Oracle(init=init, grad=grad)


def as_oracle(
  source: Source,
  loss: LogitsLoss | None = None,
  default: LogitsLoss = cross_entropy,
) -> Oracle:
  """Returns an oracle as it is, and the white box of a logits function.

  Args:
    source: a logits function or an oracle.
    loss: ``(logits, labels) -> [B]``, what to ascend on a logits function;
      None is the default.
    default: of the attack that asks.

  Raises:
    ValueError: if the source is neither, the loss takes other arguments, or
      an oracle comes with a loss.
  """
  if not isinstance(source, Oracle):
    logits_fn = logits_function(source, "source", _SOURCE)
    return white_box(scored(logits_fn, default if loss is None else loss))
  if loss is not None:
    raise ValueError(
      f"loss must be None beside an oracle, which has its own; got "
      f"{describe(loss)}. Give it to what made the oracle"
    )
  return source


def check_oracle(oracle: Oracle, name: str = "oracle") -> None:
  """Raises ValueError unless this is an oracle, where a loss would not do."""
  if not isinstance(oracle, Oracle):
    raise ValueError(
      f"{name} must be an oracle; got {describe(oracle)}: "
      "attacks.white_box(loss) makes one of a loss"
    )


def eot(
  source: Source,
  draws: int,
  *,
  loss: LogitsLoss | None = None,
  later: Oracle | None = None,
) -> Oracle:
  """Returns the oracle that averages losses and gradients over draws.

  ``(1/n) sum_i g(fold_in(key, i), x)``, in constant memory. An attack counts
  as successful when it succeeds in more than half of the draws.

  Args:
    source: of one draw: a logits function, or an oracle.
    draws: how many to average, n.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    later: the oracle of all draws but the first, when these must treat the
      state differently; their changes of state are dropped either way.

  Raises:
    ValueError: if `draws` is not a positive whole number.

  References:
    Anish Athalye, Logan Engstrom, Andrew Ilyas, Kevin Kwok, 2018,
    "Synthesizing robust adversarial examples", arXiv 1707.07397.
  """
  check_count("draws", draws)
  first = as_oracle(source, loss)

  def grad(
    key: Key, state: OracleState, inputs: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    def draw(
      oracle: Oracle, memory: OracleState, index: Array | int
    ) -> tuple[Sums, OracleState]:
      probe, memory = oracle.grad(
        prng.fold_in(key, index), memory, inputs, labels
      )
      hits = probe.correct.astype(probe.loss.dtype)
      return (probe.loss, ravel.widen(probe.gradient), hits), memory

    def add(
      carry: tuple[Sums, OracleState], index: Array
    ) -> tuple[tuple[Sums, OracleState], None]:
      sums, memory = carry
      new, memory_new = draw(later or first, memory, index)
      if later is None:
        memory = jax.tree.map(
          lambda fresh, stale: jnp.where(index == 0, fresh, stale),
          memory_new,
          memory,
        )
      sums = jax.tree.map(lambda a, b: a + b.astype(a.dtype), sums, new)
      return (sums, memory), None

    # The first draw is one of the loop's, so that the network stands once in
    # the program, unless others treat the state differently.
    alone = later is not None or draws == 1
    if alone:
      start = draw(first, state, 0)
    else:
      slope = jax.tree.map(jnp.zeros_like, ravel.widen(inputs))
      none = jnp.zeros(labels.shape, ravel.wide_dtype(*jax.tree.leaves(inputs)))
      start = ((none, slope, none), state)
    sums, memory_after = start
    if draws > 1:
      indices = jnp.arange(1 if alone else 0, draws)
      sums, memory_after = jax.lax.scan(add, start, indices)[0]
    loss, gradient, hits = jax.tree.map(lambda leaf: leaf / draws, sums)
    return Probe(loss, gradient, hits >= 0.5), memory_after

  return Oracle(init=first.init, grad=grad)
