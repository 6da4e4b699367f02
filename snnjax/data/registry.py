"""Every data set by its name, embedded or prepared."""

import pathlib

from snnjax.data import dataset, embedded, manifest

EMBEDDED = "digits"


def open_dataset(
  name: str, split: str, data_dir: str | pathlib.Path | None = None
) -> dataset.Dataset:
  """Loads one split of a data set into memory.

  Args:
    name: "digits" for the ones inside the package; any other is looked up in
      the data folder.
    split: for instance "train" or "test".
    data_dir: see `manifest.data_folder`.

  Returns:
    Images [N, H, W, C] uint8 with labels [N] int32.

  Raises:
    MissingDataError: if it is not prepared, at once and with the command that
      prepares it.
    ValueError: if the split is unknown or the data are damaged.
  """
  if name == EMBEDDED:
    return embedded.mnist(split)
  manifest.locate(name, data_dir)
  # Only now, because TFDS takes a second to import and a miss should not.
  from snnjax.data import prepared

  return prepared.load(name, split, data_dir)
