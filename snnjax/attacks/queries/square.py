"""Square: random search with patches that shrink; no gradient is used."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.attacks.candidates import (
  candidate,
  keep_better,
  no_candidate,
  success_then_loss,
)
from snnjax.attacks.loop import Point, Proposer, search, with_restarts
from snnjax.attacks.oracles import Source, as_oracle
from snnjax.attacks.queries import patches, square_moves
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, norm_of
from snnjax.interfaces import Array, Attack, AttackResult, Inputs, Key, Labels
from snnjax.losses import LogitsLoss, margin_loss
from snnjax.validation import check_count, check_range

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_SCHEDULE = 10_000  # the queries that the halvings are written for


def square(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  queries: int = 5000,
  restarts: int = 1,
  share: float = 0.8,
  schedule: int | None = None,
) -> Attack:
  """Returns the Square attack.

  Each query changes the best perturbation so far in one patch at a random
  place and is kept if it does better. For linf the patch moves by 2 epsilon
  times a random sign per channel, clipped; for l2 and l1 the mass of a second
  patch is moved into the first, in the form of a dipole of pyramids. The
  patch covers a share of all sites that halves along a fixed schedule.
  A patch spans all axes of an input but the batch and, from three axes on,
  the channels: height and width of an image, time too of events. With several
  modalities, the first point changes all and each later query one of them,
  drawn at random from those that may change; under a budget for each, its own
  budget and norm alone decide how.

  Args:
    source: a logits function, or an oracle whose gradient is not used.
    threat: the budget: one norm ball, or one for each modality.
    loss: of a logits function, see `Source`; None is the margin loss.
    queries: how many points to try.
    restarts: how many runs.
    share: the first patch's share of the sites.
    schedule: the number of queries over which the patch shrinks fully;
      `queries` by default. AutoAttack uses 10,000 for its 5,000.

  Raises:
    ValueError: if an argument is out of range, or the threat is not a norm
      ball, or one for each modality.

  References:
    Maksym Andriushchenko, Francesco Croce, Nicolas Flammarion, Matthias Hein,
    2020, "Square Attack: a query-efficient black-box adversarial attack via
    random search", arXiv 1912.00049. The l1 form: Croce, Hein 2021,
    arXiv 2103.01208.

  Differs from the authors' code in that patches reach the last row and column
  (theirs stop one short) and that a success does not end the search: the
  margin goes on growing.
  """
  norm_of(threat)  # A wrong threat is told here, not when the attack runs.
  check_count("queries", queries)
  check_count("restarts", restarts)
  check_range("share", share, 0.0, 1.0)
  shares = _shares(queries, share, schedule or queries)

  def init(
    keys: Key, origin: Inputs, labels: Labels
  ) -> tuple[Inputs, AttackResult]:
    point = _change_deltas(
      square_moves.first_deltas, threat, keys, origin, origin
    )
    return point, no_candidate(origin, labels)

  def propose(
    keys: Key, point: Point, best: AttackResult
  ) -> tuple[Inputs, AttackResult]:
    new = candidate(point.inputs, point.probe.loss, ~point.probe.correct)
    best = keep_better(success_then_loss, best, new)
    # The clean input and the first point came before the first patch.
    places = _patches_at(point.origin, shares, jnp.maximum(point.tried - 1, 0))
    change = functools.partial(square_moves.change_patch, places=places)
    return _change_deltas(change, threat, keys, best.inputs, point.origin), best

  oracle = as_oracle(source, loss, margin_loss)
  run = search(oracle, Proposer(init, propose), threat, steps=queries)
  return with_restarts(run, restarts)


def _shares(queries: int, share: float, schedule: int) -> np.ndarray:
  """Returns the patch's share of the sites for each query, [queries + 1]."""
  turn = np.arange(queries + 1) * _SCHEDULE // schedule
  return share / 2.0 ** np.searchsorted(_HALVINGS, turn)


def _patches_at(
  origin: Inputs, shares: np.ndarray, turn: Array
) -> list[square_moves.Patch]:
  lengths = [patches.sites(leaf) for leaf in jax.tree.leaves(origin)]
  return [
    square_moves.Patch(
      axes, jnp.asarray(patches.sides(shares, axes), int)[turn]
    )
    for axes in lengths
  ]


def _change_deltas(
  change: Callable[..., square_moves.Deltas],
  threat: Threat,
  keys: Key,
  inputs: Inputs,
  origin: Inputs,
) -> Inputs:
  """Applies a change to the perturbation of each example, in weighted rows."""
  norm = norm_of(threat)
  center, (rows, restore) = norm.rows(origin)[0], norm.rows(inputs)
  deltas, structure = jax.tree.flatten(
    ravel.ravel_examples(origin)[1](rows - center)
  )
  # The budgets come in the blocks' order, which is that of a tree's leaves.
  radii = [
    jnp.broadcast_to(jnp.asarray(radius, rows.dtype), rows.shape[:1])
    for radius in jax.tree.leaves(threat.radius)
  ]
  act = functools.partial(change, norm.blocks(origin))
  moved = jax.tree.unflatten(structure, jax.vmap(act)(keys, radii, deltas))
  return restore(center + ravel.ravel_examples(moved)[0])
