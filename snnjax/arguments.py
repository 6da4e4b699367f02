"""Checks of what a caller passes: functions, arrays and labels.

A function is checked twice: when it is passed, by the arguments that it takes,
and when it is called, by what it returns. An array is checked against its
shape as docstrings write it, see `check_array`. Every message names the
argument, what is allowed, what came and how to make a right one.
"""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Attack,
  Forward,
  Inputs,
  Key,
  Labels,
  LogitsFn,
  Network,
  Scored,
)
from snnjax.precision import exactly

_LOGITS = "models.classifier(network, variables, rule=rule) makes one"
_LOSS = "losses.scored(logits_fn, losses.cross_entropy) makes one"
_ATTACK = "attacks.fgsm(logits_fn, threat), for instance, makes one"
_KINDS = {
  "booleans": np.bool_,
  "integers": np.integer,
  "floats": np.floating,
  "numbers": np.number,
}


def describe(value: Any) -> str:
  """Returns what a value is, in a few words, for an error message."""
  if isinstance(value, type):
    return f"the class {value.__name__}"
  if isinstance(value, np.ndarray | jax.Array):
    return f"an array {value.dtype}{list(value.shape)}"
  if isinstance(value, str | int | float | None):
    return repr(value)
  if callable(value) and hasattr(value, "__name__"):
    return f"the function {value.__name__}"
  kind = type(value).__name__
  return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


def check_array(
  name: str, value: Any, wanted: str, advice: str = "", **sizes: int
) -> dict[str, int]:
  """Raises unless an array has the shape and type that `wanted` describes.

  An axis is a number, or a name for any length; a name that comes again, or
  that is among `sizes`, stands for one length. ``...`` stands for any number
  of further axes. Before the shape may stand a type, or one of booleans,
  integers, floats and numbers, and several shapes may be joined by "or":
  ``"[B, C]"``, ``"[B, 4, ...]"``, ``"uint8 [N, H, W] or [N, H, W, 1]"``.

  Args:
    name: what to call it in the message.
    value: an array, traced or not, or a number.
    wanted: what it must be.
    advice: what to do about another one, a sentence.
    **sizes: lengths of named axes that are known.

  Returns:
    The length of every named axis, those of `sizes` included.

  Raises:
    ValueError: if it is of another shape or type.
  """
  kind, shapes = _parse(wanted)
  if value is None or isinstance(value, Mapping | str) or callable(value):
    raise ValueError(f"{name} must be an array {wanted}; got {describe(value)}")
  # Nothing here touches values: traced arrays have a shape and a type too.
  shape = np.shape(value)
  dtype = getattr(value, "dtype", None) or np.result_type(value)
  if not kind or _is_of(dtype, kind):
    for axes in shapes:
      lengths = _lengths(shape, axes, sizes)
      if lengths is not None:
        return lengths
  for axis, size in sizes.items():
    wanted = re.sub(rf"\b{axis}\b", str(size), wanted)
  of = f"{dtype} of " if kind else ""
  raise ValueError(
    f"{name} must be {wanted}; got {of}shape {shape}{advice and f'. {advice}'}"
  )


class _Wanted(NamedTuple):
  kind: str  # empty for any
  shapes: tuple[tuple[str, ...], ...]


@functools.lru_cache
def _parse(wanted: str) -> _Wanted:
  shapes = [
    tuple(axis.strip() for axis in axes.split(",") if axis.strip())
    for axes in re.findall(r"\[([^]]*)\]", wanted)
  ]
  return _Wanted(wanted.partition("[")[0].strip(), tuple(shapes))


def _is_of(dtype: Any, kind: str) -> bool:
  if kind in _KINDS:
    return bool(jnp.issubdtype(dtype, _KINDS[kind]))
  return bool(dtype == jnp.dtype(kind))


def _lengths(
  shape: tuple[int, ...], axes: tuple[str, ...], sizes: dict[str, int]
) -> dict[str, int] | None:
  """The lengths of the named axes; None where a shape does not fit."""
  # Axes before the dots are read from the front, those behind from the back.
  if "..." in axes:
    first = axes.index("...")
    last = len(axes) - first - 1
    if len(shape) < first + last:
      return None
    axes = axes[:first] + axes[first + 1 :]
    shape = shape[:first] + shape[len(shape) - last :]
  if len(shape) != len(axes):
    return None
  lengths = dict(sizes)
  for axis, length in zip(axes, shape, strict=True):
    expected = int(axis) if axis.isdigit() else lengths.setdefault(axis, length)
    if length != expected:
      return None
  return lengths


