"""Each attack meets the survivors of those that its evaluation lists."""

import itertools

import jax
import numpy as np
import pytest

from snnjax.evaluation import evaluate, stream
from tests.evaluation.microbatches_test import (
  KEY,
  assert_same,
  classify,
  fgsm,
  noise,
  wrong_from_the_start,
)

NEAR, FAR = 0.03, 0.1
CASES = {
  f"{cell}/{name}": jax.tree_util.Partial(build, epsilon)
  for cell, epsilon in (("near", NEAR), ("far", FAR))
  for name, build in (("noise", noise), ("fgsm", fgsm), ("again", fgsm))
}
# In each cell, FGSM meets the survivors of noise, and the last attack those
# of both; noise meets all examples, and nothing knows of the other cell.
OF_CELL = {
  f"{cell}/{name}": [f"{cell}/{earlier}" for earlier in before]
  for cell in ("near", "far")
  for name, before in (("fgsm", ("noise",)), ("again", ("noise", "fgsm")))
}
OPTIONS = {"key": KEY, "microbatch": 8, "survivors": OF_CELL}


@pytest.fixture(scope="module")
def examples():
  return wrong_from_the_start()


@pytest.fixture(scope="module")
def everything(examples):
  return evaluate(
    CASES, classify, *examples, key=KEY, microbatch=8, survivors=False
  )


@pytest.fixture(scope="module")
def spared(examples):
  return evaluate(CASES, classify, *examples, **OPTIONS)


def test_victims_of_the_listed_attacks_alone_are_spared(everything, spared):
  correct = everything.clean.correct
  for cell in ("near", "far"):
    rows = {
      name: everything.attacks[f"{cell}/{name}"] for name in ("noise", "fgsm")
    }
    met = {
      name: spared.attacks[f"{cell}/{name}"].attempted
      for name in ("noise", "fgsm", "again")
    }
    assert met["noise"].all()  # those that are wrong from the start too
    left = correct & ~rows["noise"].success
    np.testing.assert_array_equal(met["fgsm"], left)
    left = left & ~rows["fgsm"].success
    np.testing.assert_array_equal(met["again"], left)
  near, far = (
    everything.attacks[f"{cell}/noise"].success for cell in ("near", "far")
  )
  # What falls in one cell only would show a mixing of cells.
  assert np.any(near != far)


def test_who_is_spared_does_not_change_who_is_met(everything, spared):
  for name, rows in spared.attacks.items():
    for field, values in rows._asdict().items():
      full = getattr(everything.attacks[name], field)
      np.testing.assert_array_equal(
        values[rows.attempted], full[rows.attempted], err_msg=f"{name} {field}"
      )


def test_survivors_fill_their_microbatches(examples, everything):
  sizes = {}
  for chunk in stream(CASES, classify, *examples, **OPTIONS):
    sizes.setdefault(chunk.stage, []).append(len(chunk.indices))
  for name in OF_CELL:
    assert all(size == 8 for size in sizes.get(name, [])[:-1])
  done = sum(map(sum, sizes.values()))
  assert done < len(everything.labels) * (1 + len(CASES))


@pytest.mark.parametrize("stop", [2, 7, 11, 15, 20])
def test_a_resumed_run_recomputes_nothing_and_agrees(examples, spared, stop):
  arguments = (CASES, classify, *examples)
  whole = list(stream(*arguments, **OPTIONS))
  assert stop < len(whole)
  saved = list(itertools.islice(stream(*arguments, **OPTIONS), stop))
  new = list(stream(*arguments, **OPTIONS, finished=saved))
  stages = [(chunk.stage, chunk.indices.tolist()) for chunk in saved + new]
  assert stages == [(chunk.stage, chunk.indices.tolist()) for chunk in whole]
  assert_same(evaluate(*arguments, **OPTIONS, finished=saved), spared)


@pytest.mark.parametrize(
  "wrong",
  [
    {"elsewhere/fgsm": []},
    {"near/noise": ["near/fgsm"]},
    {"near/fgsm": ["near/fgsm"]},
    {"near/fgsm": ["noise"]},
  ],
)
def test_survivors_of_what_comes_later_are_refused(examples, wrong):
  with pytest.raises(ValueError, match="survivors must name attacks among"):
    evaluate(CASES, classify, *examples, key=KEY, survivors=wrong)
