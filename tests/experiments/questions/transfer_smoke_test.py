"""The second question at size smoke: trained, attacked, answered."""

import json

import pytest

from experiments.command.exits import ExitCode
from experiments.questions import question_run, transfer_answer
from experiments.questions.question_run import Options

NAME = transfer_answer.NAME


@pytest.fixture(scope="module")
def study():
  return question_run.load_study(None, "smoke")


@pytest.fixture(scope="module")
def pool(study, tmp_path_factory):
  """The folder of a finished smoke run."""
  folder = tmp_path_factory.mktemp("pool")
  code = question_run.run(NAME, Options(folder, study), transfer_answer.answer)
  assert code is ExitCode.DONE
  return folder


def test_every_arm_meets_every_norm(study, pool):
  record = json.loads((pool / NAME / "report.json").read_text())
  tables = {
    table["name"]: table["rows"]
    for section in record["sections"]
    for table in section["tables"]
  }
  arms = {study.arms[arm].about for arm in study.questions[NAME].arms}
  met = {(row["arm"], row["norm"], row["level"]) for row in tables["radii"]}
  assert met == {
    (arm, norm, level)
    for arm in arms
    for norm in ("linf", "l2", "l1", "l0", "all")
    for level in range(3)
  }
  figures = {path.stem for path in (pool / NAME / "figures").glob("*.png")}
  assert figures == {
    "verdicts",
    "transfer_matrix_digits_image_events",
    "size_against_sparsity_digits_image_events",
  }


def test_the_answer_is_the_same_from_its_results(study, pool, tmp_path):
  asked = Options(tmp_path, study, pool / "results")
  assert question_run.run(NAME, asked, transfer_answer.answer) is ExitCode.DONE
  for path in (pool / NAME).rglob("*.*"):
    again = tmp_path / NAME / path.relative_to(pool / NAME)
    assert again.read_bytes() == path.read_bytes()
