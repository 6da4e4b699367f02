"""Threats on several modalities: a budget each, none, or one for all."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from snnjax import prng
from snnjax.arguments import check_takes, describe
from snnjax.attacks.threats import norms, ravel
from snnjax.attacks.threats.threat import (
  UNIT_BOX,
  Bounds,
  Threat,
  check_threat,
  linf,
)
from snnjax.interfaces import Array, Inputs, Key, PyTree
from snnjax.validation import check_positive


def per_modality(threats: Mapping[str, Threat]) -> Threat:
  """Returns the threat that bounds every modality on its own.

  Its distance is the largest share of a budget that is spent,
  ``max_m distance_m / radius_m``: 1 is the limit, whatever the norms.

  Args:
    threats: a threat for every modality of the inputs; `frozen()` for one that
      must not change.

  Raises:
    ValueError: if there is no threat here; or, from its functions, if the
      names are not those of the inputs.
  """
  if not isinstance(threats, Mapping):
    raise ValueError(
      "threats must be a mapping from each modality to its threat, "
      '{"image": attacks.linf(8 / 255), ...}; got '
      f"{describe(threats)}"
    )
  if not threats:
    raise ValueError("threats must name at least one modality; got none")
  threats = dict(threats)
  for name, threat in threats.items():
    check_threat(threat, f"threats[{name!r}]")
  # By place in sorted order: a mapping's own order must not matter.
  places = {name: place for place, name in enumerate(sorted(threats))}

  def map_threats(
    act: Callable[..., Any], origin: Inputs, *others: Inputs
  ) -> PyTree:
    """Returns ``act(threat, origin, *others)`` of every modality."""
    return {
      name: act(threat, *(tree[name] for tree in (origin, *others)))
      for name, threat in ravel.broadcast_modalities(
        "the threat", threats, origin
      ).items()
    }

  def sample(key: Key, origin: Inputs) -> PyTree:
    keys = {name: prng.fold_in(key, places[name]) for name in threats}
    return map_threats(lambda threat, o, k: threat.sample(k, o), origin, keys)

  def contains(candidate: Inputs, origin: Inputs) -> Array:
    inside = map_threats(
      lambda threat, o, c: threat.contains(c, o), origin, candidate
    )
    return jnp.all(jnp.stack(list(inside.values())), 0)

  def distance(candidate: Inputs, origin: Inputs) -> Array:
    shares = map_threats(_share, origin, candidate)
    return jnp.max(jnp.stack(list(shares.values())), 0)

  radii = {name: threat.radius for name, threat in threats.items()}
  parts = {name: threat.norm for name, threat in threats.items() if threat.norm}
  axes = {
    name: threat.site_axes
    for name, threat in threats.items()
    if threat.site_axes is not None
  }
  return Threat(
    project=lambda candidate, origin: map_threats(
      lambda threat, o, c: threat.project(c, o), origin, candidate
    ),
    sample=sample,
    ascent=lambda gradient, candidate: map_threats(
      lambda threat, c, g: threat.ascent(g, c), candidate, gradient
    ),
    contains=contains,
    distance=distance,
    radius=radii,
    box={name: threat.box for name, threat in threats.items()},
    times=lambda factor: per_modality(
      {name: threat.times(factor) for name, threat in threats.items()}
    ),
    norm=norms.mixed(parts, radii) if len(parts) == len(threats) else None,
    site_axes=axes if len(axes) == len(threats) else None,
  )


def _share(threat: Threat, origin: Inputs, candidate: Inputs) -> Array:
  """Returns the share of a modality's budget that is spent, [B]."""
  return norms.share(threat.distance(candidate, origin), threat.radius)


def frozen() -> Threat:
  """Returns the threat under which nothing may change."""
  return linf(0.0, (-jnp.inf, jnp.inf))


