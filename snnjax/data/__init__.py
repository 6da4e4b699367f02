"""Data sets: embedded, from files, simulated; batches and augmentation."""

from snnjax.submodules import lazily

__all__ = [
  "augmentation",
  "camera",
  "counts",
  "dataset",
  "descriptions",
  "embedded",
  "events",
  "image_files",
  "importers",
  "manifest",
  "pairing",
  "pipeline",
  "prepared",
  "recordings",
  "registry",
  "saccade",
  "selection",
  "shards",
  "size_limits",
  "streaming",
]

__getattr__, __dir__ = lazily(__name__, __all__)
