"""The VGG family of SR and SNN-RAT, and that of HIRE and DIET-SNN.

Both are sequences of 3x3 convolutions and 2x2 average pools, then dense
spiking layers. The first normalise every convolution and have biases, the
second use dropout instead and no bias.

References:
  Simonyan, Zisserman 2014, arXiv 1409.1556; Liu et al. 2024 (SR),
  arXiv 2405.20355; Kundu et al. 2021 (HIRE), arXiv 2110.11417; Rathi, Roy 2020
  (DIET-SNN), arXiv 2008.03658.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn

from snnjax.encoders import Encoder
from snnjax.interfaces import Network
from snnjax.models.layers import (
  AveragePool,
  BatchNorm,
  Convolution,
  Dense,
  Dropout,
  Flatten,
  Images,
  Norm,
  Spiking,
  Standardize,
)
from snnjax.models.network import Branch, build
from snnjax.neurons import Neuron, Trainable, check_neuron
from snnjax.readouts import Readout, mean
from snnjax.validation import check_counts

POOL = 0  # stands for a 2x2 average pool among channel counts

SR = {
  "vgg5": (64, POOL, 128, 128, POOL),
  "vgg11": (64, POOL, 128, 256, POOL, 512, 512, 512, POOL, 512, 512),
  "vgg13": (
    *(64, 64, POOL, 128, 128, POOL, 256, 256, POOL),
    *(512, 512, POOL, 512, 512, POOL),
  ),
  "vgg16": (
    *(64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL),
    *(512, 512, 512, POOL, 512, 512, 512, POOL),
  ),
}
HIRE = {
  "vgg5": (64, POOL, 128, 128, POOL),
  "vgg11": (64, POOL, 128, 256, POOL, 512, 512, POOL, 512, POOL, 512, 512),
  "vgg16": (
    *(64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL),
    *(512, 512, 512, POOL, 512, 512, 512),
  ),
}


class Style(NamedTuple):
  """What surrounds the convolutions of one family.

  Attributes:
    layouts: channel counts and pools by the network's name.
    norm: makes the normalisation of every convolution, or None.
    use_bias: whether convolutions and hidden dense layers have biases.
    dropout: rate after every spiking layer that no pool follows.
  """

  layouts: dict[str, tuple[int, ...]]
  norm: Norm | None
  use_bias: bool
  dropout: float


def sr_style(norm: Norm = BatchNorm) -> Style:
  """SR's and SNN-RAT's networks: batch norm, biases, no dropout.

  Args:
    norm: makes the normalisation; another one, such as tdBN, may take the
      place of batch norm.
  """
  return Style(SR, norm, True, 0.0)


def hire_style(dropout: float = 0.2) -> Style:
  """HIRE's and DIET-SNN's networks: dropout, no normalisation, no bias.

  Args:
    dropout: rate in [0, 1).

  Raises:
    ValueError: if the rate is outside its range.
  """
  if not 0 <= dropout < 1:
    raise ValueError(f"dropout must lie in [0, 1); got {dropout}")
  return Style(HIRE, None, False, dropout)


def vgg(
  layout: str = "vgg11",
  *,
  neuron: Neuron | Trainable,
  encoder: Encoder,
  style: Style | None = None,
  hidden: Sequence[int] = (4096, 4096),
  classes: int = 10,
  standardize: tuple[Sequence[float], Sequence[float]] | None = None,
  readout: Readout | None = None,
) -> Network:
  """Builds a spiking VGG.

  Args:
    layout: a name in the style's layouts, such as "vgg11".
    neuron: fires in every layer.
    encoder: images [B, H, W, C] (or event frames) -> sequence.
    style: `sr_style()` by default, or `hire_style()`.
    hidden: widths of the dense spiking layers.
    classes: number of logits.
    standardize: mean and std per channel of the raw inputs, or None.
    readout: outputs to logits; the mean over time by default.

  Raises:
    ValueError: if the style has no layout of that name, the neuron is none or
      a width is not a positive whole number.
  """
  chosen = sr_style() if style is None else style
  if layout not in chosen.layouts:
    raise ValueError(
      f"layout must be one of {sorted(chosen.layouts)}; got {layout!r}"
    )
  check_neuron(neuron)
  check_counts("hidden", hidden)

  def layers() -> list[nn.Module]:
    modules: list[nn.Module] = [Images(name="images")]
    if standardize is not None:
      modules.append(Standardize(*standardize, name="standardize"))
    modules += _features(chosen.layouts[layout], chosen, neuron)
    modules.append(Flatten(name="flatten"))
    for number, features in enumerate(hidden, start=1):
      modules += [
        Dense(features, use_bias=chosen.use_bias, name=f"dense{number}"),
        Spiking(neuron, name=f"dense_spike{number}"),
        Dropout(chosen.dropout, name=f"dense_drop{number}"),
      ]
    return modules

  return build(
    Branch(encoder, layers),
    classes=classes,
    readout=mean() if readout is None else readout,
  )


def _features(
  channels: Sequence[int], style: Style, neuron: Neuron | Trainable
) -> list[nn.Module]:
  """Convolutions, norms, neurons, dropout and pools, numbered by block."""
  layers: list[nn.Module] = []
  number = 0
  for position, features in enumerate(channels):
    if features == POOL:
      layers.append(AveragePool(name=f"pool{number}"))
      continue
    number += 1
    layers.append(
      Convolution(
        features,
        use_bias=style.use_bias,
        initializer=nn.initializers.variance_scaling(2, "fan_out", "normal"),
        name=f"conv{number}",
      )
    )
    if style.norm is not None:
      layers.append(style.norm(name=f"norm{number}"))
    layers.append(Spiking(neuron, name=f"spike{number}"))
    if channels[position + 1 : position + 2] != (POOL,):
      layers.append(Dropout(style.dropout, name=f"drop{number}"))
  return layers
