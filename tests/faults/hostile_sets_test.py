"""A prepared set from somebody else imports nothing and costs little."""

import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from experiments import prepare_data
from snnjax.data import descriptions, manifest, registry, shards, size_limits
from snnjax.data.importers import prepare
from snnjax.storage import files
from tests.datasets.downloads import write_mnist
from tests.datasets.prepared_test import write_official
from tests.faults import bombs, reader
from tests.faults.hostile_files_test import cheap

EVIL = "evil_module_beside.Feature"
MODULE = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  root = tmp_path_factory.mktemp("set")
  write_mnist(root / "source")
  prepare.prepare(root / "source", "mnist", root / "data")
  return root / "data" / "mnist" / "1.0.0"


@pytest.fixture
def received(written, tmp_path, monkeypatch):
  """The same without our manifest, beside a module on Python's path."""
  folder = tmp_path / "mnist" / "1.0.0"
  shutil.copytree(written, folder)
  (folder / "snnjax.json").unlink()
  (folder / "evil_module_beside.py").write_text(MODULE)
  monkeypatch.syspath_prepend(str(folder))
  yield folder
  sys.modules.pop("evil_module_beside", None)


def opened(folder, split="train"):
  return registry.open_dataset("mnist", split, folder.parents[1])


def change(folder, name, edit):
  path = folder / name
  value = json.loads(path.read_text())
  edit(value)
  path.write_text(json.dumps(value))


def set_feature(name, **said):
  def edit(value):
    value["featuresDict"]["features"][name] |= said

  return edit


def test_tfds_would_run_it(received):
  # The door is real: without the check the module is imported.
  change(received, "features.json", set_feature("image", pythonClassName=EVIL))
  with pytest.raises(ValueError, match="Unrecognized"):
    tfds.builder_from_directory(received)
  assert (received / "ran").exists()


FEATURES = {
  "as JSON spells it": set_feature("image", pythonClassName=EVIL),
  "as protocol buffers spell it": set_feature("label", python_class_name=EVIL),
  "of the whole": lambda value: value.update(pythonClassName=EVIL),
  "of one more feature": lambda value: value["featuresDict"]["features"].update(
    more={"pythonClassName": EVIL, "text": {}}
  ),
  "as TFDS wrote it before": lambda value: (
    value.clear(),
    value.update(
      type="tensorflow_datasets.core.features.features_dict.FeaturesDict",
      content={"image": {"type": EVIL, "content": {}}},
    ),
  ),
  "in a text of JSON": set_feature(
    "label", jsonFeature={"json": json.dumps({"x": {"type": EVIL}})}
  ),
  "with a submodule of TFDS": set_feature(
    "image", pythonClassName="tensorflow_datasets.scripts.cli.main.Tensor"
  ),
}


@pytest.mark.parametrize("how", FEATURES)
def test_no_class_of_a_set_is_imported(received, how):
  before = set(sys.modules)
  change(received, "features.json", FEATURES[how])
  with pytest.raises(ValueError, match=r"features\.json must name features"):
    opened(received)
  assert not (received / "ran").exists()
  assert "evil_module_beside" not in sys.modules
  assert not {m for m in set(sys.modules) - before if "scripts" in m}


def test_the_description_names_no_class_either(received):
  def edit(value):
    value["features"] = {"pythonClassName": EVIL, "text": {}}

  change(received, "dataset_info.json", edit)
  with pytest.raises(ValueError, match=r"dataset_info\.json must name"):
    opened(received)
  assert not (received / "ran").exists()


def test_a_module_that_the_description_names_is_not_imported(received):
  change(
    received,
    "dataset_info.json",
    lambda value: value.update(moduleName="evil_module_beside"),
  )
  assert len(opened(received).labels) == 7
  assert not (received / "ran").exists()


def test_the_known_classes_are_those_of_tfds():
  registered = tfds.features.FeatureConnector._registered_features
  own = {name for name in registered if name.startswith("tensorflow_datasets.")}
  abstract = {
    "tensorflow_datasets.core.features.top_level_feature.TopLevelFeature"
  }
  assert own - abstract <= descriptions.KNOWN
  assert "tensorflow_datasets.core.features.tensor_feature.Tensor" in own


@pytest.mark.parametrize(
  ("name", "edit", "match"),
  [
    (
      "features.json",
      set_feature("label", classLabel={"numClasses": "1000000000"}),
      "at most 100,000 classes",
    ),
    (
      "features.json",
      set_feature(
        "image",
        tensor={
          "dtype": "uint8",
          "encoding": "bytes",
          "shape": {"dimensions": ["100000", "100000", "3"]},
        },
      ),
      "an image must have 1 to",
    ),
    (
      "dataset_info.json",
      lambda value: value["splits"][0].update(shardLengths=["1000000000000"]),
      "must hold 1000000000000 examples; it holds 7",
    ),
    (
      "dataset_info.json",
      lambda value: value["splits"][0].update(
        filepathTemplate="../../../{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"
      ),
      "must hold its shards beside it",
    ),
    (
      "features.json",
      lambda value: value["featuresDict"]["features"].update(
        label={
          "type": "tensorflow_datasets.core.features.class_label_feature"
          ".ClassLabel",
          "content": {"names_file": "/dev/zero"},
        }
      ),
      "hold its classes' names beside it",
    ),
    (
      "features.json",
      lambda value: value["featuresDict"]["features"].update(
        label={
          "pythonClassName": "tensorflow_datasets.core.features.text_feature"
          ".Text",
          "text": {},
        }
      ),
      "label must be a ClassLabel",
    ),
  ],
)
def test_what_a_set_claims_is_compared_with_what_it_has(
  received, name, edit, match
):
  change(received, name, edit)
  with pytest.raises(ValueError, match=match):
    opened(received)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "5", "{}"])
