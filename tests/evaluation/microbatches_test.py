"""An evaluation's rows depend on the example, the seed and nothing else."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks as attacking
from snnjax import evaluation, prng
from snnjax.attacks.gradient import fgsm_pgd
from snnjax.attacks.threats import modalities
from snnjax.attacks.threats.threat import linf
from snnjax.evaluation import CLEAN, Trial, collect, evaluate, stream, summarize

EPSILON = 0.06
KEY = jax.random.key(3)
WEIGHTS = jax.random.normal(jax.random.key(7), (6, 3))


class Ball:
  """The l-infinity ball within the unit box, by its definition."""

  def __init__(self, epsilon):
    self.epsilon = epsilon

  def contains(self, candidate, origin):
    box = (candidate >= 0) & (candidate <= 1)
    return jnp.all(box, axis=1) & (
      self.distance(candidate, origin) <= self.epsilon + 1e-6
    )

  def distance(self, candidate, origin):
    return jnp.max(jnp.abs(candidate - origin), axis=1)


def classify(keys, inputs):
  del keys
  return jnp.tanh((inputs - 0.5) @ WEIGHTS)


def outcome(inputs, labels, logits_fn=classify):
  wrong = jnp.argmax(logits_fn(None, inputs), axis=1) != labels
  return attacking.candidate(inputs, jnp.zeros(labels.shape), wrong)


def noise(epsilon):
  def attack(keys, inputs, labels):
    delta = jax.vmap(
      lambda k: jax.random.uniform(k, (6,), minval=-epsilon, maxval=epsilon)
    )(prng.example_keys(keys, len(labels)))
    return outcome(jnp.clip(inputs + delta, 0, 1), labels)

  return Trial(attack, Ball(epsilon))


def loss_gradient(keys, inputs, labels):
  def total(x):
    log_p = jax.nn.log_softmax(classify(keys, x))
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1).sum()

  return jax.grad(total)(inputs)


def fgsm(epsilon):
  def attack(keys, inputs, labels):
    step = epsilon * jnp.sign(loss_gradient(keys, inputs, labels))
    return outcome(jnp.clip(inputs + step, 0, 1), labels)

  return Trial(attack, Ball(epsilon), loss_gradient)


CASES = {
  "noise": jax.tree_util.Partial(noise, EPSILON),
  "fgsm": jax.tree_util.Partial(fgsm, EPSILON),
}


def wrong_from_the_start():
  """43 examples, of which a linear network errs on the first five."""
  rng = np.random.default_rng(0)
  inputs = rng.uniform(0.2, 0.8, (43, 6)).astype(np.float32)
  labels = np.array(jnp.argmax(classify(None, inputs), axis=1))
  labels[:5] = (labels[:5] + 1) % 3
  return inputs, labels


@pytest.fixture(scope="module")
def examples():
  return wrong_from_the_start()


def run(inputs, labels, cases=CASES, **options):
  options = {"key": KEY, "microbatch": 16, **options}
  return evaluate(cases, classify, inputs, labels, **options)


def assert_same(got, want, rows=slice(None)):
  for one, two in itertools.zip_longest(
    (got.clean, *got.attacks.values()), (want.clean, *want.attacks.values())
  ):
    for name, a, b in zip(one._fields, one, two, strict=True):
      np.testing.assert_array_equal(a, b[rows], err_msg=name)


def test_rows_agree_with_a_direct_computation(examples):
  inputs, labels = examples
  got = run(inputs, labels, survivors=False)
  result = fgsm(EPSILON).attack(None, jnp.asarray(inputs), jnp.asarray(labels))
  np.testing.assert_array_equal(
    got.attacks["fgsm"].prediction, np.argmax(classify(None, result.inputs), 1)
  )
  np.testing.assert_allclose(
    got.attacks["fgsm"].distance,
    np.abs(result.inputs - inputs).max(1),
    atol=1e-7,
  )
  assert got.clean.correct.sum() == 38
  assert got.attacks["fgsm"].contained.all()
  assert 0 < got.attacks["fgsm"].success.sum() < 43


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("survivors", [True, False])
def test_the_batch_size_of_the_caller_does_not_matter(
  examples, batch, survivors
):
  inputs, labels = examples
  want = run(inputs, labels, survivors=survivors)
  chunks = []
  for start in range(0, len(labels), batch):
    part = slice(start, start + batch)
    chunks += stream(
      CASES,
      classify,
      inputs[part],
      labels[part],
      key=KEY,
      indices=np.arange(len(labels))[part],
      microbatch=16,
      survivors=survivors,
    )
  got = collect(np.arange(len(labels)), labels, tuple(CASES), chunks)
  assert_same(got, want)


def test_a_permutation_permutes_the_rows(examples):
  inputs, labels = examples
  order = np.random.default_rng(1).permutation(len(labels))
  got = run(inputs[order], labels[order], indices=order)
  assert_same(got, run(inputs, labels), order)


def test_the_key_and_the_example_decide_the_noise(examples):
  inputs, labels = examples
  inputs, labels = inputs[:8], labels[:8]
  loss = run(inputs, labels, survivors=False).attacks["noise"].loss
  moved = run(inputs, labels, survivors=False, indices=np.arange(8) + 50)
  other = run(inputs, labels, survivors=False, key=jax.random.key(4))
  assert not np.any(moved.attacks["noise"].loss == loss)
  assert not np.any(other.attacks["noise"].loss == loss)


def test_masked_rows_are_left_out(examples):
  inputs, labels = examples
  mask = np.arange(len(labels)) % 3 != 0
  got = run(inputs, labels, mask=mask)
  assert_same(got, run(inputs, labels), mask)


def test_survivors_are_repacked_and_the_worst_case_stays(examples):
  inputs, labels = examples
  sizes = {}
  for chunk in stream(CASES, classify, inputs, labels, key=KEY, microbatch=4):
    sizes.setdefault(chunk.stage, []).append(len(chunk.indices))
  short, full = run(inputs, labels), run(inputs, labels, survivors=False)
  robust = evaluation.worst(full).robust
  np.testing.assert_array_equal(evaluation.worst(short).robust, robust)
  broken_by_noise = full.attacks["noise"].success & full.clean.correct
  assert 0 < broken_by_noise.sum() < 19
  assert sum(sizes["noise"]) == 38
  assert sum(sizes["fgsm"]) == 38 - broken_by_noise.sum()
  assert all(size == 4 for size in sizes["fgsm"][:-1])
  expected = full.clean.correct & ~broken_by_noise
  np.testing.assert_array_equal(short.attacks["fgsm"].attempted, expected)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_resumed_run_recomputes_nothing_and_agrees(examples, stop):
  inputs, labels = examples
  arguments = (CASES, classify, inputs, labels)
  options = {"key": KEY, "microbatch": 16}
  saved = list(itertools.islice(stream(*arguments, **options), stop))
  new = list(stream(*arguments, **options, finished=saved))
  done = {(c.stage, i) for c in saved for i in c.indices.tolist()}
  assert not done & {(c.stage, i) for c in new for i in c.indices.tolist()}
  got = evaluate(*arguments, **options, finished=saved)
  assert_same(got, run(inputs, labels))


def test_a_sweep_compiles_once(examples):
  inputs, labels = examples
  traces = []

  def build(epsilon):
    traces.append(epsilon)
    return fgsm(epsilon)

  accuracies = []
  for epsilon in (0.0, 0.02, 0.06):
    cases = {"fgsm": jax.tree_util.Partial(build, epsilon)}
    accuracies.append(summarize(run(inputs, labels, cases)).robust.estimate)
  assert len(traces) == 1
  assert accuracies[0] == 38 / 43
  assert accuracies[0] > accuracies[1] > accuracies[2]


def test_outputs_that_cheat_are_refused_and_no_defence(examples):
  inputs, labels = examples

  def outside(keys, x, y):
    del keys
    return outcome(x - 2 * EPSILON * jnp.sign(WEIGHTS[:, y].T), y)

  def broken(keys, x, y):
    del keys
    return attacking.candidate(jnp.full_like(x, jnp.nan), y * 0.0, y >= 0)

  cases = {
    "outside": lambda: Trial(outside, linf(EPSILON)),
    "broken": lambda: Trial(broken, Ball(EPSILON)),
  }
  got = run(inputs, labels, cases, survivors=False)
  assert not got.attacks["outside"].contained.any()
  assert not got.attacks["broken"].finite.any()
  assert np.sum(got.attacks["outside"].prediction != labels) > 30
  whole = r"'outside'.*box \(0, 1\), radius 0.06\); 43 of 43 \(100%\)"
  for judge in (summarize, evaluation.worst):
    with pytest.raises(evaluation.UnjudgedError, match=whole):
      judge(got)
    with pytest.raises(evaluation.UnjudgedError, match=r"'broken'.*43 of 43"):
      judge(got._replace(attacks={"broken": got.attacks["broken"]}))


def test_a_random_network_and_a_zero_gradient_are_noticed(examples):
  inputs, labels = examples

  def unsure(keys, x):
    jitter = jax.vmap(lambda k: jax.random.normal(k, (3,)))(keys)
    return classify(None, x) + 1e-3 * jitter

  def zero():
    case = fgsm(EPSILON)
    return case._replace(gradient=lambda keys, x, y: jnp.zeros_like(x))

  key = jax.random.key(0)
  got = evaluate({"zero": zero}, unsure, inputs, labels, key=key)
  summary = summarize(got)
  assert summary.unrepeatable == 43
  assert summary.attacks["zero"].zero_gradient == 1.0
  calm = summarize(run(inputs, labels))
  assert calm.unrepeatable == 0
  assert calm.attacks["fgsm"].zero_gradient == 0.0
  assert calm.attacks["noise"].zero_gradient is None


def test_a_gradient_that_is_zero_where_the_attack_ends_is_noticed(examples):
  """Clean inputs are whole sevenths, and only they have a gradient."""
  inputs, labels = examples
  inputs = jnp.round(inputs * 7) / 7

  def lattice():
    case = fgsm(EPSILON)

    def gradient(keys, x, y):
      beside = jnp.abs(x * 7 - jnp.round(x * 7))
      whole = jnp.all(beside < 1e-3, 1, keepdims=True)
      return jnp.where(whole, 1.0, jnp.zeros_like(x))

    return case._replace(gradient=gradient)

  key = jax.random.key(0)
  got = evaluate({"lattice": lattice}, classify, inputs, labels, key=key)
  outcome = got.attacks["lattice"]
  zero, claimed = (
    values[outcome.attempted]
    for values in (outcome.zero_gradient, outcome.claimed)
  )
  assert 0 < claimed.sum() < len(claimed)
  np.testing.assert_array_equal(zero == 1, ~claimed)


def test_a_network_that_returns_nan_is_wrong_not_right(examples):
  inputs, labels = examples
  got = evaluate(
    {},
    lambda keys, x: x @ WEIGHTS * jnp.nan,
    inputs,
    labels * 0,
    key=jax.random.key(0),
  )
  summary = summarize(got)
  assert summary.clean.estimate == 0.0
  assert summary.non_finite == 43


def test_two_modalities(examples):
  inputs, labels = examples
  pair = {"image": inputs[:, :3], "events": inputs[:, 3:]}

  class Joint(Ball):
    def distance(self, candidate, origin):
      return super().distance(joined(candidate), joined(origin))

    def contains(self, candidate, origin):
      near = self.distance(candidate, origin) <= self.epsilon + 1e-6
      return near & jnp.all(joined(candidate) >= 0, axis=1)

  def joined(tree):
    return jnp.concatenate([tree["image"], tree["events"]], axis=1)

  def build():
    def attack(keys, x, y):
      step = EPSILON * jnp.sign(loss_gradient(keys, joined(x), y))
      moved = jnp.clip(joined(x) + step, 0, 1)
      result = outcome(moved, y)
      halves = {"image": moved[:, :3], "events": moved[:, 3:]}
      return result._replace(inputs=halves)

    return Trial(attack, Joint(EPSILON))

  want = run(inputs, labels, {"fgsm": CASES["fgsm"]})
  got = evaluate(
    {"fgsm": build},
    lambda keys, x: classify(keys, joined(x)),
    pair,
    labels,
    key=KEY,
    microbatch=16,
  )
  np.testing.assert_array_equal(
    got.attacks["fgsm"].prediction, want.attacks["fgsm"].prediction
  )
  np.testing.assert_allclose(
    got.attacks["fgsm"].loss, want.attacks["fgsm"].loss, rtol=1e-5
  )


def test_the_worst_is_the_loudest_success():
  def rows(success, loss, prediction):
    count = len(success)
    return evaluation.Outcome(
      prediction=np.array(prediction),
      loss=np.array(loss),
      success=np.array(success),
      claimed=np.array(success),
      distance=np.ones(count),
      contained=np.ones(count, bool),
      finite=np.ones(count, bool),
      zero_gradient=np.full(count, np.nan),
      attempted=np.ones(count, bool),
    )

  yes = np.ones(4, bool)
  clean = evaluation.Clean(
    prediction=np.array([0, 0, 0, 1]),
    loss=np.array([0.1, 0.1, 0.1, 2.0]),
    correct=np.array([True, True, True, False]),
    finite=yes,
    repeatable=yes,
  )
  attacks = {
    "a": rows([True, False, False, True], [1.0, 0.5, 0.05, 9.0], [1, 0, 0, 2]),
    "b": rows([True, True, False, True], [2.0, 0.3, 0.04, 9.0], [2, 2, 0, 2]),
  }
  got = evaluation.worst(
    evaluation.Evaluation(np.arange(4), np.zeros(4, int), clean, attacks)
  )
  assert got.robust.tolist() == [False, False, True, False]
  assert got.attack.tolist() == [1, 1, -1, -1]
  assert got.prediction.tolist() == [2, 2, 0, 1]
  assert got.loss.tolist() == [2.0, 0.3, 0.1, 2.0]


def test_the_summary_counts_over_the_right_examples(examples):
  inputs, labels = examples
  full = summarize(run(inputs, labels, survivors=False))
  short = summarize(run(inputs, labels))
  both = full.robust.estimate * 43
  assert full.success.estimate == pytest.approx((38 - both) / 38)
  assert full.attacks["noise"].alone == full.attacks["noise"].remaining
  assert full.attacks["fgsm"].remaining == full.robust
  assert short.attacks["fgsm"].alone is None
  assert short.attacks["noise"].alone == full.attacks["noise"].alone
  assert short.robust == full.robust
  assert short.attacks["fgsm"].distance == pytest.approx(EPSILON, abs=1e-6)


def test_progress_counts_the_examples(examples):
  inputs, labels = examples
  calls = []
  run(inputs, labels, progress=lambda *call: calls.append(call))
  counts = (0, 16, 32, 43)
  assert calls[:4] == [(count, 43, CLEAN) for count in counts]
  assert calls[-1][0] == calls[-1][1]
  assert calls[-1][2] == "fgsm"


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"microbatch": 0}, "microbatch must be"),
    ({"labels": np.full(43, 3)}, "labels must be below"),
    ({"labels": np.full(43, -1)}, "labels must be integers"),
    ({"labels": np.zeros(42, int)}, r"labels must be \[43\]"),
    ({"indices": np.zeros(43, int)}, "indices must be unique"),
    ({"mask": np.ones(3, bool)}, r"mask must be \[43\]"),
    ({"cases": {CLEAN: lambda: fgsm(0.1)}}, "no attack may be called"),
    ({"key": jax.random.split(jax.random.key(0), 43)}, "key must be one"),
  ],
)
def test_bad_arguments_are_named(examples, options, message):
  inputs, labels = examples
  with pytest.raises(ValueError, match=message):
    run(**{"inputs": inputs, "labels": labels, **options})


def test_foreign_results_are_refused(examples):
  inputs, labels = examples
  chunks = list(stream(CASES, classify, inputs, labels, key=KEY))
  with pytest.raises(ValueError, match="unknown indices"):
    run(inputs[:9], labels[:9], finished=chunks)
  with pytest.raises(ValueError, match="finished chunks must come from"):
    list(stream({}, classify, *examples, key=KEY, finished=chunks))
  with pytest.raises(ValueError, match="0 of 43 examples of clean"):
    collect(np.arange(43), labels, tuple(CASES), chunks[1:])


def pgd(weights, epsilon):
  """Five steps of the package's own attack, on two modalities."""

  def logits_fn(keys, inputs):
    del keys
    joined = jnp.concatenate([inputs["image"], inputs["events"]], axis=1)
    return jnp.tanh((joined - 0.5) @ weights)

  threat = modalities.per_modality(
    {"image": linf(epsilon), "events": linf(epsilon / 2)}
  )
  step = {"image": epsilon / 4, "events": epsilon / 8}
  return Trial(fgsm_pgd.pgd(logits_fn, threat, step_size=step, steps=5), threat)


