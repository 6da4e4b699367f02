"""Calibration: radii and weights, on networks that no question uses."""

import ast
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.command.exits import ExitCode, UsageError
from experiments.configs.studies import questions
from experiments.configuration import settings
from experiments.configuration import study as studies
from experiments.questions import (
  calibration,
  calibration_options,
  calibration_report,
  calibration_run,
  pool,
)
from experiments.questions.network_numbers import Cell
from snnjax.storage import files
from tests import tiny_runs

GRIDS = {"linf": tuple(np.geomspace(0.004, 0.6, 7).tolist())}
CELL = Cell("digits", "image")


@pytest.fixture(scope="module")
def study():
  """The smoke study, whose networks learn something and are attacked once."""
  own = questions.get_config("smoke")
  base = settings.replaced(
    own.base,
    {
      "train.epochs": 10,
      "model.steps": 2,
      "optimizer.learning_rate": 1e-2,
      "modalities.image.channels": (4, 8),
      "method.sr.estimator": "jvp",
    },
  )
  protocol = dataclasses.replace(
    own.protocol, transfer_norms=("linf",), stronger={}
  )
  return dataclasses.replace(own, base=base, protocol=protocol)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  return tmp_path_factory.mktemp("calibrated")


@pytest.fixture(scope="module")
def asked(study, workdir):
  return calibration_run.Options(workdir, study, (CELL,), (1000,), None, GRIDS)


@pytest.fixture(scope="module")
def written(asked, workdir):
  assert calibration_run.run(asked) is ExitCode.DONE
  return files.read_sealed(workdir / "calibration" / "calibration.json", "")


def curve(workdir):
  (file,) = (workdir / "calibration" / "networks").rglob("curves.npz")
  return file


def test_radii_are_those_at_which_the_shares_are_left(written):
  chosen = written["data"]["digits"]["image"]["linf"]
  (accuracy,) = chosen["accuracies"].values()
  assert chosen["grid"] == list(GRIDS["linf"])
  assert accuracy[0] > 0.5  # it has learned something
  assert accuracy == sorted(accuracy, reverse=True)
  left = np.interp(np.log(chosen["radii"]), np.log(chosen["grid"]), accuracy)
  np.testing.assert_allclose(left / accuracy[0], (0.6, 0.3, 0.05), atol=0.03)
  (network,) = written["networks"].values()
  assert network["training"]["seed"] == 1000
  assert written["examples"] == {"digits": 32}
  assert [step["steps"] for step in written["chains"]["linf"]] == [2, 2]
  assert "command_line" not in written["environment"]


def test_the_picture_has_its_numbers_beside_it(written, workdir):
  folder = workdir / "calibration" / "figures"
  assert (folder / "radii_digits.png").read_bytes().startswith(b"\x89PNG")
  drawn = json.loads((folder / "radii_digits.json").read_text())
  line = drawn["data"]["curves"]["linf"]["image"]
  chosen = written["data"]["digits"]["image"]["linf"]
  assert line["chosen"] == chosen["radii"]
  assert line["accuracies"] == list(chosen["accuracies"].values())


def test_what_is_there_is_not_measured_again(asked, written, workdir, capsys):
  before = curve(workdir).stat().st_mtime_ns
  calibration_run.run(asked)
  said = capsys.readouterr().out
  assert "seed 1000" not in said
  assert curve(workdir).stat().st_mtime_ns == before
  # And it says the lines that a study takes.
  lines = said.partition("# data['digits'].radii\n")[2]
  radii = written["data"]["digits"]["image"]["linf"]["radii"]
  assert ast.literal_eval(lines) == {"image": {"linf": tuple(radii)}}


def test_a_damaged_curve_is_measured_again_to_the_same_bits(
  asked, written, workdir, capsys
):
  del written
  whole = curve(workdir).read_bytes()
  curve(workdir).write_bytes(whole[:-50])
  calibration_run.run(asked)
  assert curve(workdir).read_bytes() == whole
  assert "trained:" not in capsys.readouterr().out


def test_a_grid_that_is_not_passed_is_named(asked, written, tmp_path):
  del written
  low = {"linf": GRIDS["linf"][:2]}
  wrong = asked._replace(grids=low)
  match = r"digits, image, linf: accuracies must pass 0\.\d+ within the grid"
  with pytest.raises(UsageError, match=match):
    calibration_run.run(wrong)


def test_the_weight_of_an_arm_for_its_own_size_is_its_own(
  asked, study, workdir, capsys
):
  own = asked._replace(match=calibration_options.Match("sr", "sr"))
  calibration_run.run(own)
  said = capsys.readouterr().out
  weight = study.arms["sr"].keys["method.sr.weight"]
  assert f"leaves gradients of the size of sr's: {weight:g}" in said
  content = files.read_sealed(workdir / "calibration" / "weights.json", "")
  (row,) = content["weights"]
  assert row["weight"] == weight
  assert [each["weight"] for each in row["log sizes"]] == [
    factor * weight for factor in calibration.FACTORS
  ]
  assert row["log sizes"][1]["1000"] == row["log sizes wanted"]["1000"]
  assert len(content["networks"]) == 3


