"""Explicit keys per example: a result never depends on its batch."""

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.interfaces import Array, Key
from snnjax.sharding import spread_like

_SEEDS = 1 << 32  # JAX takes a seed modulo this


def check_seed(seed: int, name: str = "seed") -> int:
  """Returns the seed if it is one: a whole number in [0, 2^32).

  JAX's keys are functions of a seed modulo 2^32: beyond it, two seeds would
  give the same numbers.

  Raises:
    ValueError: if it is anything else, naming it.
  """
  is_integer = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
  if not is_integer or not 0 <= seed < _SEEDS:
    raise ValueError(
      f"{name} must be a whole number in 0..{_SEEDS - 1}; got {seed!r}"
    )
  return int(seed)


def key(seed: int) -> Key:
  """Returns the typed key of a seed; different for different seeds.

  Args:
    seed: see `check_seed`.

  Raises:
    ValueError: if it is out of range.
  """
  return jax.random.key(check_seed(seed))


def check_key(key: Any) -> None:
  """Raises ValueError unless this is a typed key, or an array of them."""
  typed = isinstance(key, jax.Array) and jnp.issubdtype(
    key.dtype, jax.dtypes.prng_key
  )
  if not typed:
    shown = f"{key.dtype}{key.shape}" if hasattr(key, "dtype") else repr(key)
    raise ValueError(
      "key must be a typed jax.random.key(seed), or one for each example; got "
      f"{shown}"
    )


def batch_size(inputs: Any) -> int:
  """Returns the length of the leading axis that all leaves share.

  Args:
    inputs: an array [B, ...] or a mapping of such arrays.

  Raises:
    ValueError: if inputs are lists of numbers; if there is no leaf, or leading
      axes differ or are missing.
  """
  if isinstance(inputs, list | tuple):
    raise ValueError(
      "inputs must be an array [B, ...] or a mapping of arrays; got a "
      f"{type(inputs).__name__}: jnp.asarray makes an array of it"
    )
  sizes = {
    jax.tree_util.keystr(path) or "inputs": jnp.shape(leaf)[:1]
    for path, leaf in jax.tree_util.tree_leaves_with_path(inputs)
  }
  if len(set(sizes.values())) != 1 or () in sizes.values():
    raise ValueError(
      "inputs must be arrays with one common leading batch axis; got leading "
      f"axes {sizes}"
    )
  return next(iter(sizes.values()))[0]


def example_keys(key: Key, size: int) -> Key:
  """Returns one key per example, [B].

  A scalar key is folded with each example's index; [B] keys pass unchanged.

  Args:
    key: a typed key, scalar or [B].
    size: the number of examples B.

  Raises:
    ValueError: if `key` is neither a typed scalar key nor B typed keys.
  """
  check_key(key)
  if key.ndim == 0:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(size))
  if key.shape != (size,):
    raise ValueError(
      f"key must be a scalar or have one key per example, [{size}]; got shape "
      f"{key.shape}"
    )
  return key


def fold_in(key: Key, data: int | np.uint32 | Array) -> Key:
  """Folds `data` into a scalar key or into each of [B] keys."""
  if key.ndim == 0:
    return jax.random.fold_in(key, data)
  return jax.vmap(jax.random.fold_in, (0, None))(key, data)


def fold_in_name(key: Key, text: str) -> Key:
  """Folds a purpose, said in words, into a scalar key or each of [B] keys.

  The same text gives the same key in every process. Two 32-bit words of the
  text's SHA-256 are folded in, one after the other, the first with its top
  bit set: no count (a step, a batch, an example's index) reaches that, so a
  name's keys are never those of a count, nor, but for one chance in 2^63,
  those of another name.

  Args:
    key: a typed key, scalar or [B].
    text: the purpose, such as ``"validation"``.

  Raises:
    ValueError: `text` is empty.
  """
  if not text:
    raise ValueError(f"text must say what the key is for; got {text!r}")
  first, second = np.frombuffer(
    hashlib.sha256(text.encode()).digest()[:8], ">u4"
  )
  marked = np.uint32(first) | np.uint32(1 << 31)
  return fold_in(fold_in(key, marked), np.uint32(second))


def split(key: Key, num: int = 2) -> tuple[Key, ...]:
  """Splits a scalar key, or each of [B] keys, into `num` of its shape."""
  if key.ndim == 0:
    return tuple(jax.random.split(key, num))
  keys = jax.vmap(lambda k: jax.random.split(k, num))(key)
  return tuple(keys[:, i] for i in range(num))


def per_example(draw: Callable[..., Array], keys: Key, *arrays: Array) -> Array:
  """Applies ``draw(key, *example)`` to each example with its own key.

  Args:
    draw: a function of one key and one example's arrays.
    keys: [B] keys.
    *arrays: [B, ...] arrays, mapped along their leading axis.

  Returns:
    The results, stacked along a leading axis of length B.
  """
  if arrays:
    keys = spread_like(keys, arrays[0])
  return jax.vmap(draw)(keys, *arrays)
