"""Networks: `Network(init, apply)` around Linen layers."""

from snnjax.models.convolutional import cnn
from snnjax.models.multimodal import fusion
from snnjax.models.network import (
  Branch,
  at_precision,
  build,
  classifier,
  with_kernel,
)
from snnjax.models.perceptron import mlp
from snnjax.models.vgg_networks import hire_style, sr_style, vgg

__all__ = [
  "Branch",
  "at_precision",
  "build",
  "classifier",
  "cnn",
  "fusion",
  "hire_style",
  "mlp",
  "sr_style",
  "vgg",
  "with_kernel",
]


def __dir__() -> list[str]:
  return sorted(__all__)
