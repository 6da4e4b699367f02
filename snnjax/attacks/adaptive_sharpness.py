"""ASSG's oracle: surrogates as wide as the attacked network's own drives.

The rule is `snnjax.backward.assg`; its moments are in the oracle's state.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.arguments import describe
from snnjax.attacks.oracles import Oracle, eot, with_memory
from snnjax.backward.assg import Assg, Moments, assg_rule
from snnjax.interfaces import (
  Array,
  Inputs,
  Key,
  Labels,
  Network,
  Scored,
  Variables,
)
from snnjax.losses import LogitsLoss


def assg(
  network: Network,
  variables: Variables,
  loss: LogitsLoss,
  *,
  rule: Assg | None = None,
  targeted: bool = False,
  draws: int = 1,
) -> Oracle:
  """Returns the oracle whose surrogates follow the attacked drives.

  Its state holds the moments, per layer and time step; every probe moves
  them, and of several draws only the first does: the others see what it left.

  Args:
    network: what is attacked, with frozen statistics.
    variables: its weights and statistics.
    loss: ``(logits, labels) -> [B]``.
    rule: from `assg_rule`; None is its default.
    targeted: as in `attacks.white_box`.
    draws: how many draws of a stochastic encoder are averaged.

  Raises:
    ValueError: if the rule is of another kind; if `draws` is not a positive
      whole number.

  References:
    Wang et al. 2025, arXiv 2512.22522.
  """
  rule = assg_rule() if rule is None else rule
  given: Any = rule
  if not isinstance(given, Assg):
    raise ValueError(
      "rule must be an adaptive rule, as assg_rule() makes one; got "
      f"{describe(given)}"
    )

  def init(inputs: Inputs) -> Mapping[str, Moments]:
    def drives(inputs: Inputs) -> dict[str, Array]:
      # Only shapes are taken: the key's value does not matter.
      key = jax.random.key(0)
      traces = network.apply(variables, inputs, rule=rule, key=key).traces
      return {layer: trace.drive for layer, trace in traces.items()}

    return {
      layer: Moments(
        jnp.ones(drive.shape, drive.dtype), jnp.zeros(drive.shape, drive.dtype)
      )
      for layer, drive in jax.eval_shape(drives, inputs).items()
    }

  def oracle(frozen: bool) -> Oracle:
    def probe(
      moments: Mapping[str, Moments], key: Key, inputs: Inputs, labels: Labels
    ) -> tuple[Scored, Mapping[str, Moments]]:
      adapted_rule = dataclasses.replace(rule, moments=moments, frozen=frozen)
      result = network.apply(variables, inputs, rule=adapted_rule, key=key)
      moments_after = {
        layer: adapted_rule.update(layer, trace.drive)
        for layer, trace in result.traces.items()
      }
      return Scored(loss(result.logits, labels), result.logits), moments_after

    return with_memory(init, probe, targeted)

  return eot(oracle(False), draws, later=oracle(True))
