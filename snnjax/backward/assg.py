"""Adaptive sharpness: surrogates as wide as each neuron's own drive (ASSG).

The rule `Assg` is a pure function of its moments. An attack moves them with
every forward pass, in the state of the oracle `snnjax.attacks.assg`: the attack
remembers, the network does not.
"""

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from snnjax import surrogates
from snnjax.backward.rules import Bptt
from snnjax.interfaces import (
  Array,
  State,
  Trace,
)
from snnjax.neurons import Neuron
from snnjax.surrogates import Surrogate
from snnjax.validation import Constant, check_positive, check_range, is_concrete

_TINY = 1e-4  # keeps the sharpness of a drive that is always zero finite


class Moments(NamedTuple):
  """Running means of the drives of one layer, each [T, B, ...].

  Attributes:
    size: M, the exponential mean of |u|.
    spread: D, the exponential mean of ||u| - M|.
  """

  size: Array
  spread: Array


class Family(NamedTuple):
  """A surrogate's shape, g_a(u) = a g(a u), and how wide it reaches.

  Attributes:
    surrogate: sharpness a -> surrogate.
    quantile: coverage A -> half-width w at a = 1 that holds the share A of
      its area, G^-1(A).
  """

  surrogate: Callable[[Constant], Surrogate]
  quantile: Callable[[float], float]


def _inverse(
  build: Callable[[Constant], Surrogate],
) -> Callable[[Constant], Surrogate]:
  return lambda sharpness: build(1 / sharpness)


ATAN = Family(
  surrogates.atan, lambda area: 2 / math.pi * math.tan(math.pi * area / 2)
)
TRIANGLE = Family(
  _inverse(surrogates.triangle), lambda area: 1 - math.sqrt(1 - area)
)
RECTANGLE = Family(_inverse(surrogates.rectangle), lambda area: area)
SIGMOID = Family(surrogates.sigmoid, lambda area: 2 * math.atanh(area))
GAUSSIAN = Family(
  # The centre is an array: each step of a scan takes its own.
  lambda a: surrogates.gaussian(1 / a, jnp.zeros_like(a)),
  lambda area: statistics.NormalDist().inv_cdf((1 + area) / 2),
)


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=["moments", "coverage_width", "relaxation", "decay"],
  meta_fields=["family", "detach_reset", "frozen"],
)
@dataclasses.dataclass(frozen=True)
class Assg:
  """Back-propagation through time at a sharpness of each neuron's own.

  Per neuron, step and example, with u the drive of this very pass::

    M <- r M + (1 - r) |u|,   D <- r D + (1 - r) ||u| - M|
    a = w / (M + c D + 1e-4)

  and the surrogate is g_a(u) = a g(a u): it reaches about as far as the drive
  does. Moments start at M = 1, D = 0. Build it with `assg_rule`. A call does
  not change the rule: `update` returns the moments after a pass.

  Attributes:
    moments: by layer, those of the passes before; a layer that is not named
      starts anew.
    coverage_width: w, the half-width that holds the wanted area.
    relaxation: c.
    decay: r, the weight of the past in M and in D.
    family: the surrogate's shape.
    detach_reset: whether the reset is held constant.
    frozen: use the moments as they are.

  References:
    Wang et al. 2025, arXiv 2512.22522.
  """

  moments: Mapping[str, Moments]
  coverage_width: Constant
  relaxation: Constant
  decay: Constant
  family: Family
  detach_reset: bool
  frozen: bool

  def __call__(
    self,
    neuron: Neuron,
    currents: Array,
    state: State | None = None,
    layer: str = "",
  ) -> Trace:
    """Runs `neuron` over currents [T, B, ...] from `state` (None: rest)."""
    # Forward once for the drive alone: the sharpness needs |u| of this very
    # pass, before the pass that is differentiated begins.
    constant = lax.stop_gradient((currents, state))
    drive = Bptt(surrogates.straight_through())(neuron, *constant, layer).drive
    moments = self.update(layer, drive)
    reach = moments.size + self.relaxation * moments.spread + _TINY
    surrogate = self.family.surrogate(self.coverage_width / reach)
    # Spikes do not depend on the surrogate: the second pass has the same drive.
    rule = Bptt(surrogate, detach_reset=self.detach_reset, per_step=True)
    return rule(neuron, currents, state, layer)

  def update(self, layer: str, drive: Array) -> Moments:
    """Returns the layer's moments after a pass with this drive [T, B, ...]."""
    drive = lax.stop_gradient(drive)
    past = self.moments.get(layer)
    if past is None:
      past = Moments(jnp.ones_like(drive), jnp.zeros_like(drive))
    if self.frozen:
      return past
    magnitude = jnp.abs(drive)
    size = self.decay * past.size + (1 - self.decay) * magnitude
    far = jnp.abs(magnitude - size)
    return Moments(size, self.decay * past.spread + (1 - self.decay) * far)


def assg_rule(
  family: Family = ATAN,
  *,
  coverage: float = 0.85,
  relaxation: Constant = 1.5,
  decay: Constant = 0.9,
  detach_reset: bool = True,
) -> Assg:
  """Returns the adaptive rule with no moments yet.

  Args:
    family: the surrogate's shape.
    coverage: A in (0, 1), the share of the surrogate's area within reach.
    relaxation: c >= 0, deviations added to the mean to make the reach.
    decay: r in [0, 1), the weight of the past.
    detach_reset: whether the reset is held constant (the authors').

  Raises:
    ValueError: if an argument is out of range.

  References:
    Wang et al. 2025, arXiv 2512.22522.
  """
  if not 0 < coverage < 1:
    raise ValueError(f"coverage must lie in (0, 1); got {coverage}")
  check_range("relaxation", relaxation, 0.0, math.inf)
  check_range("decay", decay, 0.0, 1.0)
  if is_concrete(decay):
    check_positive("1 - decay", 1 - decay)
  width = family.quantile(coverage)
  return Assg({}, width, relaxation, decay, family, detach_reset, frozen=False)