def joint(
  norm: Callable[[float | Array, Bounds], Threat],
  epsilon: float | Array,
  weights: Mapping[str, float],
  box: Bounds = UNIT_BOX,
) -> Threat:
  """Returns one budget for all modalities: ``norm(w_m delta_m) <= epsilon``.

  Args:
    norm: `linf`, `l2`, `l1` or another that builds a threat from a radius
      and a box.
    epsilon: the budget, in weighted units.
    weights: what a unit of each modality costs, positive.
    box: smallest and largest values in raw units, for all or per modality.

  Raises:
    ValueError: if a weight is not positive, or the names are not those of
      the inputs.
  """
  check_takes(
    "norm", norm, ("epsilon", "box"), "attacks.linf, attacks.l2 and l1 are such"
  )
  if not weights:
    raise ValueError("weights must name at least one modality; got none")
  weights = dict(weights)
  for name, weight in weights.items():
    check_positive(f"weights[{name!r}]", weight)
  lower, upper = (
    ravel.broadcast_modalities(
      "box", bound, dict.fromkeys(weights, jnp.zeros(()))
    )
    for bound in box
  )

  def weigh(inputs: PyTree) -> PyTree:
    return _apply_weights(jnp.multiply, ravel.widen(inputs), weights)

  def unweigh(inputs: PyTree) -> PyTree:
    return _apply_weights(jnp.divide, ravel.widen(inputs), weights)

  # The norm in weighted units, whose walls are weighted too.
  inner = norm(epsilon, (weigh(lower), weigh(upper)))

  def project(candidate: Inputs, origin: Inputs) -> Inputs:
    return ravel.store_like(nearest(candidate, ravel.widen(origin)), origin)

  def nearest(candidate: Inputs, origin: Inputs) -> Inputs:
    before, home = weigh(candidate), weigh(origin)
    after = inner.project(before, home)
    back = unweigh(after)
    # Weighing and back rounds: what moved must not have moved further by it,
    # and what did not (below) must come back bit for bit.
    back = jax.tree.map(
      lambda r, again, a, h, o: ravel.step_back(
        r, o, jnp.abs(again - h) > jnp.abs(a - h)
      ),
      *(back, weigh(back), after, home, origin),
    )
    exact = jax.tree.map(
      lambda a, b, r, c: jnp.where(a == b, c, r),
      *(after, before, back, ravel.widen(candidate)),
    )
    inside = ravel.map_modalities(jnp.clip, exact, lower, upper)
    return jax.tree.map(
      lambda a, h, i, o: jnp.where(a == h, o, i), after, home, inside, origin
    )

  def rows(inputs: Inputs) -> tuple[Array, Callable[[Array], Inputs]]:
    matrix, restore = ravel.ravel_examples(weigh(inputs))
    return matrix, lambda changed: unweigh(restore(changed))

  inner_norm = inner.norm
  return Threat(
    project=project,
    sample=lambda key, origin: project(
      unweigh(inner.sample(key, weigh(origin))), origin
    ),
    # The gradient in weighted units is the raw one divided by the weights.
    ascent=lambda gradient, candidate: unweigh(
      inner.ascent(unweigh(gradient), weigh(candidate))
    ),
    contains=lambda candidate, origin: inner.contains(
      weigh(candidate), weigh(origin)
    ),
    distance=lambda candidate, origin: inner.distance(
      weigh(candidate), weigh(origin)
    ),
    radius=epsilon,
    box=box,
    times=lambda factor: joint(norm, factor * epsilon, weights, box),
    norm=inner_norm
    and inner_norm._replace(
      rows=rows,
      slopes=lambda gradient: ravel.ravel_examples(unweigh(gradient))[0],
      room=lambda inputs: inner_norm.room(weigh(inputs)),
    ),
    site_axes=inner.site_axes,
  )


def _apply_weights(
  operation: Callable[..., Array], inputs: Inputs, weights: Mapping[str, float]
) -> PyTree:
  costs = ravel.broadcast_modalities("weights", weights, inputs)
  return ravel.map_modalities(operation, inputs, costs)
