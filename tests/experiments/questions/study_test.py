"""The project's study: every size, every network, what is asked beside."""

import collections
import dataclasses

import jax
import numpy as np
import pytest

from experiments.building import build, networks
from experiments.command.exits import UsageError
from experiments.configs.studies import questions
from experiments.configuration import study as studies
from experiments.configuration.study import Part
from experiments.planning import preflight
from experiments.questions import (
  contrasts,
  network_numbers,
  question_run,
  results,
  wording,
)
from tests.experiments.questions import made_up

QUESTIONS = ("sparsity_under_attack", "norm_transfer")
SHAPES = {  # of one example
  "mnist": {"image": (28, 28, 1), "events": (34, 34, 2)},
  "svhn": {"image": (32, 32, 3), "events": (38, 38, 2)},
  "nmnist": {"image": (28, 28, 1), "events": (34, 34, 2)},
}


def first_seed(study):
  """The networks of all questions with seed 0: others differ in that alone."""
  return {
    own.name: own
    for question in study.questions
    for own in studies.members(study, question)
    if own.seed == 0
  }


@pytest.mark.parametrize("size", ["smoke", "cpu", "full"])
def test_every_network_of_a_size_can_be_trained_and_measured(size):
  study = questions.get_config(size)
  assert study.size == size
  assert set(study.questions) == set(QUESTIONS)
  for own in first_seed(study).values():
    preflight.check(own.config)
    studies.check_radii(study, own)


def test_the_full_size_is_of_all_data_and_the_papers_widths():
  study = questions.get_config("full")
  counted = collections.Counter()
  for own in first_seed(study).values():
    config = own.config
    assert config.model.steps == 8
    assert config.data.train_examples == {"svhn": 73_257}.get(own.data, 60_000)
    assert config.data.test_examples == study.protocol.examples == 1000
    assert {each.shrink for each in config.seen.values()} == {1}
    counted[own.data, own.inputs] += 1
    if own.arm == "conventional":  # shapes are those of all arms
      check_shapes(own)
  assert len(counted) == 7  # two sets in three ways, one in one


def check_shapes(own):
  """The network can be built of its data set's shapes, and has ten logits."""
  steps = own.config.model.steps
  shapes = {
    name: (2, *(steps,) * (name == "events"), *SHAPES[own.data][name])
    for name in own.modalities
  }
  network = networks.network(own.config, 10)
  rule = build.rule(own.config, own.config.model.rule)

  def logits(inputs):
    variables = network.init(jax.random.key(0), inputs)
    return network.apply(variables, inputs, rule=rule, key=jax.random.key(1))

  inputs = {n: jax.ShapeDtypeStruct(s, np.float32) for n, s in shapes.items()}
  assert jax.eval_shape(logits, inputs).logits.shape == (2, 10)


