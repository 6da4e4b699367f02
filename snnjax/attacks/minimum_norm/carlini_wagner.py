"""The l2 attack of Carlini and Wagner."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnjax.attacks.minimum_norm.lagrangian import Descent, Settings, minimise
from snnjax.attacks.minimum_norm.minimum_norm import MinimalAttack
from snnjax.attacks.steppers import adam
from snnjax.attacks.threats.norms import Room
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.interfaces import AnyLogitsFn, Array
from snnjax.validation import is_concrete

_INSIDE = 0.999999  # keeps arctanh finite at the walls of the box


def carlini_wagner(
  logits_fn: AnyLogitsFn,
  threat: Threat,
  *,
  steps: int = 1000,
  searches: int = 9,
  step_size: float = 0.01,
  weight: float = 1e-3,
  confidence: float = 0.0,
  targeted: bool = False,
) -> MinimalAttack:
  """Returns the l2 attack of Carlini and Wagner.

  Adam on u, x = box(tanh u), minimises
  ``||x - x0||_2^2 + c max(z_y - z_r + confidence, 0)``; c grows tenfold
  until it succeeds and is then bisected, for each example.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    threat: an l2 threat, for its box; its radius is not used.
    steps: of Adam, for each c.
    searches: how many values of c.
    step_size: of Adam, in units of u.
    weight: the first c.
    confidence: the margin, in logits, that a success must have.
    targeted: whether labels are targets to be predicted.

  Raises:
    ValueError: if an argument is out of range, the threat is not l2, or its
      box is not finite.

  References:
    Nicholas Carlini, David Wagner, 2017, "Towards evaluating the robustness
    of neural networks", arXiv 1608.04644.

  Differs from the authors' code in that no search is aborted early: that
  would make an example's result depend on its batch.
  """
  _check_box(threat)
  stepper = optax.chain(adam(), optax.scale(step_size))

  def descent(rows: Array, room: Room) -> Descent:
    first, decode = _tanh_space(rows, room)
    return Descent(
      first,
      decode,
      stepper,
      distance=lambda moved: jnp.sum((moved - rows) ** 2, 1),
      wrap_oracle=lambda oracle: oracle,
    )

  settings = Settings(steps, searches, step_size, weight, confidence, targeted)
  return minimise(logits_fn, threat, 2, descent, settings)


def _tanh_space(
  rows: Array, room: Room
) -> tuple[Array, Callable[[Array], Array]]:
  """Returns the clean u, and the function from u to rows: middle + half tanh u.

  Whatever u is, the rows are inside the box.
  """
  middle, half = (room.upper + room.lower) / 2, (room.upper - room.lower) / 2

  def decode(u: Array) -> Array:
    return middle + half * jnp.tanh(u)

  return jnp.arctanh(_INSIDE * (rows - middle) / half), decode


def _check_box(threat: Threat) -> None:
  """Raises ValueError if the box is known not to be finite: tanh needs one."""
  check_threat(threat)
  bounds = jax.tree.leaves(threat.box)
  if all(map(is_concrete, bounds)) and not all(
    np.all(np.isfinite(bound)) for bound in bounds
  ):
    raise ValueError(f"threat must have a finite box; got {threat.box}")
