"""Any prepared data set trains; a missing or unfit one says what to do."""

import contextlib
import resource

import chex
import jax
import numpy as np
import pytest

from experiments.building import build, datasets, networks, sources
from experiments.command import exits
from experiments.command.exits import ExitCode, UsageError
from experiments.configuration import settings
from experiments.training import loop, training_run
from snnjax.data import camera, manifest, registry, saccade
from snnjax.data.importers import prepare
from snnjax.interfaces import Batch
from snnjax.storage import workdir
from tests import tiny_runs
from tests.datasets.downloads import write_mnist, write_nmnist, write_svhn
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

ALL = {"data.train_examples": "0", "data.test_examples": "0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A data folder with small sets of grey and of coloured images."""
  root = tmp_path_factory.mktemp("data")
  write_mnist(root / "grey", sizes=(70, 9))
  prepare.prepare(root / "grey", "mnist", root)
  (root / "colour").mkdir()
  for split, count in (("train", 40), ("test", 12)):
    write_svhn(root / "colour", split, count)
  prepare.prepare(root / "colour", "svhn_cropped", root)
  labels = {"train": [n % 10 for n in range(1, 71)], "test": range(1, 10)}
  write_nmnist(root / "recorded", labels)
  prepare.prepare(root / "recorded", "nmnist", root, images=root / "grey")
  prepare.prepare(root / "recorded", "alone", root)
  return root


def grey(folder, changes=None):
  own = {"data.name": "mnist", "data.data_dir": str(folder)}
  return tiny_runs.config(ALL | own | (changes or {}))


def colour(folder, changes=None):
  own = {
    "data.name": "svhn_cropped",
    "data.data_dir": str(folder),
    "modalities.image.encoder": "direct",
    "modalities.image.channels": "2,",
    "model.hidden": "8,",
    "train.batch_size": "8",
    "train.epochs": "1",
  }
  made = tiny_runs.config(ALL | own, "cifar10")
  return tiny_runs.changed(made, {"model.kind": "cnn"} | (changes or {}))


def same(one, other):
  count = 0
  for left, right in zip(one, other, strict=True):
    assert isinstance(left, Batch)
    chex.assert_trees_all_equal(left, right)
    count += 1
  return count


PAIRS = {"data.name": "nmnist", "data.modalities": "image,events"}


@pytest.mark.parametrize("examples", ["0", "33"])
@pytest.mark.parametrize("share", ["0", "0.25"])
@pytest.mark.parametrize("pairs", [False, True])
def test_streamed_training_examples_are_those_of_memory(
  folder, examples, share, pairs
):
  changes = {"data.train_examples": examples, "data.validation": share}
  changes |= PAIRS | {"model.kind": "cnn"} if pairs else {}
  memory = datasets.load(grey(folder, changes))
  stream = datasets.load(grey(folder, changes | {"data.stream": "true"}))
  assert memory.train.size == stream.train.size
  assert memory.train.num_classes == stream.train.num_classes
  for epoch in (0, 3):
    batches = (
      each.train.batches(16, seed=5, epoch=epoch, first=1)
      for each in (memory, stream)
    )
    assert same(*batches) >= 1
  if share == "0":
    assert memory.validation is stream.validation is None
  else:
    chex.assert_trees_all_equal(
      memory.validation.inputs, stream.validation.inputs
    )
    np.testing.assert_array_equal(
      memory.validation.labels, stream.validation.labels
    )


@pytest.mark.parametrize("steps", ["2", "3"])
def test_recorded_events_are_read_and_not_simulated(folder, monkeypatch, steps):
  def simulate(*_, **__):
    raise AssertionError("simulated")

  monkeypatch.setattr(sources.pairing, "pair", simulate)
  changes = PAIRS | {"model.steps": steps, "data.test_examples": "6"}
  splits = datasets.load(grey(folder, changes), only_test=True)
  kept = splits.used.parts["test"].indices
  recorded = registry.open_dataset(
    "nmnist",
    "test",
    folder,
    wanted=("image", "events"),
    frames=int(steps),
  )
  assert splits.modalities == ("events", "image")
  for name, array in splits.test.inputs.items():
    np.testing.assert_array_equal(array, recorded.inputs[name][kept])
  seen = splits.prepare(splits.test.inputs)["events"]
  assert seen.shape == (6, int(steps), 34, 34, 2)
  assert float(seen.max()) <= 1
  assert splits.used.made["modalities"]["events"] == [34, 34, 2]
  one = datasets.load(
    grey(folder, changes | {"data.modalities": "image"}), only_test=True
  )
  assert list(one.test.inputs) == ["image"]
  with pytest.raises(AssertionError, match="simulated"):
    datasets.load(grey(folder, changes | {"data.name": "mnist"}))


def test_what_a_set_neither_has_nor_can_be_made_is_refused(folder):
  changes = {"data.name": "alone", "data.modalities": "events"}
  splits = datasets.load(grey(folder, changes))
  assert list(splits.test.inputs) == ["events"]
  for names in ("image", "image,events"):
    with pytest.raises(
      UsageError,
      match="data.modalities must be among 'events' for alone, which has "
      f"'events' itself; got '{names}'",
    ):
      datasets.load(grey(folder, changes | {"data.modalities": names}))


@pytest.mark.usefixtures("compiled")
def test_image_and_recorded_events_train_from_the_disk(folder, tmp_path):
  changes = PAIRS | {
    "data.stream": "true",
    "model.kind": "cnn",
    "model.hidden": "8,",
    "modalities.image.channels": "2,",
    "modalities.image.shrink": "4",
    "modalities.image.encoder": "direct",
    "modalities.image.epsilons.linf": "0.1,",
    "modalities.events.channels": "2,",
    "modalities.events.shrink": "4",
    "modalities.events.epsilons.linf": "0.1,",
    "train.epochs": "1",
  }
  training_run.run(grey(folder, changes), tmp_path)
  parameters = tiny_runs.parameters(tmp_path)
  kernels = [a.shape for a in parameters.values() if a.ndim == 4]
  assert sorted(kernels) == [(3, 3, 1, 2), (3, 3, 2, 2)]


@pytest.mark.usefixtures("compiled")
def test_a_streamed_run_has_the_bits_of_one_in_memory(folder, tmp_path):
  for stream in ("true", "false"):
    made = grey(folder, {"data.stream": stream, "data.validation": "0.2"})
    training_run.run(made, tmp_path / stream)
  pair = (tiny_runs.parameters(tmp_path / s) for s in ("true", "false"))
  assert tiny_runs.same(*pair) == 4
  assert tiny_runs.equal_metrics(tmp_path / "true", tmp_path / "false")


def test_an_evaluation_loads_the_test_split_alone(
  folder, tmp_path, monkeypatch
):
  opened = []
  real = datasets.registry.open_dataset

  def spy(name, split, data_dir, **what):
    opened.append(split)
    return real(name, split, data_dir, **what)

  monkeypatch.setattr(datasets.registry, "open_dataset", spy)
  splits = datasets.load(grey(folder), only_test=True)
  assert opened == ["test"]
  assert splits.train is splits.validation is None
  assert len(splits.test.labels) == 9
  config = grey(folder)
  run = workdir.open(tmp_path, settings.to_dict(config))
  with (
    contextlib.closing(run),
    pytest.raises(ValueError, match="splits must have training examples"),
  ):
    loop.fit(config, splits, run)


@pytest.mark.usefixtures("compiled")
def test_colour_images_train_standardised_and_augmented(folder, tmp_path):
  made = colour(folder, {"data.augment": "crop_flip_cutout"})
  training_run.run(made, tmp_path)
  parameters = tiny_runs.parameters(tmp_path)
  kernels = [a for n, a in parameters.items() if "conv1" in n and a.ndim == 4]
  assert [kernel.shape for kernel in kernels] == [(3, 3, 3, 2)]


def test_the_event_camera_sees_the_luminance_of_colour_images(folder):
  made = colour(folder, {"data.modalities": "image,events"})
  inputs = datasets.load(made, only_test=True).test.inputs
  weights = np.asarray([0.299, 0.587, 0.114], np.float32)
  grey = (inputs["image"] / np.float32(255) * weights).sum(-1, keepdims=True)
  events = saccade.simulate_batch(
    build.data_key(made, "events of the test split"),
    grey.clip(0, 1),
    camera.Camera(step_us=made.modalities.events.step_us),
    frames=made.model.steps,
  )
  assert events.any()
  # Sums in another order differ in the last bit: few pixels, by one event.
  assert np.mean(events != inputs["events"]) < 1e-3


def test_standardised_networks_see_other_numbers_and_the_same_box(folder):
  splits = datasets.load(colour(folder), only_test=True)
  images = splits.prepare(splits.test.inputs)["image"]
  assert 0 <= float(images.min()) < float(images.max()) <= 1
  logits = []
  for mean, std in (((), ()), ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))):
    made = settings.replaced(
      colour(folder),
      {
        "model.norm": False,
        "model.neuron.threshold": 0.05,
        "modalities.image.standardize.mean": mean,
        "modalities.image.standardize.std": std,
      },
    )
    network = networks.network(made, 10)
    variables = network.init(build.key(made, "training"), {"image": images})
    shifted = (
      images if not mean else images * np.float32(std) + np.float32(mean)
    )
    rule = build.rule(made, made.model.rule)
    seen = network.apply(variables, {"image": shifted}, rule=rule)
    logits.append(seen.logits)
  np.testing.assert_allclose(*logits, atol=1e-5)
  assert np.ptp(logits[0]) > 0


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    (
      {"modalities.image.standardize.mean": "0.5,"},
      r"standardize.mean must have one value per channel .*, 3, or none",
    ),
    ({"data.test_examples": "13"}, r"data.test_examples must lie in 0\.\.12"),
    ({"data.train_examples": "41"}, r"train_examples must lie in 0\.\.40"),
    ({"data.validation": "0.99"}, "data.validation: fraction must be"),
  ],
)
@pytest.mark.parametrize("stream", ["true", "false"])
def test_what_does_not_fit_the_data_is_named(folder, changes, match, stream):
  changes = {"data.stream": stream} | changes
  with pytest.raises(UsageError, match=match):
    datasets.load(colour(folder, changes))


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    ({"modalities.image.standardize.std": "1,1,0"}, "stds, which are above 0"),
    ({"modalities.image.standardize.std": "()"}, "as many means as stds"),
    ({"model.kind": "mlp"}, "must be empty but for convolutional networks"),
  ],
)
def test_a_bad_standardisation_is_named(folder, changes, match):
  with pytest.raises(ValueError, match=match):
    networks.network(tiny_runs.changed(colour(folder), changes), 10)


