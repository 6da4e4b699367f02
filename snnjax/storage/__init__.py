"""Files on a disk: whole or absent, and with the digests of their origin."""

from snnjax.submodules import lazily

__all__ = [
  "array_files",
  "checkpoint_manifest",
  "checkpoints",
  "configuration",
  "environment",
  "files",
  "folder_lock",
  "identity",
  "locks",
  "metric_log",
  "npz",
  "orbax_arrays",
  "run_status",
  "workdir",
]

__getattr__, __dir__ = lazily(__name__, __all__)
