"""Certificates for rate-encoded inputs: Bernoulli spikes smooth the network.

A rate encoder draws each of the d inputs T times from Bernoulli(x_i). Moving
x by delta changes the law of one whole spike train, in total variation, by at
most ``T ||delta||_1``, and with it the probability of every class. A class
whose probability is certainly above one half keeps the majority while

  ||delta||_1 < (p - 1/2) / T.

The certificate holds for the *smoothed* classifier, the majority over draws of
a network whose only randomness are the spike trains, not for a single draw.
The trains are drawn here and shown to a network that takes frames, the same
weights with `encoders.frames` in the place of `encoders.poisson`: no network
with another encoder, and no number type of too few bits, can be certified by
mistake.

References:
  Jeremy Cohen, Elan Rosenfeld, J. Zico Kolter, 2019, "Certified adversarial
  robustness via randomized smoothing", arXiv 1902.02918 (two-stage sampling).
"""

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from snnjax import prng
from snnjax.arguments import logits_function
from snnjax.interfaces import AnyLogitsFn, Array, Inputs, Key, Labels
from snnjax.validation import check_box, check_count, is_concrete

ABSTAINED = -1
_BITS = 32  # of one draw


class Certificates(NamedTuple):
  """The certified class and radius of each example, NumPy arrays [B].

  Attributes:
    prediction: the smoothed class; -1 where no class is certain to have the
      majority.
    radius: every change with an l1 norm *below* it keeps the prediction; 0
      where the classifier abstained.
    probability: the lower bound of the class's probability, at the level
      1 - alpha for each example.
  """

  prediction: np.ndarray
  radius: np.ndarray
  probability: np.ndarray


def trains(key: Key, rates: Array, steps: int) -> Array:
  """Returns spike trains, each spike from Bernoulli(x), [B, T, ...].

  Each draw has 32 bits, whatever the type of the rates: its probability is x,
  or less than 2^-32 below it.

  Args:
    key: scalar or [B].
    rates: x in [0, 1], [B, ...] of a floating type.
    steps: T.
  """

  def draw(key: Key, example: Array) -> Array:
    shape = (steps, *example.shape)
    bits = jax.random.bits(key, shape, jnp.uint32)
    wide = example.astype(np.promote_types(example.dtype, jnp.float32))
    # Exact: a power of two. A rate of 1 has no such threshold and always fires.
    certain = wide >= 1
    scaled = jnp.where(certain, 0, wide) * 2.0**_BITS
    fires = (bits < scaled.astype(jnp.uint32)[None]) | certain[None]
    return fires.astype(example.dtype)

  keys = prng.example_keys(key, rates.shape[0])
  return prng.per_example(draw, keys, rates)


def votes(
  logits_fn: AnyLogitsFn,
  key: Key,
  inputs: Inputs,
  draws: int,
  *,
  steps: int,
  fixed: Collection[str] = (),
) -> Array:
  """Returns how many of `draws` independent runs predict each class, [B, C].

  In constant memory. A run whose logits are not numbers predicts nothing.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone, of a network
      that takes frames.
    key: scalar or [B].
    inputs: as of `certify`.
    draws: how many runs.
    steps: T, the length of the trains.
    fixed: as of `certify`.

  Raises:
    ValueError: if `draws` or `steps` is not a positive whole number, or an
      input is no rate.
  """
  logits_fn = logits_function(logits_fn)
  check_count("draws", draws)
  check_count("steps", steps)
  _check_rates(inputs, fixed)
  keys = prng.example_keys(key, prng.batch_size(inputs))

  def run(keys: Key) -> Array:
    return logits_fn(*_draw_inputs(keys, inputs, steps, fixed))

  shape = jax.eval_shape(run, keys).shape

  def add(counts: Array, index: Array) -> tuple[Array, None]:
    logits = run(prng.fold_in(keys, index))
    hit = jax.nn.one_hot(jnp.argmax(logits, 1), shape[1], dtype=counts.dtype)
    # A vote for nobody: it lowers every class, so that the bound stays valid.
    known = jnp.all(jnp.isfinite(logits), 1, keepdims=True)
    return counts + hit * known, None

  return jax.lax.scan(add, jnp.zeros(shape, int), jnp.arange(draws))[0]


def _check_rates(inputs: Inputs, fixed: Collection[str] = ()) -> None:
  """Raises ValueError unless all inputs but the fixed ones are rates.

  Args:
    inputs: [B, ...], or a mapping of such arrays.
    fixed: names of modalities that are not drawn.
  """
  names = set(inputs) if isinstance(inputs, Mapping) else set()
  if set(fixed) - names or (names and names == set(fixed)):
    raise ValueError(
      f"fixed must name some, not all, of the modalities {sorted(names)}; got "
      f"{sorted(fixed)}"
    )
  for name, leaf in _modalities(inputs, fixed).items():
    kind = jnp.result_type(leaf)
    if not jnp.issubdtype(kind, jnp.floating):
      raise ValueError(f"{name} must be rates of a floating type; got {kind}")
    if is_concrete(leaf):
      # In double precision, where no rounding is forgiven: a rate has none.
      check_box(f"{name}, as rates,", np.asarray(leaf, np.float64), 0.0, 1.0)


