"""Encoders: batch-first data to a time-first sequence of network inputs.

An encoder returns ``[T, B, ...]``, or ``[1, B, ...]`` where every step is the
same: layers then compute that step once, until a neuron needs all of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.arguments import check_array
from snnjax.derivatives import with_gradient_of
from snnjax.interfaces import Array, Key
from snnjax.prng import example_keys, per_example
from snnjax.validation import check_count


class Encoder(NamedTuple):
  """How data become steps.

  Attributes:
    steps: T, the length of the whole sequence.
    encode: ``(key or None, data [B, ...]) -> [T or 1, B, ...]``.
  """

  steps: int
  encode: Callable[[Key | None, Array], Array]


def direct(steps: int) -> Encoder:
  """Shows the data itself as the current of every step.

  Args:
    steps: T, at least 1.

  References:
    Rueckauer et al. 2017; Rathi, Roy 2020 (DIET-SNN), arXiv 2008.03658.
  """
  check_count("steps", steps)

  def encode(key: Key | None, data: Array) -> Array:
    del key
    return data[None]

  return Encoder(steps, encode)


def poisson(steps: int) -> Encoder:
  """Draws each step's spikes from Bernoulli(x), x in [0, 1].

  The gradient is the expectation's, 1: each step's spikes are differentiated
  as if they were x. Each example draws from its own key.

  Each draw has 23 bits or more, whatever the type of the data.

  Args:
    steps: T, at least 1.

  Raises:
    ValueError: when encoding without a key.

  References:
    Sharmin et al. 2020, arXiv 2003.10399.
  """
  check_count("steps", steps)

  def encode(key: Key | None, data: Array) -> Array:
    if key is None:
      raise ValueError("key is needed by the Poisson encoder; got None")

    def draw(key: Key, example: Array) -> Array:
      # In single precision at least: a uniform half has 10 bits or fewer.
      rates = example.astype(np.promote_types(example.dtype, jnp.float32))
      noise = jax.random.uniform(key, (steps, *rates.shape), rates.dtype)
      spikes = (noise < rates[None]).astype(example.dtype)
      return with_gradient_of(
        spikes, jnp.broadcast_to(example[None], spikes.shape)
      )

    keys = example_keys(key, data.shape[0])
    return jnp.moveaxis(per_example(draw, keys, data), 1, 0)

  return Encoder(steps, encode)


def latency(steps: int) -> Encoder:
  """Fires once, the earlier the stronger: at t = round((1 - x) (T - 1)).

  Data x lie in [0, 1]; x = 0 never fires. The step of the spike carries the
  gradient of x, all others none: the gradient of showing x at that step.

  Args:
    steps: T, at least 1.

  References:
    Thorpe, Delorme, Van Rullen 2001; Park et al. 2020 (T2FSNN),
    arXiv 2003.11741.
  """
  check_count("steps", steps)

  def encode(key: Key | None, data: Array) -> Array:
    del key
    shape = (steps, *data.shape)
    clock = jnp.arange(steps).reshape((steps,) + (1,) * data.ndim)
    # In single precision at least: a half cannot count the steps.
    wide = data.astype(np.promote_types(data.dtype, jnp.float32))
    first = jnp.round((1 - wide) * (steps - 1)).astype(clock.dtype)
    fires = (clock == first[None]) & (data > 0)[None]
    spikes = jnp.broadcast_to(fires, shape).astype(data.dtype)
    return with_gradient_of(spikes, data[None] * spikes)

  return Encoder(steps, encode)


def frames(steps: int) -> Encoder:
  """Takes event frames [B, T, ...] as they are, time moved to the front.

  Args:
    steps: T, the number of frames of every example.

  Raises:
    ValueError: when the data do not have T frames.
  """
  check_count("steps", steps)

  def encode(key: Key | None, data: Array) -> Array:
    del key
    check_array("inputs", data, f"[B, {steps}, ...]", "They are event frames")
    return jnp.moveaxis(data, 1, 0)

  return Encoder(steps, encode)
