"""The compiled steps of an evaluation; each takes one whole microbatch."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from snnjax import prng
from snnjax.arguments import check_attack, check_logits, describe
from snnjax.attacks import Threat
from snnjax.attacks.threats.threat import check_threat
from snnjax.evaluation.records import Trial
from snnjax.interfaces import Array, Inputs, Key, Labels, LogitsFn
from snnjax.logistic import log_softmax
from snnjax.precision import exactly
from snnjax.sharding import on_own_rows

Builder = Callable[[], Trial]


def partial(function: Callable) -> jax.tree_util.Partial:
  """Makes a callable a pytree, so that `jit` takes it as an argument."""
  if isinstance(function, jax.tree_util.Partial):
    return function
  return jax.tree_util.Partial(function)


def example_keys(key: Key, stage: str, draw: int, ids: Array) -> Key:
  """Returns [B] keys that follow from (key, stage, draw, example id)."""
  return _fold(prng.fold_in_name(key, stage), draw, ids)


@jax.jit
def _fold(key: Key, draw: Array, ids: Array) -> Key:
  draw_key = jax.random.fold_in(key, draw)
  return jax.vmap(jax.random.fold_in, (None, 0))(draw_key, ids)


@functools.partial(jax.jit, static_argnames="mesh")
@exactly()
def logits_of(
  judge: LogitsFn, keys: Key, inputs: Inputs, mesh: Mesh | None = None
) -> Array:
  """Returns the judge's logits, [B, C]; of a mesh, each device's own rows'."""
  return on_own_rows(_logits_of, mesh)(judge, keys, inputs)


def _logits_of(judge: LogitsFn, keys: Key, inputs: Inputs) -> Array:
  logits = judge(keys, inputs)
  check_logits(logits, "classify")
  return logits


@functools.partial(jax.jit, static_argnames="mesh")
def judge_logits(
  logits: Array, labels: Labels, mesh: Mesh | None = None
) -> tuple[Array, Array, Array]:
  """Returns prediction, cross-entropy and finiteness of logits, each [B]."""
  judge = on_own_rows(lambda _, *rows: _judge_logits(*rows), mesh)
  result: tuple[Array, Array, Array] = judge((), logits, labels)
  return result


def _judge_logits(logits: Array, labels: Labels) -> tuple[Array, Array, Array]:
  finite = jnp.all(jnp.isfinite(logits), axis=1)
  prediction = jnp.where(finite, jnp.argmax(logits, axis=1), -1)
  log_probability = jnp.take_along_axis(
    log_softmax(logits), labels[:, None], axis=1
  )
  return prediction, -log_probability[:, 0], finite


class Attempt(NamedTuple):
  """An attack's output with its measurements, before it is classified."""

  inputs: Inputs
  boxed: Array  # the clean inputs
  claimed: Array
  contained: Array
  finite: Array
  distance: Array
  zero_gradient: Array
  iterations: Array
  budget: Any  # the threat's box and radius; None of another judge


@functools.partial(jax.jit, static_argnames="mesh")
@exactly()
def attempt(
  builder: Builder,
  keys: tuple[Key, Key],
  inputs: Inputs,
  labels: Labels,
  mesh: Mesh | None = None,
) -> Attempt:
  """Attacks one microbatch, or one per device, and measures the outputs.

  Raises:
    ValueError: if the builder returns no `Trial`, or its attack no result.
  """
  fields: Any = dict.fromkeys(Attempt._fields, True)
  has_rows = Attempt(**{**fields, "budget": False})
  return on_own_rows(_attempt, mesh, returned=has_rows)(
    builder, keys, inputs, labels
  )


def _attempt(
  builder: Builder, keys: tuple[Key, Key], inputs: Inputs, labels: Labels
) -> Attempt:
  case = builder()
  _check_case(case)
  result = case.attack(keys[0], inputs, labels)
  if not hasattr(result, "success") or not hasattr(result, "iterations"):
    raise ValueError(
      f"a case's attack must return an AttackResult; got {describe(result)}"
    )
  finite = _every(jnp.isfinite, result.inputs)
  if case.gradient is None:
    zero_gradient = jnp.full(labels.shape, jnp.nan, jnp.float32)
  else:
    # Where it begins and where it ends: a mask need not hold in both.
    ends = jax.tree.map(lambda *x: jnp.stack(x), inputs, result.inputs)
    slope = functools.partial(case.gradient, keys[1])
    zero = jax.lax.map(
      lambda end: _every(lambda leaf: leaf == 0, slope(end, labels)), ends
    )
    zero_gradient = zero[0] | (zero[1] & ~result.success)
  threat = case.threat
  return Attempt(
    inputs=result.inputs,
    boxed=threat.contains(inputs, inputs),
    claimed=result.success,
    # A comparison with NaN may answer either way: finiteness is asked too.
    contained=threat.contains(result.inputs, inputs) & finite,
    finite=finite,
    distance=threat.distance(result.inputs, inputs),
    zero_gradient=zero_gradient.astype(jnp.float32),
    iterations=result.iterations,
    budget=(
      (threat.box, threat.radius) if isinstance(threat, Threat) else None
    ),
  )


def _check_case(case: Any) -> None:
  """Raises ValueError unless this is a case, made of an attack and a threat."""
  if not isinstance(case, Trial):
    raise ValueError(
      "cases must be functions that return Trial(attack, threat); one returned "
      f"{describe(case)}"
    )
  check_attack(case.attack, "a case's attack")
  if not all(hasattr(case.threat, name) for name in ("contains", "distance")):
    check_threat(case.threat, "a case's threat")


def words(budget: Any) -> str:
  """Returns a threat's (box, radius) in words; nothing for None."""
  if budget is None:
    return ""
  box, radius = budget
  return f"box {_spell(box)}, radius {_spell(radius)}"


def _spell(value: Any) -> str:
  """Returns numbers in words: by modality, and of an array its span."""
  if isinstance(value, Mapping):
    return ", ".join(f"{name} {_spell(inner)}" for name, inner in value.items())
  if isinstance(value, tuple):
    return f"({', '.join(map(_spell, value))})"
  low, high = float(np.min(value)), float(np.max(value))
  return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _every(test: Callable[[Array], Array], inputs: Inputs) -> Array:
  flags = [
    jnp.all(test(leaf).reshape(leaf.shape[0], -1), axis=1)
    for leaf in jax.tree.leaves(inputs)
  ]
  return jnp.all(jnp.stack(flags), axis=0)