def check_is(name: str, value: Any, kind: type, example: str) -> None:
  """Raises ValueError unless a value is a record of a kind.

  Args:
    name: of the argument, for the message.
    value: what a caller gave; a function that makes such a record is none.
    kind: the record's class.
    example: an expression that makes one.
  """
  if not isinstance(value, kind):
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise ValueError(
      f"{name} must be {article} {kind.__name__}; got {describe(value)}. "
      f"{example} is one"
    )


def check_network(network: Any) -> None:
  """Raises ValueError unless this is a `Network`."""
  check_is(
    "network",
    network,
    Network,
    "models.mlp((64,), neuron=neurons.lif(), encoder=encoders.direct(8))",
  )


def check_takes(
  name: str, function: Any, parameters: tuple[str, ...], advice: str
) -> None:
  """Raises unless a function can be called with these positional arguments.

  A class is refused: its instances may be such functions, the class is not.

  Args:
    name: what to call the function in the message.
    function: anything; a callable that does not tell its arguments passes.
    parameters: what it is to be called with, in words.
    advice: how to make a right one.

  Raises:
    ValueError: if it is not callable, or not with these arguments.
  """
  wanted = f"{name} must be a function of ({', '.join(parameters)})"
  if not callable(function) or isinstance(function, type):
    raise ValueError(f"{wanted}; got {describe(function)}. {advice}")
  signature = _signature(function)
  if signature is not None and not _binds(signature, len(parameters)):
    raise ValueError(
      f"{wanted}; got {describe(function)}, which takes "
      f"({', '.join(signature.parameters)}). {advice}"
    )


def _signature(function: Callable) -> inspect.Signature | None:
  """The arguments of a function; None for a builtin without a signature."""
  try:
    return inspect.signature(function)
  except (TypeError, ValueError):
    return None


def _binds(signature: inspect.Signature, count: int) -> bool:
  try:
    signature.bind(*[None] * count)
  except TypeError:
    return False
  return True


def with_key(
  function: AnyLogitsFn, name: str = "logits_fn", advice: str = _LOGITS
) -> LogitsFn:
  """Returns a logits function of ``(key, inputs)``, whichever kind came.

  A function that can be called with two positional arguments, and not with
  one, is taken as it is; one of a single argument is a function of the inputs
  alone, and its key is dropped. One that takes either, as ``f(inputs,
  scale=1.0)`` does, is refused: what it would do with a key cannot be told.

  Args:
    function: the caller's, of ``(key, inputs)`` or of ``(inputs)``.
    name: what to call it in a message.
    advice: how to make a right one.

  Returns:
    The function, or a `jax.tree_util.Partial` with that in it: as an argument
    of a compiled program, the same function is compiled once.

  Raises:
    ValueError: if it takes neither, or may take either.
  """
  wanted = f"{name} must be a function of (key, inputs), or of (inputs) alone"
  logits: Any = function
  if not callable(function) or isinstance(function, type):
    raise ValueError(f"{wanted}; got {describe(function)}. {advice}")
  # The signature decides, not a trial call: calling could draw, print or fail
  # for other reasons.
  signature = _signature(function)
  fits = [n for n in (1, 2) if signature is None or _binds(signature, n)]
  if fits == [2]:
    return logits
  if fits == [1]:
    if not isinstance(logits, jax.tree_util.Partial):
      logits = jax.tree_util.Partial(logits)
    return jax.tree_util.Partial(_without_key, logits)
  takes = "does not tell its arguments"
  if signature is not None:
    takes = f"takes ({', '.join(signature.parameters)})"
  if fits:
    advice = (
      "It may be either: write lambda key, inputs: f(key, inputs) or "
      "lambda inputs: f(inputs)"
    )
  raise ValueError(
    f"{wanted}; got {describe(function)}, which {takes}. {advice}"
  )


def _without_key(function: Callable, key: Key, inputs: Inputs) -> Array:
  del key
  return function(inputs)


def logits_function(
  function: AnyLogitsFn, name: str = "logits_fn", advice: str = _LOGITS
) -> LogitsFn:
  """Returns ``(key, inputs) -> logits``, whose answers are checked too.

  It is traced as exactly as what is measured must be, see `precision.exactly`.

  Args:
    function: the caller's, see `with_key`.
    name: what to call it in a message.
    advice: how to make a right one.

  Raises:
    ValueError: if it takes other arguments; from what is returned, if it
      answers with anything but an array [B, C].
  """
  function = with_key(function, name, advice)

  @exactly()
  def logits(key: Key, inputs: Inputs) -> Array:
    answer = function(key, inputs)
    check_logits(answer, name)
    return answer

  return logits


