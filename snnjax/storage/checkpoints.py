"""Saves checkpoints with checksums, and restores the newest undamaged one.

One folder holds one sub-folder per step, written by orbax beside its place
and renamed when it is whole:

    00000300/state/...             orbax's own files
    00000300/manifest.json         what the step holds: see `save`
    00000300/manifest.json.sha256  its digest, as `sha256sum -c` reads it

A step says what it was made from: `restore` refuses one of another run.

Orbax alone restores a flipped bit as other weights and casts dtypes without a
word. Here every file is compared with the manifest's SHA-256 and every array
with its own, and a step that fails is left out with a `CheckpointWarning`.
The processes of `jax.distributed` save and restore together, in one folder that
all reach: orbax writes from all of them, and the first one seals and renames.
Other processes must not write there. Arrays must be addressable, or whole, in
every process that saves them.
"""

import contextlib
import errno
import pathlib
import re
import shutil
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from snnjax.interfaces import PyTree
from snnjax.storage import (
  array_files,
  checkpoint_manifest,
  files,
  identity,
  orbax_arrays,
)
from snnjax.storage.checkpoint_manifest import CheckpointError

_STATE = "state"


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
  first = _is_first()
  if first:
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
  if first:
    if place.exists():
      _remove(place)
    draft.rename(place)
    files.sync_folder(root)
    if keep is not None:
      for old in steps(root)[:-keep]:
        if old != step:
          _remove(root / _name(old))
  _wait(f"step {step} is whole")
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
    checkpoint_manifest.read(pathlib.Path(folder) / _name(step))
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
      return step, checkpoint_manifest.read(root / _name(step))["notes"]
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
  available = steps(root)
  if not available:
    raise FileNotFoundError(errno.ENOENT, "no checkpoint in", str(root))
  if step is not None and step not in available:
    raise FileNotFoundError(
      errno.ENOENT,
      f"no step {step} (there are {list(available)}) in",
      str(root),
    )
  reasons: list[str] = []
  for candidate in (step,) if step is not None else reversed(available):
    place = root / _name(candidate)
    try:
      manifest = checkpoint_manifest.read(place)
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


def _is_first() -> bool:
  """Whether this process seals: it is alone, or the first of several."""
  return not jax.distributed.is_initialized() or jax.process_index() == 0


def _wait(what: str) -> None:
  """Waits until all processes of `jax.distributed` are here."""
  if jax.distributed.is_initialized():
    multihost_utils.sync_global_devices(what)


def _name(step: int) -> str:
  return f"{step:08d}"


def _remove(place: pathlib.Path) -> None:
  """Removes a step: renamed first, so that no reader sees a part of it."""
  gone = place.with_name(f"{files.TEMPORARY}old-{place.name}")
  shutil.rmtree(gone, ignore_errors=True)
  place.rename(gone)
  shutil.rmtree(gone, ignore_errors=True)


def _host(leaf: Any) -> np.ndarray:
  data = jax.random.key_data(leaf) if array_files.is_key(leaf) else leaf
  return np.asarray(data)


def _write(
  step: int, tree: PyTree, draft: pathlib.Path, said: Mapping[str, Any]
) -> None:
  """Writes a whole step into the new folder `draft`, and what is `said`."""
  leaves = array_files.named_leaves(tree)
  arrays = {name: _host(leaf) for name, leaf in leaves.items()}
  first = _is_first()
  if first:
    draft.mkdir()
  _wait(f"the draft of step {step} is there")
  orbax_arrays.write(f"step {step}", draft / _STATE, arrays)
  if not first:
    return
  described = {
    name: {
      "type": array_files.describe(leaf),
      "stored": array_files.describe(arrays[name]),
      "random": str(jax.random.key_impl(leaf))
      if array_files.is_key(leaf)
      else None,
      "sha256": identity.of_arrays({name: arrays[name]}),
    }
    for name, leaf in leaves.items()
  }
  content = {"step": step, **said, "leaves": described}
  checkpoint_manifest.write(draft, content)


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
      f"checkpoint {place} does not fit: {array_files.summarize(problems)}"
    )
  stored = {name: entry["stored"] for name, entry in entries.items()}
  arrays = orbax_arrays.read(f"step {place.name}", place / _STATE, stored)
  values = []
  for name, like in array_files.named_leaves(template).items():
    entry, array = entries[name], arrays[name]
    if identity.of_arrays({name: array}) != entry["sha256"]:
      raise CheckpointError(f"checkpoint {place}: {name} came back altered")
    if entry["random"] is None:
      values.append(array_files.place(array, like))
    else:
      values.append(_key(name, array, entry["random"]))
  return jax.tree.unflatten(jax.tree.structure(template), values)


def _key(name: str, bits: np.ndarray, kind: str) -> jax.Array:
  """The random key of a kind that the manifest names."""
  try:
    return jax.random.wrap_key_data(jnp.asarray(bits), impl=kind)
  except (ValueError, TypeError) as error:
    raise CheckpointError(
      f"{checkpoint_manifest.NAME} says of {name} what makes no random key: "
      f"{' '.join(str(error).split())[:200]}"
    ) from None
