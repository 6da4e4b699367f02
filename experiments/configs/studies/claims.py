"""The claims of the ledger, and what decides each of them.

    python -m experiments.claims --workdir=DIR --from_results=results/questions

They were written down when one seed of MNIST (image+events) had been measured,
and no network of one modality or of SVHN had. To change a number here changes
verdicts, and nothing else.
"""

import math
from collections.abc import Mapping

from experiments.configuration.study import Claim

_IMAGE, _EVENTS, _BOTH = ("image",), ("events",), ("image", "events")
_SR = "Liu et al. 2024, arXiv 2405.20355 (SR)"
_HIRE = "Kundu et al. 2021, arXiv 2110.11417 (HIRE)"
_ASSG = "Wang et al. 2025, arXiv 2512.22522 (ASSG)"
_ACCURACY = "of accuracy"

CLAIMS: Mapping[str, Claim] = {
  "random_linear": Claim(
    text=(
      "Random vulnerability, the mean squared change under uniform noise of "
      "the ball, is eps^2 m_p |g|_2^2: measured on linear functions"
    ),
    source=f"{_SR}; docs/theory.md, statement 2",
    unit="in log(measured/closed form)",
    smallest_effect=0.05,
    alternative="two-sided",
    contrary=True,
  ),
  "random_networks": Claim(
    text=(
      "The closed form of random vulnerability, with the surrogate's gradient, "
      "describes spiking networks within a factor of 2, at a small radius and "
      "inside the data box, which it does not know"
    ),
    source=f"{_SR}; docs/theory.md, statement 2",
    unit="in log(measured/closed form), the median example",
    smallest_effect=math.log(2),
    alternative="two-sided",
    contrary=True,
    arms=("conventional",),
    modalities=(_IMAGE, _EVENTS),
  ),
  "adversarial_linear": Claim(
    text=(
      "Adversarial vulnerability, the largest squared change in the ball, is "
      "eps^2 |g|_q^2, q the dual exponent: measured on linear functions"
    ),
    source=f"{_SR}; docs/theory.md, statement 1",
    unit="in log(measured/closed form)",
    smallest_effect=0.01,
    alternative="two-sided",
    contrary=True,
  ),
  "adversarial_networks": Claim(
    text=(
      "The closed form of adversarial vulnerability, with the surrogate's "
      "gradient, describes spiking networks within a factor of 2, at a small "
      "radius and inside the data box, which it does not know"
    ),
    source=f"{_SR}; docs/theory.md, statement 1",
    unit="in log(measured/closed form), the median example",
    smallest_effect=math.log(2),
    alternative="two-sided",
    contrary=True,
    arms=("conventional",),
    modalities=(_IMAGE, _EVENTS),
  ),
  "norms_compared": Claim(
    text=(
      "At comparable visibility (perceptual distance of the image), linf "
      "attacks are more destructive than l0 and l2 attacks"
    ),
    source=_SR,
    unit=f"{_ACCURACY}, left by the other norm less left by linf",
    smallest_effect=0.05,
    arms=("conventional",),
    modalities=(_IMAGE,),
  ),
  "random_resilience": Claim(
    text=(
      "Spiking networks are more resilient to random than to adversarial "
      "perturbations, even at a larger scale"
    ),
    source=_SR,
    unit=f"{_ACCURACY}, left by noise less left by the attack",
    smallest_effect=0.1,
    arms=("conventional",),
    modalities=(_IMAGE, _EVENTS, _BOTH),
  ),
  "bound_where_linear": Claim(
    text=(
      "The gap between adversarial and random vulnerability is bounded by the "
      "sparsity of the gradient: example by example, at a small radius, where "
      "first order holds"
    ),
    source=f"{_SR}; docs/theory.md, statement 3",
    unit="of these examples",
    smallest_effect=0.05,
    contrary=True,
    arms=("conventional", "sr"),
    modalities=(_IMAGE, _EVENTS),
    tolerance=1.5,
  ),
  "bound_everywhere": Claim(
    text=(
      "The same bounds hold at the radius of the attacks, whether first order "
      "holds or not"
    ),
    source=_SR,
    unit="of all examples",
    smallest_effect=0.05,
    contrary=True,
    arms=("conventional", "sr"),
    modalities=(_IMAGE, _EVENTS),
    tolerance=1.5,
  ),
  "sr_weak_attacks": Claim(
    text="SR improves robustness to FGSM and PGD-10 with one surrogate",
    source=_SR,
    unit=_ACCURACY,
    smallest_effect=0.02,
    arms=("sr", "conventional"),
    modalities=(_BOTH,),
  ),
  "sr_strong_attacks": Claim(
    text="SR improves robustness to the worst of a chain of several rules",
    source=_SR,
    unit=_ACCURACY,
    smallest_effect=0.02,
    arms=("sr", "conventional"),
    modalities=(_BOTH,),
  ),
  "sr_modalities": Claim(
    text="SR is effective on image and on event data, and on both together",
    source=_SR,
    unit=_ACCURACY,
    smallest_effect=0.02,
    arms=("sr", "conventional"),
    modalities=(_IMAGE, _EVENTS, _BOTH),
  ),
  "sr_notable": Claim(
    text="The improvements by SR are notable: ten points of accuracy or more",
    source=_SR,
    unit=_ACCURACY,
    smallest_effect=0.1,
    arms=("sr", "conventional"),
    modalities=(_IMAGE, _EVENTS, _BOTH),
  ),
  "hire_cost": Claim(
    text="Training with crafted noise costs no more than conventional training",
    source=_HIRE,
    unit="of a conventional step's time",
    smallest_effect=0.1,
    contrary=True,
  ),
  "hire_against_no_noise": Claim(
    text=(
      "Crafted noise makes networks more robust than as many updates without it"
    ),
    source=_HIRE,
    unit=_ACCURACY,
    smallest_effect=0.02,
    arms=("hire", "no_noise"),
    modalities=(_IMAGE, _EVENTS, _BOTH),
  ),
  "hire_against_conventional": Claim(
    text=(
      "Crafted-noise training makes networks more robust than conventional "
      "training, which makes fewer updates"
    ),
    source=_HIRE,
    unit=_ACCURACY,
    smallest_effect=0.02,
    arms=("hire", "conventional"),
    modalities=(_IMAGE, _EVENTS, _BOTH),
  ),
  "overestimated": Claim(
    text=(
      "Robustness of spiking networks, as published, is overestimated: PGD "
      "under the training rule leaves more than the worst of several rules"
    ),
    source=_ASSG,
    unit=f"{_ACCURACY}, left by the training rule less left by the worst",
    smallest_effect=0.02,
    arms=("conventional", "hire", "sr", "at_linf"),
    modalities=(_IMAGE, _EVENTS, _BOTH),
  ),
}
