"""What a caller hands in: functions and labels, checked in one place.

A function is checked when it is given, by the arguments that it takes, and
when it answers, by what it returns: a wrong one is told what to pass.
"""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.interfaces import (
  Array,
  Attack,
  Forward,
  Inputs,
  Key,
  Labels,
  LogitsFn,
  Scored,
)

_LOGITS = (
  "lambda key, inputs: f(inputs) makes one of a function f of inputs alone, "
  "models.classifier one of a network"
)
_LOSS = "losses.scored(logits_fn, losses.cross_entropy) makes one"
_ATTACK = "attacks.fgsm(loss, threat), for instance, makes one"


def described(value: Any) -> str:
  """Returns what a value is, in a few words, for an error message."""
  if isinstance(value, type):
    return f"the class {value.__name__}"
  if isinstance(value, np.ndarray | jax.Array):
    return f"an array {value.dtype}{list(value.shape)}"
  if isinstance(value, str | int | float | None):
    return repr(value)
  if callable(value) and hasattr(value, "__name__"):
    return f"the function {value.__name__}"
  return f"a {type(value).__name__}"


def check_takes(
  name: str, function: Any, parameters: tuple[str, ...], advice: str
) -> None:
  """Raises unless a function can be called with so many positional arguments.

  A class is refused: what it makes may be such a function, it is not.

  Args:
    name: what to call the function in the message.
    function: anything; a callable that does not tell its arguments passes.
    parameters: what it is to be called with, in words.
    advice: how to make a right one.

  Raises:
    TypeError: if it is not callable, or not with these arguments.
  """
  wanted = f"{name} must be a function of ({', '.join(parameters)})"
  if not callable(function) or isinstance(function, type):
    raise TypeError(f"{wanted}; got {described(function)}. {advice}")
  try:
    signature = inspect.signature(function)
  except (TypeError, ValueError):  # Some builtins do not tell.
    return
  try:
    signature.bind(*parameters)
  except TypeError:
    takes = ", ".join(signature.parameters)
    raise TypeError(
      f"{wanted}; got {described(function)}, which takes ({takes}). {advice}"
    ) from None


def logits_function(function: LogitsFn, name: str = "logits_fn") -> LogitsFn:
  """Returns ``(key, inputs) -> logits``, whose answers are checked too.

  Args:
    function: the caller's.
    name: what to call it in a message.

  Raises:
    TypeError: if it does not take a key and inputs; from what is returned, if
      it answers with anything but an array.
    ValueError: from what is returned, if that is not [B, C].
  """
  check_logits_function(function, name)

  @functools.wraps(function)
  def logits(key: Key, inputs: Inputs) -> Array:
    found = function(key, inputs)
    check_logits(found, name)
    return found

  return logits


def check_logits_function(function: Any, name: str = "logits_fn") -> None:
  """Raises TypeError unless a function takes a key and inputs.

  Args:
    function: the caller's.
    name: what to call it in the message.
  """
  check_takes(name, function, ("key", "inputs"), _LOGITS)


def check_logits(logits: Any, name: str = "logits_fn") -> None:
  """Raises unless these are logits [B, C].

  Args:
    logits: what the function `name` returned.
    name: of that function.

  Raises:
    TypeError: if they are no array.
    ValueError: if they are of another rank.
  """
  if not isinstance(logits, jax.Array | np.ndarray):
    advice = ""
    if isinstance(logits, Forward | Scored):
      advice = "; return its attribute logits"
    raise TypeError(
      f"{name} must return logits [B, C]; got {described(logits)}{advice}"
    )
  if logits.ndim != 2:
    raise ValueError(
      f"{name} must return logits [B, C]; got shape {logits.shape}. A single "
      "logit z is [0, z] in two: jnp.stack([0 * z, z], 1)"
    )


def check_loss(function: Any, name: str = "loss") -> None:
  """Raises unless a function takes what a loss that attacks ascend takes.

  Args:
    function: the caller's.
    name: what to call it in a message.

  Raises:
    TypeError: if it does not take a key, inputs and labels.
  """
  check_takes(name, function, ("key", "inputs", "labels"), _LOSS)


def check_scored(scored: Any, labels: Labels) -> None:
  """Raises unless a loss returned `Scored`, with one loss for each label.

  Raises:
    TypeError: if it is no `Scored`.
    ValueError: if the loss is not [B], or the logits are not [B, C].
  """
  if not isinstance(scored, Scored):
    raise TypeError(
      "loss must return Scored(loss [B], logits [B, C]), since success cannot "
      f"be told from a loss; got {described(scored)}. "
      "losses.scored(logits_fn, losses.cross_entropy) makes such a loss"
    )
  size = jnp.shape(labels)
  if jnp.shape(scored.loss) != size:
    raise ValueError(
      f"loss must return one number per example, {size}; got shape "
      f"{jnp.shape(scored.loss)}. Leave out the mean or the sum over examples"
    )
  check_logits(scored.logits, "loss")


def check_attack(attack: Any, name: str = "attack") -> None:
  """Raises unless this is an attack, and not what makes one.

  Raises:
    TypeError: if it does not take a key, inputs and labels.
  """
  check_takes(name, attack, ("key", "inputs", "labels"), _ATTACK)


def checked_attacks(attacks: Any) -> tuple[Attack, ...]:
  """Returns a sequence of attacks as a tuple.

  Raises:
    ValueError: if it is empty.
    TypeError: if it is no sequence, or something else than attacks.
  """
  if callable(attacks) or not hasattr(attacks, "__len__"):
    raise TypeError(
      f"attacks must be a sequence of attacks; got {described(attacks)}"
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
    TypeError: if they are no integers.
    ValueError: if there is not one for each example.
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
    raise TypeError(f"{name} must be integer classes; got {array.dtype}")
  return jnp.asarray(array)


def _as_array(values: Any, name: str) -> Any:
  try:
    return np.asarray(values)
  except jax.errors.TracerArrayConversionError:  # A list that jit took apart.
    return jnp.asarray(values)
  except ValueError:  # Rows of several lengths.
    raise TypeError(
      f"{name} must be integer classes, one per example; got "
      f"{described(values)} that is no array"
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
