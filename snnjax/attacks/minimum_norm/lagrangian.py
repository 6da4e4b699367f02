"""Distance plus penalty: what Carlini-Wagner and EAD have in common.

The penalty's weight is searched for each example: tenfold until it succeeds,
then by bisection.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnjax import losses, prng
from snnjax.arguments import logits_function
from snnjax.attacks.admission import taken
from snnjax.attacks.ascent import ascend
from snnjax.attacks.candidates import keep_better, nearest_success, no_candidate
from snnjax.attacks.latents import through
from snnjax.attacks.minimum_norm.decision_boundary import closest
from snnjax.attacks.minimum_norm.minimum_norm import (
  MinimalAttack,
  MinimalResult,
  finished,
  judged,
)
from snnjax.attacks.oracles import Oracle, OracleState, Probe, withstood
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

Search = Callable[[Array], Attack]  # weight [B] of the penalty -> attack


class Settings(NamedTuple):
  """What both attacks are given.

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
  """How one attack descends, around given rows.

  Attributes:
    first: [B, D], where a search starts.
    at: maps what is searched to rows.
    stepper: makes the steps.
    distance: ``rows -> [B]``, by which the nearest success is kept.
    seen: wraps the oracle, where the slope is asked for elsewhere.
  """

  first: Array
  at: Callable[[Array], Array]
  stepper: optax.GradientTransformation
  distance: Callable[[Array], Array]
  seen: Callable[[Oracle], Oracle]


class _Weight(NamedTuple):
  """The penalty's weight c of each example, [B], and its bracket."""

  weight: Array
  low: Array
  high: Array


def _penalised(
  logits_fn: LogitsFn,
  restored: Callable[[Array], Inputs],
  center: Array,
  weights: Array,
  given: Settings,
) -> Oracle:
  """Returns the oracle of -(distance^2 + c max(confidence - margin, 0)).

  It is one of rows, which `restored` turns into inputs, and whose distance
  from `center` counts. Success needs a margin of at least `confidence`.
  """

  def grad(
    key: Key, state: OracleState, point: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    def total(rows: Array) -> tuple[Array, tuple[Array, Array]]:
      logits = logits_fn(key, restored(rows))
      margin = losses.margin_loss(logits, labels)
      margin = -margin if given.targeted else margin
      lacking = jnp.maximum(given.confidence - margin, 0).astype(rows.dtype)
      loss = -jnp.sum((rows - center) ** 2, 1) - weights * lacking
      won = ~withstood(logits, labels, given.targeted)
      won &= margin >= given.confidence
      return jnp.sum(loss), (loss, won)

    matrix = matrix_of(point)
    watched = guard(total, matrix)
    slope, (loss, won) = watched(jax.grad(total, has_aux=True)(matrix))
    return Probe(loss, slope, ~won), state

  return Oracle(init=lambda point: None, grad=grad)


def minimised(
  logits_fn: AnyLogitsFn,
  threat: Threat,
  order: float,
  descent: Callable[[Array, Room], Descent],
  given: Settings,
) -> MinimalAttack:
  """Returns the attack that searches the penalty's weight for a descent.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone.
    threat: of this order, for its box.
    order: p of the norm.
    descent: ``(clean rows, their room) -> Descent``.
    given: the settings.

  Raises:
    ValueError: if a setting makes no sense or the threat is of another order.
  """
  logits_fn = logits_function(logits_fn)
  check_count("steps", given.steps)
  check_count("searches", given.searches)
  check_positive("step_size", given.step_size)
  check_positive("weight", given.weight)
  check_range("confidence", given.confidence, 0.0, np.finfo(np.float64).max)
  norm = _of_order(threat, order)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    labels = taken(threat, inputs, labels)
    rows, restore = norm.rows(inputs)
    way = descent(rows, norm.room(inputs))

    def restored(rows: Array) -> Inputs:
      return ravel.stored(restore(rows), inputs)

    def at(point: Inputs) -> Array:
      return way.at(matrix_of(point))

    def search(weights: Array) -> Attack:
      center = at(way.first)
      oracle = through(
        at, _penalised(logits_fn, restored, center, weights, given)
      )
      keep = nearest_success(lambda found: way.distance(at(found.inputs)))
      run = ascend(
        way.seen(oracle), way.stepper, _FREE, steps=given.steps, keep=keep
      )

      def one(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
        found = run(key, way.first, labels)
        return found._replace(inputs=restored(at(found.inputs)))

      return one

    return _bisected(search, logits_fn, threat, given)(key, inputs, labels)

  return attack


def _bisected(
  search: Search, logits_fn: LogitsFn, threat: Threat, given: Settings
) -> MinimalAttack:
  """Returns the nearest success over values of c, each example with its own."""
  targeted = given.targeted

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    keys = prng.example_keys(key, prng.batch_size(inputs))
    keep = closest(threat, inputs)
    none = no_candidate(inputs, labels)
    zero = jnp.zeros_like(none.loss)

    def again(
      carry: tuple[_Weight, AttackResult], index: Array
    ) -> tuple[tuple[_Weight, AttackResult], None]:
      c, held = carry
      new = search(c.weight)(prng.fold_in(keys, index), inputs, labels)
      return (_narrowed(c, new.success), keep_better(keep, held, new)), None

    start = _Weight(zero + given.weight, zero, zero + jnp.inf)
    clean = judged(logits_fn, prng.fold_in(keys, 0), inputs, labels, targeted)
    clean = keep_better(keep, none, clean)
    (_, found), _ = jax.lax.scan(
      again, (start, clean), jnp.arange(1, given.searches + 1)
    )
    last = prng.fold_in(keys, given.searches + 1)
    return finished(logits_fn, last, threat, found, inputs, labels, targeted)

  return attack


def _narrowed(c: _Weight, success: Array) -> _Weight:
  low = jnp.where(success, c.low, c.weight)
  high = jnp.where(success, c.weight, c.high)
  middle = (low + jnp.where(jnp.isinf(high), low, high)) / 2
  return _Weight(jnp.where(jnp.isinf(high), 10 * c.weight, middle), low, high)


def matrix_of(point: Inputs) -> Array:
  """Returns what is searched, which is always one matrix [B, D]."""
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
