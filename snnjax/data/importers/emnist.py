"""EMNIST's MATLAB files as downloaded, `emnist-letters.mat` and so on.

The structure `dataset` holds `train` and `test`, each with `images` [N, 784],
which are transposed, and `labels` [N, 1]; letters are numbered from 1.

References:
  G. Cohen, S. Afshar, J. Tapson, A. van Schaik, "EMNIST: an extension of
  MNIST to handwritten letters", 2017, arXiv:1702.05373.
"""

import pathlib

import numpy as np

from snnjax.arguments import check_array
from snnjax.data import dataset
from snnjax.data.importers import idx, matlab

SPLITS = ("train", "test")
_SIDE = 28


def files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns the MATLAB files of a folder, by their sets."""
  listed = {name: folder / f"emnist-{name}.mat" for name in idx.EMNIST_CLASSES}
  return {name: path for name, path in listed.items() if path.is_file()}


def load(path: str | pathlib.Path, split: str) -> dataset.Dataset:
  """Loads one split of one EMNIST set, upright.

  Args:
    path: `emnist-letters.mat`, or the file of another set.
    split: "train" or "test".

  Returns:
    Images [N, 28, 28, 1] uint8 with labels [N] int32.

  Raises:
    ValueError: if the split or the file's name is unknown, or the file is
      damaged or holds something else.
    FileNotFoundError: if there is no such file.
  """
  path = pathlib.Path(path)
  if split not in SPLITS:
    raise ValueError(f"split must be one of {SPLITS}; got {split!r}")
  name = path.stem.removeprefix("emnist-")
  if name not in idx.EMNIST_CLASSES:
    raise ValueError(
      f"{path} must be called emnist-SET.mat, SET one of "
      f"{sorted(idx.EMNIST_CLASSES)}"
    )
  variables = tuple(f"dataset.{split}.{part}" for part in ("images", "labels"))
  content = matlab.read(path, variables)
  if len(content) != 2:
    raise ValueError(
      f"{path} must hold {' and '.join(variables)}; it holds {sorted(content)}"
    )
  images, labels = (content[part] for part in variables)
  pixels, digits = (f"{path}: {part}" for part in variables)
  count = check_array(pixels, images, f"uint8 [N, {_SIDE * _SIDE}]")["N"]
  check_array(digits, labels, "numbers [N, 1]", N=count)
  if np.any(labels != np.rint(labels)):
    raise ValueError(f"{digits} must be whole numbers; got {labels.dtype}")
  upright = images.reshape(-1, _SIDE, _SIDE, order="C").swapaxes(1, 2)
  classes = idx.EMNIST_CLASSES[name]
  return dataset.validate(
    dataset.Dataset(
      np.ascontiguousarray(upright)[..., None],
      labels[:, 0].astype(np.int32) - (name == "letters"),
      len(classes),
      f"emnist-{name}/{split}",
      classes,
    )
  )
