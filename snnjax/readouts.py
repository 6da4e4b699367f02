"""Readouts: the output layer over time [T, B, C] to logits [B, C]."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from snnjax.interfaces import Array
from snnjax.neurons import Neuron, integrator
from snnjax.validation import Constant


class Readout(NamedTuple):
  """How outputs become logits.

  Attributes:
    reduce: [T, B, C] -> [B, C], over time.
    linear: whether `reduce` commutes with a dense layer, so that the layer
      runs once on reduced spikes instead of T times.
    neuron: integrates the output currents without firing, or None: the
      outputs are the currents themselves.
  """

  reduce: Callable[[Array], Array]
  linear: bool = False
  neuron: Neuron | None = None


def mean() -> Readout:
  """The mean over time."""
  return Readout(lambda outputs: jnp.mean(outputs, axis=0), linear=True)


def last() -> Readout:
  """The last step."""
  return Readout(lambda outputs: outputs[-1], linear=True)


def largest() -> Readout:
  """The maximum over time, per class."""
  return Readout(lambda outputs: jnp.max(outputs, axis=0))


def membrane(leak: Constant = 1.0) -> Readout:
  """The final potential of output neurons that integrate and never fire.

  Args:
    leak: share of the potential kept per step, in [0, 1].

  Raises:
    ValueError: if the leak is outside its range.
  """
  return Readout(lambda outputs: outputs[-1], neuron=integrator(leak))
