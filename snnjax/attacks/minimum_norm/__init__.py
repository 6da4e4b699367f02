"""Attacks that look for the nearest adversarial example."""

from snnjax.submodules import lazily

__all__ = [
  "carlini_wagner",
  "decision_boundary",
  "deepfool",
  "ead",
  "fab",
  "lagrangian",
  "minimum_norm",
]

__getattr__, __dir__ = lazily(__name__, __all__)
