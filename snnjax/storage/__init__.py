"""Files on a disk: whole or absent, and with the digests of their origin."""

from snnjax.submodules import lazily

__all__ = [
  "array_files",
  "checkpoints",
  "environment",
  "files",
  "identity",
  "locks",
  "metric_log",
  "npz",
  "workdir",
]

__getattr__, __dir__ = lazily(__name__, __all__)
