"""What an attack may do: norms and boxes, alone or over several modalities."""

from snnjax.submodules import lazily

__all__ = [
  "hyperplane",
  "l0",
  "modalities",
  "norms",
  "ravel",
  "threat",
]

__getattr__, __dir__ = lazily(__name__, __all__)
