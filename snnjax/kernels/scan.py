"""The neuron scan over time."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from snnjax.types import Array, PyTree

Step = Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]

# Inside a network, all steps spelled out train 2 to 5 times faster than a loop
# for T = 4 to 128 and 8e2 to 3e6 neurons, as XLA then fuses the scan with its
# neighbours; a loop unrolled in part is the slowest of all. But compilation
# grows with T: twice a loop's at 64 steps, four times at 128.
_MOST_STEPS = 32
_KEPT = "snnjax_potential"


def keep(potential: Array) -> Array:
  """Marks what a loop's backward pass needs of a step, and returns it.

  A neuron marks its charged potential, of which everything later in the step
  is computed. `neuron_scan` then keeps it in place of the step's inputs.
  """
  return checkpoint_name(potential, _KEPT)


def neuron_scan(
  step: Step,
  state: PyTree,
  currents: PyTree,
  *,
  unroll: bool | None = None,
) -> tuple[PyTree, PyTree]:
  """Runs neurons over the leading time axis.

    state_t, outputs_t = step(state_{t-1}, currents_t)

  In a loop, the backward pass recomputes each step from what the step marked
  by `keep`, and from its currents and the state before it where that does not
  do. For a LIF layer one array is kept, the charged potentials, and neither
  the currents nor the drives, which took a quarter longer.

  Args:
    step: (state, one step's currents) -> (state, one step's outputs).
    state: before the first step.
    currents: a tree of [T, ...] arrays.
    unroll: whether to spell out all steps. By default, up to 32 of them. A
      layer alone, outside any network, is faster in a loop if it is
      differentiated or has more than about 8 steps.

  Returns:
    The state after the last step, and the outputs as [T, ...] arrays.

  Raises:
    ValueError: if the currents have no arrays or differ in T.
  """
  steps = _steps(currents)
  if unroll is None:
    unroll = steps <= _MOST_STEPS
  if unroll and steps:
    return _spelled_out(step, state, currents, steps)
  # A loop's body is never merged with its recomputation, so no guard is needed.
  marked = jax.checkpoint_policies.save_only_these_names(_KEPT)
  light = jax.checkpoint(step, policy=marked, prevent_cse=False)
  return lax.scan(light, state, currents)


def _spelled_out(
  step: Step, state: PyTree, currents: PyTree, steps: int
) -> tuple[PyTree, PyTree]:
  """Runs one step after the other, without a loop."""
  once = jax.jit(step)  # traced and differentiated once, not T times
  leaves, tree = jax.tree.flatten(currents)
  slices = [_taken_apart(leaf) for leaf in leaves]
  outputs = []
  for t in range(steps):
    now = jax.tree.unflatten(tree, [each[t] for each in slices])
    state, output = once(state, now)
    outputs.append(output)
  return state, jax.tree.map(lambda *each: _put_together(each), *outputs)


def _taken_apart(sequence: Array) -> list[Array]:
  """Splits [T, B, ...] into T arrays [B, ...].

  Not by indexing, and where there are feature axes along the second axis of
  [B, T, ...]: layers merge the batch with time in that order, and the
  gradient, a concatenation, is then in the order in which the layer below
  reads it. XLA makes one that is transposed afterwards a loop that looks its
  step up for every element.
  """
  steps = sequence.shape[0]
  axis = 1 if sequence.ndim > 2 else 0
  parts = lax.split(jnp.moveaxis(sequence, 0, axis), (1,) * steps, axis)
  return [lax.squeeze(part, (axis,)) for part in parts]


def _put_together(outputs: Sequence[Array]) -> Array:
  """Stacks T arrays [B, ...] into [T, B, ...], by way of [B, T, ...]."""
  axis = 1 if outputs[0].ndim > 1 else 0
  return jnp.moveaxis(jnp.stack(outputs, axis), axis, 0)


def neuron_scan_reference(
  step: Step, state: PyTree, currents: PyTree
) -> tuple[PyTree, PyTree]:
  """Does what `neuron_scan` does, as a plain `jax.lax.scan`."""
  return lax.scan(step, state, currents)


def _steps(currents: PyTree) -> int:
  """The length of the leading axis that all arrays share."""
  shapes = [a.shape for a in jax.tree.leaves(currents)]
  lengths = {shape[:1] for shape in shapes}
  if len(lengths) != 1 or () in lengths:
    raise ValueError(
      f"currents must be arrays [T, ...] of one T; got shapes {shapes}"
    )
  return int(shapes[0][0])
