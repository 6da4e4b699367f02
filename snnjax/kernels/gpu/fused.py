"""The neuron's scan in one kernel forward and one backward."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.interfaces import Array, PyTree
from snnjax.kernels.gpu import primitives
from snnjax.kernels.gpu.elementwise import NotElementwiseError, Recording
from snnjax.kernels.gpu.primitives import Task
from snnjax.kernels.gpu.steps import Size, Step
from snnjax.kernels.scan import Charge, Fire, neuron_scan_reference


def fused_scan(
  charge: Charge,
  fire: Fire,
  state: PyTree,
  inputs: PyTree,
  *,
  interpret: bool = False,
) -> tuple[PyTree, PyTree]:
  """Does what `kernels.scan.neuron_scan` does, in one kernel each way.

  `charge` and `fire` may be anything that acts on every neuron alike; the
  kernels are made of them. Forward, it keeps what is charged and nothing else;
  backward it fires again. Forward derivatives, and derivatives of derivatives,
  are plain scans.

  Args:
    charge: see `neuron_scan`.
    fire: the same.
    state: arrays of the neurons' shape, [B, ...] or [N].
    inputs: arrays [T, ...] that broadcast to it, of one T of at least 1.
    interpret: run the kernels without a GPU, slowly, for tests.

  Raises:
    ValueError: if they do something else than act on single neurons, have
      derivatives of their own (`jax.custom_jvp`), or take other than floating
      numbers; it says which.
  """
  shape, now = _shape(state, inputs)
  if not math.prod(shape):  # no neurons: a kernel wants one at least
    return neuron_scan_reference(charge, fire, state, inputs)
  try:
    step, constants, trees = _record(charge, fire, state, now, shape)
  except NotElementwiseError as error:
    raise ValueError(
      f"kernel='fused' cannot run this neuron: {error}. kernel='scan' can"
    ) from error
  steps = jax.tree.leaves(inputs)[0].shape[0]
  groups = shape[0] if len(shape) > 1 else 1
  size = Size(groups, steps, math.prod(shape) // groups)
  last, outputs = primitives.forward(
    Task(step, size, interpret),
    [_flat(value, shape) for value in constants],
    [_flat(value, shape) for value in jax.tree.leaves(state)],
    [_flat_over_time(value, shape) for value in jax.tree.leaves(inputs)],
  )
  return (
    trees[0].unflatten([value.reshape(shape) for value in last]),
    trees[1].unflatten([_over_time(value, shape) for value in outputs]),
  )


def _shape(state: PyTree, inputs: PyTree) -> tuple[tuple[int, ...], PyTree]:
  """The neurons' shape, and one step's inputs without their values."""
  leaves = [*jax.tree.leaves(state), *jax.tree.leaves(inputs)]
  for leaf in leaves:
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
      raise ValueError(
        "kernel='fused' takes states and inputs of floating numbers; got "
        f"{jnp.result_type(leaf)}: kernel='scan' takes others"
      )
  now = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), inputs
  )
  shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves((state, now))]
  shape = jnp.broadcast_shapes(*shapes)
  for leaf in jax.tree.leaves(state):
    if jnp.shape(leaf) != shape:
      raise ValueError(
        "kernel='fused' takes states of the neurons' shape, "
        f"{shape}; got {jnp.shape(leaf)}: kernel='scan' takes others"
      )
  return shape, now


def _record(
  charge: Charge,
  fire: Fire,
  state: PyTree,
  now: PyTree,
  shape: tuple[int, ...],
) -> tuple[Step, list[Array], list[Any]]:
  """One step, its constants, and the trees of the state and the outputs."""
  constants: list[Array] = []
  before = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(shape, jnp.result_type(leaf)), state
  )
  charging = Recording(charge, (before, now), shape, constants)
  charged = charging.tree.unflatten(
    [jax.ShapeDtypeStruct(shape, kind) for kind in charging.kinds]
  )
  firing = Recording(fire, (charged, now), shape, constants)
  trees = firing.tree.children()
  kinds, moving = (
    [leaf.dtype for leaf in jax.tree.leaves(tree)] for tree in (before, now)
  )
  after = firing.kinds[: len(kinds)]
  if trees[0] != jax.tree.structure(state) or after != kinds:
    raise ValueError(
      f"fire must return a state like the one before it, of {kinds}; got one "
      f"of {after}"
    )
  fixed = [jnp.result_type(value) for value in constants]
  step = Step(
    charging.program([*fixed, *kinds, *moving]),
    firing.program([*fixed, *charging.kinds, *moving]),
    (fixed, kinds, moving),
  )
  return step, constants, trees


def _flat(value: Array, shape: tuple[int, ...]) -> Array:
  """[G or 1, M or 1] of what broadcasts to the neurons' shape."""
  value = jnp.asarray(value)
  own = (1,) * (len(shape) - value.ndim) + value.shape
  own = own[max(value.ndim - len(shape), 0) :]
  value = value.reshape(own)
  first = 1 if len(shape) > 1 else 0
  rest = own[first:]
  if any(size != 1 for size in rest) and rest != shape[first:]:
    value = jnp.broadcast_to(value, (*own[:first], *shape[first:]))
  return value.reshape(own[0] if first else 1, -1)


def _flat_over_time(sequence: Array, shape: tuple[int, ...]) -> Array:
  """[G or 1, T, M or 1] of [T, ...].

  Where neurons have feature axes, layers merge batch and time in this order:
  nothing is moved for a layer that reads or writes it.
  """
  own = sequence.shape[1:]
  own = (1,) * (len(shape) - len(own)) + own
  sequence = sequence.reshape(len(sequence), *own)
  first = 1 if len(shape) > 1 else 0
  rest = own[first:]
  if any(size != 1 for size in rest) and rest != shape[first:]:
    sequence = jnp.broadcast_to(
      sequence, (len(sequence), *own[:first], *shape[first:])
    )
  if first:
    sequence = jnp.moveaxis(sequence, 0, 1)
    return sequence.reshape(*sequence.shape[:2], -1)
  return sequence.reshape(1, len(sequence), -1)


def _over_time(values: Array, shape: tuple[int, ...]) -> Array:
  """[T, ...] of [G, T, M]."""
  steps = values.shape[1]
  if len(shape) > 1:
    whole = values.reshape(shape[0], steps, *shape[1:])
    return jnp.moveaxis(whole, 1, 0)
  return values.reshape(steps, *shape)
