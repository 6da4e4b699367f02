"""Potential-dependent surrogates: PDSG."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from snnjax import vectors
from snnjax.backward.rules import Bptt
from snnjax.interfaces import Array, State, Trace
from snnjax.neurons import Neuron
from snnjax.surrogates import gaussian, straight_through

_CONVOLUTIONAL = 5  # axes of [T, B, H, W, C]


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=[],
  meta_fields=["detach_reset"],
)
@dataclasses.dataclass(frozen=True)
class Pdsg:
  """Back-propagation through time with surrogates as wide as the potential.

  At step t the surrogate is the normal density ``N(u; sigma_t/2, sigma_t^2)``
  of the drive u; sigma_t, held constant, is the unbiased standard deviation of
  all drives of steps 1..t over time, *batch* and space, per channel of a
  convolutional layer [T, B, H, W, C] and over everything in others. Where it
  is zero, or there is but one drive, sigma_t = 1.

  **The gradient of an example depends on the batch it is in**, which
  `backward.depends_on_batch` tells of it. Report the batch size with every
  result; an example alone, or a gradient under `vmap`
  over examples, is another estimator. Of a run in segments, each segment
  starts its statistics anew.

  Attributes:
    detach_reset: whether the reset is held constant (the authors') or
      differentiated.

  References:
    Lun et al. 2025, "Towards effective and sparse adversarial attack on
    spiking neural networks via breaking invisible surrogate gradients",
    CVPR 2025.

  Differs from: nothing in the gradient; the standard deviation of a single
    drive, which the authors' code leaves undefined, counts as zero.
  """

  batch_statistics: ClassVar[bool] = True
  detach_reset: bool = True

  def __call__(
    self,
    neuron: Neuron,
    currents: Array,
    state: State | None = None,
    layer: str = "",
  ) -> Trace:
    """Runs `neuron` over currents [T, B, ...] from `state` (None: rest)."""
    forward = Bptt(straight_through())
    # A first pass for the drive alone, which sets the width of the surrogate
    # that the second pass is differentiated with.
    constant = lax.stop_gradient((currents, state))
    drive = forward(neuron, *constant, layer).drive
    width = _spread_so_far(lax.stop_gradient(drive))
    rule = Bptt(
      gaussian(width, width / 2),
      detach_reset=self.detach_reset,
      per_step=True,
    )
    return rule(neuron, currents, state, layer)


_sums = functools.partial(
  jnp.tensordot, axes=1, precision=lax.Precision.HIGHEST
)


def _spread_so_far(drive: Array) -> Array:
  """Returns sigma_t with a leading axis T, broadcasting against `drive`."""
  convolutional = drive.ndim == _CONVOLUTIONAL
  axes = tuple(range(1, drive.ndim - convolutional))
  steps = drive.shape[0]
  count = drive.size // steps
  if convolutional:
    count //= drive.shape[-1]
  # Means and sums of squares of single steps, then pooled over steps 1..t by
  # the decomposition into variance within and between the steps.
  mean = jnp.mean(drive, axes, keepdims=True)
  within = jnp.sum(jnp.square(drive - mean), axes, keepdims=True)
  # Row t holds ones up to step t: no difference of large sums is taken.
  past = jnp.tril(jnp.ones((steps, steps), drive.dtype))
  total = jnp.sum(past, 1)
  averages = _sums(past, mean) / vectors.column(total, mean)
  between = jnp.square(mean[None] - averages[:, None])
  between = count * jnp.einsum(
    "ts,ts...->t...", past, between, precision=lax.Precision.HIGHEST
  )
  squares = _sums(past, within) + between
  freedom = vectors.column(jnp.maximum(total * count - 1, 1), mean)
  width = jnp.sqrt(squares / freedom)
  return jnp.where(width > 0, width, 1)
