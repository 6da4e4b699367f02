"""Training methods, one per file: each an `Objective` or a `Method`."""

from snnjax.methods.adversarial import adversarial
from snnjax.methods.hire import crafted, hire, no_noise, scattered
from snnjax.methods.method import Method, Stage, as_method, single
from snnjax.methods.sr import sr
from snnjax.methods.vanilla import vanilla

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
