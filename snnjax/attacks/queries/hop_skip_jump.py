"""HopSkipJump: a hard-label attack, which sees only predictions.

Its queries follow one schedule, the same for all examples: first the starts,
uniform points of the box until one is misclassified; then rounds of halvings
(the segment from the clean input to a misclassified point, down to the
boundary), draws (random directions there, whose decisions estimate its normal)
and tries (steps along that normal). Which of these a query is follows from its
number alone, so that one program serves all; `_propose` makes the point of a
query and `_learn` takes in what the network decided there.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax import prng, vectors
from snnjax.attacks.candidates import nearest_success
from snnjax.attacks.loop import Point, Proposer, search
from snnjax.attacks.oracles import Source, as_oracle
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, box_only
from snnjax.interfaces import Array, Attack, AttackResult, Inputs, Key, Labels
from snnjax.losses import margin_loss
from snnjax.validation import check_count

_TRIES = 3  # lengths that a step is tried at, each twice the one before
_REACH = 0.01  # length of the tried directions, as a share of the distance


class _Schedule(NamedTuple):
  """How many queries of each kind there are; see the module."""

  starts: int
  halvings: int
  draws: int

  @property
  def round(self) -> int:
    """How many queries one round takes."""
    return self.halvings + self.draws + _TRIES


class _Memory(NamedTuple):
  """What the search knows of each example.

  Attributes:
    near: [B, D], the closest misclassified point; the clean input until one
      is known.
    has_start: [B], whether one is known.
    low: [B], share of the way from the clean input to `far` up to which the
      prediction is right.
    high: [B], share from which on it is wrong.
    far: [B, D], the end of the segment that is halved, misclassified.
    noise: [B, D], the direction being tried.
    signs: [B], the sum of decisions, +1 wrong and -1 right.
    plain: [B, D], the sum of directions.
    signed: [B, D], the sum of directions times decisions.
  """

  near: Array
  has_start: Array
  low: Array
  high: Array
  far: Array
  noise: Array
  signs: Array
  plain: Array
  signed: Array


def hop_skip_jump(
  source: Source,
  threat: Threat,
  *,
  rounds: int,
  starts: int = 10,
  halvings: int = 10,
  draws: int = 20,
) -> Attack:
  """Returns HopSkipJump, which walks along the decision boundary.

  After `starts` uniform tries for any misclassified point, each round halves
  the segment to the clean input down to the boundary, estimates the direction
  of the wrong side there from `draws` decisions, and steps that way by
  ``d/sqrt(round)``, d the distance so far, or a half or a quarter of it. The
  closest misclassified point is returned; there is no budget, `within` adds
  one.

  Args:
    source: a logits function, or an oracle whose decisions alone are used.
    threat: gives the box, the distance and the form of a step; budgets per
      modality are the units of their parts, and one of 0 freezes its part.
    rounds: how many rounds.
    starts: how many tries for a first misclassified point.
    halvings: how many decisions a round spends on the segment.
    draws: how many decisions a round spends on the direction.

  Raises:
    ValueError: if a count is below one.

  References:
    Jianbo Chen, Michael Jordan, Martin Wainwright, 2020, "HopSkipJumpAttack: a
    query-efficient decision-based attack", arXiv 1904.02144.

  Differs from the paper by a number of decisions that does not grow with the
    rounds and by lengths that are tried three times only.
  """
  for name, value in (
    ("rounds", rounds),
    ("starts", starts),
    ("halvings", halvings),
    ("draws", draws),
  ):
    check_count(name, value)
  oracle = as_oracle(source, None, margin_loss)
  schedule = _Schedule(starts, halvings, draws)

  def propose(
    keys: Key, point: Point, memory: _Memory
  ) -> tuple[Inputs, _Memory]:
    memory = _learn(schedule, threat, point, memory)
    return _propose(schedule, threat, keys, point, memory)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    run = search(
      oracle,
      Proposer(functools.partial(_begin, threat), propose),
      box_only(threat.box),
      steps=starts + rounds * schedule.round,
      keep=nearest_success(
        lambda result: threat.distance(result.inputs, inputs)
      ),
    )
    return run(key, inputs, labels)

  return attack


def _begin(
  threat: Threat, keys: Key, origin: Inputs, labels: Labels
) -> tuple[Inputs, _Memory]:
  """Returns the first try, with nothing known."""
  center, restore = ravel.ravel_examples(origin)
  none = jnp.zeros(labels.shape, center.dtype)
  still = jnp.zeros_like(center)
  memory = _Memory(
    near=center,
    has_start=jnp.zeros(labels.shape, bool),
    low=none,
    high=none + 1,
    far=center,
    noise=still,
    signs=none,
    plain=still,
    signed=still,
  )
  return restore(_anywhere(threat, keys, origin)), memory


def _learn(
  schedule: _Schedule, threat: Threat, point: Point, memory: _Memory
) -> _Memory:
  """Returns the memory with the decision at the point taken in."""
  place = (point.tried - 1 - schedule.starts) % schedule.round
  starting = point.tried <= schedule.starts
  halving = ~starting & (place < schedule.halvings)
  drawing = ~starting & ~halving & (place < schedule.halvings + schedule.draws)
  here, restore = ravel.ravel_examples(point.inputs)
  wrong = ~point.probe.correct
  # Bisection: the wrong end of the segment moves in, or the right one does.
  middle = (memory.low + memory.high) / 2
  high = jnp.where(halving & wrong, middle, memory.high)
  low = jnp.where(halving & ~wrong, middle, memory.low)
  # A point of a draw is only asked for its side of the boundary: it may be
  # nearer by chance, but is none that the walk goes on from.
  gap = threat.distance(point.inputs, point.origin)
  gap_before = threat.distance(restore(memory.near), point.origin)
  nearer = wrong & ~drawing & (~memory.has_start | (gap < gap_before))
  # A step may lead away from the clean input, and is taken all the same: the
  # segment from there crosses the boundary elsewhere, as a rule nearer.
  stepping = ~starting & ~halving & ~drawing
  end = wrong & (stepping | (starting & nearer))
  sign = jnp.where(wrong, 1, -1) * drawing.astype(here.dtype)
  return memory._replace(
    near=ravel.select_examples(nearer, here, memory.near),
    has_start=memory.has_start | (wrong & ~drawing),
    low=jnp.where(end, 0, low),
    high=jnp.where(end, 1, high),
    far=ravel.select_examples(end, here, memory.far),
    signs=memory.signs + sign,
    plain=memory.plain + jnp.where(drawing, memory.noise, 0),
    signed=memory.signed + sign[:, None] * memory.noise,
  )


def _propose(
  schedule: _Schedule, threat: Threat, keys: Key, point: Point, memory: _Memory
) -> tuple[Inputs, _Memory]:
  """Returns the point of the next query.

  Points for every kind of query are made, since the turn is traced, and the
  right one is chosen at the end.
  """
  following = point.tried + 1
  starting = following <= schedule.starts
  place = (following - 1 - schedule.starts) % schedule.round
  center, restore = ravel.ravel_examples(point.origin)
  first, second = prng.split(keys)
  anew = _anywhere(threat, first, point.origin)
  # A halving: the middle of what is left of the segment.
  middle = (memory.low + memory.high)[:, None] / 2
  half = center + middle * (memory.far - center)
  # A draw: from the boundary a short way in a random direction, short against
  # the distance, so that the boundary is nearly flat there.
  gap = threat.distance(restore(memory.near), point.origin)[:, None]
  noise = _direction(threat, second, point.origin)
  tried = memory.near + _REACH * gap * noise
  # The normal: the mean of the directions, each with its decision. The mean
  # decision is subtracted, as the paper does to lower the variance: the point
  # is seldom right on the boundary, and one side is seen more often.
  mean = memory.signs[:, None] / schedule.draws
  slope = restore(memory.signed - mean * memory.plain)
  way = ravel.ravel_examples(threat.ascent(slope, restore(memory.near)))[0]
  number = (following - 1 - schedule.starts) // schedule.round + 1
  attempt = jnp.maximum(place - schedule.halvings - schedule.draws, 0)
  # The step: d/sqrt(round), after a quarter and a half of it. The shortest
  # comes first, so that the last one that works, which stays, is the longest.
  shorter = (_TRIES - 1 - attempt).astype(gap.dtype)
  length = gap / jnp.sqrt(jnp.maximum(number, 1).astype(gap.dtype))
  unit = _units(threat, point.origin)
  stepped = memory.near + length * 0.5**shorter * way * unit
  halving = place < schedule.halvings
  drawing = ~halving & (place < schedule.halvings + schedule.draws)
  ahead = jnp.where(drawing, tried, stepped)
  ahead = jnp.where(halving, half, ahead)
  # Without a misclassified point there is no segment: go on drawing starts.
  ahead = jnp.where(memory.has_start[:, None], ahead, anew)
  ahead = jnp.where(starting, anew, ahead)
  # A new round is at another place of the boundary: its normal begins anew.
  keep = jnp.where(halving, 0, 1).astype(center.dtype)
  return restore(ahead), memory._replace(
    noise=noise,
    signs=memory.signs * keep,
    plain=memory.plain * keep,
    signed=memory.signed * keep,
  )


def _direction(threat: Threat, keys: Key, origin: Inputs) -> Array:
  """Returns random directions of unit length as the threat has it, [B, D]."""
  matrix, restore = ravel.ravel_examples(origin)
  noise = prng.per_example(
    lambda k: jax.random.normal(k, matrix.shape[1:], matrix.dtype), keys
  )
  noise = noise * _units(threat, origin)
  scale = threat.distance(restore(matrix + noise), origin)[:, None]
  return noise / jnp.where(scale > 0, scale, 1)


def _anywhere(threat: Threat, keys: Key, origin: Inputs) -> Array:
  """Returns uniform points of the box; what may not change does not."""
  points = ravel.ravel_examples(box_only(threat.box).sample(keys, origin))[0]
  free = _units(threat, origin) > 0
  return jnp.where(free, points, ravel.ravel_examples(origin)[0])


def _units(threat: Threat, inputs: Inputs) -> Array:
  """Returns how long a step of length one is in each column, [B, D].

  The modality's own radius under a budget for each, else 1.
  """
  radii = threat.radius if isinstance(threat.radius, Mapping) else 1.0
  radii = ravel.broadcast_modalities("radius", radii, inputs)

  def spread(leaf: Array, radius: float | Array) -> Array:
    column = vectors.column(jnp.asarray(radius, leaf.dtype), leaf)
    return jnp.broadcast_to(column, leaf.shape)

  return ravel.ravel_examples(ravel.map_modalities(spread, inputs, radii))[0]