def _modalities(inputs: Inputs, fixed: Collection[str]) -> dict[str, Array]:
  """The arrays that are drawn, by their names in error messages."""
  if not isinstance(inputs, Mapping):
    return {"inputs": inputs}
  return {
    f"inputs[{name!r}]": leaf
    for name, leaf in inputs.items()
    if name not in fixed
  }


def _draw_inputs(
  keys: Key, inputs: Inputs, steps: int, fixed: Collection[str]
) -> tuple[Key, Inputs]:
  """The network's keys, and the inputs with trains in the place of rates."""
  network_keys, spikes = prng.split(keys)
  if not isinstance(inputs, Mapping):
    return network_keys, trains(spikes, inputs, steps)
  train_keys = prng.split(spikes, len(inputs))
  return network_keys, {
    name: inputs[name] if name in fixed else trains(key, inputs[name], steps)
    for key, name in zip(train_keys, sorted(inputs), strict=True)
  }


def lower_bound(successes: np.ndarray, total: int, alpha: float) -> np.ndarray:
  """Returns the one-sided Clopper-Pearson bound of a probability.

  The probability is below the bound in at most a share `alpha` of samples,
  whatever it is.

  Args:
    successes: how many runs succeeded, any shape, 0 to `total`.
    total: how many runs there were.
    alpha: the allowed share of wrong bounds, in (0, 1).

  Raises:
    ValueError: if an argument is out of range.

  References:
    C. J. Clopper, E. S. Pearson, 1934, "The use of confidence or fiducial
    limits illustrated in the case of the binomial", Biometrika 26.
  """
  check_count("total", total)
  if not 0 < alpha < 1:
    raise ValueError(
      f"alpha must lie strictly between 0 and 1: a bound that is always wrong "
      f"certifies everything; got {alpha}"
    )
  counts = np.asarray(successes)
  if np.any((counts < 0) | (counts > total)):
    raise ValueError(f"successes must lie in [0, {total}]; got {successes}")
  # The exact bound is a quantile of a beta distribution, which has no parameter
  # 0: without a success the bound is 0 by itself.
  bound = scipy.stats.beta.ppf(alpha, np.maximum(counts, 1), total - counts + 1)
  return np.where(counts > 0, bound, 0.0)


def certified_radius(
  probability: np.ndarray, steps: int, slack: float = 0.0
) -> np.ndarray:
  """Returns ``max(p - slack - 1/2, 0) / T``, the certified l1 radius.

  Args:
    probability: p, a lower bound of the class's probability.
    steps: T, how often each input is drawn.
    slack: how far, in total variation, what was drawn may be from Bernoulli.

  Raises:
    ValueError: if `steps` is not a positive whole number.
  """
  check_count("steps", steps)
  certain = np.asarray(probability, np.float64) - slack
  return np.maximum(certain - 0.5, 0) / steps


def certify(
  logits_fn: AnyLogitsFn,
  key: Key,
  inputs: Inputs,
  *,
  steps: int,
  fixed: Collection[str] = (),
  selection: int = 100,
  estimation: int = 10_000,
  alpha: float = 0.001,
) -> Certificates:
  """Returns the smoothed classes and the l1 radii within which they stand.

  A first sample selects each example's class. A second, independent one
  counts *that* class, even if another turns out to be more frequent: choosing
  by the counts that are then bounded would void the bound.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone, deterministic,
      of a network that takes spike trains [B, T, ...] as they are
      (`encoders.frames`); one trained with `encoders.poisson` has the same
      variables.
    key: scalar or [B].
    inputs: [B, ...], rates in [0, 1], or a mapping of such arrays; radii are
      in their units, over all modalities together.
    steps: T, the length of the trains.
    fixed: modalities that are no rates: shown as they are, each time, and
      *not certified against any change*.
    selection: draws of the first sample.
    estimation: draws of the second sample.
    alpha: the share of examples that may be certified wrongly, each on its
      own.

  Raises:
    ValueError: if a count or `alpha` is out of range, an input is no rate, or
      `fixed` names no modality, or all.
  """
  check_count("selection", selection)
  check_count("estimation", estimation)
  keys = prng.example_keys(key, prng.batch_size(inputs))
  first, second = prng.split(keys)

  def count(key: Key, draws: int) -> np.ndarray:
    return np.asarray(
      votes(logits_fn, key, inputs, draws, steps=steps, fixed=fixed)
    )

  # Two samples: choosing by the counts that are then bounded would favour a
  # class that was lucky.
  chosen = np.argmax(count(first, selection), 1)
  counts = count(second, estimation)
  counts = np.take_along_axis(counts, chosen[:, None], 1)[:, 0]
  probability = lower_bound(counts, estimation, alpha)
  drawn = _modalities(inputs, fixed).values()
  size = sum(math.prod(leaf.shape[1:]) for leaf in drawn)
  # Both the counted law and the one at the changed input are this close to
  # Bernoulli's.
  slack = 2 * size * steps * 2.0**-_BITS
  radius = certified_radius(probability, steps, slack)
  prediction = np.where(probability - slack > 0.5, chosen, ABSTAINED)
  return Certificates(prediction, radius, probability)


def certified_accuracy(
  certificates: Certificates, labels: Labels, radius: float
) -> float:
  """Returns the share of examples certainly right for all changes up to r.

  Args:
    certificates: from `certify`.
    labels: [B].
    radius: r, in l1; 0 asks for the smoothed class alone.
  """
  right = certificates.prediction == np.asarray(labels)
  return float(np.mean(right & (certificates.radius > radius)))
