"""Certificates for rate-encoded inputs: Bernoulli spikes smooth the network.

A rate encoder draws each of the d inputs T times from Bernoulli(x_i). Moving
x by delta changes the law of one whole spike train, in total variation, by at
most ``T ||delta||_1``, and with it the probability of every class. A class
whose probability is certainly above one half keeps the majority while

  ||delta||_1 < (p - 1/2) / T.

The certificate holds for the *smoothed* classifier, the majority over draws of
a network whose only randomness is its encoder, not for a single draw.

References:
  Jeremy Cohen, Elan Rosenfeld, J. Zico Kolter, 2019, "Certified adversarial
  robustness via randomized smoothing", arXiv 1902.02918 (two-stage sampling).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from snnjax import random
from snnjax.types import Array, Inputs, Key, Labels, LogitsFn
from snnjax.validation import check_box, check_count

ABSTAINED = -1


class Certificates(NamedTuple):
  """What is certain of each example, NumPy arrays [B].

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


def votes(logits_fn: LogitsFn, key: Key, inputs: Inputs, draws: int) -> Array:
  """Returns how many of `draws` independent runs predict each class, [B, C].

  In constant memory. A run whose logits are not numbers predicts nothing.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, random through its encoder alone.
    key: scalar or [B].
    inputs: [B, ...], rates in [0, 1].
    draws: how many runs.

  Raises:
    ValueError: if `draws` is not a positive whole number.
  """
  check_count("draws", draws)
  keys = random.example_keys(key, random.batch_size(inputs))
  shape = jax.eval_shape(logits_fn, keys, inputs).shape

  def add(counts: Array, index: Array) -> tuple[Array, None]:
    logits = logits_fn(random.fold_in(keys, index), inputs)
    hit = jax.nn.one_hot(jnp.argmax(logits, 1), shape[1], dtype=counts.dtype)
    known = jnp.all(jnp.isfinite(logits), 1, keepdims=True)
    return counts + hit * known, None

  return jax.lax.scan(add, jnp.zeros(shape, int), jnp.arange(draws))[0]


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
  bound = scipy.stats.beta.ppf(alpha, np.maximum(counts, 1), total - counts + 1)
  return np.where(counts > 0, bound, 0.0)


def certified_radius(probability: np.ndarray, steps: int) -> np.ndarray:
  """Returns ``max(p - 1/2, 0) / T``, the certified l1 radius.

  Args:
    probability: p, a lower bound of the class's probability.
    steps: T, how often the encoder draws each input.

  Raises:
    ValueError: if `steps` is not a positive whole number.
  """
  check_count("steps", steps)
  return np.maximum(np.asarray(probability, np.float64) - 0.5, 0) / steps


def certify(
  logits_fn: LogitsFn,
  key: Key,
  inputs: Inputs,
  *,
  steps: int,
  selection: int = 100,
  estimation: int = 10_000,
  alpha: float = 0.001,
) -> Certificates:
  """Returns the smoothed classes and the l1 radii within which they stand.

  A first sample selects each example's class. A second, independent one
  counts *that* class, even if another turns out to be more frequent: choosing
  by the counts that are then bounded would void the bound.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``: a network with a `poisson` encoder,
      random through it alone, whole trains per call.
    key: scalar or [B].
    inputs: [B, ...], rates in [0, 1]; radii are in their units.
    steps: T of the encoder.
    selection: draws of the first sample.
    estimation: draws of the second sample.
    alpha: the share of examples that may be certified wrongly, each on its
      own.

  Raises:
    ValueError: if a count or `alpha` is out of range, or an input is no rate.
  """
  check_count("selection", selection)
  check_count("estimation", estimation)
  for leaf in jax.tree.leaves(inputs):
    # In double precision, where no rounding is forgiven: a rate has none.
    check_box("inputs, as rates,", np.asarray(leaf, np.float64), 0.0, 1.0)
  keys = random.example_keys(key, random.batch_size(inputs))
  first, second = random.split(keys)
  chosen = np.argmax(votes(logits_fn, first, inputs, selection), 1)
  counts = np.asarray(votes(logits_fn, second, inputs, estimation))
  counts = np.take_along_axis(counts, chosen[:, None], 1)[:, 0]
  probability = lower_bound(counts, estimation, alpha)
  radius = certified_radius(probability, steps)
  prediction = np.where(probability > 0.5, chosen, ABSTAINED)
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
