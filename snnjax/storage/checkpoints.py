"""Checkpoints that are verified: the newest good step, or a clear error.

One folder holds one sub-folder per step, written by orbax beside its place
and renamed when it is whole:

    00000300/state/...             orbax's own files
    00000300/manifest.json         what the step holds: see `save`
    00000300/manifest.json.sha256  its digest, as `sha256sum -c` reads it

A step says what it was made from: `restore` refuses one of another run.

Orbax alone restores a flipped bit as other weights and casts dtypes without a
word. Here every file is compared with the manifest's SHA-256 and every array
with its own, and a step that fails is left out with a `CheckpointWarning`.
Several processes must not write to one folder; arrays must be addressable by
the process that saves them.
"""

import asyncio
import contextlib
import errno
import json
import logging
import math
import os
import pathlib
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.interfaces import PyTree
from snnjax.storage import array_files, files, identity

_STATE = "state"
_MANIFEST = "manifest.json"
_SEAL = "manifest.json.sha256"
_FORMAT = 2


class CheckpointError(identity.BadFileError):
  """No checkpoint can be used, or the one asked for does not fit."""


class CheckpointWarning(UserWarning):
  """A damaged checkpoint was left out."""


class Restored(NamedTuple):
  """What a checkpoint held.

  Attributes:
    step: the step it was saved at.
    tree: like the template, with the saved values.
    notes: what was given to `save`.
  """

  step: int
  tree: PyTree
  notes: Mapping[str, Any] = MappingProxyType({})


def save(
  step: int,
  tree: PyTree,
  folder: pathlib.Path | str,
  keep: int | None = 3,
  *,
  made_from: Mapping[str, str] | None = None,
  notes: Mapping[str, Any] | None = None,
) -> pathlib.Path:
  """Saves a pytree as the checkpoint of one step, whole or not at all.

  The manifest has the size and SHA-256 of every file, and for every leaf its
  path, dtype, shape, SHA-256 and, of a random key, its implementation.

  Args:
    step: at least 0; an older checkpoint of this step is replaced.
    tree: arrays, scalars and typed random keys; at least one array.
    folder: of all steps; made where it is missing.
    keep: how many of the newest steps stay; None keeps all. Older ones go
      only after the new one is whole.
    made_from: what the tree was made from, by name a SHA-256.
    notes: what else JSON can hold, to come back with the tree.

  Returns:
    The step's folder.

  Raises:
    ValueError: a bad `step` or `keep`, or leaves without distinct names.
    OSError: it cannot be written, for instance for a full disk; checkpoints
      saved before are intact.
  """
  if step < 0:
    raise ValueError(f"step must be at least 0, got {step}")
  if keep is not None and keep < 1:
    raise ValueError(f"keep must be at least 1 or None, got {keep}")
  root = pathlib.Path(folder)
  root.mkdir(parents=True, exist_ok=True)
  for rest in root.glob(f"{files.TEMPORARY}*"):  # of a killed process
    shutil.rmtree(rest, ignore_errors=True)
  draft = root / f"{files.TEMPORARY}{_name(step)}"
  try:
    said = {"made_from": made_from, "notes": dict(notes or {})}
    _write(step, tree, draft, said)
  except BaseException:
    shutil.rmtree(draft, ignore_errors=True)
    raise
  place = root / _name(step)
  if place.exists():
    _remove(place)
  draft.rename(place)
  files.sync_folder(root)
  if keep is not None:
    for old in steps(root)[:-keep]:
      if old != step:
        _remove(root / _name(old))
  return place


def steps(folder: pathlib.Path | str) -> tuple[int, ...]:
  """The steps that have a checkpoint, good or damaged, in rising order.

  Args:
    folder: of all steps; may be missing.

  Returns:
    Step numbers.
  """
  root = pathlib.Path(folder)
  if not root.is_dir():
    return ()
  names = [p.name for p in root.iterdir() if p.is_dir()]
  return tuple(sorted(int(n) for n in names if re.fullmatch(r"\d{8,}", n)))


def verify(step: int, folder: pathlib.Path | str) -> str:
  """Compares every file of one step with the step's manifest.

  Args:
    step: the step's number.
    folder: of all steps.

  Returns:
    What is damaged, or the empty text where nothing is.
  """
  try:
    _verified_manifest(pathlib.Path(folder) / _name(step))
  except (CheckpointError, OSError) as error:
    return str(error)
  return ""


def notes(folder: pathlib.Path | str) -> tuple[int, Mapping[str, Any]]:
  """What was noted beside the newest good checkpoint.

  Args:
    folder: of all steps.

  Returns:
    Its step, and the notes given to `save`; -1 and none without a good one.
  """
  root = pathlib.Path(folder)
  for step in reversed(steps(root)):
    with contextlib.suppress(CheckpointError, OSError):
      return step, _verified_manifest(root / _name(step))["notes"]
  return -1, MappingProxyType({})


