"""The neuron scan over time."""

from collections.abc import Callable

import jax
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
  if unroll:
    return lax.scan(step, state, currents, unroll=max(steps, 1))
  # A loop's body is never merged with its recomputation, so no guard is needed.
  marked = jax.checkpoint_policies.save_only_these_names(_KEPT)
  light = jax.checkpoint(step, policy=marked, prevent_cse=False)
  return lax.scan(light, state, currents)


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
