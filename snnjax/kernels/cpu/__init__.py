"""Forms that a CPU computes quickly; thresholds of one backend, measured."""

from snnjax.submodules import lazily

__all__ = [
  "matrix_products",
  "primitives",
  "switch",
  "winograd",
]

__getattr__, __dir__ = lazily(__name__, __all__)
