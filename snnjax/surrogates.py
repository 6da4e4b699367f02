"""Surrogate derivatives as pytree values, and the spike that uses them.

A spike is the Heaviside step of the drive u (potential minus threshold). Its
derivative is replaced by a *surrogate*: a static function and dynamic
parameters, so that sweeping a parameter costs one compilation and parameters
may be arrays that broadcast against the drive, such as a sharpness per neuron,
example and step.

A neuron of your own fires with `spike`, a derivative of your own is made with
`derivatives.replace_derivative`: not with `jax.custom_jvp`, which a gradient
penalty would lose inside `lax.scan`, nor with `jax.custom_vjp`. The library
refuses to differentiate those twice; see `snnjax.lost_derivatives`.

References:
  Neftci, Mostafa, Zenke 2019, "Surrogate gradient learning in spiking neural
  networks", arXiv 1901.09948.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.arguments import describe
from snnjax.derivatives import replace_derivative
from snnjax.interfaces import Array
from snnjax.validation import check_positive

Parameter = float | Array
Derivative = Callable[[Array, Mapping[str, Parameter]], Array]


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=["parameters"],
  meta_fields=["derivative"],
)
@dataclasses.dataclass(frozen=True)
class Surrogate:
  """The derivative that stands in for that of the Heaviside step.

  Attributes:
    derivative: ``(drive, parameters) -> ds/du``, elementwise; a module-level
      function, since it is part of what a compilation is keyed on.
    parameters: named scalars, or arrays that broadcast against the drive.
  """

  derivative: Derivative
  parameters: Mapping[str, Parameter]

  def __call__(self, drive: Array) -> Array:
    """Returns the surrogate derivative ds/du at `drive`, elementwise."""
    return self.derivative(drive, self.parameters)


def check_surrogate(surrogate: Any) -> None:
  """Raises ValueError unless this is a surrogate, and not what makes one."""
  if not isinstance(surrogate, Surrogate):
    hint = ": call it, surrogates.atan()" if callable(surrogate) else ""
    raise ValueError(
      "surrogate must be a Surrogate, such as surrogates.atan(); got "
      f"{describe(surrogate)}{hint}"
    )


def spike(drive: Array, surrogate: Surrogate, strict: bool = False) -> Array:
  """Fires where the drive is not negative: s = H(u), ds/du = surrogate(u).

  Args:
    drive: potential minus threshold, any shape.
    surrogate: stands in for the derivative, in forward and reverse mode and
      at any order: a second derivative is that of the surrogate's function.
    strict: fire where u > 0 instead of u >= 0.

  Returns:
    Zeros and ones of the drive's shape and dtype.

  Raises:
    ValueError: if the surrogate is none.
  """
  check_surrogate(surrogate)
  fires = (drive > 0 if strict else drive >= 0).astype(drive.dtype)
  slope = jnp.broadcast_to(surrogate(drive), drive.shape).astype(drive.dtype)
  return replace_derivative(fires, slope, drive)


def triangle(width: Parameter = 1.0) -> Surrogate:
  """Piecewise linear: max(0, w - |u|) / w^2 (SR's and SNN-RAT's "ZIF").

  Args:
    width: half the width of the support, in units of the drive.

  References:
    Esser et al. 2016, arXiv 1603.08270; Bellec et al. 2018, arXiv 1803.09574.
  """
  return _surrogate(_triangle, width=width)


def atan(sharpness: Parameter = 2.0) -> Surrogate:
  """Arctangent: (a/2) / (1 + (pi a u / 2)^2).

  Args:
    sharpness: a, in inverse units of the drive.

  References:
    Fang et al. 2021, arXiv 2007.05785.
  """
  return _surrogate(_atan, sharpness=sharpness)


def sigmoid(sharpness: Parameter = 4.0) -> Surrogate:
  """Logistic: a s(a u) (1 - s(a u)).

  Args:
    sharpness: a, in inverse units of the drive.

  References:
    Zenke, Ganguli 2018, arXiv 1705.11146.
  """
  return _surrogate(_sigmoid, sharpness=sharpness)


def fast_sigmoid(sharpness: Parameter = 10.0) -> Surrogate:
  """SuperSpike's: 1 / (1 + a |u|)^2, of height 1 and area 2/a.

  Args:
    sharpness: a, in inverse units of the drive.

  References:
    Zenke, Ganguli 2018, arXiv 1705.11146.
  """
  return _surrogate(_fast_sigmoid, sharpness=sharpness)


def gaussian(width: Parameter = 0.5, centre: Parameter = 0.0) -> Surrogate:
  """Normal density: N(u; centre, width^2).

  Args:
    width: standard deviation, in units of the drive.
    centre: mean, in units of the drive.

  References:
    Yin, Corradi, Bohte 2020, arXiv 2005.11633.
  """
  return _surrogate(_gaussian, positive=("width",), width=width, centre=centre)


def rectangle(width: Parameter = 0.5) -> Surrogate:
  """Boxcar: 1[|u| < w] / (2 w).

  Args:
    width: half the width of the support, in units of the drive.

  References:
    Wu et al. 2018 (STBP), arXiv 1706.02609.
  """
  return _surrogate(_rectangle, width=width)


def exponential(height: Parameter = 1.0, rate: Parameter = 1.0) -> Surrogate:
  """Two-sided exponential: h exp(-b |u|).

  Args:
    height: h, the value at zero drive.
    rate: b, in inverse units of the drive.

  References:
    Shrestha, Orchard 2018 (SLAYER), arXiv 1810.08646.
  """
  return _surrogate(_exponential, height=height, rate=rate)


def scaled_triangle(height: Parameter = 0.3) -> Surrogate:
  """HIRE's: h max(0, 1 - |u|), with h = 0.3 and u = v/theta - 1.

  Args:
    height: h, the value at zero drive.

  References:
    Bellec et al. 2018, arXiv 1803.09574; Kundu et al. 2021, arXiv 2110.11417.
  """
  return _surrogate(_scaled_triangle, height=height)


def straight_through() -> Surrogate:
  """The identity's derivative, 1 everywhere.

  References:
    Bengio, Leonard, Courville 2013, arXiv 1308.3432.
  """
  return Surrogate(_ones, {})


def _surrogate(
  derivative: Derivative,
  *,
  positive: tuple[str, ...] | None = None,
  **parameters: Parameter,
) -> Surrogate:
  """Checks that the parameters in `positive` (default all) are positive."""
  for name in parameters if positive is None else positive:
    check_positive(name, parameters[name])
  return Surrogate(derivative, parameters)


def _triangle(u: Array, p: Mapping[str, Parameter]) -> Array:
  return jnp.maximum(0, p["width"] - jnp.abs(u)) / jnp.square(p["width"])


def _atan(u: Array, p: Mapping[str, Parameter]) -> Array:
  a = p["sharpness"]
  return a / 2 / (1 + jnp.square(jnp.pi / 2 * a * u))


def _sigmoid(u: Array, p: Mapping[str, Parameter]) -> Array:
  a = p["sharpness"]
  # s(-x), not 1 - s(x), which loses all digits where s(x) is close to 1.
  return a * jax.nn.sigmoid(a * u) * jax.nn.sigmoid(-a * u)


def _fast_sigmoid(u: Array, p: Mapping[str, Parameter]) -> Array:
  return 1 / jnp.square(1 + p["sharpness"] * jnp.abs(u))


def _gaussian(u: Array, p: Mapping[str, Parameter]) -> Array:
  z = (u - p["centre"]) / p["width"]
  return jnp.exp(-jnp.square(z) / 2) / (p["width"] * jnp.sqrt(2 * jnp.pi))


def _rectangle(u: Array, p: Mapping[str, Parameter]) -> Array:
  inside = (jnp.abs(u) < p["width"]).astype(u.dtype)
  return inside / (2 * jnp.asarray(p["width"], u.dtype))


def _exponential(u: Array, p: Mapping[str, Parameter]) -> Array:
  return p["height"] * jnp.exp(-p["rate"] * jnp.abs(u))


def _scaled_triangle(u: Array, p: Mapping[str, Parameter]) -> Array:
  return p["height"] * jnp.maximum(0, 1 - jnp.abs(u))


def _ones(u: Array, p: Mapping[str, Parameter]) -> Array:
  del p
  return jnp.ones_like(u)
