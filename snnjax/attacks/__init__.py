"""Attacks: an oracle, a stepper and a threat, joined by one loop."""

from snnjax.attacks.ascent import (
  Keep,
  ascend,
  ascend_recorded,
  best_loss,
  last,
  strongest,
)
from snnjax.attacks.auto_pgd import (
  auto_pgd,
  shrinking_auto_pgd,
  targeted_auto_pgd,
)
from snnjax.attacks.compose import frozen, joint, per_modality
from snnjax.attacks.oracle import Oracle, Probe, eot, white_box
from snnjax.attacks.presets import (
  bim,
  fgsm,
  mi_fgsm,
  pgd,
  r_fgsm,
  random_noise,
)
from snnjax.attacks.stable import sa_pgd, sa_pgd_steepest
from snnjax.attacks.threat import Threat, check_inputs, l1, l2, linf

__all__ = [
  "Keep",
  "Oracle",
  "Probe",
  "Threat",
  "ascend",
  "ascend_recorded",
  "auto_pgd",
  "best_loss",
  "bim",
  "check_inputs",
  "eot",
  "fgsm",
  "frozen",
  "joint",
  "l1",
  "l2",
  "last",
  "linf",
  "mi_fgsm",
  "per_modality",
  "pgd",
  "r_fgsm",
  "random_noise",
  "sa_pgd",
  "sa_pgd_steepest",
  "shrinking_auto_pgd",
  "strongest",
  "targeted_auto_pgd",
  "white_box",
]
