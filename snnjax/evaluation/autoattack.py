"""AutoAttack as an evaluation: each attack meets only the survivors."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import jax
import numpy as np

from snnjax import attacks
from snnjax.attacks import Threat
from snnjax.evaluation.records import Case, Chunk, Evaluation
from snnjax.evaluation.steps import Builder, partial
from snnjax.evaluation.stream import Progress, evaluate
from snnjax.types import Array, Attack, Inputs, Key, Labels, LogitsFn


class Suite(Protocol):
  """What makes attacks by name, such as `attacks.autoattack_standard`."""

  def __call__(
    self,
    logits_fn: LogitsFn,
    norm: Callable[[float | Array], Threat],
    epsilon: float | Array,
  ) -> Mapping[str, Attack]:
    """Returns the attacks in the order to run them."""
    ...


def cases(
  suite: Suite,
  logits_fn: LogitsFn,
  norm: Callable[[float | Array], Threat],
  epsilon: float | Array,
) -> Mapping[str, Builder]:
  """Returns the attacks of a suite as the cases of `evaluate`, in their order.

  Args:
    suite: makes the attacks, such as `attacks.autoattack_standard`, or a
      `functools.partial` of it with fewer steps.
    logits_fn: ``(key, inputs) -> [B, C]``; a `jax.tree_util.Partial` of a
      function and a network's variables keeps these out of the compiled code.
    norm: ``radius -> threat``, such as `attacks.linf`.
    epsilon: the radius.
  """
  logits = partial(logits_fn)

  def builder(name: str) -> Builder:
    def build(logits_fn: LogitsFn, epsilon: float | Array) -> Case:
      return Case(suite(logits_fn, norm, epsilon)[name], norm(epsilon))

    return jax.tree_util.Partial(build, logits, epsilon)

  return {name: builder(name) for name in suite(logits, norm, epsilon)}


def autoattack(
  logits_fn: LogitsFn,
  norm: Callable[[float | Array], Threat],
  epsilon: float | Array,
  inputs: Inputs,
  labels: Labels,
  *,
  key: Key,
  suite: Suite = attacks.autoattack_standard,
  microbatch: int = 64,
  finished: Iterable[Chunk] = (),
  sharding: jax.sharding.Sharding | None = None,
  progress: Progress | None = None,
  indices: np.ndarray | None = None,
) -> Evaluation:
  """Evaluates a network by AutoAttack.

  `summarize` gives the robust accuracy: an example is robust where every
  attack failed.

  Args:
    logits_fn: the network, see `cases`; it is its own judge.
    norm: ``radius -> threat``, such as `attacks.linf`.
    epsilon: the radius.
    inputs: [N, ...] or a mapping of such arrays.
    labels: [N].
    key: a scalar key.
    suite: which attacks.
    microbatch: as in `evaluate`, like all that follow.
    finished: chunks of an interrupted run.
    sharding: where each microbatch is put.
    progress: called after each chunk.
    indices: [N] unique ids.

  Raises:
    ValueError: if an argument does not fit.

  References:
    Francesco Croce, Matthias Hein, 2020, "Reliable evaluation of adversarial
    robustness with an ensemble of diverse parameter-free attacks",
    arXiv 2003.01690.
  """
  return evaluate(
    cases(suite, logits_fn, norm, epsilon),
    logits_fn,
    inputs,
    labels,
    key=key,
    indices=indices,
    microbatch=microbatch,
    finished=finished,
    sharding=sharding,
    progress=progress,
  )
