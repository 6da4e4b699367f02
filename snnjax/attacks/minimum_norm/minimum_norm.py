"""Minimal-norm attacks: how far is the nearest adversarial example?

They return a distance per example and no radius limits them;
``within(as_attack(attack), logits_fn, threat)`` is one under a budget.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from snnjax import losses
from snnjax.arguments import check_attack
from snnjax.attacks.admission import admitted
from snnjax.attacks.candidates import candidate
from snnjax.attacks.oracles import withstood
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
  """The nearest adversarial examples found.

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
    found = attack(key, inputs, labels)
    return AttackResult(
      found.inputs, found.loss, found.success, found.iterations
    )

  return plain


def judged(
  logits_fn: LogitsFn, keys: Key, inputs: Inputs, labels: Labels, targeted: bool
) -> AttackResult:
  """Returns inputs with their margin loss and whether they succeed."""
  logits = logits_fn(keys, inputs)
  sign = -1 if targeted else 1
  loss = sign * losses.margin_loss(logits, labels)
  return candidate(inputs, loss, ~withstood(logits, labels, targeted))


def finished(
  logits_fn: LogitsFn,
  keys: Key,
  threat: Threat,
  found: AttackResult,
  origin: Inputs,
  labels: Labels,
  targeted: bool,
) -> MinimalResult:
  """Returns what a search found with its margin and its distance.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.
    keys: [B].
    threat: tells the box and the distance.
    found: the search's result; its success is believed in the box, its loss
      is not, but for NaN.
    origin: the clean inputs.
    labels: [B].
    targeted: whether labels are targets.
  """
  found = admitted(box_only(threat.box), found, origin)
  inputs = ravel.select_examples(found.success, found.inputs, origin)
  again = judged(logits_fn, keys, inputs, labels, targeted)
  distance = threat.distance(inputs, origin)
  # That nothing was found where nothing could be judged says nothing.
  unknown = jnp.isnan(found.loss) & ~found.success
  none = jnp.where(unknown, jnp.nan, jnp.inf)
  return MinimalResult(
    inputs,
    jnp.where(unknown, jnp.nan, again.loss),
    found.success,
    jnp.where(found.success, distance, none),
    found.iterations + again.iterations,
  )