def restore(
  folder: pathlib.Path | str,
  template: PyTree,
  step: int | None = None,
  made_from: Mapping[str, str] | None = None,
) -> Restored:
  """Restores the newest good checkpoint, or that of one step.

  Args:
    folder: of all steps.
    template: a pytree of arrays or jax.ShapeDtypeStruct; each leaf's dtype,
      shape and sharding is what the restored leaf has.
    step: the step to restore; None for the newest that is not damaged.
    made_from: what it must have been made from; None asks nothing.

  Returns:
    The step, its tree and its notes.

  Raises:
    FileNotFoundError: the folder has no checkpoint, or none of `step`.
    CheckpointError: all checkpoints, or that of `step`, are damaged; or one
      is good but its leaves differ from the template's (nothing is cast).
    ForeignError: the newest good one was made from something else.

  Warns:
    CheckpointWarning: a newer checkpoint is damaged and was left out.
  """
  root = pathlib.Path(folder)
  found = steps(root)
  if not found:
    raise FileNotFoundError(errno.ENOENT, "no checkpoint in", str(root))
  if step is not None and step not in found:
    raise FileNotFoundError(
      errno.ENOENT, f"no step {step} (there are {list(found)}) in", str(root)
    )
  reasons: list[str] = []
  for candidate in (step,) if step is not None else reversed(found):
    place = root / _name(candidate)
    try:
      manifest = _verified_manifest(place)
    except (CheckpointError, OSError) as error:
      reasons.append(f"step {candidate}: {error}")
      continue
    if made_from is not None:
      identity.check(
        place,
        manifest["made_from"],
        made_from,
        "remove what does not belong here, or choose another folder",
      )
    for reason in reasons:
      warnings.warn(
        f"left out the damaged checkpoint of {reason}; "
        f"step {candidate} is used (folder {root})",
        CheckpointWarning,
        stacklevel=2,
      )
    tree = _read(place, manifest, template)
    return Restored(candidate, tree, manifest["notes"])
  raise CheckpointError(
    f"no good checkpoint in {root}: damaged are {'; '.join(reasons)}. Remove "
    "them to begin anew"
  )


def _name(step: int) -> str:
  return f"{step:08d}"


def _remove(place: pathlib.Path) -> None:
  """Removes a step so that no moment shows half of it."""
  gone = place.with_name(f"{files.TEMPORARY}old-{place.name}")
  shutil.rmtree(gone, ignore_errors=True)
  place.rename(gone)
  shutil.rmtree(gone, ignore_errors=True)


def _host(leaf: Any) -> np.ndarray:
  data = jax.random.key_data(leaf) if array_files.is_key(leaf) else leaf
  return np.asarray(data)


def _nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
  """Slashed names as nested dicts, so that orbax's own tools show them."""
  nested: dict[str, Any] = {}
  for name, array in arrays.items():
    *parents, last = name.split("/")
    holder = nested
    for parent in parents:
      holder = holder.setdefault(parent, {})
    holder[last] = array
  return nested


def _write(
  step: int, tree: PyTree, draft: pathlib.Path, said: Mapping[str, Any]
) -> None:
  """Writes a whole step into the new folder `draft`, and what is `said`."""
  leaves = array_files.named_leaves(tree)
  arrays = {name: _host(leaf) for name, leaf in leaves.items()}
  # Orbax refuses arrays without elements; the manifest says all of them.
  stored = {name: a for name, a in arrays.items() if a.size}
  if not stored:
    raise ValueError("the pytree has no array to save")
  draft.mkdir()
  with _orbax(f"step {step}", draft) as checkpointer:
    checkpointer.save((draft / _STATE).absolute(), _nested(stored))
  entries = {}
  for path in sorted((draft / _STATE).rglob("*")):
    if path.is_dir():
      files.sync_folder(path)
    else:
      files.sync_file(path)
      name = path.relative_to(draft).as_posix()
      entries[name] = {
        "bytes": path.stat().st_size,
        "sha256": files.sha256(path),
      }
  manifest = {
    "format": _FORMAT,
    "step": step,
    **said,
    "files": entries,
    "leaves": {
      name: {
        "type": array_files.describe(leaf),
        "stored": array_files.describe(arrays[name]),
        "random": str(jax.random.key_impl(leaf))
        if array_files.is_key(leaf)
        else None,
        "sha256": identity.of_arrays({name: arrays[name]}),
      }
      for name, leaf in leaves.items()
    },
  }
  files.write_json(draft / _MANIFEST, manifest)
  files.write_bytes(draft / _SEAL, _seal(draft))


def _seal(place: pathlib.Path) -> bytes:
  return f"{files.sha256(place / _MANIFEST)}  {_MANIFEST}\n".encode()


