"""Every data set by its name, embedded or prepared."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from snnjax.data import dataset, embedded, manifest

EMBEDDED = "digits"


def modalities(
  name: str, data_dir: str | pathlib.Path | None = None
) -> tuple[str, ...]:
  """Returns what a data set holds of each example: "image", "events", sorted.

  Args:
    name: as in `open_dataset`.
    data_dir: see `manifest.data_folder`.

  Raises:
    MissingDataError: if it is not prepared.
  """
  if name == EMBEDDED:
    return ("image",)
  return tuple(sorted(manifest.locate(name, data_dir).modalities))


def open_dataset(
  name: str,
  split: str,
  data_dir: str | pathlib.Path | None = None,
  *,
  wanted: Sequence[str] | None = None,
  frames: int | None = None,
) -> dataset.Dataset:
  """Loads one split of a data set into memory.

  Args:
    name: "digits" for the ones inside the package; any other is looked up in
      the data folder.
    split: for instance "train" or "test".
    data_dir: see `manifest.data_folder`.
    wanted: some of its `modalities`; the inputs are then a mapping of these.
      None reads its images, as one array.
    frames: number T of event frames, where events are wanted.

  Returns:
    Images [N, H, W, C] uint8 with labels [N] int32; of events the counts
    [N, T, height, width, 2] uint8, see `events.to_frames`.

  Raises:
    MissingDataError: if it is not prepared, at once and with the command that
      prepares it.
    ValueError: if the split is unknown, the data are damaged, or hold nothing
      of what is wanted.
  """
  if name == EMBEDDED:
    images = embedded.mnist(split)
    if wanted is None:
      return images
    manifest.check_wanted(name, modalities(name), wanted, frames)
    return images._replace(inputs={"image": np.asarray(images.inputs)})
  manifest.locate(name, data_dir)
  # Only now, because TFDS takes a second to import and a miss should not.
  from snnjax.data import prepared

  return prepared.load(name, split, data_dir, wanted=wanted, frames=frames)


def provenance(
  name: str, data_dir: str | pathlib.Path | None = None
) -> dict[str, Any]:
  """Returns what a data set was made from, and with which choices.

  Args:
    name: as in `open_dataset`.
    data_dir: see `manifest.data_folder`.

  Returns:
    A record for JSON: "name", "version" and "source" (the layout and the
    SHA-256 of the files it was made from). A set that `importers.prepare`
    wrote also has "made" (the choices), "examples" (each split's SHA-256) and
    "modalities" (what an example holds, with its shape).

  Raises:
    MissingDataError: if it is not prepared.
  """
  if name == EMBEDDED:
    source = {
      "layout": "first 10,000 training and every fifth test image of MNIST",
      "sha256": embedded.digest(),
    }
    return {"name": name, "version": "", "source": source}
  prepared_set = manifest.locate(name, data_dir)
  identity = {"name": prepared_set.name, "version": prepared_set.version}
  if prepared_set.manifest is None:
    return {**identity, "source": {"layout": "TFDS"}}
  noted = prepared_set.manifest
  keys = ("source", "made", "examples", "modalities")
  return {**identity, **{key: noted[key] for key in keys if key in noted}}


def digest(name: str, data_dir: str | pathlib.Path | None = None) -> str:
  """Returns one SHA-256 of a data set, the same in whichever folder it is.

  Args:
    name: as in `open_dataset`.
    data_dir: see `manifest.data_folder`.

  Raises:
    MissingDataError: if it is not prepared.
  """
  if name == EMBEDDED:
    return embedded.digest()
  return manifest.digest(manifest.locate(name, data_dir))
