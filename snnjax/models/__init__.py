"""Networks: `Network(init, apply)` around Linen layers."""

from snnjax.models.cnn import cnn
from snnjax.models.fusion import fusion
from snnjax.models.mlp import mlp
from snnjax.models.network import Branch, build, classifier
from snnjax.models.vgg import hire_style, sr_style, vgg

__all__ = [
  "Branch",
  "build",
  "classifier",
  "cnn",
  "fusion",
  "hire_style",
  "mlp",
  "sr_style",
  "vgg",
]
