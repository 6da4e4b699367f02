"""Attacks that change few sites."""

from snnjax.submodules import lazily

__all__ = [
  "corner_search",
  "jsma",
  "sigma_zero",
  "sparse_pgd",
  "sparse_rs",
]

__getattr__, __dir__ = lazily(__name__, __all__)