@pytest.mark.parametrize("size", ["cpu", "full"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_plan_tells_of_all_networks(size, question, tmp_path, capsys):
  study = questions.get_config(size)
  asked = question_run.Options(tmp_path, study, plan=True)
  question_run.run(question, asked, lambda *_: pytest.fail("it answered"))
  said = capsys.readouterr().out
  assert f"size {size}: {len(studies.members(study, question))} net" in said
  assert ("by rule of thumb" in said) is (size == "cpu")
  assert ("nobody has measured" in said) is (size == "full")
  beside = "Of nmnist, told beside: 24" in said
  assert beside is (question == "sparsity_under_attack")
  assert not list(tmp_path.iterdir())


def test_a_data_set_beside_has_its_own_arms_and_number_of_examples():
  study = questions.get_config("cpu")
  asked = studies.members(study, "sparsity_under_attack")
  beside = [own for own in asked if own.data == "nmnist"]
  contrast = study.questions["sparsity_under_attack"].contrasts[0]
  assert {own.arm for own in beside} == {
    contrast.treated,
    contrast.control,
    "conventional",
  }
  assert {own.inputs for own in beside} == {"image+events"}
  assert len(beside) == 24
  assert {own.config.data.test_examples for own in beside} == {100}
  others = {own.config.data.test_examples for own in asked} - {100}
  assert others == {500}
  # All arms of a seed, those beside too, before the next one.
  assert [own.seed for own in asked] == sorted(own.seed for own in asked)


def test_what_is_beside_changes_nothing_of_the_rest():
  study = questions.get_config("cpu")
  question = study.questions["sparsity_under_attack"]
  alone = dataclasses.replace(
    study,
    questions={"one": dataclasses.replace(question, beside={})},
    data={name: study.data[name] for name in question.data},
  )
  whole = studies.members(study, "sparsity_under_attack")
  rest = [own for own in whole if own.data in question.data]
  assert rest == studies.members(alone, "one")
  for own in rest[:21]:
    made = results.made_from(study, own, "gradients")
    assert made == results.made_from(alone, own, "gradients")


def test_another_number_of_examples_is_another_measurement():
  study = questions.get_config("cpu")
  (own, *_) = [o for o in first_seed(study).values() if o.data == "nmnist"]
  more = dataclasses.replace(study.data["nmnist"], test_examples=99)
  other = dataclasses.replace(study, data={**study.data, "nmnist": more})
  assert studies.examples(other, "nmnist") == 99
  digests = [results.made_from(s, own, "gradients") for s in (study, other)]
  assert digests[0] != digests[1]


def test_what_is_beside_is_compared_and_decides_nothing():
  """The same numbers on two data sets, of which one is asked beside."""
  study = made_up.study()
  question = study.questions[made_up.QUESTION]
  arms = dict.fromkeys(("hire", "no_noise"), made_up.SEEDS)
  contrast = dataclasses.replace(question.contrasts[0], measure="accuracy")
  asked = dataclasses.replace(
    question,
    contrasts=(contrast,),
    beside={"nmnist": Part(arms=arms, modalities=(("image", "events"),))},
  )
  study = dataclasses.replace(study, questions={made_up.QUESTION: asked})
  networks = made_up.networks(study, {"hire": {"accuracy": 0.8}}, arms=arms)
  grouped = network_numbers.grouped(networks)
  compared = contrasts.compare(study, asked, grouped)
  both = [c for c in compared if c.cell.inputs == "image+events"]
  assert [(c.cell.data, c.decides) for c in both] == [
    ("mnist", True),
    ("nmnist", False),
  ]
  assert both[0].estimate.estimate == both[1].estimate.estimate
  decided = contrasts.decide(asked, compared)
  assert [each.compared.cell.data for each in decided.values()] == ["mnist"]
  told = wording.summary(
    contrasts.findings(study, made_up.QUESTION, networks), []
  )
  assert "simulated events; 500 test examples each." in told
  assert "Told beside, where it decides nothing: N-MNIST" in told
  assert "MNIST's images; 100 test examples each." in told


def test_a_contrast_is_made_where_it_is_asked_of():
  own = made_up.study()
  contrast = studies.Contrast(
    name="x",
    claim="x",
    treated="hire",
    control="conventional",
    measure="accuracy",
    unit="of accuracy",
    alternative="greater",
    smallest_effect=0.01,
  )
  few = dataclasses.replace(contrast, modalities=(("image",),))
  question = dataclasses.replace(
    own.questions[made_up.QUESTION], contrasts=(contrast, few)
  )
  networks = made_up.networks(own, arms=("hire", "conventional"))
  compared = contrasts.compare(own, question, network_numbers.grouped(networks))
  cells = [
    [each.cell.inputs for each in compared if each.contrast is asked]
    for asked in (contrast, few)
  ]
  assert sorted(cells[0]) == ["events", "image", "image+events"]
  assert cells[1] == ["image"]


def test_a_data_set_beside_that_there_is_not_is_named():
  study = made_up.study()
  question = study.questions[made_up.QUESTION]
  part = Part(arms={"hire": 1}, modalities=(("image",),))
  for beside, match in (
    ({"moons": part}, "data must be among .*'moons'"),
    (
      {"svhn": dataclasses.replace(part, arms={"nobody": 1})},
      "arms must be among .*'nobody'",
    ),
  ):
    asked = dataclasses.replace(question, beside=beside)
    wrong = dataclasses.replace(study, questions={made_up.QUESTION: asked})
    with pytest.raises(UsageError, match=match):
      studies.members(wrong, made_up.QUESTION)
