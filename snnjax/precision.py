"""How exactly convolutions and products of matrices are computed.

Where nobody says, JAX leaves it to the platform: a GPU rounds the factors to
TF32 (a relative error of 2^-11 each), a TPU to bfloat16 (2^-8). Beside a finite
difference of 0.01, or an input on the threshold of a neuron, that is another
function. So the networks of this library compute in float32 everywhere, unless
they are built for something else, or JAX's own setting
``jax_default_matmul_precision`` says otherwise. Attacks, input gradients,
metrics and certificates do the same with a caller's functions, see `exactly`.

    float32   HIGHEST: factors, sums and results of 24 bits
    tf32      HIGH: factors of 11 bits on a GPU (of 16 on a TPU), sums of 24
    bfloat16  factors and results of 8 bits, sums of 24

All three are the same on a CPU but for bfloat16. Only products and
convolutions follow: potentials, thresholds, normalisation, losses, statistics
and the optimiser's state are of the type of weights and inputs.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Bits of the factors, the leading one included.
BITS = {"float32": 24, "tf32": 11, "bfloat16": 8}
NAMES = tuple(BITS)
_SETTING = "jax_default_matmul_precision"

_LEAST_OF_DEFAULT = {"cpu": 24, "gpu": 11, "tpu": 8}  # others as a TPU
_LEAST_OF_HIGH = {"cpu": 24, "gpu": 11, "tpu": 16}
_PRODUCTS = ("dot_general", "conv_general_dilated")
_NO_PRODUCT = object()

Exactness = lax.Precision | str  # as `jax.lax` takes it
# (inputs, weights, how exactly) -> product
Product = Callable[[jax.Array, jax.Array, Exactness], jax.Array]


def check_name(name: str | None) -> None:
  """Raises ValueError unless this is one of `NAMES`, or None."""
  if name is not None and name not in NAMES:
    raise ValueError(
      f"precision must be one of {', '.join(NAMES)}, or None, which follows "
      f"{_SETTING}; got {name!r}"
    )


def default() -> Exactness:
  """Returns what JAX's setting says, and HIGHEST where it says nothing."""
  setting: str | None = getattr(jax.config, _SETTING)
  return lax.Precision.HIGHEST if setting is None else setting


def multiply(
  product: Product, inputs: jax.Array, weights: jax.Array, name: str | None
) -> jax.Array:
  """Returns a product, of the inputs' type, computed as exactly as `name` says.

  Its derivatives are computed alike: a cotangent is rounded as the inputs are,
  and a weight's gradient to the type of the products before it is one of the
  weight's own.

  Args:
    product: bilinear.
    inputs: its first argument.
    weights: its second argument, of the inputs' type.
    name: one of `NAMES`; None follows `default`.
  """
  if name == "bfloat16":
    # The factors say it; a precision beside them only confuses compilers.
    halves = inputs.astype(jnp.bfloat16), weights.astype(jnp.bfloat16)
    return product(*halves, lax.Precision.DEFAULT).astype(inputs.dtype)
  exactness = {"float32": lax.Precision.HIGHEST, "tf32": lax.Precision.HIGH}
  return product(inputs, weights, exactness[name] if name else default())


@contextlib.contextmanager
def exactly() -> Iterator[None]:
  """Computes what is traced inside in float32, unless JAX's setting is set.

  For functions of a caller's own, which say nothing of precision: ``with
  jax.default_matmul_precision("tensorfloat32"):`` around an attack, or the
  same in JAX's configuration, is obeyed.
  """
  if getattr(jax.config, _SETTING) is not None:
    yield
    return
  with jax.default_matmul_precision("highest"):
    yield


def fewest_bits(
  function: Callable[..., Any], *arguments: Any, platform: str | None = None
) -> int:
  """Returns the bits of the factors of a function's coarsest product.

  Args:
    function: traced once; never run.
    *arguments: its arguments.
    platform: what it runs on, "cpu", "gpu" or "tpu"; JAX's own if None.

  Returns:
    At most 24, as float32 has, and 24 for a function without products.
  """
  where = jax.default_backend() if platform is None else platform
  program = jax.make_jaxpr(function)(*arguments)
  return min(_bits_of_products(program.jaxpr, where), default=24)


def _bits_of_products(program: Any, platform: str) -> Iterator[int]:
  for equation in program.eqns:
    exactness = _exactness_of(equation)
    if exactness is not _NO_PRODUCT:
      types = (operand.aval.dtype for operand in equation.invars)
      yield min(_bits_of(exactness, platform), *map(_bits_of_type, types))
    for part in jax.tree.leaves(
      equation.params, is_leaf=lambda value: hasattr(value, "eqns")
    ):
      inner = getattr(part, "jaxpr", part)
      if hasattr(inner, "eqns"):
        yield from _bits_of_products(inner, platform)


def _exactness_of(equation: Any) -> Any:
  """What an operation says of its precision; `_NO_PRODUCT` if it is none."""
  if equation.primitive.name in _PRODUCTS:
    return equation.params["precision"]
  # The convolutions of `snnjax.kernels`.
  if "geometry" in equation.params:
    return equation.params["geometry"].precision
  return _NO_PRODUCT


def _bits_of(exactness: Any, platform: str) -> int:
  if isinstance(exactness, tuple):
    return min(_bits_of(side, platform) for side in exactness)
  if isinstance(exactness, lax.DotAlgorithm | lax.DotAlgorithmPreset):
    return BITS["bfloat16"]  # somebody chose an algorithm: no more is known
  # None is the platform's choice, as DEFAULT is; a text names one of these.
  chosen = lax.Precision(exactness or lax.Precision.DEFAULT)
  if chosen is lax.Precision.HIGHEST:
    return BITS["float32"]
  high = chosen is lax.Precision.HIGH
  return (_LEAST_OF_HIGH if high else _LEAST_OF_DEFAULT).get(
    platform, BITS["bfloat16"]
  )


def _bits_of_type(dtype: Any) -> int:
  if not jnp.issubdtype(dtype, jnp.floating):
    return BITS["float32"]
  return min(jnp.finfo(dtype).nmant + 1, BITS["float32"])
