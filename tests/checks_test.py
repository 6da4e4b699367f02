"""Every alarm fires on its defect, passes without it, and tells which."""

import inspect

import numpy as np
import pytest

from snnjax import checks
from snnjax.checks import (
  CHECKS,
  Measurements,
  Severity,
  State,
  check,
  coverage,
  criteria,
  read_evaluation,
)
from snnjax.evaluation import Clean, Evaluation, Outcome

NAN = float("nan")
MANY = 1000


def robust(*counts):
  """Booleans: of so many examples true, then of so many false, and so on."""
  return np.repeat(np.arange(len(counts)) % 2 == 0, counts)


HALF = robust(500, 500)
ALL, NONE = robust(MANY), robust(0, MANY)
GOOD, EMPTY = np.repeat([0.1, 0.9], [4, 20]), np.zeros(0)

# (function, numbers that are bad enough, numbers that are not).
CASES = [
  (criteria.one_step_beats_many, (HALF, robust(530, 470)), (HALF, HALF)),
  (criteria.one_step_beats_many, (NONE, ALL), (ALL, NONE)),
  (
    criteria.steps_not_converged,
    (HALF, robust(480, 520)),
    (HALF, robust(498, 502)),
  ),
  (
    criteria.accuracy_rises,
    ([0.3, 0.1, 0.2], [robust(450, 550), robust(600, 400), robust(400, 600)]),
    ([0.3, 0.1, 0.2], [robust(400, 600), robust(600, 400), robust(400, 600)]),
  ),
  (
    criteria.survives_any_epsilon,
    (robust(180, 820), robust(100, 900)),
    (robust(80, 920), robust(100, 900)),
  ),
  (
    criteria.gradient_free_beats_white_box,
    (robust(300, 700), {"square": robust(400, 600), "x": robust(280, 720)}),
    (robust(300, 700), {"square": robust(400, 600), "x": robust(299, 701)}),
  ),
  (
    criteria.gradients_vanish,
    ({"clean": NONE, "ball": robust(20, 980)},),
    ({"clean": robust(3, 997), "ball": robust(2, 998)},),
  ),
  (
    criteria.own_rule_is_weak,
    (robust(300, 700), robust(230, 770), 4),
    (robust(300, 700), robust(270, 730), 4),
  ),
  (
    criteria.gradient_points_elsewhere,
    ({"clean_margin": GOOD, "ball_margin": np.repeat([0.1, 0.9], [20, 4])},),
    ({"clean_margin": GOOD, "ball_margin": GOOD, "attack_margin": EMPTY},),
  ),
  (
    criteria.too_few_draws,
    (robust(300, 700), robust(330, 670)),
    (robust(300, 700), robust(300, 700)),
  ),
  (criteria.forwards_differ, (1, 4), (0, 4)),
  (criteria.statistics_moved, (1e-7,), (0.0,)),
  (criteria.products_rounded, (11,), (24,)),
  (criteria.outputs_invalid, (1, 0, 4), (0, 0, 4)),
  (criteria.outputs_invalid, (0, 1, 4), (0, 0, 4)),
  (criteria.too_few_restarts, (HALF, robust(480, 520)), (HALF, HALF)),
  (
    criteria.losses_disagree,
    ({"ce": HALF, "dlr": robust(480, 520)}, HALF),
    ({"ce": HALF, "dlr": robust(480, 520)}, robust(480, 520)),
  ),
  (criteria.batch_matters, (1, 4), (0, 4)),
  (criteria.tuned_on_the_reported, ({1, 2}, {2, 3}), ({1, 2}, {3, 4})),
  (criteria.claims_disagree, (2, 4), (0, 4)),
  (coverage.classes_missing, ({"a": 1, "b": 0}, 3), ({"a": 0, "b": 0}, 3)),
  (coverage.one_class_alone, ({"a": 2, "b": 0}, 3), ({"a": 1, "b": 0}, 3)),
]