def check_logits(logits: Any, name: str = "logits_fn") -> None:
  """Raises ValueError unless these are logits [B, C].

  Args:
    logits: what the function `name` returned.
    name: of that function.
  """
  if not isinstance(logits, jax.Array | np.ndarray):
    advice = ""
    if isinstance(logits, Forward | Scored):
      advice = "; return its attribute logits"
    raise ValueError(
      f"{name} must return logits [B, C]; got {describe(logits)}{advice}"
    )
  if logits.ndim != 2:
    raise ValueError(
      f"{name} must return logits [B, C]; got shape {logits.shape}. A single "
      "logit z is [0, z] in two: jnp.stack([0 * z, z], 1)"
    )


def check_loss(function: Any, name: str = "loss") -> None:
  """Raises unless a function takes the arguments of an attack's loss.

  Args:
    function: the caller's.
    name: what to call it in a message.

  Raises:
    ValueError: if it does not take a key, inputs and labels.
  """
  check_takes(name, function, ("key", "inputs", "labels"), _LOSS)


def check_scored(scored: Any, labels: Labels) -> None:
  """Raises unless a loss returned `Scored`, with one loss for each label.

  Raises:
    ValueError: if it is no `Scored`, the loss is not [B], or the logits are
      not [B, C].
  """
  if not isinstance(scored, Scored):
    raise ValueError(
      "loss must return Scored(loss [B], logits [B, C]), since success cannot "
      f"be told from a loss; got {describe(scored)}. "
      "losses.scored(logits_fn, losses.cross_entropy) makes such a loss"
    )
  check_losses(scored.loss, len(labels))
  check_logits(scored.logits, "loss")


def check_losses(values: Any, size: int, name: str = "loss") -> None:
  """Raises ValueError unless these are one loss for each example.

  Args:
    values: what the function `name` returned.
    size: B.
    name: of that function.
  """
  wanted = f"{name} must return one number per example, ({size},)"
  if not isinstance(values, jax.Array | np.ndarray):
    raise ValueError(f"{wanted}; got {describe(values)}")
  if values.shape != (size,):
    raise ValueError(
      f"{wanted}; got shape {values.shape}. Leave out the mean or the sum over "
      "examples"
    )


def check_attack(attack: Any, name: str = "attack") -> None:
  """Raises unless this is an attack; a function that builds one is refused.

  Raises:
    ValueError: if it does not take a key, inputs and labels.
  """
  check_takes(name, attack, ("key", "inputs", "labels"), _ATTACK)


def check_attacks(attacks: Any) -> tuple[Attack, ...]:
  """Returns a sequence of attacks as a tuple.

  Raises:
    ValueError: if it is empty, no sequence, or of something else.
  """
  if callable(attacks) or not hasattr(attacks, "__len__"):
    raise ValueError(
      f"attacks must be a sequence of attacks; got {describe(attacks)}"
    )
  if not attacks:
    raise ValueError("attacks must hold at least one attack; got none")
  for place, attack in enumerate(attacks):
    check_attack(attack, f"attacks[{place}]")
  return tuple(attacks)


def as_labels(labels: Any, size: int, name: str = "labels") -> Labels:
  """Returns labels, such as a list of numbers, as an array [B] of integers.

  Args:
    labels: the caller's.
    size: B.
    name: what to call them in a message.

  Raises:
    ValueError: if they are no integers, or not one for each example.
  """
  array: Any = labels
  if not isinstance(labels, jax.Array):
    array = _as_array(labels, name)
  if array.shape != (size,):
    one_hot = array.ndim == 2 and array.shape[0] == size
    hint = "; of one-hot rows jnp.argmax(labels, 1)" if one_hot else ""
    raise ValueError(
      f"{name} must have one class per example, ({size},); got {array.shape}"
      f"{hint}"
    )
  if not jnp.issubdtype(array.dtype, jnp.integer):
    raise ValueError(f"{name} must be integer classes; got {array.dtype}")
  return jnp.asarray(array)


def _as_array(values: Any, name: str) -> Any:
  try:
    return np.asarray(values)
  except jax.errors.TracerArrayConversionError:  # A list that jit took apart.
    return jnp.asarray(values)
  except ValueError:  # Rows of several lengths.
    raise ValueError(
      f"{name} must be integer classes, one per example; got "
      f"{describe(values)} that is no array"
    ) from None


def check_per_example(name: str, value: Any, size: int) -> None:
  """Raises unless a value is one for all examples, or one for each.

  Args:
    name: what to call it in the message.
    value: a scalar, an array, or a mapping of these by modality.
    size: B.

  Raises:
    ValueError: if it is neither a scalar nor [B].
  """
  for path, leaf in jax.tree_util.tree_leaves_with_path(value):
    if jnp.shape(leaf) not in ((), (size,)):
      raise ValueError(
        f"{name}{jax.tree_util.keystr(path)} must be one for all or one per "
        f"example, () or ({size},); got shape {jnp.shape(leaf)}"
      )
