"""Attacks that see losses or predictions, and no gradient."""

from snnjax.submodules import lazily

__all__ = [
  "hop_skip_jump",
  "patches",
  "square",
  "square_moves",
]

__getattr__, __dir__ = lazily(__name__, __all__)