@pytest.mark.parametrize(
  ("decide", "bad", "good"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_fires_on_its_defect_only(decide, bad, good):
  fired, passed = decide(*bad), decide(*good)
  assert isinstance(fired, checks.Finding)
  assert fired.fired
  assert isinstance(passed, checks.Finding), passed
  assert not passed.fired
  assert all(np.isscalar(value) for value in fired.evidence.values())
  assert fired.evidence


# The same defects or none, on too few examples to tell.
FEW = [
  # 81 against 88 % of 16 examples: one example.
  (criteria.one_step_beats_many, (robust(13, 3), robust(14, 2))),
  (criteria.one_step_beats_many, (robust(14, 2), robust(14, 2))),
  (criteria.steps_not_converged, (robust(14, 2), robust(13, 3))),
  (criteria.accuracy_rises, ([0.1, 0.2], [robust(13, 3), robust(14, 2)])),
  (criteria.survives_any_epsilon, (robust(4, 12), robust(3, 13))),
  (
    criteria.gradient_free_beats_white_box,
    (robust(14, 2), {"square": robust(13, 3)}),
  ),
  (criteria.gradients_vanish, ({"clean": robust(1, 31)},)),
  (criteria.own_rule_is_weak, (robust(14, 2), robust(12, 4), 4)),
  (
    criteria.gradient_points_elsewhere,
    ({"clean_margin": np.repeat([0.1, 0.9], [9, 7])},),
  ),
  # 18 of 24 are too many for one look, and may be chance in one of six.
  (
    criteria.gradient_points_elsewhere,
    (
      {
        **dict.fromkeys(("a", "b", "c", "d", "e"), GOOD),
        "f": np.repeat([0.1, 0.9], [18, 6]),
      },
    ),
  ),
  (criteria.too_few_draws, (robust(14, 2), robust(13, 3))),
  (criteria.too_few_draws, (robust(13, 3), robust(14, 2))),
  # One of 32, of an honest network: more than a point, and chance.
  (criteria.too_few_restarts, (robust(20, 12), robust(19, 13))),
  (
    criteria.losses_disagree,
    ({"ce": robust(14, 2), "dlr": robust(13, 3)}, robust(14, 2)),
  ),
]


@pytest.mark.parametrize(
  ("decide", "numbers"), FEW, ids=[case[0].__name__ for case in FEW]
)
def test_few_examples_neither_fire_nor_pass(decide, numbers):
  found = decide(*numbers)
  assert isinstance(found, checks.Undecided), found
  assert "examples cannot tell; about" in found.reason
  assert found.evidence


def test_the_examples_that_would_decide_are_said_and_do():
  one_of = criteria.too_few_restarts(robust(32), robust(31, 1))
  assert one_of.evidence["newly_broken_fraction"] == 1 / 32
  assert one_of.evidence["newly_broken_fraction_low"] < 0.01
  none_of = criteria.too_few_restarts(robust(32), robust(32))
  # (1 - 0.01)^n = 0.025 at n = 367.04: Clopper and Pearson's upper end.
  assert none_of.reason.startswith("32 examples cannot tell; about 370 would")
  told = criteria.too_few_restarts(robust(370), robust(370))
  assert told == checks.Finding(False, told.evidence)
  assert told.evidence["newly_broken_fraction_high"] <= 0.01
  assert isinstance(
    criteria.too_few_restarts(robust(366), robust(366)), checks.Undecided
  )


def test_a_difference_at_the_limit_is_open_with_any_number():
  found = criteria.own_rule_is_weak(ALL, robust(950, 50), 4)
  assert isinstance(found, checks.Undecided)
  assert "too close to the limit for 1000 examples" in found.reason


@pytest.mark.parametrize(
  ("decide", "numbers"),
  [
    (criteria.accuracy_rises, ([0.1, 0.1], [HALF, HALF])),
    (criteria.own_rule_is_weak, (ALL, NONE, 3)),
    (criteria.losses_disagree, ({"ce": NONE}, ALL)),
    (criteria.gradient_free_beats_white_box, (HALF, {})),
    (criteria.gradient_points_elsewhere, ({"clean_margin": EMPTY},)),
    (criteria.gradient_points_elsewhere, ({},)),
    (criteria.outputs_invalid, (0, 0, 0)),
    (criteria.claims_disagree, (0, 0)),
    (criteria.batch_matters, (0, 0)),
    (criteria.forwards_differ, (0, 0)),
    (criteria.gradients_vanish, ({"clean": robust()},)),
    (criteria.gradients_vanish, ({},)),
    (criteria.too_few_restarts, (robust(), robust())),
    (criteria.too_few_draws, (robust(), robust())),
    (criteria.tuned_on_the_reported, ({1}, ())),
    (coverage.classes_missing, ({}, 3)),
    (coverage.one_class_alone, ({}, 3)),
  ],
)
def test_nothing_to_look_at_decides_nothing(decide, numbers):
  unmeasured = decide(*numbers)
  assert isinstance(unmeasured, checks.Unmeasured)
  assert unmeasured.reason


def test_every_check_is_in_the_table_and_tested():
  public = {
    function
    for module in (criteria, coverage)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
  }
  assert {line.decide for line in CHECKS} == public
  assert {case[0] for case in CASES} == public


def test_the_measurements_are_the_parameters_of_the_checks():
  wanted = {
    name
    for line in CHECKS
    for name in inspect.signature(line.decide).parameters
  }
  assert wanted == set(Measurements._fields) - {"reasons"}


def test_nothing_measured_means_nothing_checked():
  alarms = check(Measurements(), "a network")
  assert len(alarms) == len(CHECKS)
  assert all(alarm.state is State.NOT_CHECKED for alarm in alarms)
  assert all(alarm.missing for alarm in alarms)
  assert {alarm.subject for alarm in alarms} == {"a network"}
  assert not any(alarm.fired for alarm in alarms)


def test_the_gravest_comes_first_and_silence_last():
  alarms = check(
    Measurements(
      one_step_robust=NONE,
      many_steps_robust=HALF,
      outside=3,
      non_finite=0,
      outputs=4,
      differing_forwards=0,
      forwards=4,
      differing_alone=2,
      attacked_alone=4,
      zero_gradient={"clean": robust(1, 31)},
    )
  )
  fired = [alarm for alarm in alarms if alarm.fired]
  assert [alarm.severity for alarm in alarms[:3]] == [
    Severity.FATAL,
    Severity.SERIOUS,
    Severity.SERIOUS,
  ]
  assert len(fired) == 3
  assert alarms[0].evidence == {"outside": 3, "non_finite": 0, "outputs": 4}
  assert alarms[-1].state is State.PASSED
  assert alarms[3].state is State.UNDECIDED
  assert alarms[4].state is State.NOT_CHECKED


def test_too_few_rules_is_not_checked_rather_than_passed():
  alarms = check(
    Measurements(own_rule_robust=ALL, all_rules_robust=NONE, rules=2)
  )
  (alarm,) = [a for a in alarms if "rule alone" in a.name]
  assert alarm.state is State.NOT_CHECKED
  assert alarm.missing == ()
  assert "fewer than 4" in alarm.reason


def test_an_evaluation_measures_what_it_can():
  yes, no = np.ones(4, bool), np.zeros(4, bool)
  clean = Clean(
    prediction=np.zeros(4, int),
    loss=np.zeros(4),
    correct=yes,
    finite=yes,
    repeatable=np.array([True, True, False, True]),
  )
  outcome = Outcome(
    prediction=np.array([1, 1, 0, 0]),
    loss=np.ones(4),
    success=np.array([True, False, False, False]),
    claimed=np.array([True, True, False, True]),
    distance=np.ones(4),
    contained=np.array([True, False, True, True]),
    finite=np.array([True, True, True, False]),
    zero_gradient=np.array([0.0, 0.0, 1.0, np.nan]),
    attempted=yes,
  )
  quiet = outcome._replace(
    success=no,
    claimed=no,
    contained=yes,
    finite=yes,
    zero_gradient=np.full(4, np.nan),
  )
  got = read_evaluation(
    Evaluation(
      np.arange(4), np.zeros(4, int), clean, {"a": outcome, "b": quiet}
    )
  )
  # An output outside is no defence: there is no accuracy to report.
  assert got.reported_robust is None
  assert (got.differing_forwards, got.forwards) == (1, 4)
  assert (got.outside, got.non_finite, got.outputs) == (1, 1, 8)
  assert got.disagreeing_claims == 1
  assert list(got.zero_gradient) == ["ends"]
  assert got.zero_gradient["ends"].tolist() == [False, False, True]
  assert got.one_step_robust is None


def test_an_evaluation_without_attacks_passes_nothing():
  yes = np.ones(4, bool)
  clean = Clean(np.zeros(4, int), np.zeros(4), yes, yes, yes)
  bare = Evaluation(np.arange(4), np.zeros(4, int), clean, {})
  alarms = check(read_evaluation(bare))
  passed = {a.name for a in alarms if a.state is State.PASSED}
  assert passed == {"Two forward passes differ"}
  assert not any(alarm.fired for alarm in alarms)
  assert checks.verdict(alarms).tone is checks.Tone.OPEN


def test_a_new_alarm_is_one_function_and_one_line():
  def too_good(rules):
    return checks.Finding(rules > 9, {"rules": rules})

  line = checks.Check("Too good", too_good, Severity.CAUTION, "why", "what")
  (alarm,) = check(Measurements(rules=10), checks=(line,))
  assert alarm.fired
  assert (alarm.cause, alarm.remedy) == ("why", "what")


def test_what_is_not_a_number_never_passes():
  assert criteria.statistics_moved(NAN).fired
  lost = criteria.gradient_points_elsewhere(
    {"clean_margin": np.repeat([NAN, 0.9], [20, 4])}
  )
  assert lost.fired


@pytest.mark.parametrize("given", [0.5, [0.5, NAN], [[True]], np.zeros(3)])
def test_shares_are_not_taken_for_examples(given):
  with pytest.raises(ValueError, match="must be booleans"):
    criteria.too_few_restarts(given, given)


def test_lengths_must_match():
  with pytest.raises(ValueError, match="same length"):
    criteria.accuracy_rises([0.1], [HALF, HALF])
  with pytest.raises(ValueError, match="must be of the same examples"):
    criteria.too_few_restarts(robust(3), robust(4))


def test_what_cannot_apply_says_why():
  alarms = check(
    Measurements(
      ten_draws_robust=HALF,
      reasons={"twenty_draws_robust": "nothing is random"},
    ),
    examples=7,
  )
  (draws,) = [alarm for alarm in alarms if alarm.name == "Too few draws"]
  assert draws.state is State.NOT_APPLICABLE
  assert draws.reason == "nothing is random"
  assert alarms[-1] == draws
  assert {alarm.examples for alarm in alarms} == {7}


def alone(differing):
  return {"differing_alone": differing, "attacked_alone": 3}


@pytest.mark.parametrize(
  ("first", "second", "state", "examples"),
  [
    (alone(0), alone(2), State.FIRED, 2),
    (alone(1), alone(2), State.FIRED, 1),
    (alone(0), alone(0), State.PASSED, 1),
    ({}, alone(0), State.PASSED, 2),
    (
      {},
      {"reasons": {"differing_alone": "one example"}},
      State.NOT_APPLICABLE,
      2,
    ),
    ({}, {}, State.NOT_CHECKED, 1),
  ],
)
def test_of_two_alarms_the_graver_counts(first, second, state, examples):
  both = [
    check(Measurements(**values), "net", examples=number)
    for number, values in enumerate((first, second), 1)
  ]
  alarms = checks.keep_graver(*both)
  assert len(alarms) == len(CHECKS)
  (alarm,) = [a for a in alarms if a.name == "The batch matters"]
  assert (alarm.state, alarm.examples) == (state, examples)
  order = list(State)
  places = [order.index(a.state) for a in alarms]
  assert places == sorted(places)


@pytest.mark.parametrize(
  ("few", "state"),
  [
    ({"noise": robust(8)}, State.PASSED),
    ({"square": robust(8)}, State.UNDECIDED),
  ],
)
def test_what_many_examples_pass_answers_only_what_they_looked_at(few, state):
  whole, part = (
    check(
      Measurements(white_box_robust=robust(n), gradient_free_robust=attacks)
    )
    for n, attacks in ((MANY, {"noise": ALL}), (8, few))
  )
  for pair in ((whole, part), (part, whole)):
    name = "A gradient-free attack beats the white box"
    (alarm,) = [a for a in checks.keep_graver(*pair) if a.name == name]
    assert alarm.state is state


ONE = check(Measurements())[0]
STATES = {
  "": (checks.Tone.OPEN, "Nothing was checked."),
  "n": (checks.Tone.OPEN, "Nothing was checked."),
  "a": (checks.Tone.OPEN, "Nothing was checked."),
  "na": (checks.Tone.OPEN, "No alarm fired, but 1 check did not come"),
  "pn": (checks.Tone.OPEN, "No alarm fired, but 1 check did not come"),
  "ppu": (checks.Tone.OPEN, "No alarm fired, but 1 check did not come"),
  "uun": (checks.Tone.OPEN, "No alarm fired, but 3 checks did not come"),
  "pa": (checks.Tone.CLEAR, "No alarm fired."),
  "fpun": (checks.Tone.FIRED, "1 alarm fired."),
}


@pytest.mark.parametrize("word", STATES)
def test_unmeasured_is_never_green(word):
  letters = dict(zip("funpa", State, strict=True))
  alarms = [ONE._replace(state=letters[letter]) for letter in word]
  said = checks.verdict(alarms)
  tone, sentence = STATES[word]
  assert said.tone is tone
  assert said.sentence.startswith(sentence)
  assert (said.sentence == "No alarm fired.") == (tone is checks.Tone.CLEAR)
  if word == "fpun":
    assert said.counts == (
      "Of 4 checks 1 fired, 1 passed, 1 could not be decided with so few "
      "examples, 1 could not be measured and 0 did not apply."
    )
