"""The neuron scan over time."""

import importlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from snnjax.interfaces import Array, PyTree
from snnjax.kernels.gpu import devices

Charge = Callable[[PyTree, PyTree], PyTree]
Fire = Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]

# How a scan is computed: "fused" is `gpu.fused`, "scan" what is in this file.
KERNELS = ("auto", "fused", "scan")

# Inside a network, all steps spelled out train 2 to 5 times faster than a loop
# for T = 4 to 128 and 8e2 to 3e6 neurons, as XLA then fuses the scan with its
# neighbours; a loop unrolled in part is the slowest of all. But compilation
# grows with T: twice a loop's at 64 steps, four times at 128.
_MOST_STEPS = 32


def form_of(kernel: str) -> str:
  """Returns "fused" or "scan", whichever a choice means where JAX computes.

  Args:
    kernel: one of `KERNELS`. "auto" is "scan" on every platform, until a GPU
      has shown that the fused kernels are right there, and faster.

  Raises:
    ValueError: if it is none, or "fused" on a device that has no such kernels;
      it names the device.
  """
  check_kernel(kernel)
  if kernel == "fused":
    devices.check_device()
    return kernel
  return "scan"


def check_kernel(kernel: str) -> None:
  """Raises ValueError unless this is one of `KERNELS`."""
  if kernel not in KERNELS:
    raise ValueError(
      f"kernel must be one of {', '.join(KERNELS)}; got {kernel!r}"
    )


def neuron_scan(
  charge: Charge,
  fire: Fire,
  state: PyTree,
  inputs: PyTree,
  *,
  unroll: bool | None = None,
  kernel: str = "auto",
) -> tuple[PyTree, PyTree]:
  """Runs neurons over the leading time axis.

    charged_t = charge(state_{t-1}, inputs_t)
    state_t, outputs_t = fire(charged_t, inputs_t)

  A loop carries what is charged from step to step, and its backward pass
  recomputes each step from that. For a LIF layer it so keeps one array, the
  charged potentials, and reads the currents once.

  Args:
    charge: (state, one step's inputs) -> what is charged.
    fire: (what is charged, one step's inputs) -> (state, one step's outputs).
    state: before the first step.
    inputs: a tree of [T, ...] arrays.
    unroll: whether to spell out all steps. By default, up to 32 of them. A
      layer alone, outside any network, is faster in a loop if it is
      differentiated or has more than about 8 steps.
    kernel: "scan", or "fused" for one kernel each way on a CUDA GPU, which
      takes no `unroll`; see `form_of` and `gpu.fused`.

  Returns:
    The state after the last step, and the outputs as [T, ...] arrays.

  Raises:
    ValueError: if the inputs have no arrays or differ in T, or the kernel is
      "fused" and the device or the neuron has none.
  """
  chosen = form_of(kernel)
  steps = _steps(inputs)
  if not steps:
    return neuron_scan_reference(charge, fire, state, inputs)
  if chosen == "fused":
    # Pallas takes longer to import than all of JAX.
    fused = importlib.import_module("snnjax.kernels.gpu.fused")
    return fused.fused_scan(charge, fire, state, inputs)
  if unroll is None:
    unroll = steps <= _MOST_STEPS
  form = _run_unrolled if unroll else _run_loop
  return form(charge, fire, state, inputs, steps)


def _run_loop(
  charge: Charge, fire: Fire, state: PyTree, inputs: PyTree, steps: int
) -> tuple[PyTree, PyTree]:
  """Runs a loop whose body fires and then charges for the next step.

  The state is carried for its last value only: where nobody asks for it, it
  is not computed.
  """

  def at(t: Array | int) -> PyTree:
    return jax.tree.map(
      lambda a: lax.dynamic_index_in_dim(a, t, keepdims=False), inputs
    )

  def body(
    carry: tuple[PyTree, PyTree], t: Array
  ) -> tuple[tuple[PyTree, PyTree], PyTree]:
    state, outputs = fire(carry[0], at(t))
    # The body charges for the step after it; the last one has none, and what
    # it charges, with its own inputs again, is dropped.
    return (charge(state, at(jnp.minimum(t + 1, steps - 1))), state), outputs

  # The backward pass keeps the carry of each step and computes the rest again.
  # A loop's body is never merged with its recomputation, so no guard is needed.
  light = jax.checkpoint(body, prevent_cse=False)
  first = (charge(state, at(0)), state)
  (_, state), outputs = lax.scan(light, first, jnp.arange(steps))
  return state, outputs


def _run_unrolled(
  charge: Charge, fire: Fire, state: PyTree, inputs: PyTree, steps: int
) -> tuple[PyTree, PyTree]:
  """Runs one step after the other, without a loop."""
  # Under `jit` the step is traced and differentiated once, not T times.
  once = jax.jit(_step(charge, fire))
  leaves, tree = jax.tree.flatten(inputs)
  slices = [_split_steps(leaf) for leaf in leaves]
  outputs = []
  for t in range(steps):
    now = jax.tree.unflatten(tree, [leaf[t] for leaf in slices])
    state, output = once(state, now)
    outputs.append(output)
  return state, jax.tree.map(lambda *steps: _stack_steps(steps), *outputs)


def _split_steps(sequence: Array) -> list[Array]:
  """Splits [T, B, ...] into T arrays [B, ...], the same as ``list(sequence)``.

  Where the arrays have feature axes, [B, T, ...] is split along its second
  axis instead of indexing [T, B, ...] along its first.
  """
  # The gradient of a split is a concatenation. Layers merge batch and time in
  # the order [B, T], so this one is already in the order in which the layer
  # below reads it. Were it transposed afterwards, XLA would make a loop that
  # looks its step up for every element.
  steps = sequence.shape[0]
  axis = 1 if sequence.ndim > 2 else 0
  parts = lax.split(jnp.moveaxis(sequence, 0, axis), (1,) * steps, axis)
  return [lax.squeeze(part, (axis,)) for part in parts]


def _stack_steps(outputs: Sequence[Array]) -> Array:
  """Stacks T arrays [B, ...] into [T, B, ...], by way of [B, T, ...]."""
  axis = 1 if outputs[0].ndim > 1 else 0
  return jnp.moveaxis(jnp.stack(outputs, axis), axis, 0)


def neuron_scan_reference(
  charge: Charge, fire: Fire, state: PyTree, inputs: PyTree
) -> tuple[PyTree, PyTree]:
  """Does what `neuron_scan` does, as a plain `jax.lax.scan`."""
  return lax.scan(_step(charge, fire), state, inputs)


def _step(
  charge: Charge, fire: Fire
) -> Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]:
  return lambda state, now: fire(charge(state, now), now)


def _steps(inputs: PyTree) -> int:
  """The length of the leading axis that all arrays share."""
  shapes = [a.shape for a in jax.tree.leaves(inputs)]
  lengths = {shape[:1] for shape in shapes}
  if len(lengths) != 1 or () in lengths:
    raise ValueError(
      f"inputs must be arrays [T, ...] of one T; got shapes {shapes}"
    )
  return int(shapes[0][0])
