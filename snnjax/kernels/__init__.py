"""Forms of our own for operations that XLA compiles or runs slowly."""

from snnjax.submodules import lazily

__all__ = [
  "convolution",
  "cpu",
  "gpu",
  "isolate",
  "order_statistics",
  "pooling",
  "scan",
]

__getattr__, __dir__ = lazily(__name__, __all__)