@pytest.mark.parametrize(
  "changes", [{"data.name": "digits"}, {"data.modalities": "events"}]
)
def test_what_is_not_on_the_disk_is_not_streamed(folder, changes):
  made = grey(folder, {"data.stream": "true"} | changes)
  with pytest.raises(UsageError, match=r"data\.stream must be false"):
    datasets.load(made)


def test_missing_data_fail_at_once_with_the_command(tmp_path):
  changes = {"data.name": "cifar10", "data.data_dir": str(tmp_path / "data")}
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  code, out, err = tiny_runs.finished(
    "train", *tiny_runs.words(tmp_path / "run", changes)
  )
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert (code, out) == (ExitCode.BAD_DATA, "")
  assert err.splitlines()[1:] == [
    "python -m experiments.prepare_data --source=FOLDER_OR_FILE "
    f"--name=cifar10 --data_dir={tmp_path / 'data'}",
    "where FOLDER_OR_FILE is the folder or file you downloaded: "
    "cifar-10-python.tar.gz or cifar-10-binary.tar.gz",
  ]
  # Of the processor, not of a clock: other tests may share the machine.
  assert after.ru_utime + after.ru_stime < before.ru_utime + before.ru_stime + 5


def test_damaged_data_are_bad_data(folder, tmp_path, capsys):
  write_mnist(tmp_path / "source", sizes=(9, 5))
  prepare.prepare(tmp_path / "source", "mnist", tmp_path)
  (shard,) = (tmp_path / "mnist").rglob("*train.array_record*")
  content = bytearray(shard.read_bytes())
  content[len(content) // 2] ^= 1
  shard.write_bytes(content)
  made = grey(tmp_path, {"data.validation": "0"})

  def body():
    training_run.run(made, tmp_path / "run")

  assert exits.run_guarded(body, "x", False) is ExitCode.BAD_DATA
  assert "has changed since it was prepared" in capsys.readouterr().err


def test_a_missing_data_set_is_missing_in_every_mode(tmp_path):
  for stream in ("true", "false"):
    with pytest.raises(manifest.MissingDataError, match="is not prepared"):
      datasets.load(grey(tmp_path, {"data.stream": stream}))


@pytest.mark.parametrize(
  ("name", "kind", "data"),
  [
    ("base", "cnn", "digits"),
    ("mnist", "cnn", "mnist"),
    ("cifar10", "cnn", "cifar10"),
    ("cifar10:vgg11", "vgg11", "cifar10"),
    ("quickstart", "cnn", "digits"),
  ],
)
def test_every_configuration_loads_and_builds(name, kind, data):
  made = settings.load(name)
  assert (made.model.kind, made.data.name) == (kind, data)
  network = networks.network(made, 10)
  if name == "cifar10:vgg11":
    images = {"image": jax.ShapeDtypeStruct((2, 32, 32, 3), np.float32)}
    shapes = jax.eval_shape(network.init, build.key(made, "training"), images)[
      "params"
    ]
    kernels = [leaf for leaf in jax.tree.leaves(shapes) if leaf.ndim > 1]
    assert len(kernels) == 8 + 3  # convolutions and dense layers
  with pytest.raises(UsageError, match="network must be"):
    settings.load("cifar10:resnet")
