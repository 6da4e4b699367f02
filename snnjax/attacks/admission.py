"""The checks at both ends of an attack: what it is given, what it claims."""

import jax.numpy as jnp

from snnjax import prng
from snnjax.arguments import as_labels, check_per_example
from snnjax.attacks.candidates import mark_unknown
from snnjax.attacks.threats.threat import Threat, check_inputs
from snnjax.interfaces import AttackResult, Inputs, Labels


def checked_labels(threat: Threat, inputs: Inputs, labels: Labels) -> Labels:
  """Returns the labels of a batch that can be attacked under a threat.

  Args:
    threat: the threat.
    inputs: clean inputs [B, ...], or a mapping of them.
    labels: [B], an array or a list.

  Returns:
    The labels as an array [B].

  Raises:
    ValueError: if labels are not integers; if an input is not floating, or is
      known not to be finite or to be outside its box; or if labels are not one
      for each example, or radii neither one for all nor one for each.
  """
  check_inputs(threat, inputs)
  size = prng.batch_size(inputs)
  check_per_example("epsilon, the radius,", threat.radius, size)
  return as_labels(labels, size)


def admit_result(
  threat: Threat, result: AttackResult, origin: Inputs
) -> AttackResult:
  """Returns a result that claims no success outside its threat.

  Where the clean input is outside its box, or the result outside ball or box,
  the example cannot be judged: there is no success and the loss is NaN. Inputs
  whose values are known do not come so far, see `check_inputs`.

  Args:
    threat: the threat.
    result: what the attack found.
    origin: the clean inputs.
  """
  # A ball around a clean input outside its box may not meet the box at all.
  inside = threat.contains(origin, origin)
  inside &= threat.contains(result.inputs, origin)
  result = mark_unknown(result)
  return result._replace(
    loss=jnp.where(inside, result.loss, jnp.nan),
    success=result.success & inside,
  )
