"""FAB, the fast adaptive boundary attack, and its form for many classes."""

import jax
import jax.numpy as jnp
import optax

from snnjax import prng
from snnjax.arguments import logits_function
from snnjax.attacks.admission import checked_labels
from snnjax.attacks.ascent import Destination, Start, ascend
from snnjax.attacks.candidates import keep_better
from snnjax.attacks.loop import with_restarts
from snnjax.attacks.minimum_norm.decision_boundary import (
  closest,
  nearest_boundary,
  rival_boundary,
  target_boundary,
)
from snnjax.attacks.minimum_norm.minimum_norm import (
  MinimalAttack,
  MinimalResult,
  minimal_result,
)
from snnjax.attacks.oracles import Oracle
from snnjax.attacks.target_classes import over_targets
from snnjax.attacks.threats import hyperplane
from snnjax.attacks.threats.norms import Norm, size, units
from snnjax.attacks.threats.threat import Threat, box_only, norm_of
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
)
from snnjax.validation import check_count, check_range

_SHORT = 1e-8  # the least length of a step, so that no 0 / 0 comes about


def fab(
  logits_fn: AnyLogitsFn,
  threat: Threat,
  *,
  steps: int = 100,
  restarts: int = 1,
  rivals: int = 9,
  bias: float = 0.1,
  overshoot: float = 1.05,
  backward: float = 0.9,
  targeted: bool = False,
) -> MinimalAttack:
  """Returns FAB: walk along the boundary towards the clean input.

  With d and d0 the shortest steps from the iterate and from the clean input
  onto the nearest linear boundary inside the box, and
  ``a = min(|d| / (|d| + |d0|), bias)``,
  ``x <- (1 - a)(x + overshoot d) + a (x0 + overshoot d0)``; an adversarial
  iterate is first drawn back, ``x <- x0 + backward (x - x0)``.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    threat: whose norm and box to use; its radius only scales restarts, or
      weighs the modalities where each has a budget of its own.
    steps: how often the network is probed with its gradient.
    restarts: how many runs; the first starts at the clean input, later ones
      at random within half the radius.
    rivals: how many of the strongest rivals to compare.
    bias: the largest share of the clean input's own step.
    overshoot: 1 stops at the linear boundary.
    backward: how much of the way an adversarial iterate keeps.
    targeted: whether labels are targets to be predicted.

  Raises:
    ValueError: if an argument is out of range, or the threat is not a norm
      ball, or one for each modality.

  References:
    Francesco Croce, Matthias Hein, 2020, "Minimally distorted adversarial
    examples with a fast adaptive boundary attack", arXiv 1907.02044.

  Differs from the authors' code in what counts as a step: theirs asks for the
  prediction of an iterate and, once it is drawn back, for a gradient; here
  one probe gives both, and drawing back takes a step of its own.
  """
  logits_fn = logits_function(logits_fn)
  check_count("rivals", rivals)
  check_count("steps", steps)
  check_count("restarts", restarts)
  norm = norm_of(threat)
  oracle = (
    target_boundary(logits_fn)
    if targeted
    else nearest_boundary(logits_fn, norm, rivals)
  )
  walk = _walk(norm, bias, overshoot, backward)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    labels = checked_labels(threat, inputs, labels)
    keys = prng.example_keys(key, prng.batch_size(inputs))
    result = _search(oracle, walk, threat, steps, restarts)(
      prng.fold_in(keys, 0), inputs, labels
    )
    last = prng.fold_in(keys, 1)
    return minimal_result(
      logits_fn, last, threat, result, inputs, labels, targeted
    )

  return attack


