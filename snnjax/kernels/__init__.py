"""What is computed in a form of our own, because XLA's is slower or larger."""

from snnjax.submodules import lazily

__all__ = [
  "convolution",
  "cpu",
  "isolate",
  "order_statistics",
  "pooling",
  "scan",
]

__getattr__, __dir__ = lazily(__name__, __all__)
