"""SVHN and the MATLAB files it comes in, and what is refused."""

import contextlib

import numpy as np
import pytest
import scipy.io

from snnjax.data.importers import matlab, svhn
from tests.datasets.downloads import write_svhn


@pytest.mark.parametrize("compressed", [True, False])
def test_svhn_reads_as_published(tmp_path, compressed):
  path, images, labels = write_svhn(tmp_path, "train", 12, 0, compressed)
  data = svhn.load(tmp_path, "train")
  for index in range(12):
    np.testing.assert_array_equal(data.inputs[index], images[:, :, :, index])
  assert labels[9] == 10
  assert data.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
  assert data.inputs.flags.c_contiguous
  assert svhn.load(path, "train").name == "svhn_cropped/train"


@pytest.mark.parametrize(
  ("variables", "message"),
  [
    ({"X": np.zeros((32, 32, 3, 2), np.uint8)}, r"X and y; it holds \['X'\]"),
    ({"X": np.zeros((32, 31, 3, 2), np.uint8), "y": np.ones((2, 1))}, "32, 31"),
    ({"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1))}, "uint8"),
    (
      {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1))},
      r"y must be numbers \[2, 1\]",
    ),
    (
      {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[1], [0]])},
      "from 1 to 10; got 0",
    ),
    (
      {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[1.5], [1]])},
      "got 1.5",
    ),
    ({"X": "text", "y": np.ones((2, 1))}, "X must be real numbers"),
    (
      {"X": np.ones((2, 2), np.complex64), "y": np.ones((2, 1))},
      "real numbers",
    ),
  ],
)
def test_other_matlab_files_are_refused(tmp_path, variables, message):
  scipy.io.savemat(tmp_path / "test_32x32.mat", variables)
  with pytest.raises(ValueError, match=message):
    svhn.load(tmp_path, "test")


@pytest.mark.parametrize("compressed", [True, False])
def test_matlab_files_read_as_scipy_reads_them(tmp_path, compressed):
  random = np.random.default_rng(0)
  variables = {
    name: random.integers(0, 100, shape).astype(dtype)
    for name, dtype, shape in (
      ("a", np.uint8, (3, 4, 5)), ("b", np.int16, (1, 7)),
      ("c", np.int8, (2, 2)), ("d", np.float64, (4, 1)),
      ("e", np.float32, (2, 3)), ("f", np.uint16, (3, 3)),
      ("g", np.int64, (1, 1)), ("long_name", np.uint32, (5, 1)),
    )
  } | {"text": "skipped", "h": np.array([[0.5, -1e300]])}  # fmt: skip
  path = tmp_path / "x.mat"
  scipy.io.savemat(path, variables, do_compression=compressed)
  wanted = set(variables) - {"text"}
  read = matlab.read(path, wanted)
  assert set(read) == wanted
  for name, value in scipy.io.loadmat(path, variable_names=wanted).items():
    if name in wanted:
      np.testing.assert_array_equal(read[name], value)
      assert read[name].dtype == value.dtype


@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_matlab_files_raise_nothing_but_value_errors(
  tmp_path, compressed
):
  path, _, _ = write_svhn(tmp_path, "train", 1, 0, compressed)
  whole = path.read_bytes()
  random = np.random.default_rng(1)
  for _ in range(300):
    damaged = bytearray(whole)
    for place in random.integers(
      0, min(len(whole), 320), random.integers(1, 4)
    ):
      damaged[place] = random.integers(256)
    path.write_bytes(damaged[: random.integers(1, len(whole) * 2)])
    with contextlib.suppress(ValueError):
      assert svhn.load(path, "train").inputs.shape[1:] == (32, 32, 3)
  for cut in (0, 100, 128, 131, len(whole) // 2, len(whole) - 9):
    path.write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"train_32x32\.mat"):
      svhn.load(path, "train")


def test_svhn_names_what_is_missing(tmp_path):
  with pytest.raises(FileNotFoundError, match="test_32x32"):
    svhn.load(tmp_path, "test")
  with pytest.raises(ValueError, match="split must be one of"):
    svhn.load(tmp_path, "validation")
