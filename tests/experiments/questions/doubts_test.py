"""What a report says that the attacks did not have, read off the protocol."""

import dataclasses

import pytest

from experiments.configuration.study import Step
from experiments.questions import doubts
from experiments.questions.results import Measured
from tests.experiments.questions import made_up

STUDY = made_up.study()
FIRST = STUDY.protocol.chains["l0"][0]


def said(*steps, measurements=("gradients", "transfer")):
  """The section, with more attacks in the l0 chain."""
  chains = dict(STUDY.protocol.chains)
  chains["l0"] = (*chains["l0"], *steps)
  protocol = dataclasses.replace(STUDY.protocol, chains=chains)
  network = Measured(None, {name: {} for name in measurements}, {})
  study = dataclasses.replace(STUDY, protocol=protocol)
  return doubts.attacks_section(study, [network])


@pytest.mark.parametrize(
  ("step", "words"),
  [
    (Step(kind="sparse_rs", rule=FIRST.rule), "does without the gradient"),
    (dataclasses.replace(FIRST, steps=2 * FIRST.steps), "twice its steps"),
  ],
)
def test_an_attack_of_the_chain_is_missed_no_more(step, words):
  def missed(section):
    (sentence,) = (s for s in section.text.split(".") if words in s)
    return sentence.partition(" no attack ")[0]

  assert missed(said()) == " Under linf, l2, l1, l0"
  assert missed(said(step)) == " Under linf, l2, l1"


def test_one_start_is_said_and_noise_under_other_norms_is_not_claimed():
  section = said()
  assert "Under linf, l2, l1, l0 no attack restarts" in section.text
  draws = STUDY.protocol.random_draws
  assert f"{draws} draws of random noise were tried under linf" in section.text
  (table,) = section.tables
  assert [row["norm"] for row in table.rows] == ["linf", "l2", "l1", "l0"]
  assert {row["gradient_free"] for row in table.rows} == {"none"}


def test_networks_that_were_attacked_harder_are_counted():
  assert "attacked harder" not in said().text
  text = said(measurements=("gradients", "stronger")).text
  assert "1 of 1 networks were attacked harder under linf, l2, l1, l0" in text


def test_only_norms_that_were_attacked_in_are_told():
  section = said(measurements=("gradients",))
  assert "l0" not in section.text
  assert "random noise" not in said(measurements=("transfer",)).text