def test_the_package_s_own_attack_is_evaluated_the_same_in_any_batch(examples):
  inputs, labels = examples
  pair = {"image": inputs[:, :3], "events": inputs[:, 3:]}

  def judge(keys, x):
    return classify(keys, jnp.concatenate([x["image"], x["events"]], axis=1))

  def go(rows, epsilon):
    return evaluate(
      {"pgd": jax.tree_util.Partial(pgd, WEIGHTS, epsilon)},
      judge,
      jax.tree.map(lambda leaf: leaf[rows], pair),
      labels[rows],
      key=KEY,
      indices=rows,
      microbatch=16,
      survivors=False,
    )

  everyone = np.arange(43)
  whole = go(everyone, EPSILON)
  assert_same(go(everyone[::-1], EPSILON), whole, everyone[::-1])
  for start in range(0, 43, 7):
    rows = everyone[start : start + 7]
    assert_same(go(rows, EPSILON), whole, rows)
  summary = summarize(whole)
  assert summary.attacks["pgd"].outside == 0
  assert summary.attacks["pgd"].disagreeing == 0
  assert summary.attacks["pgd"].distance <= 1 + 1e-5
  assert summary.robust.estimate < summary.clean.estimate
  nothing = summarize(go(everyone, 0.0))
  assert nothing.robust == nothing.clean == summary.clean


def test_the_package_s_own_threats_judge(examples):
  inputs, labels = examples
  threat = linf(EPSILON)
  cases = {
    "near": lambda: fgsm(EPSILON)._replace(threat=threat),
    "far": lambda: fgsm(1.01 * EPSILON)._replace(threat=threat),
  }
  got = run(inputs, labels, cases, survivors=False)
  assert got.attacks["near"].contained.all()
  assert not got.attacks["far"].contained.any()
  with pytest.raises(evaluation.UnjudgedError, match="'far'"):
    summarize(got)
