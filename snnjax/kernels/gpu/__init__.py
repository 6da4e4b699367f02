"""One kernel for a neuron's scan forward, and one backward, for CUDA."""

from snnjax.submodules import lazily

__all__ = [
  "devices",
  "elementwise",
  "fused",
  "primitives",
  "scans",
  "steps",
  "triton",
]

__getattr__, __dir__ = lazily(__name__, __all__)
