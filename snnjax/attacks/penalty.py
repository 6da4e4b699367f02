"""Distance plus penalty: what Carlini-Wagner and EAD have in common.

The penalty's weight is searched for each example: tenfold until it succeeds,
then by bisection.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import losses, random
from snnjax.attacks import flat
from snnjax.attacks.gauge import Gauge, gauge_of, geometry_of
from snnjax.attacks.minimal import (
  MinimalAttack,
  MinimalResult,
  finished,
  judged,
)
from snnjax.attacks.nearest import closest, predicts
from snnjax.attacks.oracle import Oracle, OracleState, Probe
from snnjax.attacks.results import nothing, settled
from snnjax.attacks.threat import Threat, linf
from snnjax.types import (
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
  LogitsFn,
)
from snnjax.validation import check_count, check_positive, check_range

_LARGEST = 1e30  # a radius that bounds nothing

Search = Callable[[Array], Attack]  # weight [B] of the penalty -> attack


class _Weight(NamedTuple):
  """The penalty's weight c of each example, [B], and its bracket."""

  weight: Array
  low: Array
  high: Array


def penalised(
  logits_fn: LogitsFn,
  at: Callable[[Array], tuple[Array, Inputs]],
  center: Array,
  weights: Array,
  confidence: float,
  targeted: bool,
) -> Oracle:
  """Returns the oracle of -(distance^2 + c max(confidence - margin, 0)).

  `at` maps what is searched to rows, whose distance from `center` counts, and
  to inputs. Success needs a margin of at least `confidence`.
  """

  def grad(
    key: Key, state: OracleState, point: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    def total(point: Array) -> tuple[Array, tuple[Array, Array]]:
      rows, inputs = at(point)
      logits = logits_fn(key, inputs)
      margin = losses.margin_loss(logits, labels)
      margin = -margin if targeted else margin
      lacking = jnp.maximum(confidence - margin, 0)
      loss = -jnp.sum((rows - center) ** 2, 1) - weights * lacking
      won = (predicts(logits, labels) == targeted) & (margin >= confidence)
      return jnp.sum(loss), (loss, won)

    slope, (loss, won) = jax.grad(total, has_aux=True)(matrix_of(point))
    return Probe(loss, slope, ~won), state

  return Oracle(init=lambda point: None, grad=grad)


def bisected(
  search: Search,
  logits_fn: LogitsFn,
  gauge: Gauge,
  searches: int,
  weight: float,
  targeted: bool,
) -> MinimalAttack:
  """Returns the nearest success over values of c, each example with its own."""

  def attack(key: Key, inputs: Inputs, labels: Labels) -> MinimalResult:
    keys = random.example_keys(key, random.batch_size(inputs))
    keep = closest(gauge, inputs)
    none = nothing(inputs, labels)
    zero = jnp.zeros_like(none.loss)

    def again(
      carry: tuple[_Weight, AttackResult], index: Array
    ) -> tuple[tuple[_Weight, AttackResult], None]:
      c, held = carry
      new = search(c.weight)(random.fold_in(keys, index), inputs, labels)
      return (_narrowed(c, new.success), settled(keep, held, new)), None

    start = _Weight(zero + weight, zero, zero + jnp.inf)
    clean = judged(logits_fn, random.fold_in(keys, 0), inputs, labels, targeted)
    clean = settled(keep, none, clean)
    (_, found), _ = jax.lax.scan(
      again, (start, clean), jnp.arange(1, searches + 1)
    )
    last = random.fold_in(keys, searches + 1)
    return finished(logits_fn, last, gauge, found, inputs, labels, targeted)

  return attack


def _narrowed(c: _Weight, success: Array) -> _Weight:
  low = jnp.where(success, c.low, c.weight)
  high = jnp.where(success, c.weight, c.high)
  middle = (low + jnp.where(jnp.isinf(high), low, high)) / 2
  return _Weight(jnp.where(jnp.isinf(high), 10 * c.weight, middle), low, high)


def matrix_of(point: Inputs) -> Array:
  """Returns what is searched, which is always one matrix [B, D]."""
  return flat.flatten(point)[0]


def anywhere() -> Threat:
  """Returns the threat that bounds nothing."""
  return linf(_LARGEST, (-jnp.inf, jnp.inf))


def require_order(threat: Threat, order: float) -> Gauge:
  """Returns the gauge of a threat in this norm.

  Raises:
    ValueError: if it is in another, or in none.
  """
  found = None if threat.parts else geometry_of(threat).order
  if found != order:
    raise ValueError(
      f"threat must be one ball of order {order}, over all modalities, as "
      f"`joint` makes it of several; got "
      f"{f'order {found}' if found else 'a budget for each modality'}"
    )
  return gauge_of(threat)


def check_settings(
  steps: int,
  searches: int,
  step_size: float,
  weight: float,
  confidence: float,
) -> None:
  """Raises ValueError unless the settings of a search make sense."""
  check_count("steps", steps)
  check_count("searches", searches)
  check_positive("step_size", step_size)
  check_positive("weight", weight)
  check_range("confidence", confidence, 0.0, np.finfo(np.float64).max)
