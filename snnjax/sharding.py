"""Meshes of devices, and mesh axes that are part of an array's type.

`over_devices` makes a mesh along which batches are split, and `on_own_rows`
runs on every device of it the program of a single one.

Two kinds of axes are in a type: those over which an array varies inside
`jax.shard_map`, and those that a mesh of explicit axes, `jax.make_mesh`'s
default, spreads it over. JAX then refuses operations that are silent about
them. Where XLA places data by itself there is nothing to know, and all
functions that ask for axes say so.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA = "data"  # the axis that splits a batch


def over_devices(devices: Sequence[jax.Device]) -> Mesh:
  """Returns a mesh of one axis, "data", whose arrays XLA places by itself."""
  return Mesh(np.asarray(devices), (DATA,), axis_types=(AxisType.Auto,))


def rows(mesh: Mesh) -> NamedSharding:
  """Returns the sharding that splits the leading axis over a mesh's devices."""
  return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def whole(mesh: Mesh) -> NamedSharding:
  """Returns the sharding that has a copy on every device of a mesh."""
  return NamedSharding(mesh, PartitionSpec())


def put(tree: Any, sharding: NamedSharding | None) -> Any:
  """Puts the JAX arrays of a tree where a sharding says.

  Args:
    tree: leaves that are no JAX arrays stay as they are.
    sharding: None leaves everything where it is.
  """
  if sharding is None:
    return tree
  return jax.tree.map(
    lambda leaf: (
      jax.device_put(leaf, sharding) if isinstance(leaf, jax.Array) else leaf
    ),
    tree,
  )


def on_own_rows(
  function: Callable, mesh: Mesh | None, *, returned: Any = None
) -> Callable:
  """Returns a function that every device of a mesh runs on rows of its own.

  Each runs what one device alone would run on as many rows, and none waits for
  another: the results are those of separate calls.

  Args:
    function: of something that all devices share, and of trees of arrays
      [B, ...]; it returns such a tree.
    mesh: of n devices, which divides B; None returns the function itself.
    returned: for a tree of which parts have no rows, the prefix of it that is
      True where there are rows; all parts have by default. Parts without rows
      are taken from one device.
  """
  if mesh is None:
    return function
  split, shared = PartitionSpec(mesh.axis_names), PartitionSpec()
  outputs: Any = split
  if returned is not None:
    outputs = jax.tree.map(lambda has: split if has else shared, returned)

  def spread(common: Any, *arrays: Any) -> Any:
    # The check would refuse loops whose carry begins equal on all devices.
    return jax.shard_map(
      function,
      mesh=mesh,
      in_specs=(shared, *(split for _ in arrays)),
      out_specs=outputs,
      check_vma=False,
    )(common, *arrays)

  return spread


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
