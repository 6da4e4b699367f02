"""Multimodal spiking networks: one branch per modality, late concatenation."""

import functools
from collections.abc import Mapping, Sequence

from snnjax.encoders import Encoder
from snnjax.interfaces import Network
from snnjax.models.convolutional import convolutional_layers
from snnjax.models.layers import Norm
from snnjax.models.network import Branch, build
from snnjax.models.perceptron import dense_layers
from snnjax.neurons import Neuron, Trainable, check_neuron
from snnjax.readouts import Readout, mean
from snnjax.validation import check_counts


def fusion(
  encoders: Mapping[str, Encoder],
  channels: Mapping[str, Sequence[int]],
  *,
  neuron: Neuron | Trainable,
  hidden: Sequence[int] = (64,),
  classes: int = 10,
  norm: Norm | None = None,
  readout: Readout | None = None,
  shrink: Mapping[str, int] | None = None,
  standardize: Mapping[str, tuple[Sequence[float], Sequence[float]]]
  | None = None,
) -> Network:
  """Builds a network whose inputs are a mapping of modalities.

  Each modality has its own encoder and conv-spike-pool blocks; the branches'
  spikes are concatenated at every step and go through dense spiking layers.

  Args:
    encoders: one per modality, all with the same number of steps.
    channels: output channels of each convolution, by the same modalities.
    neuron: fires in every layer.
    hidden: widths of the dense spiking layers after the concatenation.
    classes: number of logits.
    norm: makes the normalisation after each convolution, or None.
    readout: outputs to logits; the mean over time by default.
    shrink: side of an average pool before a branch's first convolution, by
      modality; none by default.
    standardize: mean and std per channel of the raw inputs, by modality; none
      by default.

  Raises:
    ValueError: if encoders and channels name different modalities, the neuron
      is none or a width is not a positive whole number.
  """
  if set(encoders) != set(channels):
    raise ValueError(
      "encoders and channels must name the same modalities; got "
      f"{sorted(encoders)} and {sorted(channels)}"
    )
  check_neuron(neuron)
  check_counts("hidden", hidden)
  for widths in channels.values():
    check_counts("channels", widths)
  sides = {} if shrink is None else shrink
  check_counts("shrink", sides.values())
  statistics = {} if standardize is None else standardize
  for name, own in (("shrink", sides), ("standardize", statistics)):
    if set(own) - set(encoders):
      raise ValueError(
        f"{name} must name modalities among {sorted(encoders)}; got "
        f"{sorted(own)}"
      )
  branches = {
    name: Branch(
      encoder,
      functools.partial(
        convolutional_layers,
        channels[name],
        neuron,
        norm=norm,
        standardize=statistics.get(name),
        shrink=sides.get(name, 1),
      ),
    )
    for name, encoder in encoders.items()
  }
  return build(
    branches,
    classes=classes,
    readout=mean() if readout is None else readout,
    trunk=functools.partial(dense_layers, hidden, neuron),
  )
