"""DeepFool: step after step onto the nearest linear boundary."""

import jax.numpy as jnp
import optax

from snnjax import prng
from snnjax.arguments import logits_function
from snnjax.attacks.admission import checked_labels
from snnjax.attacks.ascent import Destination, ascend
from snnjax.attacks.minimum_norm.decision_boundary import (
  nearest_boundary,
  target_boundary,
)
from snnjax.attacks.minimum_norm.minimum_norm import (
  MinimalAttack,
  MinimalResult,
  minimal_result,
)
from snnjax.attacks.threats import hyperplane, ravel
from snnjax.attacks.threats.norms import Norm, dual_size
from snnjax.attacks.threats.threat import Threat, box_only, norm_of
from snnjax.interfaces import AnyLogitsFn, Array, Inputs, Key, Labels
from snnjax.validation import check_count, check_range

PUSH = 1e-4  # how far beyond the linear boundary DeepFool goes at least


def deepfool(
  logits_fn: AnyLogitsFn,
  threat: Threat,
  *,
  steps: int = 50,
  rivals: int = 9,
  overshoot: float = 0.02,
  targeted: bool = False,
) -> MinimalAttack:
  """Returns DeepFool: step after step onto the nearest linear boundary.

  ``x <- x + (1 + overshoot) argmin ||d||  s.t. w . d = z_y - z_s``, w the
  input gradient of z_s - z_y and s the rival whose boundary is nearest; an
  example stops where it is misclassified.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    threat: whose norm and box to use, not its radius; budgets per modality
      are the units of their parts, see `MinimalResult`.
    steps: at most so many.
    rivals: how many of the strongest rivals to compare.
    overshoot: how far to go beyond the boundary, a share of the step.
    targeted: whether labels are targets to be predicted.

  Raises:
    ValueError: if a count is below one, `overshoot` is negative, or the
      threat is not a norm ball, or one for each modality.

  References:
    Seyed-Mohsen Moosavi-Dezfooli, Alhussein Fawzi, Pascal Frossard, 2016,
    "DeepFool: a simple and accurate method to fool deep neural networks",
    arXiv 1511.04599.

  Differs from the paper by an l1 form, whose steps stay inside the box (those
  of the others are clipped), and by comparing the strongest rivals of the
  current point, not of the clean one.
  """
  logits_fn = logits_function(logits_fn)
  check_count("steps", steps)
  check_count("rivals", rivals)
  check_range("overshoot", overshoot, 0.0, 1e3)
  norm = norm_of(threat)
  oracle = (
    target_boundary(logits_fn)
    if targeted
    else nearest_boundary(logits_fn, norm, rivals)
  )
  stepper = _boundary_steps(norm, overshoot)
  # The radius bounds nothing here: how far it is to the boundary is the result.
  bounds = box_only(threat.box)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    labels = checked_labels(threat, inputs, labels)
    keys = prng.example_keys(key, prng.batch_size(inputs))
    run = ascend(
      oracle, stepper, bounds, steps=steps, until=lambda best: best.success
    )
    result = run(prng.fold_in(keys, 0), inputs, labels)
    last = prng.fold_in(keys, 1)
    return minimal_result(
      logits_fn, last, threat, result, inputs, labels, targeted
    )

  return attack


def _boundary_steps(
  norm: Norm, overshoot: float
) -> optax.GradientTransformationExtraArgs:
  """Returns the stepper onto the linear boundary, for examples still correct.

  Its `value` is the gap to the boundary, see `decision_boundary`.
  """

  def update(
    gradient: Inputs,
    state: optax.OptState,
    params: Inputs,
    *,
    value: Array,
    correct: Array,
    origin: Inputs,
  ) -> tuple[Destination, optax.OptState]:
    rows, restore = norm.rows(params)
    blocks = norm.blocks(params)
    slope = norm.slopes(gradient)
    steep = dual_size(slope, blocks)
    # A little beyond, by a length of PUSH: on the plane itself it is a tie.
    gap = jnp.abs(value).astype(rows.dtype) + PUSH * steep
    if 1 in norm.orders:
      # Without the box, every step would go into the same coordinate.
      step = hyperplane.project_onto_hyperplane(
        rows, slope, gap, norm.room(origin), blocks
      )
    else:
      step = hyperplane.step_without_box(slope, gap, blocks)
    ahead = restore(rows + (1 + overshoot) * step)
    return Destination(ravel.select_examples(correct, ahead, params)), state

  return optax.GradientTransformationExtraArgs(
    lambda params: optax.EmptyState(), update
  )
