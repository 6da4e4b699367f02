"""The attacks that measure the alarms, each compiled once for many networks.

Each takes the network and the radius as arguments: networks of one
architecture, given as `jax.tree_util.Partial` of one function, and all radii
share one compilation.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from snnjax import attacks, losses, prng
from snnjax.attacks.candidates import success_then_loss
from snnjax.attacks.oracles import withstands
from snnjax.attacks.steppers import scale_steps, steepest
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.ravel import Amounts
from snnjax.attacks.threats.threat import Threat
from snnjax.interfaces import (
  Array,
  Attack,
  AttackResult,
  Inputs,
  Key,
  Labels,
  LogitsFn,
  Scored,
  ScoredLossFn,
)
from snnjax.losses import LogitsLoss
from snnjax.precision import exactly

# Queries of `attacks.hop_skip_jump`, and of each of its rounds.
_STARTS, _ROUND = 10, 33
SearchAttack = Callable[[LogitsFn, Threat, int], Attack]


class Program(NamedTuple):
  """What is compiled into an attack; another program is another compilation.

  Attributes:
    threat: ``radius -> Threat``.
    losses: from which one is chosen when the program runs.
    steps: how many.
    draws: of the network's randomness that every gradient averages.
    pairs: of queries that estimate the gradient; 0 differentiates.
  """

  threat: Callable[[Any], Threat]
  losses: tuple[LogitsLoss, ...]
  steps: int
  draws: int = 1
  pairs: int = 0


class Choice(NamedTuple):
  """The values that a compiled program is called with.

  Attributes:
    loss: which of the program's losses, by its position.
    radius: of the threat.
    share: the step size, as a share of the radius.
  """

  loss: Array
  radius: Amounts
  share: Array


def by_noise(logits_fn: LogitsFn, threat: Threat, queries: int) -> Attack:
  """Returns an attack that keeps the worst of `queries` random samples."""
  return attacks.random_noise(
    logits_fn, threat, loss=losses.margin_loss, draws=queries
  )


def by_square(logits_fn: LogitsFn, threat: Threat, queries: int) -> Attack:
  """Returns Square, for a norm ball or one for each modality."""
  return attacks.square(logits_fn, threat, queries=queries)


def by_hop_skip_jump(
  logits_fn: LogitsFn, threat: Threat, queries: int
) -> Attack:
  """Returns HopSkipJump, which sees predictions only."""
  rounds = max((queries - _STARTS) // _ROUND, 1)
  walk = attacks.hop_skip_jump(logits_fn, threat, rounds=rounds, starts=_STARTS)
  return attacks.within(walk, logits_fn, threat)


@functools.partial(jax.jit, static_argnums=0)
@exactly()
def climb(
  program: Program,
  logits_fn: LogitsFn,
  choice: Choice,
  keys: Key,
  first: Inputs,
  origin: Inputs,
  labels: Labels,
) -> tuple[AttackResult, Array]:
  """Runs the program's attack from points of the threat.

  Args:
    program: what is compiled.
    logits_fn: the network that is differentiated, or asked.
    choice: the loss, the radius and the step size.
    keys: [B].
    first: where the attack starts; the clean input competes beside it.
    origin: the clean inputs, around which the threat lies.
    labels: [B].

  Returns:
    The attack's result, and whether it lies in ball and box, [B].
  """
  threat = program.threat(choice.radius)

  def score(keys: Key, inputs: Inputs, labels: Labels) -> Scored:
    logits = logits_fn(keys, inputs)
    # One branch runs: the gradient of another may be infinite. Those of few
    # classes that have no such loss are never chosen.
    defined = losses_of(program.losses, logits)
    loss = jax.lax.switch(choice.loss, defined, logits, labels)
    return Scored(loss, logits)

  oracle = attacks.white_box(score)
  if program.pairs:
    # A quarter of the radius: between finer queries no spike may change.
    width = 0.25 * _smallest(choice.radius)
    oracle = attacks.spsa(
      _without_gradient(score), draws=program.pairs, width=width
    )
  if program.draws > 1:
    oracle = attacks.eot(oracle, program.draws)
  attack = _ascent(
    oracle, threat, choice, first, program.steps, success_then_loss
  )
  result = attack(keys, origin, labels)
  return result, threat.contains(result.inputs, origin)


def _ascent(
  oracle: attacks.Oracle,
  threat: Threat,
  choice: Choice,
  first: Inputs,
  steps: int,
  keep: attacks.Keep,
) -> Attack:
  """Returns the signed-gradient attack of a choice, from points `first`."""
  # One share for all modalities, each in units of its own radius.
  sizes = jax.tree.map(lambda r: choice.share * r, choice.radius)
  return attacks.ascend(
    oracle,
    optax.chain(steepest(threat), scale_steps(sizes)),
    threat,
    steps=steps,
    start=lambda key, clean: first,
    keep=keep,
  )


@functools.partial(jax.jit, static_argnums=0)
def advance(
  threat: Callable[[Any], Threat],
  choice: Choice,
  keys: Key,
  points: Inputs,
  origin: Inputs,
  gradient: Array,
) -> Inputs:
  """Returns the points after one more step along a gradient [B, D].

  The gradient is known already: the network is not asked.
  """

  def known_gradient(
    key: Key, state: tuple[()], inputs: Inputs, labels: Labels
  ) -> tuple[attacks.Probe, tuple[()]]:
    slope = ravel.ravel_examples(inputs)[1](gradient)
    # Loss and success do not matter: one step is made and the last point kept.
    loss = jnp.zeros(labels.shape, gradient.dtype)
    return attacks.Probe(loss, slope, jnp.ones_like(labels, bool)), state

  oracle = attacks.Oracle(lambda inputs: (), known_gradient)
  ball = threat(choice.radius)
  step = _ascent(oracle, ball, choice, points, 1, attacks.last)
  return step(keys, origin, jnp.zeros(gradient.shape[0], int)).inputs


def losses_of(
  wanted: tuple[LogitsLoss, ...], logits: Array
) -> tuple[LogitsLoss, ...]:
  """Returns the losses, those that need more classes replaced by the first.

  DLR needs three classes. All losses are compiled into one program, so that
  the position of a loss must not depend on the number of classes.

  Args:
    wanted: the losses; the first must be defined for these logits.
    logits: [B, C], as a program sees them.
  """
  # The number of classes is known when the program is traced.
  few = logits.shape[1] < 3
  return tuple(
    wanted[0] if few and loss is losses.dlr else loss for loss in wanted
  )


def _without_gradient(loss: ScoredLossFn) -> attacks.Oracle:
  """An oracle with loss and success but a gradient of zeros.

  SPSA estimates the gradient itself; the backward pass, the longer part of a
  compilation, is not compiled.
  """

  def grad(
    key: Key, state: tuple[()], inputs: Inputs, labels: Labels
  ) -> tuple[attacks.Probe, tuple[()]]:
    scored = loss(key, inputs, labels)
    correct = withstands(scored.logits, labels)
    no_gradient = jax.tree.map(jnp.zeros_like, inputs)
    return attacks.Probe(scored.loss, no_gradient, correct), state

  return attacks.Oracle(lambda inputs: (), grad)


@functools.partial(jax.jit, static_argnums=0)
@exactly()
def search(
  plan: tuple[SearchAttack, Callable[[Any], Threat], int],
  logits_fn: LogitsFn,
  radius: Amounts,
  keys: Key,
  inputs: Inputs,
  labels: Labels,
) -> tuple[AttackResult, Array]:
  """Runs an attack by queries.

  Args:
    plan: ``(search, threat, queries)``: which attack, ``radius -> Threat`` and
      how often it may ask.
    logits_fn: the network that is asked.
    radius: of the threat.
    keys: [B].
    inputs: the clean inputs.
    labels: [B].

  Returns:
    The attack's result, and whether it lies in ball and box, [B].
  """
  build, threat, queries = plan
  ball = threat(radius)
  result = build(logits_fn, ball, queries)(keys, inputs, labels)
  return result, ball.contains(result.inputs, inputs)


@functools.partial(jax.jit, static_argnums=0)
@exactly()
def slopes(
  loss: LogitsLoss,
  logits_fn: LogitsFn,
  keys: Key,
  inputs: Inputs,
  labels: Labels,
) -> tuple[Array, Array, Array]:
  """Returns the gradients [B, D] of a loss and of the margin loss.

  The third value says which inputs are classified correctly, [B].
  """
  logits, pull = jax.vjp(lambda points: logits_fn(keys, points), inputs)

  def slope(which: LogitsLoss) -> Array:
    return jax.grad(lambda z: jnp.sum(which(z, labels)))(logits)

  # One after the other: the backward pass is compiled once.
  first, second = jax.lax.map(
    lambda cotangent: ravel.ravel_examples(pull(cotangent)[0])[0],
    jnp.stack([slope(loss), slope(losses.margin_loss)]),
  )
  return first, second, losses.predicts(logits, labels)


@functools.partial(jax.jit, static_argnums=0)
def values(
  wanted: tuple[LogitsLoss, ...], logits: Array, labels: Labels
) -> Array:
  """Returns K losses of the same logits, [K, B]."""
  return jnp.stack([loss(logits, labels) for loss in wanted])


@jax.jit
def nudge(
  radius: Amounts, keys: Key, inputs: Inputs, gradients: tuple[Array, ...]
) -> tuple[Inputs, Inputs, tuple[Array, ...]]:
  """Returns ``x + u``, ``x - u`` and what gradients predict for them.

  u has a random sign and the radius' size in every input. The third value
  holds, for each of the gradients [B, D], the difference ``2 <g, u>`` of the
  loss between the two points, [B].
  """
  center, restore = ravel.ravel_examples(inputs)
  # Corners of the ball's box: differences are as large as they can be.
  signs = prng.per_example(
    lambda k: jax.random.rademacher(k, center.shape[1:], center.dtype), keys
  )
  step = ravel.row(radius, inputs) * signs
  rises = tuple(2 * jnp.sum(gradient * step, 1) for gradient in gradients)
  return restore(center + step), restore(center - step), rises


@functools.partial(jax.jit, static_argnums=0)
def start(
  threat: Callable[[Any], Threat], radius: Amounts, keys: Key, inputs: Inputs
) -> Inputs:
  """Returns a random point of the threat around each input."""
  return threat(radius).sample(keys, inputs)


def _smallest(radius: Amounts) -> Any:
  """The smallest radius above zero; 1 if there is none."""
  radii = jnp.stack(jax.tree.leaves(radius))
  least = jnp.min(jnp.where(radii > 0, radii, jnp.inf))
  return jnp.where(jnp.isfinite(least), least, 1.0)
