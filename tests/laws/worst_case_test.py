"""The worst case never rises with the ball, whatever the attacks found."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax import evaluation
from snnjax.evaluation import Clean, Evaluation, Outcome

ROWS = 6
# Two radii of each modality alone, of both, and a pair that crosses them.
RADII = {
  "image/0": {"image": 0.1, "events": 0.0},
  "image/1": {"image": 0.2, "events": 0.0},
  "events/0": {"image": 0.0, "events": 0.5},
  "events/1": {"image": 0.0, "events": 0.9},
  "both/0": {"image": 0.1, "events": 0.5},
  "both/1": {"image": 0.2, "events": 0.9},
  "crossed": {"image": 0.3, "events": 0.4},
}
HELD = {
  "both/0": {"image/0", "events/0", "both/0"},
  "both/1": set(RADII) - {"crossed"},
  "crossed": {"image/0", "image/1", "crossed"},
  "image/1": {"image/0", "image/1"},
}


def outcome(success):
  success = np.array(success)
  yes = np.ones(ROWS, bool)
  return Outcome(
    prediction=np.where(success, 1, 0),
    loss=success.astype(np.float32),
    success=success,
    claimed=success,
    distance=np.full(ROWS, 0.1, np.float32),
    contained=yes,
    finite=yes,
    zero_gradient=np.full(ROWS, np.nan, np.float32),
    attempted=yes,
  )


def evaluated(correct, successes):
  correct = np.array(correct)
  yes = np.ones(ROWS, bool)
  prediction = np.where(correct, 0, 1)
  clean = Clean(prediction, np.zeros(ROWS), correct, yes, yes)
  return Evaluation(
    np.arange(ROWS),
    np.zeros(ROWS, int),
    clean,
    {name: outcome(each) for name, each in successes.items()},
  )


flags = st.lists(st.booleans(), min_size=ROWS, max_size=ROWS)


@settings(max_examples=100, deadline=None)
@given(flags, st.fixed_dictionaries(dict.fromkeys(RADII, flags)))
def test_a_larger_ball_leaves_no_more(correct, successes):
  whole = evaluated(correct, successes)
  robust, share = {}, {}
  for name in RADII:
    there = evaluation.with_inner_balls(whole, [name], RADII)
    assert set(there.attacks) == HELD.get(name, set(there.attacks))
    robust[name] = evaluation.worst(there).robust
    share[name] = evaluation.summarize(there).robust.estimate
    alone = evaluation.with_inner_balls(whole, [name], {name: RADII[name]})
    assert set(alone.attacks) == {name}
    assert np.all(robust[name] <= evaluation.worst(alone).robust)
  for outer, inner in itertools.permutations(RADII, 2):
    if evaluation.contains_ball(RADII[outer], RADII[inner]):
      assert np.all(robust[outer] <= robust[inner])
      assert share[outer] <= share[inner]


def test_a_success_in_a_smaller_ball_counts_in_the_larger():
  lost = dict.fromkeys(RADII, [False] * ROWS) | {"image/0": [True] * ROWS}
  whole = evaluated([True] * ROWS, lost)
  left = {
    name: evaluation.summarize(
      evaluation.with_inner_balls(whole, [name], RADII)
    ).robust.estimate
    for name in RADII
  }
  assert left == {
    name: float(not radii["image"]) for name, radii in RADII.items()
  }


def test_balls_of_one_number_and_of_modalities():
  assert evaluation.contains_ball(0.2, 0.1)
  assert evaluation.contains_ball(0.1, 0.1)
  assert not evaluation.contains_ball(0.1, 0.2)
  for one, other in ((0.1, {"image": 0.1}), ({"image": 0.1}, {"events": 0.1})):
    with pytest.raises(ValueError, match="radii must be of the same modalit"):
      evaluation.contains_ball(one, other)


def test_no_attack_in_a_ball_is_not_robust():
  whole = evaluated([True] * ROWS, {"image/0": [False] * ROWS})
  there = evaluation.with_inner_balls(whole, [], RADII)
  assert not there.attacks
  assert np.isnan(evaluation.summarize(there).robust.estimate)
