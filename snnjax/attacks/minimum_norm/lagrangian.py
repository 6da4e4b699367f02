"""Distance plus penalty: what Carlini-Wagner and EAD have in common.

Both minimise ``distance^2 + c penalty``, the penalty being what the margin
still lacks. With a small weight c the result is near but not adversarial, with
a large one adversarial but far: each example gets its own c, tenfold until it
succeeds, then by bisection.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnjax import losses, prng
from snnjax.arguments import logits_function
from snnjax.attacks.admission import checked_labels
from snnjax.attacks.ascent import ascend
from snnjax.attacks.candidates import keep_better, nearest_success, no_candidate
from snnjax.attacks.latents import through
from snnjax.attacks.minimum_norm.decision_boundary import closest
from snnjax.attacks.minimum_norm.minimum_norm import (
  MinimalAttack,
  MinimalResult,
  margin_candidate,
  minimal_result,
)
from snnjax.attacks.oracles import Oracle, OracleState, Probe, withstands
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.norms import Norm, Room
from snnjax.attacks.threats.threat import Threat, box_only, norm_of
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
  LogitsFn,
)
from snnjax.lost_derivatives import guard
from snnjax.validation import check_count, check_positive, check_range

_FREE = box_only((-np.inf, np.inf))  # bounds nothing

# weight [B] of the penalty -> attack
WeightedAttack = Callable[[Array], Attack]


class Settings(NamedTuple):
  """The arguments that both attacks share.

  Attributes:
    steps: of each search.
    searches: how many values of the weight.
    step_size: of the descent.
    weight: the first one.
    confidence: the margin, in logits, that a success must have.
    targeted: whether labels are targets to be predicted.
  """

  steps: int
  searches: int
  step_size: float
  weight: float
  confidence: float
  targeted: bool


class Descent(NamedTuple):
  """How an attack descends from the clean rows; this is what sets them apart.

  Attributes:
    first: [B, D], where a search starts.
    decode: maps the variable that is searched to rows.
    stepper: makes the steps.
    distance: ``rows -> [B]``, by which the nearest success is kept.
    wrap_oracle: changes where the oracle takes its slope, if not at the point.
  """

  first: Array
  decode: Callable[[Array], Array]
  stepper: optax.GradientTransformation
  distance: Callable[[Array], Array]
  wrap_oracle: Callable[[Oracle], Oracle]


class _Weight(NamedTuple):
  """The penalty's weight c of each example, [B], and its bracket."""

  weight: Array
  low: Array
  high: Array