def test_odd_descriptions_are_damage(received, name, text):
  (received / name).write_text(text)
  with pytest.raises((ValueError, FileNotFoundError)) as caught:
    opened(received)
  assert len(str(caught.value)) < 2_000


def test_images_of_a_set_are_not_decoded_beyond_their_shape(tmp_path):
  features = {
    "image": tfds.features.Image(shape=(28, 28, 1), encoding_format="png"),
    "label": tfds.features.ClassLabel(num_classes=2),
  }
  wide = bombs.wide_png()
  folder = tmp_path / "data"
  examples = [{"image": wide, "label": 0}]
  write_official(folder, "mnist", "3.0.1", features, examples, "array_record")
  with reader.started() as measuring:
    found = measuring.read("prepared", folder / "mnist")
  assert found.error == "ValueError"
  assert "must have the shape (28, 28, 1)" in found.message
  cheap(found, len(wide))


@pytest.mark.parametrize(
  "edit",
  [
    lambda noted: noted.update(classes=5),
    lambda noted: noted.update(classes=[["a"]] * 10),
    lambda noted: noted["counts"].update(train=[1]),
    lambda noted: noted["counts"].update(train=["1"] * 10),
    lambda noted: noted["made"].update(formats={"PNG": "many"}),
    lambda noted: noted["made"].update(left_out=[1]),
    lambda noted: noted["made"].update(shuffle_seed="x"),
    lambda noted: noted["source"].update(layout=5),
    lambda noted: noted["files"].update({"../../x": 5}),
    lambda noted: noted.update(modalities=["image"]),
    lambda noted: noted["modalities"].update(events=[10**6, 10**6, 2]),
    lambda noted: noted["modalities"].update(events=[34, 34]),
    lambda noted: noted["modalities"].update(image="28"),
  ],
)
def test_a_manifest_of_any_kind_is_a_fault_and_no_end(written, tmp_path, edit):
  folder = tmp_path / "mnist" / "1.0.0"
  shutil.copytree(written, folder)
  noted = manifest.describe(folder, "mnist").manifest
  edit(noted)
  remanifested(folder, noted)
  (found,) = manifest.list_prepared(tmp_path)
  assert "is damaged" in found.fault
  assert prepare_data.line(found).count("\n") == 1


def remanifested(folder, noted):
  """Writes a manifest as preparation does: with its digest."""
  files.write_sealed(folder / manifest.FILE, noted)


def test_a_manifest_names_no_file_outside_the_set(written, tmp_path):
  folder = tmp_path / "mnist" / "1.0.0"
  shutil.copytree(written, folder)
  noted = manifest.describe(folder, "mnist").manifest
  noted["files"]["../../secret"] = "0" * 64
  remanifested(folder, noted)
  assert "is damaged" in manifest.describe(folder, "mnist").fault


def test_a_record_of_a_gigabyte_is_not_unpacked(received):
  (shard,) = received.glob("*train.array_record*")
  writer = array_record_module.ArrayRecordWriter(str(shard), "group_size:1")
  for _ in range(7):
    writer.write(bytes(1 << 27))
  writer.close()
  with reader.started() as measuring:
    found = measuring.read("prepared", received.parent)
  assert "must not unpack to more than" in found.message
  cheap(found, shard.stat().st_size)


@pytest.mark.parametrize(
  "options",
  [
    "group_size:1",
    "group_size:1,uncompressed",
    "group_size:7,brotli:3",
    "group_size:100,transpose:true",
    "group_size:65536",
  ],
)
@pytest.mark.parametrize(
  ("count", "size"), [(3, 10), (5_000, 0), (3_000, 100), (20, 200_000)]
)
def test_every_chunk_of_an_honest_shard_is_found(
  tmp_path, monkeypatch, options, count, size
):
  path = tmp_path / "shard"
  writer = array_record_module.ArrayRecordWriter(str(path), options)
  noise = np.random.default_rng(0).integers(0, 256, (count, size), np.uint8)
  for record in noise:
    writer.write(record.tobytes())
  writer.close()
  seen = []
  monkeypatch.setattr(
    size_limits.Budget, "check", lambda budget, size: seen.append(size)
  )
  shards.check(path)
  # Beside the records there are a signature, an index and what ends it.
  assert count * size <= sum(seen) <= count * size + 24 * count + 10_000
  content = path.read_bytes()
  path.write_bytes(content[: len(content) - (1 << 16) - 30])
  if size:
    with pytest.raises(ValueError, match="ends inside a chunk"):
      shards.check(path)
