"""Minimal-norm attacks: how far is the nearest adversarial example?

They return a distance per example and no radius limits them;
``within(as_attack(attack), logits_fn, threat)`` is one under a budget.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from snnjax import losses
from snnjax.arguments import check_attack
from snnjax.attacks.admission import admit_result
from snnjax.attacks.candidates import candidate
from snnjax.attacks.oracles import withstands
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, box_only
from snnjax.interfaces import (
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
  LogitsFn,
)


class MinimalResult(NamedTuple):
  """The nearest adversarial examples that an attack found.

  Attributes:
    inputs: like the clean inputs; the clean input where none was found.
    loss: [B], z_r - z_y there (targeted: z_t - z_r), positive where it worked.
    success: [B] booleans, whether an adversarial example was found.
    distance: [B], from the clean input, in the threat's norm; for budgets per
      modality, the largest share of one that is spent. Infinite where none
      was found, 0 where the clean input is one, NaN where the example could
      not be judged, as the loss is (see `AttackResult`).
    iterations: [B] int32, how often the network was probed; all of a search
      that goes on to come nearer, see `AttackResult`.
  """

  inputs: Inputs
  loss: Array
  success: Array
  distance: Array
  iterations: Array


MinimalAttack = Callable[[Key, Inputs, Labels], MinimalResult]


def as_attack(attack: Callable[[Key, Inputs, Labels], Any]) -> Attack:
  """Returns an attack whose results have no more than `AttackResult` has.

  That leaves out the distances of a minimal-norm attack, which
  `snnjax.attacks.within` then puts under a budget, and the latents of a
  `latent_attack`.

  Raises:
    ValueError: if it is no attack.
  """
  check_attack(attack)

  def plain(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    result = attack(key, inputs, labels)
    return AttackResult(
      result.inputs, result.loss, result.success, result.iterations
    )

  return plain


def margin_candidate(
  logits_fn: LogitsFn, keys: Key, inputs: Inputs, labels: Labels, targeted: bool
) -> AttackResult:
  """Returns inputs as a result: their margin loss, and whether they succeed.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.
    keys: [B].
    inputs: points, like the clean inputs.
    labels: [B].
    targeted: whether labels are targets.
  """
  logits = logits_fn(keys, inputs)
  sign = -1 if targeted else 1
  loss = sign * losses.margin_loss(logits, labels)
  return candidate(inputs, loss, ~withstands(logits, labels, targeted))


def minimal_result(
  logits_fn: LogitsFn,
  keys: Key,
  threat: Threat,
  result: AttackResult,
  origin: Inputs,
  labels: Labels,
  targeted: bool,
) -> MinimalResult:
  """Returns a search's result with its margin loss and its distance.

  The loss of the search may be any (a gap to a boundary, a penalised
  distance), so the network is asked once more. Without a success the clean
  input comes back, at infinite distance.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.
    keys: [B].
    threat: whose box and distance to use.
    result: of the search. Its success counts, if it lies in the box; its loss
      only as far as NaN says that an example could not be judged.
    origin: the clean inputs.
    labels: [B].
    targeted: whether labels are targets.
  """
  result = admit_result(box_only(threat.box), result, origin)
  inputs = ravel.select_examples(result.success, result.inputs, origin)
  measured = margin_candidate(logits_fn, keys, inputs, labels, targeted)
  distance = threat.distance(inputs, origin)
  # No success where nothing could be judged is no distance: NaN, not infinity.
  unknown = jnp.isnan(result.loss) & ~result.success
  none = jnp.where(unknown, jnp.nan, jnp.inf)
  return MinimalResult(
    inputs,
    jnp.where(unknown, jnp.nan, measured.loss),
    result.success,
    jnp.where(result.success, distance, none),
    result.iterations + measured.iterations,
  )
