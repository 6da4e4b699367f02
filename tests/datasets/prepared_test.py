"""Opening data sets by name: prepared here, prepared by TFDS, missing."""

import io
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from snnjax.data import manifest, prepared, registry
from snnjax.data.importers import prepare
from tests.datasets.downloads import write_mnist


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
  """A small MNIST, prepared once: its source, its data folder, its arrays."""
  root = tmp_path_factory.mktemp("mnist")
  written = write_mnist(root / "source")
  prepare.prepare(root / "source", "mnist", root / "data")
  return root / "source", root / "data", written


def copy(mnist, tmp_path):
  shutil.copytree(mnist[1], tmp_path / "data")
  return tmp_path / "data"


def test_a_missing_set_fails_at_once_with_the_command(mnist):
  begun = time.process_time()
  with pytest.raises(manifest.MissingDataError) as caught:
    registry.open_dataset("cifar10", "train", mnist[1])
  assert time.process_time() - begun < 2
  text = str(caught.value)
  assert "cifar-10-python.tar.gz" in text
  assert (
    "python -m experiments.prepare_data --source=FOLDER_OR_FILE "
    f"--name=cifar10 --data_dir={mnist[1]}"
  ) in text
  assert '["mnist"]' in text


def test_official_names_fail_within_five_seconds_from_a_new_process(tmp_path):
  script = f"""
import sys, time
begun = time.process_time()
from snnjax.data import registry
for name in ("mnist", "fashion_mnist", "svhn_cropped", "cifar10", "cifar100"):
  try:
    registry.open_dataset(name, "train", {str(tmp_path)!r})
  except FileNotFoundError as error:
    assert f"prepare_data --source=FOLDER_OR_FILE --name={{name}}" in str(error)
  else:
    raise AssertionError("it was there")
assert "tensorflow_datasets" not in sys.modules
assert time.process_time() - begun < 5
"""
  subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_an_unknown_split_is_named(mnist):
  with pytest.raises(ValueError, match=r"\['test', 'train'\]; got 'val'"):
    registry.open_dataset("mnist", "val", mnist[1])


def test_the_digits_need_no_folder(tmp_path):
  data = registry.open_dataset("digits", "test", tmp_path / "nowhere")
  assert data.inputs.shape == (2000, 28, 28, 1)


def test_the_data_folder_is_the_one_of_tfds(monkeypatch, tmp_path):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  assert manifest.data_folder(None) == tmp_path
  monkeypatch.delenv("TFDS_DATA_DIR")
  monkeypatch.setenv("HOME", str(tmp_path))
  assert manifest.data_folder(None) == tmp_path / "tensorflow_datasets"
  assert manifest.list_prepared(None) == []


def write_official(folder, name, version, features, examples, file_format):
  """Writes a data set in the layout of TFDS' own preparation."""
  path = folder / name / version
  path.mkdir(parents=True)
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name=name.rpartition("/")[0] or name,
      version=tfds.core.Version(version),
      data_dir=str(path),
      module_name="tensorflow_datasets",
    ),
    features=tfds.features.FeaturesDict(features),
  )
  writer = tfds.core.SequentialWriter(info, 100, file_format=file_format)
  writer.initialize_splits(["train"])
  writer.add_examples({"train": examples})
  writer.close_all()
  return path


def png(image):
  stream = io.BytesIO()
  Image.fromarray(image.squeeze()).save(stream, "PNG")
  return stream.getvalue()


@pytest.mark.parametrize(
  ("name", "shape"), [("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))]
)
def test_sets_that_tfds_prepared_are_read(tmp_path, name, shape):
  random = np.random.default_rng(0)
  images = random.integers(0, 256, (5, *shape), np.uint8)
  features = {
    "id": tfds.features.Text(),
    "image": tfds.features.Image(shape=shape, encoding_format="png"),
    "label": tfds.features.ClassLabel(num_classes=10),
  }
  examples = [
    {"id": f"train_{i}", "image": png(image), "label": 9 - i}
    for i, image in enumerate(images)
  ]
  path = write_official(
    tmp_path, name, "3.0.1", features, examples, "array_record"
  )
  data = registry.open_dataset(name, "train", tmp_path)
  np.testing.assert_array_equal(data.inputs, images)
  assert data.labels.tolist() == [9, 8, 7, 6, 5]
  with pytest.raises(ValueError, match="was prepared by TFDS itself"):
    prepare.prepare(tmp_path, name, tmp_path)
  # As TFDS notes what only TensorFlow reads.
  info = json.loads((path / "dataset_info.json").read_text())
  info["fileFormat"] = "tfrecord"
  (path / "dataset_info.json").write_text(json.dumps(info))
  with pytest.raises(manifest.MissingDataError, match="prepared as tfrecord"):
    registry.open_dataset(name, "train", tmp_path)


def test_the_newest_readable_version_is_opened(mnist, tmp_path):
  folder = copy(mnist, tmp_path)
  features = {
    "image": tfds.features.Image(shape=(28, 28, 1)),
    "label": tfds.features.ClassLabel(num_classes=10),
  }
  example = {"image": png(np.zeros((28, 28), np.uint8)), "label": 1}
  path = write_official(
    folder, "mnist", "3.0.10", features, [example], "array_record"
  )
  assert manifest.locate("mnist", folder).version == "3.0.10"
  (path / "dataset_info.json").write_text("{")
  assert manifest.locate("mnist", folder).version == "1.0.0"
  assert "is damaged" in manifest.list_prepared(folder)[-1].fault


@pytest.mark.parametrize(
  ("features", "example", "message"),
  [
    (
      {"text": tfds.features.Text()},
      {"text": "x"},
      r"features image and label; it has \['text'\]",
    ),
    (
      {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(num_classes=2),
      },
      {"image": png(np.zeros((4, 4, 3), np.uint8)), "label": 1},
      "of one shape",
    ),
  ],
)
def test_sets_without_images_of_one_shape_are_refused(
  tmp_path, features, example, message
):
  write_official(
    tmp_path, "other", "1.0.0", features, [example], "array_record"
  )
  with pytest.raises(ValueError, match=message):
    registry.open_dataset("other", "train", tmp_path)


@pytest.mark.parametrize("position", [-1, 7])
def test_a_position_that_is_not_there_is_refused(mnist, position):
  records = prepared.records("mnist", "train", mnist[1])
  with pytest.raises(ValueError, match=r"positions must be in \[0, 7\)"):
    records.read([0, position])
