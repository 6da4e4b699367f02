"""Every alarm fires on its defect and is silent without it."""

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
  findings,
  measured,
)
from snnjax.evaluation import Clean, Evaluation, Outcome

NAN = float("nan")

# (function, numbers that are just bad enough, numbers that are just not).
CASES = [
  (findings.one_step_beats_many, (0.50, 0.506), (0.50, 0.505)),
  (findings.one_step_beats_many, (0.0, 1.0), (0.9, 0.1)),
  (findings.steps_not_converged, (0.50, 0.489), (0.50, 0.49)),
  (findings.steps_not_converged, (0.50, 0.511), (0.50, 0.51)),
  (
    findings.accuracy_rises,
    ([0.3, 0.1, 0.2], [0.41, 0.6, 0.4]),
    ([0.3, 0.1, 0.2], [0.4, 0.6, 0.4]),
  ),
  (findings.survives_any_epsilon, (0.13, 0.1), (0.12, 0.1)),
  (
    findings.gradient_free_beats_white_box,
    (0.3, {"square": 0.4, "random": 0.29}),
    (0.3, {"square": 0.4, "random": 0.3}),
  ),
  (findings.gradients_vanish, (0.011,), (0.01,)),
  (findings.own_rule_is_weak, (0.30, 0.24, 4), (0.30, 0.25, 4)),
  (findings.gradient_points_elsewhere, (0.19,), (0.2,)),
  (findings.too_few_draws, (0.3, 0.311), (0.3, 0.31)),
  (findings.forwards_differ, (1,), (0,)),
  (findings.statistics_moved, (1e-7,), (0.0,)),
  (findings.outputs_invalid, (1, 0), (0, 0)),
  (findings.outputs_invalid, (0, 1), (0, 0)),
  (findings.too_few_restarts, (0.5, 0.489), (0.5, 0.49)),
  (
    findings.losses_disagree,
    ({"ce": 0.3, "dlr": 0.2}, 0.3),
    ({"ce": 0.3, "dlr": 0.2}, 0.2),
  ),
  (findings.batch_matters, (1,), (0,)),
  (findings.tuned_on_the_reported, ({1, 2}, {2, 3}), ({1, 2}, {3, 4})),
  (findings.claims_disagree, (2,), (0,)),
]


@pytest.mark.parametrize(
  ("decide", "bad", "good"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_fires_on_its_defect_only(decide, bad, good):
  assert decide(*bad).fired
  assert not decide(*good).fired
  assert all(np.isscalar(value) for value in decide(*bad).evidence.values())
  assert decide(*bad).evidence


@pytest.mark.parametrize(
  ("decide", "numbers"),
  [
    (findings.accuracy_rises, ([0.1, 0.1], [0.5, 0.6])),
    (findings.own_rule_is_weak, (0.9, 0.1, 3)),
    (findings.losses_disagree, ({"ce": 0.2}, 0.3)),
    (findings.gradient_free_beats_white_box, (0.3, {})),
  ],
)
def test_numbers_that_decide_nothing(decide, numbers):
  undecided = decide(*numbers)
  assert isinstance(undecided, checks.Undecided)
  assert undecided.reason


def test_every_check_is_in_the_table_and_tested():
  public = {
    function
    for name, function in inspect.getmembers(findings, inspect.isfunction)
    if function.__module__ == findings.__name__ and not name.startswith("_")
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
      one_step_accuracy=0.1,
      many_step_accuracy=0.5,
      outside=3,
      non_finite=0,
      differing_forwards=0,
      differing_alone=2,
    )
  )
  fired = [alarm for alarm in alarms if alarm.fired]
  assert [alarm.severity for alarm in alarms[:3]] == [
    Severity.FATAL,
    Severity.SERIOUS,
    Severity.SERIOUS,
  ]
  assert len(fired) == 3
  assert alarms[0].evidence == {"outside": 3, "non_finite": 0}
  assert alarms[-1].state is State.SILENT
  assert alarms[3].state is State.NOT_CHECKED


def test_too_few_rules_is_not_checked_rather_than_silent():
  alarms = check(
    Measurements(own_rule_accuracy=0.9, all_rules_accuracy=0.1, rules=2)
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
  got = measured(
    Evaluation(
      np.arange(4), np.zeros(4, int), clean, {"a": outcome, "b": quiet}
    )
  )
  # An output outside is no defence: there is no accuracy to report.
  assert got.accuracy is None
  assert got.differing_forwards == 1
  assert (got.outside, got.non_finite) == (1, 1)
  assert got.disagreeing_claims == 1
  assert got.zero_gradient_fraction == pytest.approx(1 / 3)
  assert got.one_step_accuracy is None


def test_a_new_alarm_is_one_function_and_one_line():
  def too_good(accuracy):
    return checks.Finding(accuracy > 0.99, {"accuracy": accuracy})

  line = checks.Check("Too good", too_good, Severity.CAUTION, "why", "what")
  (alarm,) = check(Measurements(accuracy=1.0), checks=(line,))
  assert alarm.fired
  assert (alarm.cause, alarm.remedy) == ("why", "what")


@pytest.mark.parametrize(
  ("decide", "numbers"),
  [
    (findings.one_step_beats_many, (0.5, NAN)),
    (findings.steps_not_converged, (NAN, 0.5)),
    (findings.survives_any_epsilon, (NAN, 0.1)),
    (findings.gradients_vanish, (NAN,)),
    (findings.own_rule_is_weak, (0.5, NAN, 4)),
    (findings.too_few_draws, (0.5, NAN)),
    (findings.too_few_restarts, (0.5, NAN)),
    (findings.gradient_points_elsewhere, (NAN,)),
    (findings.statistics_moved, (NAN,)),
  ],
)
def test_what_is_not_a_number_is_never_silent(decide, numbers):
  assert decide(*numbers).fired


def test_lengths_must_match():
  with pytest.raises(ValueError, match="same length"):
    findings.accuracy_rises([0.1], [0.1, 0.2])
  with pytest.raises(ValueError, match="must be numbers"):
    findings.accuracy_rises([0.1, 0.2], [0.1, NAN])


def test_what_cannot_apply_says_why():
  alarms = check(
    Measurements(
      ten_draws_accuracy=0.5,
      reasons={"twenty_draws_accuracy": "nothing is random"},
    ),
    examples=7,
  )
  (draws,) = [alarm for alarm in alarms if alarm.name == "Too few draws"]
  assert draws.state is State.NOT_APPLICABLE
  assert draws.reason == "nothing is random"
  assert alarms[-1] == draws
  assert {alarm.examples for alarm in alarms} == {7}


@pytest.mark.parametrize(
  ("first", "second", "state", "examples"),
  [
    ({"differing_alone": 0}, {"differing_alone": 2}, State.FIRED, 2),
    ({"differing_alone": 1}, {"differing_alone": 2}, State.FIRED, 1),
    ({"differing_alone": 0}, {"differing_alone": 0}, State.SILENT, 1),
    ({}, {"differing_alone": 0}, State.SILENT, 2),
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
  alarms = checks.graver(*both)
  assert len(alarms) == len(CHECKS)
  (alarm,) = [a for a in alarms if a.name == "The batch matters"]
  assert (alarm.state, alarm.examples) == (state, examples)
  order = [State.FIRED, State.NOT_CHECKED, State.SILENT, State.NOT_APPLICABLE]
  places = [order.index(a.state) for a in alarms]
  assert places == sorted(places)
