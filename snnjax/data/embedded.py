"""The subset of MNIST that ships inside the package."""

import functools
import pathlib

import numpy as np

from snnjax.data import dataset
from snnjax.storage import files, npz

SIZES = {"train": 10_000, "test": 2_000}
PATH = pathlib.Path(__file__).parent / "mnist.npz"
_CLASSES = tuple(str(digit) for digit in range(10))


def _kinds() -> dict[str, npz.Kind]:
  """The arrays of the file, which no other may replace or join."""
  kinds = {}
  for split, size in SIZES.items():
    kinds[f"{split}_images"] = npz.Kind(np.dtype(np.uint8), (size, 28, 28))
    kinds[f"{split}_labels"] = npz.Kind(np.dtype(np.uint8), (size,))
  return kinds


def _read(path: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
  try:
    arrays = npz.read_foreign(path.read_bytes(), _kinds())
    return arrays[f"{split}_images"], arrays[f"{split}_labels"]
  except (OSError, ValueError) as error:
    raise ValueError(
      f"{path} must be the readable npz archive that the package ships, with "
      f"arrays {split}_images and {split}_labels; got {error!r}. Reinstall the "
      "package, or rebuild the file with scripts/build_embedded.py"
    ) from error


@functools.cache
def digest(path: pathlib.Path = PATH) -> str:
  """The SHA-256 of the archive, by which the data set is known.

  Args:
    path: the archive; by default the one inside the package.

  Raises:
    OSError: it cannot be read.
  """
  return files.sha256(path)


def mnist(split: str, path: pathlib.Path = PATH) -> dataset.Dataset:
  """Loads the embedded MNIST subset.

  The first 10,000 training images, or every fifth test image (2,000), in
  canonical order.

  Args:
    split: "train" or "test".
    path: the archive; by default the one inside the package.

  Returns:
    Images [N, 28, 28, 1] uint8 with labels [N] int32.

  Raises:
    ValueError: if the split is unknown, or the archive is damaged or not the
      one that `scripts/build_embedded.py` makes.

  References:
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning
    Applied to Document Recognition", Proceedings of the IEEE, 1998.
  """
  if split not in SIZES:
    raise ValueError(f"split must be one of {sorted(SIZES)}; got {split!r}")
  images, labels = _read(path, split)
  return dataset.validate(
    dataset.Dataset(
      inputs=images[..., None],
      labels=labels.astype(np.int32),
      num_classes=10,
      name=f"mnist-embedded/{split}",
      classes=_CLASSES,
    )
  )