@contextlib.contextmanager
def _orbax(what: str, place: pathlib.Path) -> Iterator[Any]:
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
    found = re.search(r"os_error_code='(\d+)'", str(error))
    code = int(found[1]) if found else errno.EIO
    reason = os.strerror(code) if found else " ".join(str(error).split())[:300]
    raise OSError(
      code, f"checkpoint of {what}: {reason}", str(place)
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


def _verified_manifest(place: pathlib.Path) -> dict[str, Any]:
  """The manifest of a step all of whose files are as they were written."""
  for name in (_MANIFEST, _SEAL):
    if not (place / name).is_file():
      raise CheckpointError(f"{name} is missing")
  if files.content(place / _SEAL) != _seal(place):
    raise CheckpointError(f"{_MANIFEST} and {_SEAL} do not agree")
  try:
    return _compared(place, json.loads(files.content(place / _MANIFEST)))
  except CheckpointError:
    raise
  except (
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    ValueError,
  ) as error:
    raise CheckpointError(f"{_MANIFEST} lacks {str(error)[:200]!r}") from None


def _compared(place: pathlib.Path, manifest: dict[str, Any]) -> dict[str, Any]:
  """The manifest, whose files are as it says."""
  if manifest["format"] != _FORMAT:
    raise CheckpointError(
      f"{_MANIFEST} has format {manifest['format']}, not {_FORMAT}"
    )
  if manifest["step"] != int(place.name):
    raise CheckpointError(f"it was saved as step {manifest['step']}")
  there = {
    p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()
  }
  surplus = sorted(there - manifest["files"].keys() - {_MANIFEST, _SEAL})
  if surplus:
    raise CheckpointError(f"{surplus[0]} was not saved with it")
  for name, entry in manifest["files"].items():
    path = place / name
    if not path.is_file():
      raise CheckpointError(f"{name} is missing")
    size = path.stat().st_size
    if size != entry["bytes"]:
      raise CheckpointError(f"{name} has {size} bytes, not {entry['bytes']}")
    if files.sha256(path) != entry["sha256"]:
      raise CheckpointError(f"{name} is altered: its SHA-256 differs")
  for entry in manifest["leaves"].values():
    for key in ("type", "stored", "sha256"):
      if not isinstance(entry[key], str):
        raise CheckpointError(f"{_MANIFEST} says no text of a leaf's {key}")
    if not isinstance(entry["random"], str | None):
      raise CheckpointError(f"{_MANIFEST} says no name of a random key")
  return manifest


def _read(
  place: pathlib.Path, manifest: dict[str, Any], template: PyTree
) -> PyTree:
  """Reads one verified step into the structure of `template`."""
  entries = manifest["leaves"]
  problems = array_files.compare(
    {name: entry["type"] for name, entry in entries.items()}, template
  )
  if problems:
    raise CheckpointError(
      f"checkpoint {place} does not fit: {array_files.told(problems)}"
    )
  with _orbax(f"step {place.name}", place) as checkpointer:
    _check_sizes(place, entries, checkpointer)
    nested = checkpointer.restore((place / _STATE).absolute())
  arrays = array_files.named_leaves(nested)
  leaves = array_files.named_leaves(template)
  values = []
  for name, like in leaves.items():
    entry = entries[name]
    array = arrays[name] if name in arrays else _empty(entry["stored"])
    if identity.of_arrays({name: array}) != entry["sha256"]:
      raise CheckpointError(f"checkpoint {place}: {name} came back altered")
    if entry["random"] is None:
      values.append(array_files.place(array, like))
    else:
      values.append(_key(name, array, entry["random"]))
  return jax.tree.unflatten(jax.tree.structure(template), values)


def _check_sizes(
  place: pathlib.Path, entries: dict[str, Any], checkpointer: Any
) -> None:
  """Compares orbax's own files with the manifest, before any array is read.

  An array without data, which costs its maker nothing, may have any size.
  """
  noted = checkpointer.metadata((place / _STATE).absolute()).item_metadata.tree
  for name, found in array_files.named_leaves(noted).items():
    sizes = ", ".join(str(size) for size in found.shape)
    told = f"{found.dtype}[{sizes}]"
    stored = entries[name]["stored"] if name in entries else "nothing"
    chunk = getattr(found.storage, "chunk_shape", None) or found.shape
    if told != stored or math.prod(chunk) > math.prod(found.shape):
      raise CheckpointError(
        f"checkpoint {place}: {name} is {told} in pieces of {list(chunk)} to "
        f"orbax, {stored} in {_MANIFEST}"
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
      f"{_MANIFEST} says of an array {description[:200]!r}: {error}"
    ) from None


def _key(name: str, bits: np.ndarray, kind: str) -> jax.Array:
  """The random key of a kind that the manifest names."""
  try:
    return jax.random.wrap_key_data(jnp.asarray(bits), impl=kind)
  except (ValueError, TypeError) as error:
    raise CheckpointError(
      f"{_MANIFEST} says of {name} what makes no random key: "
      f"{' '.join(str(error).split())[:200]}"
    ) from None