def targeted_fab(
  logits_fn: AnyLogitsFn,
  threat: Threat,
  *,
  steps: int = 100,
  targets: int = 9,
  restarts: int = 1,
  bias: float = 0.1,
  overshoot: float = 1.05,
  backward: float = 0.9,
) -> MinimalAttack:
  """Returns FAB on the boundary to each of the strongest rivals (FAB-T).

  Labels are the true classes, and any wrong prediction is a success. One
  backward pass per step, however many classes there are.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    threat: see `fab`.
    steps: per rival.
    targets: how many rivals, ranked at the clean input; C - 1 if there are
      fewer.
    restarts: runs per rival.
    bias: see `fab`.
    overshoot: see `fab`.
    backward: see `fab`.

  Raises:
    ValueError: as `fab`.

  References:
    Croce, Hein 2020, arXiv 1907.02044 and 2003.01690.
  """
  logits_fn = logits_function(logits_fn)
  check_count("targets", targets)
  check_count("steps", steps)
  check_count("restarts", restarts)
  norm = norm_of(threat)
  walk = _walk(norm, bias, overshoot, backward)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    labels = checked_labels(threat, inputs, labels)

    def towards(
      key: Key, inputs: Inputs, labels: Labels, rival: Labels
    ) -> AttackResult:
      oracle = rival_boundary(logits_fn, rival)
      run = _search(oracle, walk, threat, steps, restarts)
      return run(key, inputs, labels)

    keys = prng.example_keys(key, prng.batch_size(inputs))
    keep = closest(threat, inputs)
    result = over_targets(logits_fn, towards, targets, keep)(
      prng.fold_in(keys, 0), inputs, labels
    )
    last = prng.fold_in(keys, 1)
    return minimal_result(
      logits_fn, last, threat, result, inputs, labels, False
    )

  return attack


def _search(
  oracle: Oracle,
  walk: optax.GradientTransformationExtraArgs,
  threat: Threat,
  steps: int,
  restarts: int,
) -> Attack:
  """Returns the attack with one oracle: the nearest success of all its runs."""
  bounds = box_only(threat.box)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    keys = prng.example_keys(key, prng.batch_size(inputs))
    keep = closest(threat, inputs)

    def runs(start: Start | None) -> Attack:
      return ascend(oracle, walk, bounds, steps=steps, start=start, keep=keep)

    first = runs(None)(prng.fold_in(keys, 0), inputs, labels)
    if restarts == 1:
      return first
    again = with_restarts(runs(_half_way_start(threat)), restarts - 1, keep)
    later = again(prng.fold_in(keys, 1), inputs, labels)
    return keep_better(keep, first, later)

  return attack


def _half_way_start(threat: Threat) -> Start:
  """Returns the start half way between the clean input and a sample."""

  def start(key: Key, origin: Inputs) -> Inputs:
    return jax.tree.map(
      lambda far, near: (far + near) / 2, threat.sample(key, origin), origin
    )

  return start


def _walk(
  norm: Norm, bias: float, overshoot: float, backward: float
) -> optax.GradientTransformationExtraArgs:
  """Returns FAB's stepper; its state is whether it drew each example back."""
  check_range("bias", bias, 0.0, 1.0)
  check_range("overshoot", overshoot, 1.0, 1e3)
  check_range("backward", backward, 0.0, 1.0)

  def init(first: Inputs) -> Array:
    return jnp.zeros(prng.batch_size(first), bool)

  def update(
    gradient: Inputs,
    state: Array,
    params: Inputs,
    *,
    value: Array,
    correct: Array,
    origin: Inputs,
  ) -> tuple[Destination, Array]:
    rows, restore = norm.rows(params)
    center, blocks = norm.rows(origin)[0], norm.blocks(origin)
    slope, room = norm.slopes(gradient), norm.room(origin)
    # The linear boundary: the points x + d with slope . d = gap.
    gap = -value.astype(rows.dtype)
    reach = jnp.sum(slope * (rows - center), 1)
    near = hyperplane.project_onto_hyperplane(rows, slope, gap, room, blocks)
    # The same plane as seen from the clean input: the gap there is the one here
    # plus what the way from there to here gained along the slope.
    far = hyperplane.project_onto_hyperplane(
      center, slope, gap + reach, room, blocks
    )
    lengths = [jnp.maximum(size(step, blocks), _SHORT) for step in (near, far)]
    # The nearer the iterate is to the plane, compared with the clean input, the
    # less it is pulled towards the clean input's own projection.
    share = jnp.minimum(lengths[0] / (lengths[0] + lengths[1]), bias)
    share = share[:, None]
    ahead = (rows + overshoot * near) * (1 - share) + (
      center + overshoot * far
    ) * share
    # A rounded mean of two equal numbers may be another, and what may not
    # change must not by a single bit: the distance would be infinite.
    ahead = jnp.where(units(blocks, rows) > 0, ahead, center)
    # Drawing back takes a step of its own. The next one goes to the plane, also
    # where the example is still adversarial.
    draw = ~correct & ~state
    back = center + backward * (rows - center)
    return Destination(restore(jnp.where(draw[:, None], back, ahead))), draw

  return optax.GradientTransformationExtraArgs(init, update)
