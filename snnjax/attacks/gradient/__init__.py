"""Ascent along gradients inside a ball."""

from snnjax.submodules import lazily

__all__ = [
  "auto_pgd",
  "auto_pgd_steppers",
  "fgsm_pgd",
  "sa_pgd",
  "schedule",
  "slide",
]

__getattr__, __dir__ = lazily(__name__, __all__)
