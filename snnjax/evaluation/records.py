"""The records of an evaluation: its cases, chunks and results."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from snnjax.interfaces import Array, Attack, Inputs, Key, Labels

CLEAN = "clean"  # the stage before the first attack; no attack may bear it

GradientFn = Callable[[Key, Inputs, Labels], Inputs]


class Bounds(Protocol):
  """The part of a threat that judges an attack's output."""

  @property
  def contains(self) -> Callable[[Inputs, Inputs], Array]:
    """``(candidate, origin) -> [B]``: inside ball and box, up to rounding.

    Of the origin itself it tells whether that is inside the box.
    """
    ...

  @property
  def distance(self) -> Callable[[Inputs, Inputs], Array]:
    """``(candidate, origin) -> [B]``: in the units of the radius."""
    ...


class Trial(NamedTuple):
  """An attack ready to run, with its judge.

  Attributes:
    attack: ``(keys [B], inputs, labels) -> AttackResult``.
    threat: tells whether an output stayed inside, and how far it went.
    gradient: if given, the input gradient the attack follows; its values at
      the clean inputs and at the outputs fill `Outcome.zero_gradient`.
  """

  attack: Attack
  threat: Bounds
  gradient: GradientFn | None = None


class Clean(NamedTuple):
  """The clean examples, one row each.

  Attributes:
    prediction: [N] classes; -1 where the logits are not finite.
    loss: [N] cross-entropy in nats.
    correct: [N] whether the prediction is the label.
    finite: [N] whether all logits are finite.
    repeatable: [N] whether a second forward pass, under another key, gave
      bit-identical logits.
  """

  prediction: np.ndarray
  loss: np.ndarray
  correct: np.ndarray
  finite: np.ndarray
  repeatable: np.ndarray


class Outcome(NamedTuple):
  """The results of one attack, one row per example.

  Attributes:
    prediction: [N] classes of the attack's outputs; -1 where the logits are
      not finite, or the example was not attempted.
    loss: [N] cross-entropy in nats at the outputs; NaN if not attempted.
    success: [N] whether the output is misclassified *and* lies inside ball
      and box and is finite. An output outside is neither a success nor a
      defence: `summarize` refuses an evaluation that has one.
    claimed: [N] what the attack itself said of its success.
    distance: [N] from the clean input; NaN if not attempted.
    contained: [N] whether the output lies inside ball and box.
    finite: [N] whether the output and its logits are finite.
    zero_gradient: [N] 1 where the gradient is exactly zero everywhere, at the
      clean input or at the output of an attack that claims no success, 0 where
      it is not, NaN if it was not measured.
    attempted: [N] whether the attack was run on the example.
    iterations: [N] how often the attack probed the network until its first
      success, as `AttackResult` counts; -1 if not attempted, or if the rows
      were saved before this was counted.
  """

  prediction: np.ndarray
  loss: np.ndarray
  success: np.ndarray
  claimed: np.ndarray
  distance: np.ndarray
  contained: np.ndarray
  finite: np.ndarray
  zero_gradient: np.ndarray
  attempted: np.ndarray
  iterations: np.ndarray = np.array(-1, np.int32)


class Chunk(NamedTuple):
  """The finished examples of one microbatch: what to save as it comes.

  Attributes:
    stage: `CLEAN` or the attack's name.
    indices: [n] the examples' ids.
    rows: a `Clean` or an `Outcome` of n rows.
    inputs: the adversarial inputs, [n, ...]; None for clean chunks. Saving
      them is optional: resuming does not need them.
    logits: those that judged them, [n, C]; None for clean chunks.
    budget: the attack's box and radius, in words; empty for clean chunks, and
      where the judge is not a `Threat`.
  """

  stage: str
  indices: np.ndarray
  rows: Clean | Outcome
  inputs: Inputs | None = None
  logits: np.ndarray | None = None
  budget: str = ""


class Evaluation(NamedTuple):
  """All examples under all attacks; row n belongs to ``indices[n]``.

  Attributes:
    indices: [N] the examples' ids.
    labels: [N] integer classes.
    clean: the clean examples.
    attacks: one `Outcome` per attack, in the order they were run.
    budgets: by attack that met an example, its box and radius, in words.
    skipped: by attack that was asked for and could not run, why.
  """

  indices: np.ndarray
  labels: np.ndarray
  clean: Clean
  attacks: Mapping[str, Outcome]
  budgets: Mapping[str, str] = MappingProxyType({})
  skipped: Mapping[str, str] = MappingProxyType({})


def positions(indices: np.ndarray, wanted: np.ndarray) -> np.ndarray:
  """Returns the row of each wanted id among unique `indices`.

  Raises:
    ValueError: if an id is unknown.
  """
  order = np.argsort(indices)
  unknown = np.setdiff1d(wanted, indices)
  if unknown.size:
    raise ValueError(
      "finished results must belong to the examples evaluated; got unknown "
      f"indices {unknown[:5].tolist()} among {len(indices)} examples"
    )
  return order[np.searchsorted(indices, wanted, sorter=order)]
