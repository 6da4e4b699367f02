"""SVHN's cropped digits as downloaded: MATLAB files of format 2.

`X` holds the images as [32, 32, 3, N] and `y` the labels as [N, 1], from 1 to
10, where 10 stands for the digit 0: it becomes 0.

References:
  Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Ng, "Reading Digits in
  Natural Images with Unsupervised Feature Learning", 2011.
"""

import pathlib
import string

import numpy as np

from snnjax.arguments import check_array
from snnjax.data import dataset
from snnjax.data.importers import matlab

FILES = {split: f"{split}_32x32.mat" for split in ("train", "test", "extra")}
CLASSES = tuple(string.digits)


def load(path: str | pathlib.Path, split: str) -> dataset.Dataset:
  """Loads one split of SVHN's cropped digits.

  Args:
    path: the file, or the folder with `train_32x32.mat` and so on.
    split: "train", "test" or "extra".

  Returns:
    Images [N, 32, 32, 3] uint8 with labels [N] int32, the digits.

  Raises:
    ValueError: if the split is unknown, or the file is damaged or holds
      something else.
    FileNotFoundError: if there is no such file.
  """
  if split not in FILES:
    raise ValueError(f"split must be one of {sorted(FILES)}; got {split!r}")
  path = pathlib.Path(path)
  if path.is_dir():
    path = path / FILES[split]
  content = matlab.read(path, ("X", "y"))
  if len(content) != 2:
    raise ValueError(
      f"{path} must hold the arrays X and y; it holds {sorted(content)}"
    )
  images, labels = content["X"], content["y"]
  count = check_array(f"{path}: X", images, "uint8 [32, 32, 3, N]")["N"]
  advice = "It is one label per image"
  check_array(f"{path}: y", labels, "numbers [N, 1]", advice, N=count)
  wrong = ~np.isin(labels, np.arange(1, 11))
  if np.any(wrong):
    raise ValueError(
      f"{path}: y must hold whole numbers from 1 to 10; got {labels[wrong][0]}"
    )
  return dataset.validate(
    dataset.Dataset(
      np.ascontiguousarray(images.transpose(3, 0, 1, 2)),
      (labels[:, 0].astype(np.int32) % 10),
      10,
      f"svhn_cropped/{split}",
      CLASSES,
    )
  )
