"""Small convolutional spiking networks."""

from collections.abc import Sequence

import flax.linen as nn

from snnjax.encoders import Encoder
from snnjax.interfaces import Network
from snnjax.models.layers import (
  AveragePool,
  Convolution,
  Flatten,
  Images,
  Norm,
  Spiking,
  Standardize,
)
from snnjax.models.network import Branch, build
from snnjax.models.perceptron import dense_layers
from snnjax.neurons import Neuron, Trainable, check_neuron
from snnjax.readouts import Readout, mean
from snnjax.validation import check_counts


def convolutional_layers(
  channels: Sequence[int],
  neuron: Neuron | Trainable,
  *,
  norm: Norm | None = None,
  standardize: tuple[Sequence[float], Sequence[float]] | None = None,
  shrink: int = 1,
) -> list[nn.Module]:
  """Returns conv 3x3, optional norm, neurons and average pooling per entry.

  Args:
    channels: output channels of each convolution.
    neuron: fires after every convolution.
    norm: makes the normalisation between convolution and neurons, such as
      `BatchNorm`, or None.
    standardize: mean and std per channel of the raw inputs, or None.
    shrink: side of an average pool before everything else; 1 for none.
  """
  # Before standardising and everything else: a pool of raw pixels is cheap, and
  # a mean of standardised pixels is the standardised mean.
  layers: list[nn.Module] = [Images(name="images")]
  if shrink > 1:
    layers.append(AveragePool(shrink, name="shrink"))
  if standardize is not None:
    layers.append(Standardize(*standardize, name="standardize"))
  for number, features in enumerate(channels, start=1):
    layers.append(Convolution(features, name=f"conv{number}"))
    if norm is not None:
      layers.append(norm(name=f"norm{number}"))
    layers.append(Spiking(neuron, name=f"spike{number}"))
    layers.append(AveragePool(name=f"pool{number}"))
  return layers


def cnn(
  channels: Sequence[int] = (16, 32),
  *,
  neuron: Neuron | Trainable,
  encoder: Encoder,
  hidden: Sequence[int] = (),
  classes: int = 10,
  norm: Norm | None = None,
  standardize: tuple[Sequence[float], Sequence[float]] | None = None,
  shrink: int = 1,
  readout: Readout | None = None,
) -> Network:
  """Builds conv-spike-pool blocks, hidden dense layers and an output layer.

  Args:
    channels: output channels of each 3x3 convolution, each followed by
      neurons and 2x2 average pooling.
    neuron: fires in every layer.
    encoder: data [B, H, W, C] (or event frames [B, T, H, W, C]) -> sequence.
    hidden: widths of dense spiking layers after the convolutions.
    classes: number of logits.
    norm: makes the normalisation after each convolution, such as
      `BatchNorm`, or None.
    standardize: mean and std per channel of the raw inputs, or None.
    shrink: side of an average pool before everything else; 1 for none.
    readout: outputs to logits; the mean over time by default.

  Raises:
    ValueError: if the neuron is none, as a function that makes one, or a width
      is not a positive whole number.
  """
  check_neuron(neuron)
  check_counts("channels", channels)
  check_counts("hidden", hidden)
  check_counts("shrink", (shrink,))

  def layers() -> list[nn.Module]:
    return [
      *convolutional_layers(
        channels, neuron, norm=norm, standardize=standardize, shrink=shrink
      ),
      Flatten(name="flatten"),
      *dense_layers(hidden, neuron),
    ]

  return build(
    Branch(encoder, layers),
    classes=classes,
    readout=mean() if readout is None else readout,
  )
