"""How sparse a gradient is: jit-compiled metrics, one number per example.

Every metric maps one array [B, ...] to [B] and reduces over all axes but the
first. Beware of directions: a *sparser* gradient has a *larger* Gini index and
Hoyer measure, and a *smaller* participation ratio and l0.

The relative metrics are undefined for a zero gradient and give nan there;
`measure` flags such examples and `summarize` counts them, never averages them
in. Arithmetic is in float32 at least, on gradients divided by their largest
entry, so that the tiny gradient of a saturated confidence does not underflow.

References:
  Hurley, Rickard 2009, Comparing Measures of Sparsity, arXiv 0811.4706.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import vectors
from snnjax.arguments import check_array
from snnjax.interfaces import Array, PyTree
from snnjax.kernels import order_statistics
from snnjax.validation import Constant, check_range


class Metrics(NamedTuple):
  """All metrics of one modality's gradients, each [B].

  Attributes:
    l0_exact: the number of entries that are not zero.
    l0_relative: the number of entries above one percent of the largest.
    l1: sum of magnitudes.
    l2: Euclidean norm.
    linf: the largest magnitude.
    hoyer: 0 for a flat gradient, 1 for a single non-zero entry.
    participation_ratio: 1 for a flat gradient, 1/d for a single entry.
    gini: 0 for a flat gradient, 1 - 1/d for a single entry.
    is_zero: booleans, True where the gradient is exactly zero.
  """

  l0_exact: Array
  l0_relative: Array
  l1: Array
  l2: Array
  linf: Array
  hoyer: Array
  participation_ratio: Array
  gini: Array
  is_zero: Array


class Summary(NamedTuple):
  """Means over the examples whose gradient is finite and not zero.

  Attributes:
    means: scalars by metric name; nan where no example counted.
    counted: how many examples the means are over.
    zeros: how many examples had an exactly zero gradient.
    not_finite: how many had an infinite or nan entry.
  """

  means: dict[str, Array]
  counted: Array
  zeros: Array
  not_finite: Array


_ADVICE = "Every example must have at least one entry"


def _magnitudes(gradients: Array) -> Array:
  """Returns |g| as [B, d], in single precision at least."""
  check_array("gradients", gradients, "[B, D, ...]", _ADVICE)
  if 0 in gradients.shape[1:]:
    raise ValueError(f"gradients are of shape {gradients.shape}. {_ADVICE}")
  flat = jnp.abs(gradients).reshape(gradients.shape[0], -1)
  return flat.astype(np.promote_types(flat.dtype, jnp.float32))


def _shares(gradients: Array) -> tuple[Array, Array]:
  """Returns |g| / max|g|, [B, d], nan for a zero gradient, and max|g| [B]."""
  magnitudes = _magnitudes(gradients)
  peak = jnp.max(magnitudes, axis=1)
  return magnitudes / peak[:, None], peak


@jax.jit
def l0_exact(gradients: Array) -> Array:
  """Returns the number of non-zero entries, [B] integers.

  It depends on the support of the surrogate: atan's is never zero.

  Args:
    gradients: [B, ...].
  """
  return jnp.sum(_magnitudes(gradients) != 0, axis=1)


@jax.jit
def _count_above(gradients: Array, share: Constant) -> Array:
  magnitudes = _magnitudes(gradients)
  peak = jnp.max(magnitudes, axis=1, keepdims=True)
  # An infinite entry is above any share of itself but the whole.
  infinite = jnp.isinf(magnitudes) & (share < 1)
  return jnp.sum((magnitudes > share * peak) | infinite, axis=1)


def l0_relative(gradients: Array, share: Constant = 0.01) -> Array:
  """Returns the number of entries with |g_i| > share * max|g|, [B] integers.

  Args:
    gradients: [B, ...].
    share: in [0, 1]; may be traced.

  Raises:
    ValueError: if a known share is outside [0, 1].
  """
  check_range("share", share, 0.0, 1.0)
  return _count_above(gradients, share)


@jax.jit
def l1(gradients: Array) -> Array:
  """Returns sum_i |g_i|, [B].

  Args:
    gradients: [B, ...].
  """
  return jnp.sum(_magnitudes(gradients), axis=1)


@jax.jit
def l2(gradients: Array) -> Array:
  """Returns sqrt(sum_i g_i^2), [B], without overflow or underflow.

  Args:
    gradients: [B, ...].
  """
  return vectors.l2_norm(_magnitudes(gradients))


@jax.jit
def linf(gradients: Array) -> Array:
  """Returns max_i |g_i|, [B].

  Args:
    gradients: [B, ...].
  """
  return jnp.max(_magnitudes(gradients), axis=1)


@jax.jit
def hoyer(gradients: Array) -> Array:
  """Returns (sqrt d - ||g||_1/||g||_2) / (sqrt d - 1), [B] in [0, 1].

  Args:
    gradients: [B, ...] with at least two entries per example.

  Raises:
    ValueError: if an example has one entry only.

  References:
    Hoyer 2004, Non-negative Matrix Factorization with Sparseness Constraints,
    arXiv cs/0408058.
  """
  shares, _ = _shares(gradients)
  if shares.shape[1] < 2:
    raise ValueError(
      "gradients must have at least two entries per example; got shape "
      f"{gradients.shape}"
    )
  # Shares of the largest entry, not the entries: their squares neither vanish
  # nor overflow, and the quotient of the norms is the same.
  root = float(np.sqrt(shares.shape[1]))
  quotient = jnp.sum(shares, axis=1) / jnp.sqrt(jnp.sum(shares**2, axis=1))
  return jnp.clip((root - quotient) / (root - 1), 0, 1)


@jax.jit
def participation_ratio(gradients: Array) -> Array:
  """Returns ||g||_1^2 / (d ||g||_2^2), [B] in [1/d, 1]: falls with sparsity.

  The share of the entries that take part; 3 d times it is the ratio of
  adversarial to random vulnerability under linf.

  Args:
    gradients: [B, ...].
  """
  shares, _ = _shares(gradients)
  # Means, not sums: d cancels, and no sum over a large image loses digits.
  ratio = jnp.mean(shares, axis=1) ** 2 / jnp.mean(shares**2, axis=1)
  return jnp.clip(ratio, 1 / shares.shape[1], 1)


@jax.jit
def gini(gradients: Array) -> Array:
  """Returns the Gini index of |g|, [B] in [0, 1 - 1/d]: rises with sparsity.

  1 - 2 sum_k (c_k/||c||_1) (d - k + 1/2)/d, with c = |g| in ascending order
  and k from 1.

  Args:
    gradients: [B, ...].
  """
  shares, _ = _shares(gradients)
  # The index depends on shares alone, so that ranks of equal entries may be
  # given in any order: a sort suffices, and no rank is looked up.
  ascending = order_statistics.ascending(shares)
  size = ascending.shape[1]
  ranks = 2 * (size - np.arange(1, size + 1) + 0.5) / size
  weights = jnp.asarray(1 - ranks, ascending.dtype)[None]
  total = jnp.sum(ascending, axis=1)
  index = jnp.sum(ascending * weights, axis=1) / total
  # Rounding alone could leave the range, for a flat or a one-hot gradient.
  return jnp.clip(index, 0, 1 - 1 / size)


@jax.jit
def _measure(gradients: Array) -> Metrics:
  return Metrics(
    l0_exact=l0_exact(gradients),
    l0_relative=l0_relative(gradients),
    l1=l1(gradients),
    l2=l2(gradients),
    linf=linf(gradients),
    hoyer=hoyer(gradients),
    participation_ratio=participation_ratio(gradients),
    gini=gini(gradients),
    is_zero=linf(gradients) == 0,
  )


def measure(gradients: PyTree) -> PyTree:
  """Returns `Metrics` of every modality: one, or a mapping of them.

  Args:
    gradients: an array [B, ...], or a mapping of such arrays.

  Returns:
    The same structure, with `Metrics` in place of each array.

  Raises:
    ValueError: if an array has no entries, or one only, per example.
  """
  return jax.tree.map(_measure, gradients)


@jax.jit
def mean_defined(
  values: Array, undefined: Array, mask: Array | None = None
) -> Array:
  """Returns the mean of the defined values, nan where there are none.

  Args:
    values: [B].
    undefined: [B] booleans, True for the values to leave out.
    mask: [B] booleans, False on padding; None counts every example.

  Returns:
    A scalar.
  """
  # Selected, not multiplied by 0: a NaN times 0 is a NaN.
  used = ~undefined if mask is None else ~undefined & mask
  real = jnp.issubdtype(values.dtype, jnp.floating)
  counted = values if real else values.astype(jnp.float32)
  total = jnp.sum(jnp.where(used, counted, 0))
  return total / jnp.sum(used).astype(total.dtype)


@jax.jit
def summarize(metrics: Metrics, mask: Array | None = None) -> Summary:
  """Returns the means over examples with a finite, non-zero gradient.

  Zero gradients are left out of every mean, those of the norms included, so
  that all means are over the same examples; they are counted beside.

  Args:
    metrics: of one modality, each [B].
    mask: [B] booleans, False on padding; None counts every example.
  """
  included = jnp.ones_like(metrics.is_zero) if mask is None else mask
  not_finite = ~jnp.isfinite(metrics.linf)
  undefined = metrics.is_zero | not_finite
  means = {
    name: mean_defined(values, undefined, included)
    for name, values in metrics._asdict().items()
    if name != "is_zero"
  }
  return Summary(
    means=means,
    counted=jnp.sum(included & ~undefined),
    zeros=jnp.sum(included & metrics.is_zero),
    not_finite=jnp.sum(included & not_finite),
  )