def test_the_clean_size_is_that_of_each_example_alone(asked, study, workdir):
  own = studies.member(study, "digits", ("image",), "sr", 1000, ())
  subject = pool.Work(study, workdir).subject(own, {})
  logits, key = subject.bound(), jax.random.key(0)

  @jax.jit
  @jax.vmap
  def gradient(image, label):
    def margin(image):
      z = logits(key, {"image": image[None]})[0]
      rival = jnp.max(jnp.where(jnp.arange(10) == label, -jnp.inf, z))
      return z[label] - rival

    return margin(image), jax.grad(margin)(image)

  images, labels = subject.batch.inputs["image"], subject.batch.labels
  margins, slopes = map(np.asarray, gradient(images, jnp.asarray(labels)))
  sizes = np.abs(slopes).reshape(len(slopes), -1).sum(1)
  counted = sizes[(margins > 0) & (sizes > 0)]
  assert len(counted) > 10
  expected = np.log(counted).mean()
  assert calibration.clean_size(subject) == pytest.approx(expected, abs=1e-3)


def test_help_tells_of_the_flags_that_binaries_share():
  code, out, _ = tiny_runs.finished("calibrate_study", "--help")
  assert code == 0
  for flag in ("--size", "--study", "--workdir", "--seeds", "--match_size"):
    assert f"  {flag}: " in out


@pytest.mark.parametrize(
  ("words", "match"),
  [
    ({"seeds": ["1"]}, "--seeds must be .* from 2 on, .* got '1'"),
    ({"seeds": ["1000", "1000"]}, "--seeds must be different"),
    ({"seeds": ["-5"]}, "--seeds must be .* got '-5'"),
    ({"data": ["moons"]}, "--data must be among digits; got 'moons'"),
    ({"modalities": ["image+sound"]}, "--modalities must be .* 'image.sound'"),
    ({"modalities": ["image+image"]}, "--modalities must be .* 'image.image'"),
    ({"match_size": "sr"}, "--match_size must be ARM:OTHER.* got 'sr'"),
    ({"match_size": "sr:nobody"}, "--match_size must be ARM:OTHER"),
    ({"match_size": "sr:hire"}, "no question asks of digits with sr and hire"),
  ],
)
def test_what_a_study_does_not_have_is_named(study, tmp_path, words, match):
  with pytest.raises(UsageError, match=match):
    calibration_options.options(tmp_path, study, **words)


def test_an_arm_without_a_penalty_is_named(asked):
  wrong = calibration_options.Match("conventional", "sr")
  with pytest.raises(UsageError, match="conventional must be trained by sr or"):
    calibration_run.run(asked._replace(match=wrong))


def test_what_the_questions_ask_is_calibrated(tmp_path):
  cpu = questions.get_config("cpu")
  whole = calibration_options.options(tmp_path, cpu, data=["mnist", "nmnist"])
  assert {cell.inputs for cell in whole.cells if cell.data == "mnist"} == {
    "image",
    "events",
    "image+events",
  }
  assert [c.inputs for c in whole.cells if c.data == "nmnist"] == [
    "image+events"
  ]
  assert whole.seeds == (1000,)
  part = calibration_options.options(
    tmp_path, cpu, modalities=["events+image"], match_size="sr_l2:sr"
  )
  assert {cell.inputs for cell in part.cells} == {"image+events"}


def test_radii_by_hand():
  grid = (1.0, 10.0, 100.0)
  curve = np.array([0.8, 0.4, 0.0])
  radii = calibration.radii([curve, curve], grid, (0.75, 0.5, 0.25))
  assert radii == (3.0, 10.0, 32.0)  # whole, as the grid is: 10^0.5, 10^1.5
  assert calibration.radii([curve], (1.0, 10.0, 100.5), (0.75,)) == (3.2,)
  with pytest.raises(ValueError, match="above 0 at the smallest radius"):
    calibration.radii([0 * curve], grid)


def test_weights_by_hand():
  matched = calibration.matched_weight
  assert matched((1.0, 100.0), (3.0, 1.0), 2.0) == 10.0
  assert matched((1.0, 100.0), (3.0, 1.0), 3.0) == 1.0
  for sizes, wanted in (((3.0, 1.0), 3.1), ((1.0, 3.0), 2.0)):
    with pytest.raises(ValueError, match="must fall with the weight and pass"):
      matched((1.0, 100.0), sizes, wanted)


def test_lines_are_read_back():
  radii = {"image": {"linf": (0.1, 0.2)}, "events": {"l0": (1.0,)}}
  assert ast.literal_eval(calibration_report.lines(radii)) == radii
