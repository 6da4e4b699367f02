"""Robust, sparse-gradient spiking neural networks in JAX, and attacks.

Submodules are loaded when first used: ``snnjax.attacks.pgd`` works after a
plain ``import snnjax``.
"""

import importlib
from types import ModuleType

from snnjax.interfaces import (
  AttackResult,
  Batch,
  Forward,
  Network,
  Scored,
  Trace,
)

__version__ = "0.1.0"

_SUBMODULES = (
  "adaptive",
  "allocation",
  "attacks",
  "backward",
  "certify",
  "checkpoints",
  "checks",
  "data",
  "derivatives",
  "encoders",
  "evaluation",
  "input_gradients",
  "losses",
  "methods",
  "models",
  "neurons",
  "parameters",
  "plots",
  "potential",
  "readouts",
  "regularizers",
  "report",
  "sharding",
  "sparsity",
  "statistics",
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


def __getattr__(name: str) -> ModuleType:
  if name in _SUBMODULES:
    return importlib.import_module(f"snnjax.{name}")
  raise AttributeError(f"module 'snnjax' has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted(__all__)
