"""The committed results give the committed answers again, byte for byte."""

import functools
import pathlib

import pytest

from experiments.command.exits import ExitCode
from experiments.questions import (
  claim_answer,
  question_run,
  sparsity_answer,
  transfer_answer,
)
from experiments.questions.question_run import Options

RESULTS = pathlib.Path(__file__).parents[3] / "results" / "questions"
ANSWERS = {
  name: functools.partial(question_run.run, name, answer=answer)
  for name, answer in (
    (sparsity_answer.NAME, sparsity_answer.answer),
    (transfer_answer.NAME, transfer_answer.answer),
  )
} | {"claims": claim_answer.run}


@pytest.mark.parametrize("question", ANSWERS)
def test_committed_results_give_the_committed_answer(question, tmp_path):
  study = question_run.load_study(None, "cpu")
  asked = Options(tmp_path, study, RESULTS, finished_only=True)
  assert ANSWERS[question](asked) is ExitCode.DONE
  committed = {
    path.relative_to(RESULTS / question): path.read_bytes()
    for path in (RESULTS / question).rglob("*")
    if path.is_file()
  }
  made = {
    path.relative_to(tmp_path / question): path.read_bytes()
    for path in (tmp_path / question).rglob("*")
    if path.is_file()
  }
  assert set(made) == set(committed)
  # Another matplotlib draws other pixels of the same numbers, in every picture;
  # the numbers lie beside each, and must be equal in any case.
  drawn = [p for p in made if p.suffix in (".png", ".html")]
  equal = [made[path] == committed[path] for path in drawn]
  assert all(equal) or not any(equal)
  for path, content in made.items():
    if path not in drawn:
      assert content == committed[path], path