def _penalised_oracle(
  logits_fn: LogitsFn,
  to_inputs: Callable[[Array], Inputs],
  center: Array,
  weights: Array,
  settings: Settings,
) -> Oracle:
  """Returns the oracle of -(distance^2 + c max(confidence - margin, 0)).

  Its points are rows, which `to_inputs` turns into inputs; the distance is
  taken from `center`. Success needs a margin of at least `confidence`.
  """

  def grad(
    key: Key, state: OracleState, point: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    # The sum over examples: each row's slope is that of its own loss.
    def total(rows: Array) -> tuple[Array, tuple[Array, Array]]:
      logits = logits_fn(key, to_inputs(rows))
      margin = losses.margin_loss(logits, labels)
      margin = -margin if settings.targeted else margin
      lacking = jnp.maximum(settings.confidence - margin, 0).astype(rows.dtype)
      # Negated: an oracle is ascended, and this is to be made small.
      loss = -jnp.sum((rows - center) ** 2, 1) - weights * lacking
      success = ~withstands(logits, labels, settings.targeted)
      success &= margin >= settings.confidence
      return jnp.sum(loss), (loss, success)

    matrix = matrix_of(point)
    watched = guard(total, matrix)
    slope, (loss, success) = watched(jax.grad(total, has_aux=True)(matrix))
    return Probe(loss, slope, ~success), state

  return Oracle(init=lambda point: None, grad=grad)


def minimise(
  logits_fn: AnyLogitsFn,
  threat: Threat,
  order: float,
  descent: Callable[[Array, Room], Descent],
  settings: Settings,
) -> MinimalAttack:
  """Returns the attack that searches the penalty's weight for a descent.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    threat: of this order, for its box.
    order: p of the norm.
    descent: ``(clean rows, their room) -> Descent``.
    settings: the arguments of the attack.

  Raises:
    ValueError: if a setting makes no sense or the threat is of another order.
  """
  logits_fn = logits_function(logits_fn)
  check_count("steps", settings.steps)
  check_count("searches", settings.searches)
  check_positive("step_size", settings.step_size)
  check_positive("weight", settings.weight)
  check_range("confidence", settings.confidence, 0.0, np.finfo(np.float64).max)
  norm = _of_order(threat, order)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    labels = checked_labels(threat, inputs, labels)
    rows, restore = norm.rows(inputs)
    descent_here = descent(rows, norm.room(inputs))

    # The network is asked at what would be returned, in the inputs' own type.
    def to_inputs(rows: Array) -> Inputs:
      return ravel.store_like(restore(rows), inputs)

    def decode(point: Inputs) -> Array:
      return descent_here.decode(matrix_of(point))

    def search(weights: Array) -> Attack:
      # The distance is from where the walk starts, as in the authors' code:
      # a walk in tanh space starts just short of the walls.
      center = decode(descent_here.first)
      oracle = through(
        decode,
        _penalised_oracle(logits_fn, to_inputs, center, weights, settings),
      )
      keep = nearest_success(
        lambda result: descent_here.distance(decode(result.inputs))
      )
      run = ascend(
        descent_here.wrap_oracle(oracle),
        descent_here.stepper,
        _FREE,  # what is searched has no box; `decode` or the stepper keeps it
        steps=settings.steps,
        keep=keep,
      )

      def decoded_run(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
        result = run(key, descent_here.first, labels)
        return result._replace(inputs=to_inputs(decode(result.inputs)))

      return decoded_run

    return _bisect_weight(search, logits_fn, threat, settings)(
      key, inputs, labels
    )

  return attack


def _bisect_weight(
  search: WeightedAttack,
  logits_fn: LogitsFn,
  threat: Threat,
  settings: Settings,
) -> MinimalAttack:
  """Returns the nearest success over all values of c, per example."""
  targeted = settings.targeted

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    keys = prng.example_keys(key, prng.batch_size(inputs))
    keep = closest(threat, inputs)
    # The scan below compiles the search once for all values of c.
    none = no_candidate(inputs, labels)
    zero = jnp.zeros_like(none.loss)

    def again(
      carry: tuple[_Weight, AttackResult], index: Array
    ) -> tuple[tuple[_Weight, AttackResult], None]:
      c, best = carry
      new = search(c.weight)(prng.fold_in(keys, index), inputs, labels)
      return (_narrow(c, new.success), keep_better(keep, best, new)), None

    start = _Weight(zero + settings.weight, zero, zero + jnp.inf)
    clean = margin_candidate(
      logits_fn, prng.fold_in(keys, 0), inputs, labels, targeted
    )
    clean = keep_better(keep, none, clean)
    (_, result), _ = jax.lax.scan(
      again, (start, clean), jnp.arange(1, settings.searches + 1)
    )
    last = prng.fold_in(keys, settings.searches + 1)
    return minimal_result(
      logits_fn, last, threat, result, inputs, labels, targeted
    )

  return attack


def _narrow(c: _Weight, success: Array) -> _Weight:
  """Returns the next weights: smaller after a success, else larger."""
  low = jnp.where(success, c.low, c.weight)
  high = jnp.where(success, c.weight, c.high)
  # No success so far means no upper end: tenfold, until there is one.
  middle = (low + jnp.where(jnp.isinf(high), low, high)) / 2
  return _Weight(jnp.where(jnp.isinf(high), 10 * c.weight, middle), low, high)


def matrix_of(point: Inputs) -> Array:
  """Returns the searched variable, which is always one matrix [B, D]."""
  return ravel.ravel_examples(point)[0]


def _of_order(threat: Threat, order: float) -> Norm:
  """Returns the norm of a threat, which must be of this order.

  Raises:
    ValueError: if it is of another, or of several.
  """
  norm = norm_of(threat)
  if norm.orders != (order,):
    orders = ", ".join(map(str, norm.orders))
    raise ValueError(
      f"threat must be one ball of order {order}, over all modalities, as "
      f"`joint` makes it of several; got balls of order {orders}"
    )
  return norm
