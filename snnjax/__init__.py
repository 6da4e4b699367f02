"""Robust, sparse-gradient spiking neural networks in JAX, and attacks.

Submodules are loaded when first used: ``snnjax.attacks.pgd`` works after a
plain ``import snnjax``.
"""

from snnjax.interfaces import (
  AttackResult,
  Batch,
  Forward,
  Network,
  Scored,
  Trace,
)
from snnjax.submodules import lazily

__version__ = "0.1.0"

_SUBMODULES = (
  "attacks",
  "backward",
  "certify",
  "checks",
  "data",
  "derivatives",
  "encoders",
  "evaluation",
  "input_gradients",
  "interfaces",
  "intervals",
  "losses",
  "malloc",
  "methods",
  "models",
  "neurons",
  "plots",
  "precision",
  "prng",
  "readouts",
  "regularizers",
  "replication",
  "report",
  "sharding",
  "sparsity",
  "storage",
  "surrogates",
  "training",
  "vulnerability",
)
__all__ = [
  "AttackResult",
  "Batch",
  "Forward",
  "Network",
  "Scored",
  "Trace",
  "__version__",
  *_SUBMODULES,
]

__getattr__, __dir__ = lazily(__name__, _SUBMODULES, __all__[:7])
