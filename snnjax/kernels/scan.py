"""The neuron scan over time."""

from collections.abc import Callable

from jax import lax

from snnjax.types import PyTree


def neuron_scan(
  step: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
  state: PyTree,
  currents: PyTree,
) -> tuple[PyTree, PyTree]:
  """Scans `step` over the leading time axis of `currents`."""
  return lax.scan(step, state, currents)
