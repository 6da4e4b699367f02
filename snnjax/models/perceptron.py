"""Multi-layer spiking perceptrons."""

from collections.abc import Sequence

import flax.linen as nn

from snnjax.encoders import Encoder
from snnjax.interfaces import Network
from snnjax.models.layers import Dense, Flatten, Spiking
from snnjax.models.network import Branch, build
from snnjax.neurons import Neuron, Trainable, check_neuron
from snnjax.readouts import Readout, mean
from snnjax.validation import check_counts


def dense_layers(
  hidden: Sequence[int], neuron: Neuron | Trainable, *, first: int = 1
) -> list[nn.Module]:
  """Returns a dense layer and its neurons for each hidden width.

  Args:
    hidden: widths.
    neuron: fires in every layer.
    first: number of the first layer's name, "dense1" and "dense_spike1".
  """
  layers: list[nn.Module] = []
  for number, features in enumerate(hidden, start=first):
    layers.append(Dense(features, name=f"dense{number}"))
    layers.append(Spiking(neuron, name=f"dense_spike{number}"))
  return layers


def mlp(
  hidden: Sequence[int],
  *,
  neuron: Neuron | Trainable,
  encoder: Encoder,
  classes: int = 10,
  readout: Readout | None = None,
) -> Network:
  """Builds a perceptron: flatten, hidden spiking layers, output layer.

  Args:
    hidden: widths of the hidden layers.
    neuron: fires in every hidden layer.
    encoder: data [B, ...] -> sequence.
    classes: number of logits.
    readout: outputs to logits; the mean over time by default.

  Raises:
    ValueError: if the neuron is none, as a function that makes one, or a width
      is not a positive whole number.
  """
  check_neuron(neuron)
  check_counts("hidden", hidden)

  def layers() -> list[nn.Module]:
    return [Flatten(name="flatten"), *dense_layers(hidden, neuron)]

  return build(
    Branch(encoder, layers),
    classes=classes,
    readout=mean() if readout is None else readout,
  )
