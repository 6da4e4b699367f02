"""Writes and reads named arrays with orbax; its errors become one line each.

Its own tools show them as a tree. Arrays without elements, which orbax
refuses, are left to who describes them.
"""

import asyncio
import contextlib
import errno
import logging
import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from snnjax.storage import array_files
from snnjax.storage.checkpoint_manifest import NAME, CheckpointError


def write(
  what: str, place: pathlib.Path, arrays: Mapping[str, np.ndarray]
) -> None:
  """Writes arrays into a new folder.

  Args:
    what: they are of, for messages.
    place: the folder, which must not be there.
    arrays: by names with slashes; those without elements are left out.

  Raises:
    ValueError: none has an element.
    OSError: they cannot be written.
  """
  stored = {name: array for name, array in arrays.items() if array.size}
  if not stored:
    raise ValueError("the pytree has no array to save")
  with _checkpointer(what, place) as checkpointer:
    checkpointer.save(place.absolute(), _nested(stored))


def read(
  what: str, place: pathlib.Path, stored: Mapping[str, str]
) -> dict[str, np.ndarray]:
  """Reads the arrays that `write` wrote.

  Args:
    what: they are of, for messages.
    place: the folder.
    stored: of every array what `array_files.describe` says of it.

  Returns:
    Arrays by name, those without elements included.

  Raises:
    CheckpointError: the folder has other arrays than `stored` says, or larger
      ones; this is found before any is read.
    OSError: they cannot be read.
  """
  with _checkpointer(what, place) as checkpointer:
    _check_sizes(place, stored, checkpointer)
    nested = checkpointer.restore(place.absolute())
  arrays = array_files.named_leaves(nested)
  empty = {
    name: _empty(description)
    for name, description in stored.items()
    if name not in arrays
  }
  return {**arrays, **empty}


def _nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Slashed names as nested dicts, so that orbax's own tools show them."""
  nested: dict[str, Any] = {}
  for name, array in arrays.items():
    *parents, last = name.split("/")
    holder = nested
    for parent in parents:
      holder = holder.setdefault(parent, {})
    holder[last] = array
  return nested


@contextlib.contextmanager
def _checkpointer(what: str, place: pathlib.Path) -> Iterator[Any]:
  """Gives an orbax checkpointer whose failures are OSErrors of one line."""
  import orbax.checkpoint

  # Orbax's threads log a traceback each before the error arrives here.
  log = logging.getLogger("absl")
  disabled = log.disabled
  log.disabled = True
  policy = asyncio.get_event_loop_policy()
  asyncio.set_event_loop_policy(_Patient())
  try:
    with orbax.checkpoint.PyTreeCheckpointer() as checkpointer:
      yield checkpointer
  except (OSError, MemoryError, CheckpointError):
    raise
  except Exception as error:
    code_text = re.search(r"os_error_code='(\d+)'", str(error))
    code = int(code_text[1]) if code_text else errno.EIO
    reason = (
      os.strerror(code) if code_text else " ".join(str(error).split())[:300]
    )
    raise OSError(
      code, f"checkpoint of {what}: {reason}", str(place.parent)
    ) from error
  finally:
    asyncio.set_event_loop_policy(policy)
    log.disabled = disabled


class _PatientLoop(asyncio.SelectorEventLoop):
  """An event loop that ends only when all its tasks have.

  Orbax writes all arrays at once and leaves its loop at the first that fails:
  the others went on to write into a folder that was being removed, and each
  printed a traceback that nobody could catch, since its loop was closed.
  """

  def close(self) -> None:
    tasks = set() if self.is_closed() else asyncio.all_tasks(self)
    if tasks and not self.is_running():
      self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    super().close()


class _Patient(asyncio.DefaultEventLoopPolicy):
  """Makes patient event loops."""

  def new_event_loop(self) -> asyncio.AbstractEventLoop:
    return _PatientLoop()


def _check_sizes(
  place: pathlib.Path, stored: Mapping[str, str], checkpointer: Any
) -> None:
  """Compares orbax's own files with the manifest, before any array is read.

  An array without data, which costs its maker nothing, may have any size.
  """
  noted = checkpointer.metadata(place.absolute()).item_metadata.tree
  for name, array_metadata in array_files.named_leaves(noted).items():
    sizes = ", ".join(str(size) for size in array_metadata.shape)
    description = f"{array_metadata.dtype}[{sizes}]"
    expected = stored.get(name, "nothing")
    chunk = (
      getattr(array_metadata.storage, "chunk_shape", None)
      or array_metadata.shape
    )
    if description != expected or math.prod(chunk) > math.prod(
      array_metadata.shape
    ):
      raise CheckpointError(
        f"checkpoint {place.parent}: {name} is {description} in pieces of "
        f"{list(chunk)} to orbax, {expected} in {NAME}"
      )


def _empty(description: str) -> np.ndarray:
  """The array without elements that `array_files.describe` describes."""
  try:
    dtype, shape = description.rstrip("]").split("[")
    sizes = [int(size) for size in shape.split(", ") if size]
    if math.prod(sizes):
      raise ValueError("it has elements, and no data")
    return np.zeros(sizes, jnp.dtype(dtype))
  except (ValueError, TypeError) as error:
    raise CheckpointError(
      f"{NAME} says of an array {description[:200]!r}: {error}"
    ) from None
