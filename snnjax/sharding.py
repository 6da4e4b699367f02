"""Mesh axes that are part of an array's type.

Two kinds are: those over which an array varies inside `jax.shard_map`, and
those that a mesh of explicit axes, `jax.make_mesh`'s default, spreads it over.
JAX then refuses operations that are silent about them. Where XLA places data
by itself there is nothing to know, and all functions here say so.
"""

from typing import Any

import jax


def typed_axes(array: jax.Array) -> set[str]:
  """Returns the names of all mesh axes in an array's type."""
  spread: set[str] = set()
  for entry in jax.typeof(array).sharding.spec:
    spread.update(entry if isinstance(entry, tuple) else {entry} - {None})
  return spread | varying_axes(array)


def varying_axes(array: jax.Array) -> set[str]:
  """Returns the mesh axes over which an array varies in `jax.shard_map`."""
  kind: Any = jax.typeof(array)
  # No default: a JAX with a third name for it is an AttributeError here, not
  # an array that varies over nothing.
  return set(kind.mat.varying if hasattr(kind, "mat") else kind.vma)


def spread_like(values: jax.Array, array: jax.Array) -> jax.Array:
  """Returns [B] values, spread over the mesh as [B, ...] arrays are.

  Arrays that `jax.vmap` maps together must be.

  Args:
    values: [B].
    array: [B, ...]; only the mesh axes of its leading axis matter.
  """
  spec = jax.typeof(array).sharding.spec
  if not spec or spec[0] is None:
    return values
  return jax.sharding.reshard(values, jax.sharding.PartitionSpec(spec[0]))
