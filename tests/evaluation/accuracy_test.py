"""One call to a number, on a network whose robustness is known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, evaluation
from snnjax.attacks import candidates
from snnjax.intervals import wilson

# Class 1 wins above 0.5; a radius of 0.2 reaches it from above 0.3.
INPUTS = np.linspace(0.05, 0.95, 19, dtype=np.float32).reshape(-1, 1)
LABELS = np.zeros(19, int)
RIGHT, ROBUST = 9, 5  # 0.05 to 0.45, and to 0.25
LINF = attacks.linf(0.2)


def line(inputs):
  return jnp.concatenate([jnp.zeros_like(inputs), inputs - 0.475], 1)


PGD = attacks.pgd(line, LINF, steps=4)


def accuracy(attack=PGD, inputs=INPUTS, **more):
  return evaluation.robust_accuracy(line, attack, inputs, LABELS, **more)


def test_the_number_its_interval_and_its_line():
  found = accuracy(microbatch=8)
  assert found.robust == wilson(ROBUST, 19)
  assert found.clean == wilson(RIGHT, 19)
  assert found.examples == 19
  assert float(found) == ROBUST / 19
  assert str(found) == (
    "robust 26.3 % [11.8, 48.8], clean 47.4 % [27.3, 68.3], 19 examples"
  )
  # Neither the size of the batches nor a second judge changes it.
  assert accuracy(microbatch=19, threat=LINF) == found
  narrow = accuracy(microbatch=8, confidence=0.5).robust
  assert narrow.low > found.robust.low
  # A network with a key, and a list of labels.
  keyed = evaluation.robust_accuracy(
    lambda key, x: line(x),
    PGD,
    INPUTS,
    LABELS.tolist(),
    key=jax.random.key(1),
    microbatch=8,
  )
  assert keyed == found


def test_the_same_attack_is_compiled_once():
  traces = []

  def attack(key, inputs, labels):
    traces.append(inputs.shape)
    return PGD(key, inputs, labels)

  for rows in (slice(0, 8), slice(8, 19)):
    evaluation.robust_accuracy(
      line, attack, INPUTS[rows], LABELS[rows], microbatch=8
    )
  assert traces.count((8, 1)) == 2  # once on all eight, once to compile


def test_two_modalities():
  split = attacks.per_modality({"a": attacks.linf(0.2), "b": attacks.linf(0.0)})
  found = evaluation.robust_accuracy(
    lambda x: line(x["a"] + 0 * x["b"]),
    attacks.fgsm(lambda x: line(x["a"] + 0 * x["b"]), split),
    {"a": INPUTS, "b": INPUTS},
    LABELS,
    microbatch=19,
  )
  assert found.robust == wilson(ROBUST, 19)


def test_inputs_outside_the_box_are_no_defence():
  """Standardised outside the network: every success would be outside."""
  standard = (INPUTS - 0.5) / 0.25
  with pytest.raises(ValueError, match=r"inputs must lie in the box.*inside"):
    accuracy(inputs=standard)

  # Where the attack cannot raise, it says that it could not judge.
  def traced(key, inputs, labels):
    return jax.jit(lambda x: PGD(key, x, labels))(inputs + 2)

  with pytest.raises(evaluation.UnjudgedError, match="cannot be judged"):
    accuracy(traced, microbatch=19)


def far(key, inputs, labels):
  """An attack of one's own that leaves its ball."""
  del key
  moved = jnp.clip(inputs + 0.9, 0, 1)
  wrong = jnp.argmax(line(moved), 1) != labels
  return candidates.candidate(moved, jnp.zeros(len(labels)), wrong)


def test_a_second_judge_refuses_what_left_the_ball():
  assert accuracy(far).robust == wilson(0, 19)
  with pytest.raises(evaluation.UnjudgedError, match=r"9 of 9 \(100%\) do not"):
    accuracy(far, threat=LINF)


@pytest.mark.parametrize(
  ("changed", "says"),
  [
    ({"attack": attacks.fgsm}, "attack must be a function of.*the function f"),
    ({"attack": LINF}, "attack must be a function of .*got a Threat"),
    ({"threat": 0.2}, "threat must be a threat; got 0.2"),
    ({"inputs": INPUTS[:3]}, r"labels must have one class per example, \(3,\)"),
    ({"key": 0}, "key must be a typed"),
    ({"microbatch": 0}, "microbatch must be a whole number"),
    ({"confidence": 1.0}, "confidence must"),
  ],
)
def test_wrong_arguments_are_told(changed, says):
  with pytest.raises(ValueError, match=says):
    accuracy(**changed)
  with pytest.raises(ValueError, match="logits_fn must be a function"):
    evaluation.robust_accuracy(PGD, PGD, INPUTS, LABELS)
