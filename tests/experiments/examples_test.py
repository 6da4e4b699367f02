"""Which examples networks are trained and evaluated on, told and kept."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments.building import datasets
from experiments.command.exits import UsageError
from experiments.evaluation import evaluation_run
from experiments.reporting import report_run
from experiments.training import training_run
from snnjax.data.importers import prepare
from snnjax.storage import files
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def sorted_folder(tmp_path_factory):
  """Images of three classes, stored class by class, as folders have them."""
  root = tmp_path_factory.mktemp("sorted")
  for split, count in (("train", 40), ("test", 20)):
    for grey, name in enumerate(("ant", "bee", "cat")):
      (root / "in" / split / name).mkdir(parents=True)
      for index in range(count):
        pixels = np.full((4, 4), 100 * grey + index, np.uint8)
        Image.fromarray(pixels).save(
          root / "in" / split / name / f"{index:03d}.png"
        )
  prepare.prepare(root / "in", "insects", root)
  return root


def config(folder, changes=None):
  own = {
    "data.name": "insects",
    "data.data_dir": str(folder),
    "data.train_examples": "60",
    "data.test_examples": "30",
    "data.validation": "0.2",
    "train.epochs": "1",
    "evaluation.examples": "9",
    "modalities.image.epsilons.linf": "0.1,",
  }
  return tiny_runs.config(own | (changes or {}))


@pytest.mark.parametrize("stream", ["true", "false"])
def test_parts_of_a_sorted_set_have_every_class(sorted_folder, stream):
  made = config(sorted_folder, {"data.stream": stream})
  used = datasets.evaluated(made, datasets.load(made))
  counted = {name: part.counts for name, part in used.parts.items()}
  assert counted == {
    "train": (16, 16, 16),
    "validation": (4, 4, 4),
    "test": (3, 3, 3),
  }
  assert not set(used.parts["train"].indices) & set(
    used.parts["validation"].indices
  )


def test_networks_of_all_seeds_see_the_same_examples(sorted_folder):
  one, other = (
    datasets.load(config(sorted_folder, {"seed": seed})) for seed in "07"
  )
  for name, part in one.used.parts.items():
    np.testing.assert_array_equal(part.indices, other.used.parts[name].indices)
  np.testing.assert_array_equal(
    one.test.inputs["image"], other.test.inputs["image"]
  )
  moved = datasets.load(config(sorted_folder, {"data.seed": "1"}))
  assert np.any(moved.used.parts["test"].indices != one.used.parts["test"][2])


@pytest.mark.parametrize("key", ["seed", "data.seed"])
def test_seeds_that_jax_would_take_for_others_are_usage(
  sorted_folder, tmp_path, key
):
  made = config(sorted_folder, {key: str(2**32)})
  with pytest.raises(UsageError, match=rf"^{key} must be .*; got 4294967296"):
    training_run.run(made, tmp_path)


@pytest.mark.usefixtures("compiled")
def test_a_run_tells_keeps_and_reports_its_examples(
  sorted_folder, tmp_path, capsys
):
  made = config(sorted_folder)
  training_run.run(made, tmp_path)
  assert "train: 48 of 3 classes, 16 each\n" in capsys.readouterr().out
  made = tiny_runs.changed(made, {"evaluation.examples": "2"})
  evaluation_run.run(made, tmp_path)
  out, err = capsys.readouterr()
  assert "test: 2 of 3 classes" in out
  assert "warning: test: 1 of 3 classes have no example: " in err
  (folder,) = {path.parent for path in tmp_path.glob("evaluation*/data.json")}
  kept = files.read_arrays(folder / "examples.npz")
  assert {name: len(array) for name, array in kept.items()} == {
    "train": 48,
    "validation": 12,
    "test": 2,
  }
  report_run.run(made, tmp_path)
  (page,) = tmp_path.glob("report*/report.md")
  text = page.read_text()
  assert "shuffled" in text or "written in the order of seed 0" in text
  assert "PNG images" in text
  assert "48 of 3 classes, 16 each" in text
  (board,) = tmp_path.glob("report*/leaderboard.json")
  (entry,) = json.loads(board.read_text())["entries"]
  assert entry["data"]["made"]["shuffle_seed"] == 0
  assert len(entry["data"]["source"]["sha256"]) == 64
  assert entry["data"]["parts"]["test"]["of"] == 60
  assert "Classes are missing" in entry["alarms"]
