"""Attacks: an oracle, a stepper and a threat, joined by one loop."""

from typing import Any

from snnjax.attacks.adaptive_sharpness import assg
from snnjax.attacks.ascent import ascend, ascend_recorded
from snnjax.attacks.black_box import nes, spsa
from snnjax.attacks.candidates import (
  Keep,
  best_loss,
  candidate,
  keep_better,
  last,
  nearest_success,
  success_then_loss,
)
from snnjax.attacks.combinators import (
  choose_sharpness,
  gradient_mean,
  transfer,
  within,
  worst_of,
)
from snnjax.attacks.gradient.auto_pgd import (
  auto_pgd,
  shrinking_auto_pgd,
  targeted_auto_pgd,
)
from snnjax.attacks.gradient.fgsm_pgd import (
  bim,
  fgsm,
  mi_fgsm,
  pgd,
  r_fgsm,
  random_noise,
)
from snnjax.attacks.gradient.sa_pgd import sa_pgd, sa_pgd_steepest
from snnjax.attacks.gradient.slide import slide
from snnjax.attacks.latents import LatentResult, latent_attack, through
from snnjax.attacks.loop import Point, Proposer, search
from snnjax.attacks.minimum_norm.carlini_wagner import carlini_wagner
from snnjax.attacks.minimum_norm.deepfool import deepfool
from snnjax.attacks.minimum_norm.ead import ead
from snnjax.attacks.minimum_norm.fab import fab, targeted_fab
from snnjax.attacks.minimum_norm.minimum_norm import (
  MinimalAttack,
  MinimalResult,
  as_attack,
)
from snnjax.attacks.oracles import Oracle, Probe, Source, eot, white_box
from snnjax.attacks.perceptual import (
  imperceptible,
  noise_tolerance,
  perceptual_distance,
)
from snnjax.attacks.queries.hop_skip_jump import hop_skip_jump
from snnjax.attacks.queries.square import square
from snnjax.attacks.rule_suites import (
  SuiteAttack,
  SuiteError,
  quick_suite,
  standard_suite,
)
from snnjax.attacks.sparse.corner_search import corner_search
from snnjax.attacks.sparse.jsma import jsma
from snnjax.attacks.sparse.sigma_zero import sigma_zero
from snnjax.attacks.sparse.sparse_pgd import pgd_l0, spgd
from snnjax.attacks.sparse.sparse_rs import sparse_rs
from snnjax.attacks.suites import (
  Effort,
  autoattack_plus,
  autoattack_rand,
  autoattack_standard,
  threat_of,
)
from snnjax.attacks.threats.l0 import l0
from snnjax.attacks.threats.modalities import frozen, joint, per_modality
from snnjax.attacks.threats.threat import (
  Threat,
  box_only,
  check_inputs,
  l1,
  l2,
  linf,
)

_ELSEWHERE = {
  "autoattack": "snnjax.evaluation.autoattack, which attacks in microbatches "
  "whatever is still right; its attacks are attacks.autoattack_standard",
}


class ElsewhereError(AttributeError, ValueError):
  """A name that is not here, with the place where it is."""


def __getattr__(name: str) -> Any:
  if name in _ELSEWHERE:
    raise ElsewhereError(f"attacks.{name} must be called as {_ELSEWHERE[name]}")
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
  "Effort",
  "Keep",
  "LatentResult",
  "MinimalAttack",
  "MinimalResult",
  "Oracle",
  "Point",
  "Probe",
  "Proposer",
  "Source",
  "SuiteAttack",
  "SuiteError",
  "Threat",
  "as_attack",
  "ascend",
  "ascend_recorded",
  "assg",
  "auto_pgd",
  "autoattack_plus",
  "autoattack_rand",
  "autoattack_standard",
  "best_loss",
  "bim",
  "box_only",
  "candidate",
  "carlini_wagner",
  "check_inputs",
  "choose_sharpness",
  "corner_search",
  "deepfool",
  "ead",
  "eot",
  "fab",
  "fgsm",
  "frozen",
  "gradient_mean",
  "hop_skip_jump",
  "imperceptible",
  "joint",
  "jsma",
  "keep_better",
  "l0",
  "l1",
  "l2",
  "last",
  "latent_attack",
  "linf",
  "mi_fgsm",
  "nearest_success",
  "nes",
  "noise_tolerance",
  "per_modality",
  "perceptual_distance",
  "pgd",
  "pgd_l0",
  "quick_suite",
  "r_fgsm",
  "random_noise",
  "sa_pgd",
  "sa_pgd_steepest",
  "search",
  "shrinking_auto_pgd",
  "sigma_zero",
  "slide",
  "sparse_rs",
  "spgd",
  "spsa",
  "square",
  "standard_suite",
  "success_then_loss",
  "targeted_auto_pgd",
  "targeted_fab",
  "threat_of",
  "through",
  "transfer",
  "white_box",
  "within",
  "worst_of",
]


def __dir__() -> list[str]:
  return sorted(__all__)
