"""Builds snnjax/data/mnist.npz from the four MNIST IDX files.

The first 10,000 training images and every fifth test image (2,000), with
their labels, as uint8 in canonical order. The same input gives the same
bytes with the same zlib: entries carry a fixed date.

  python scripts/build_embedded.py FOLDER [OUTPUT]
"""

import io
import pathlib
import sys
import zipfile

import numpy as np

from snnjax.data import embedded
from snnjax.data.importers import idx

_OUTPUT = pathlib.Path(__file__).parents[1] / "snnjax" / "data" / "mnist.npz"
_STRIDES = {"train": 1, "test": 5}


def select(folder: pathlib.Path, split: str) -> dict[str, np.ndarray]:
  """Returns the embedded images [N, 28, 28] and labels [N] of one split."""
  whole = idx.load_idx_folder(folder, split)
  stride = _STRIDES[split]
  chosen = slice(0, stride * embedded.SIZES[split], stride)
  return {
    f"{split}_images": np.asarray(whole.inputs)[chosen, :, :, 0],
    f"{split}_labels": whole.labels[chosen].astype(np.uint8),
  }


def pack(arrays: dict[str, np.ndarray]) -> bytes:
  """Returns a compressed npz archive without times or permissions."""
  archive = io.BytesIO()
  with zipfile.ZipFile(archive, "w") as file:
    for name, array in arrays.items():
      content = io.BytesIO()
      np.lib.format.write_array(
        content, np.ascontiguousarray(array), allow_pickle=False
      )
      entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
      entry.create_system = 3  # or the bytes would name the host's system
      file.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED, 9)
  return archive.getvalue()


def main(arguments: list[str]) -> None:
  """Reads the folder named first, writes the file named second."""
  if len(arguments) not in (1, 2):
    raise SystemExit(__doc__)
  folder = pathlib.Path(arguments[0])
  output = pathlib.Path(arguments[1]) if arguments[1:] else _OUTPUT
  content = pack(select(folder, "train") | select(folder, "test"))
  partial = output.with_suffix(".partial")
  partial.write_bytes(content)
  partial.replace(output)  # never a half-written archive under its name
  sys.stdout.write(f"{output}: {len(content)} bytes\n")


if __name__ == "__main__":
  main(sys.argv[1:])
