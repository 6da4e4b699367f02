"""Networks: `Network(init, apply)` around Linen layers."""

from snnjax.models.cnn import cnn
from snnjax.models.fusion import fusion
from snnjax.models.mlp import mlp
from snnjax.models.network import Branch, build, classifier
from snnjax.models.vgg import vgg

__all__ = ["Branch", "build", "classifier", "cnn", "fusion", "mlp", "vgg"]
