"""Small runs with everything that ours leave on the disk, to be damaged."""

import contextlib
import pathlib
import shutil

import numpy as np
from PIL import Image

from experiments.command import exits
from experiments.command.exits import ExitCode
from experiments.configuration import settings
from experiments.evaluation import evaluation_run
from experiments.reporting import report_run
from experiments.training import training_run
from snnjax.data.importers import prepare
from snnjax.storage import workdir
from tests import tiny_runs

CHANGES = {
  "modalities.image.encoder": "direct",
  "data.test_examples": "16",
  "evaluation.examples": "16",
  "modalities.image.epsilons.linf": "0.1,",
}
CHUNKS = "evaluation_linf_quick_0.1/arrays/chunks"


def config(changes=None):
  return tiny_runs.config(CHANGES | (changes or {}))


def make(root, seed):
  """Trains, evaluates and reports on one network; returns its folder."""
  made = config({"seed": str(seed)})
  training_run.run(made, root)
  evaluation_run.run(made, root)
  report_run.run(made, root)
  return root


def copy(run, folder, *without):
  """A copy of a run, less what fits these patterns."""
  shutil.copytree(run, folder, ignore=shutil.ignore_patterns(*without))
  return folder


def begun(folder, made):
  """Opens a run and leaves it before its first step."""
  plain = settings.to_dict(made)
  with (
    contextlib.suppress(workdir.Preempted),
    workdir.open_with_status(folder, plain),
  ):
    raise workdir.Preempted
  return folder


def code_of(body, *arguments):
  return exits.run_guarded(lambda: body(*arguments), "x", False)


def refused(capsys, body, *arguments):
  """Asserts that a body is refused as bad data, in one line; returns that."""
  capsys.readouterr()
  code = code_of(body, *arguments)
  told = capsys.readouterr().err
  assert code is ExitCode.BAD_DATA, told
  lines = told.splitlines()
  assert [line for line in lines if line.startswith("x: ")] == lines[-1:]
  assert len(lines[-1]) < 1500
  return lines[-1]


def chunks(folder):
  return sorted((folder / CHUNKS).glob("*.npz"))


def insects(root, brightness):
  """Prepares a data set of two classes of images of 4x4 pixels."""
  for split, count in (("train", 24), ("test", 8)):
    for grey, name in enumerate(("ant", "bee")):
      place = pathlib.Path(root) / "in" / split / name
      place.mkdir(parents=True)
      for index in range(count):
        pixels = np.full((4, 4), 100 * grey + index + brightness, np.uint8)
        Image.fromarray(pixels).save(place / f"{index:03d}.png")
  prepare.prepare(root / "in", "insects", root / "data")
  return root / "data"
