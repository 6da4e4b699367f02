"""What the arrays of a measured network are called, and what their axes are.

Of `attacked_gradients.gradients`, N examples:

    label  correct  margin  firing_rate   [N] of the clean inputs; the rate is
                                          spikes per neuron and step
    attack/NORM/LEVEL/success             [N] by the worst attack of a chain
    attack/NORM/LEVEL/rank                [N] the attack of the chain that broke
                                          the example, -1: none
    attack/NORM/LEVEL/margin              [N] at the worst point
    attack/NORM/LEVEL/distance/MODALITY   [N] the l2 length of its change
    attack/NORM/LEVEL/visibility/image    [N] its perceptual distance
    single/fgsm  single/pgd10             [N] whether these break the example,
                                          linf, under the training rule
    random/linf/LEVEL                     [N] whether noise does
    gradient                              [C, P, R, Q, M, N] metrics of all
                                          gradients; NaN of a zero gradient
    part_sizes                            [Q] the dimensions d
    along                                 [V, Q, M, S] metrics at every step,
                                          means over the first examples that
                                          are right when clean
    along_zeros  along_standing           [V, Q, S], [V, S] shares of zero
                                          gradients, and of examples still right
    vulnerability                         [V, L, K, A] of one modality: squared
                                          changes of the margin, measured and of
                                          first order, bounds of their ratio

    C  confidences, `CONFIDENCES`         P  `points_of` the protocol
    R  rules of the protocol              Q  `parts_of` the modalities
    M  metrics, `METRICS`                 A  first examples
    V  norms of the protocol              S  steps of the recorded attack, + 1
    L  scales of the protocol             K  kinds of vulnerability, `KINDS`

In the results `gradient` is [P, Q, M, N], see `gradient_summary`. Those of
`survivors.transfer` have ``label``, ``correct`` and the successes of the first
examples alone; `survivors.stronger` has these at one radius, and of every
stronger attack ``stronger/NORM/PLACE``. Logarithms are natural ones.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from experiments.configuration.study import JOINT, Protocol

Arrays = dict[str, np.ndarray]
CONFIDENCES = ("margin", "cross_entropy")
# Of every gradient.
METRICS = (
  "log_participation_ratio",
  "gini",
  "l0_relative",
  "log_l1",
  "log_linf",
)
# These follow from them, and are summarized too.
DERIVED = ("hoyer", "log_l2")
CLEAN = "clean"
KINDS = (
  "random",
  "adversarial",
  "first_random",
  "first_adversarial",
  "lower",
  "upper",
)
ATTACK = "attack/{norm}/{level}/{field}"
STRONGER = "stronger/{norm}/{place}"
# Attacks beside the chain, on all examples, for the claims about them: these
# and random noise, under one norm.
SINGLE = ("fgsm", "pgd10")
BESIDE = "linf"


def points_of(protocol: Protocol) -> tuple[str, ...]:
  """Returns where gradients are measured: clean, and by norm of attack."""
  return (CLEAN, *protocol.norms)


def parts_of(modalities: Iterable[str]) -> tuple[str, ...]:
  """Returns the parts of a gradient: each modality, and of several all.

  Modalities are in the order of their names, as in every mapping of arrays.
  """
  own = tuple(sorted(modalities))
  return (*own, JOINT) if len(own) > 1 else own


def small(arrays: Mapping[str, np.ndarray]) -> Arrays:
  """Returns arrays in the smallest types that keep what is read of them."""
  return {name: _small(name, array) for name, array in arrays.items()}


def _small(name: str, array: np.ndarray) -> np.ndarray:
  if array.dtype == bool:
    return array
  if np.issubdtype(array.dtype, np.integer):
    return array if name == "part_sizes" else array.astype(np.int8)
  # Squares of margins would leave the range of half precision.
  return array.astype(np.float32 if name == "vulnerability" else np.float16)
