"""Training methods, one per file: each an `Objective` or a `Method`."""

from snnjax.methods.adversarial_training import adversarial
from snnjax.methods.crafted_noise import crafted, hire, no_noise, scattered
from snnjax.methods.gradient_penalty import sr
from snnjax.methods.method import Method, Stage, as_method, single
from snnjax.methods.standard import vanilla

__all__ = [
  "Method",
  "Stage",
  "adversarial",
  "as_method",
  "crafted",
  "hire",
  "no_noise",
  "scattered",
  "single",
  "sr",
  "vanilla",
]


def __dir__() -> list[str]:
  return sorted(__all__)
