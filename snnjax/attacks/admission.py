"""What an attack takes, and what it may claim of what it found."""

import jax.numpy as jnp

from snnjax import prng
from snnjax.arguments import as_labels, check_per_example
from snnjax.attacks.candidates import known
from snnjax.attacks.threats.threat import Threat, check_inputs
from snnjax.interfaces import AttackResult, Inputs, Labels


def taken(threat: Threat, inputs: Inputs, labels: Labels) -> Labels:
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


def admitted(
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
  inside = threat.contains(origin, origin)
  inside &= threat.contains(result.inputs, origin)
  told = known(result)
  return told._replace(
    loss=jnp.where(inside, told.loss, jnp.nan),
    success=told.success & inside,
  )
