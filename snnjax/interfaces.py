"""Array and key aliases, records and callable protocols shared by all modules.

Axis letters used throughout the package: ``T`` time steps, ``B`` examples,
``C`` classes; ``...`` stands for the feature axes of one example.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Key = jax.Array  # typed jax.random.key: a scalar, or [B], one per example
PyTree = Any
State = Any  # a neuron's state: a pytree of [B, ...] arrays
Inputs = Array | Mapping[str, Array]  # [B, ...], or one array per modality
Labels = Array  # [B] integer classes
Variables = Mapping[str, PyTree]  # {"params": ..., "batch_stats": ...}


class Batch(NamedTuple):
  """Examples with their labels; the mask is False on padding.

  Attributes:
    inputs: array [B, ...] or a mapping of them, one per modality.
    labels: [B] integer classes.
    mask: [B] booleans, False where an example only fills up the batch.
  """

  inputs: Inputs
  labels: Labels
  mask: Array


class Trace(NamedTuple):
  """The activity of one spiking layer.

  Attributes:
    spikes: [T, B, ...] zeros and ones.
    drive: [T, B, ...] potential minus threshold, before the reset.
    state: the neuron's state after the last step.
  """

  spikes: Array
  drive: Array
  state: State


class Forward(NamedTuple):
  """The result of running a network.

  Attributes:
    logits: [B, C], the readout of the outputs.
    outputs: [T, B, C], the output layer at every step.
    traces: one `Trace` per spiking layer, by layer name.
    batch_stats: normalisation statistics, updated in train mode.
    states: the state of every layer with memory, by layer name; pass it to
      the next `apply` to go on where this one stopped.
  """

  logits: Array
  outputs: Array
  traces: Mapping[str, Trace]
  batch_stats: PyTree
  states: Mapping[str, State]


class Network(NamedTuple):
  """A model as two pure functions.

  Attributes:
    init: ``(key, inputs) -> variables``.
    apply: ``(variables, inputs, *, rule, key=None, train=False,
      states=None, window=None, precision=None, kernel=None) -> Forward``.
      `rule` is a `BackwardRule`; `precision` is set by `models.at_precision`,
      `kernel` by `models.with_kernel`;
      `key` is consumed by stochastic encoders and dropout; `states` and
      `window`, a half-open pair of steps, run one segment of the time axis.
  """

  init: Callable[[Key, Inputs], Variables]
  apply: Callable[..., Forward]


class Scored(NamedTuple):
  """A loss together with the logits that gave it.

  Attributes:
    loss: [B].
    logits: [B, C].
  """

  loss: Array
  logits: Array


class Aux(NamedTuple):
  """What an objective returns beside its scalar loss.

  Attributes:
    metrics: named scalars.
    batch_stats: normalisation statistics after the forward pass.
  """

  metrics: Mapping[str, Array]
  batch_stats: PyTree


class AttackResult(NamedTuple):
  """Adversarial examples, and whether they succeeded.

  Attributes:
    inputs: like the clean inputs.
    loss: [B], the loss at `inputs`; NaN where an example could not be judged:
      no loss was a number, the label names no class, or the clean input or
      the result lies outside the threat.
    success: [B] booleans, True where the prediction is wrong (or, for a
      targeted attack, is the target) at inputs that the threat allows. Logits
      that are not finite predict nothing, which is wrong. False where an
      example could not be judged, but for such logits.
    iterations: [B] int32, how often the oracle was probed for each example,
      the clean input included: up to its first success, or in all where it
      had none. One probe is a gradient, or a query where no gradient is used;
      an average over draws, or an estimate from differences, is one. An
      attack that goes on after a success, to come nearer, counts all.
  """

  inputs: Inputs
  loss: Array
  success: Array
  iterations: Array


LogitsFn = Callable[[Key, Inputs], Array]  # -> [B, C]
# What a caller may hand in for one; `snnjax.arguments.logits_function` says
# which it is by the arguments that it takes.
AnyLogitsFn = LogitsFn | Callable[[Inputs], Array]
LossFn = Callable[[Key, Inputs, Labels], Array]  # -> [B]
ScoredLossFn = Callable[[Key, Inputs, Labels], Scored]
Attack = Callable[[Key, Inputs, Labels], AttackResult]
# The last argument is the number of batches trained before this one, traced:
# one compiled step serves a weight that is annealed.
Objective = Callable[[Variables, Key, Batch, Array], tuple[Array, Aux]]


class BackwardRule(Protocol):
  """Turns currents into spikes and owns every gradient decision."""

  def __call__(
    self,
    neuron: Any,
    currents: Array,
    state: State | None = None,
    layer: str = "",
  ) -> Trace:
    """Runs a neuron over the currents of one layer.

    Args:
      neuron: a `snnjax.neurons.Neuron`.
      currents: [T, B, ...].
      state: the neuron's, before the first step; None is rest.
      layer: its name in `Forward.traces`, for rules that treat layers apart.
    """
    ...
