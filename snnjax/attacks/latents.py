"""Attacks that search something else than the input: offsets, logits, weights.

What is searched, the latent, is decoded to an input; the network sees, the
threat bounds and success means the decoded input alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax import prng
from snnjax.attacks.admission import admit_result, checked_labels
from snnjax.attacks.oracles import (
  Oracle,
  OracleState,
  Probe,
  Source,
  as_oracle,
)
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.interfaces import Array, Attack, Inputs, Key, Labels
from snnjax.losses import LogitsLoss
from snnjax.lost_derivatives import guard
from snnjax.precision import exactly

Latent = Inputs  # an array [B, ...], or a mapping of such arrays
Decode = Callable[[Latent, Inputs], Inputs]  # (latent, clean) -> inputs


class LatentResult(NamedTuple):
  """What an attack on a latent found.

  Attributes:
    inputs: the decoded inputs, like the clean ones and within the threat.
    loss: [B], there; as in `AttackResult`.
    success: [B] booleans, there; as in `AttackResult`.
    iterations: [B] int32, as in `AttackResult`.
    latent: what decodes to `inputs`.
  """

  inputs: Inputs
  loss: Array
  success: Array
  iterations: Array
  latent: Latent


LatentAttack = Callable[[Key, Inputs, Labels], LatentResult]


def through(
  decode: Callable[[Latent], Inputs],
  source: Source,
  *,
  loss: LogitsLoss | None = None,
) -> Oracle:
  """Returns the oracle of what decodes to inputs.

  Loss and success are those at ``decode(latent)``, and the gradient is the
  source's there, pulled back: ``J^T g(decode(latent))``.

  Args:
    decode: ``latent -> inputs``, of the same examples. It is deterministic; a
      draw that it needs, such as Gumbel noise, is a part of the latent whose
      gradient it stops.
    source: a logits function of decoded inputs, or an oracle, whose gradient
      may be an estimate.
    loss: of a logits function, see `Source`; None is the cross-entropy.
  """
  oracle = as_oracle(source, loss)

  @exactly()
  def init(latent: Latent) -> OracleState:
    return oracle.init(decode(latent))

  @exactly()
  def grad(
    key: Key, state: OracleState, latent: Latent, labels: Labels
  ) -> tuple[Probe, OracleState]:
    inputs, pull = jax.vjp(decode, latent)
    probe, state = oracle.grad(key, state, inputs, labels)
    slope = _cast_like(probe.gradient, inputs)
    (gradient,) = guard(decode, latent)(pull(slope))
    return probe._replace(gradient=gradient), state

  return Oracle(init, grad)


def latent_attack(
  decode: Decode,
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  start: Callable[[Key, Inputs], Latent],
  search: Callable[[Oracle], Attack],
) -> LatentAttack:
  """Returns the attack that searches a latent and returns decoded inputs.

  Every latent is decoded and projected into the threat before the network
  sees it. Inside the threat the slope is the input's own; outside it goes
  through the projection, so that a value beyond a wall has none. A bound on
  the latent keeps it where its slopes are. An identity as `decode`, with the
  same threat in `search`, is the plain attack.

  The clean input competes only as far as a latent decodes to it, the first
  one as a rule.

  Args:
    decode: ``(latent, clean inputs) -> inputs`` like the clean ones; see
      `through`.
    source: a logits function of decoded inputs, or an oracle.
    threat: where the decoded inputs may be.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    start: ``(key, clean inputs) -> latent``, where the search begins: an
      array, or a mapping of them, whose leading axis is that of the examples.
    search: ``oracle -> attack`` on latents, with a threat of *their* own:
      ``lambda oracle: attacks.pgd(oracle, attacks.linf(3.0, (-np.inf,
      np.inf)), step_size=0.5, steps=20)`` for offsets of at most 3.

  Returns:
    ``(key, inputs, labels) -> LatentResult``; `attacks.as_attack` leaves the
    latent out.

  Raises:
    ValueError: if the threat is none; from the attack, if the decoded inputs
      are not like the clean ones, or inputs or labels do not fit, see
      `check_inputs`.
  """
  check_threat(threat)
  oracle = as_oracle(source, loss)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> LatentResult:
    labels = checked_labels(threat, inputs, labels)
    keys = prng.example_keys(key, prng.batch_size(inputs))

    @exactly()
    def decode_checked(latent: Latent) -> Inputs:
      points = decode(latent, inputs)
      _check_alike(points, inputs)
      return points

    first = start(prng.fold_in_name(keys, "latent"), inputs)
    run = search(
      through(decode_checked, _projected_oracle(oracle, threat, inputs))
    )
    on_latents = run(keys, first, labels)
    latent = on_latents.inputs
    near = threat.project(decode_checked(latent), inputs)
    result = admit_result(threat, on_latents._replace(inputs=near), inputs)
    return LatentResult(*result, latent)

  return attack


def _projected_oracle(oracle: Oracle, threat: Threat, origin: Inputs) -> Oracle:
  """Returns an oracle that projects its points before it asks another one."""

  def project(points: Inputs) -> Inputs:
    return threat.project(points, origin)

  def grad(
    key: Key, state: OracleState, points: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    near, pull = jax.vjp(project, points)
    probe, state = oracle.grad(key, state, near, labels)
    (outside,) = pull(_cast_like(probe.gradient, near))
    # Inside nothing is projected, and the slope is the source's own: on the
    # wall itself the projection's derivative would be half of it, or none.
    inside = threat.contains(points, origin)
    slope = _cast_like(probe.gradient, points)
    gradient = ravel.select_examples(inside, slope, outside)
    return probe._replace(gradient=gradient), state

  return Oracle(lambda points: oracle.init(project(points)), grad)


def _cast_like(gradient: Inputs, points: Inputs) -> Inputs:
  """Returns a gradient in the points' types: an oracle's may be a wider one."""
  return jax.tree.map(lambda g, x: g.astype(x.dtype), gradient, points)


def _check_alike(decoded: Inputs, inputs: Inputs) -> None:
  """Raises ValueError unless decoded inputs have the clean ones' shapes."""
  shapes, wanted = (jax.tree.map(jnp.shape, tree) for tree in (decoded, inputs))
  if shapes != wanted:
    raise ValueError(
      f"decode must return inputs like the clean ones, of shape {wanted}; got "
      f"{shapes}"
    )
