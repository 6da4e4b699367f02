"""JSMA: the saliency-map attack, one site after another."""

import jax
import jax.numpy as jnp

from snnjax.arguments import logits_function
from snnjax.attacks.loop import Point, Proposer, search
from snnjax.attacks.oracles import (
  Oracle,
  OracleState,
  Probe,
  Source,
  withstands,
)
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.l0 import (
  budgets_of,
  check_sites,
  largest,
  sites_of,
)
from snnjax.attacks.threats.threat import Threat, walls
from snnjax.interfaces import AnyLogitsFn, Array, Attack, Inputs, Key, Labels
from snnjax.losses import margin_loss, rival
from snnjax.lost_derivatives import guard
from snnjax.validation import check_count


def saliency(logits_fn: AnyLogitsFn) -> Oracle:
  """Returns the oracle whose gradient is the signed saliency of each input.

  With a the gradient of the strongest rival's logit and b that of the sum of
  all others, the saliency is ``sign(a) |a b|`` where a and b have opposite
  signs, and 0 elsewhere. Its loss is the margin.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``.

  Raises:
    ValueError: if the function does not take these arguments.

  References:
    Nicolas Papernot, Patrick McDaniel, Somesh Jha, Matt Fredrikson, Z. Berkay
    Celik, Ananthram Swami, 2016, "The limitations of deep learning in
    adversarial settings", arXiv 1511.07528.
  """
  logits_fn = logits_function(logits_fn)

  def grad(
    key: Key, state: OracleState, inputs: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    watched = guard(lambda points: logits_fn(key, points), inputs)
    logits, pull = jax.vjp(lambda points: logits_fn(key, points), inputs)
    logits = watched(logits)
    goal = jax.nn.one_hot(
      rival(logits, labels), logits.shape[1], dtype=logits.dtype
    )
    # One forward pass serves both slopes: of the rival, and of all the others.
    (up,), (down,) = watched((pull(goal), pull(1 - goal)))

    def signed_product(a: Array, b: Array) -> Array:
      # Where both have one sign, a push helps the rival and the others alike.
      return jnp.where(a * b < 0, jnp.sign(a) * jnp.abs(a * b), 0)

    correct = withstands(logits, labels)
    loss = margin_loss(logits, labels)
    return Probe(loss, jax.tree.map(signed_product, up, down), correct), state

  return Oracle(lambda inputs: (), grad)


def jsma(
  source: Source,
  threat: Threat,
  *,
  steps: int,
  site_axes: ravel.Amounts = 1,
) -> Attack:
  """Returns the saliency-map attack: one site after another, to the wall.

  Each step takes the unchanged site of the largest total saliency of those
  channels that can still move, and moves them to the walls that their signs
  point to.

  Args:
    source: a logits function, or an oracle whose gradient says where to push
      (`saliency` is the former's).
    threat: from `l0`, or one such for each modality.
    steps: how many sites to change at most, if the threat has as many.
    site_axes: as in `l0`.

  Raises:
    ValueError: if `steps` is not a positive whole number, or the threat counts
      no sites.

  References:
    Papernot et al. 2016, arXiv 1511.07528.
    Rey Wiyatno, Anqi Xu, 2018, "Maximal Jacobian-based saliency map attack",
    arXiv 1808.07945 (untargeted, both directions).

  Differs from the former by taking single sites, not pairs; by pushing both
    ways; and by making the strongest rival of each step the target.
  """
  check_sites(threat)
  check_count("steps", steps)
  oracle = source if isinstance(source, Oracle) else saliency(source)

  def init(keys: Key, origin: Inputs, labels: Labels) -> tuple[None, tuple]:
    del keys, origin, labels
    return None, ()

  def propose(keys: Key, point: Point, memory: tuple) -> tuple[Inputs, tuple]:
    del keys
    here, restore = ravel.ravel_examples(point.inputs)
    center = ravel.ravel_examples(point.origin)[0]
    sites = sites_of(point.origin, site_axes)
    lower, upper = walls(threat.box, point.origin)
    push = ravel.ravel_examples(point.probe.gradient)[0]
    goal = jnp.where(push > 0, upper, lower)
    # A channel at the wall it is pushed to cannot move, and must not count.
    able = (push != 0) & (goal != here)
    gain = sites.total(jnp.where(able, jnp.abs(push), 0))
    # Every site moves once: a second visit would only push it back and forth.
    untouched = sites.total((here != center).astype(here.dtype)) == 0
    budgets = budgets_of(threat, point.origin, site_axes)
    spent = budgets.each(lambda part: jnp.sum(~part, 1), untouched)
    left = spent.astype(here.dtype) < jnp.floor(budgets.counts)
    gain = jnp.where(untouched & budgets.spread(left), gain, 0)
    best = largest(gain, jnp.ones((1, 1))) & (gain > 0)
    return restore(jnp.where(sites.spread(best) & able, goal, here)), memory

  return search(oracle, Proposer(init, propose), threat, steps=steps)
