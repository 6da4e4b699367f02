"""How many probes an attack spends on each example, counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, evaluation, losses
from tests import smooth_network

KEY = jax.random.key(0)
LABELS = jnp.zeros(4, int)
# Class 1 wins above 0.75: after 0, 1 and 3 steps of 0.1, and never.
INPUTS = jnp.array([[0.8], [0.7], [0.5], [0.1]])


def line(key, inputs):
  del key
  return jnp.stack([jnp.zeros(len(inputs)), inputs[:, 0] - 0.75], 1)


MARGIN = {"loss": losses.margin_loss}


def counted(attack):
  result = jax.jit(attack)(KEY, INPUTS, LABELS)
  assert result.iterations.dtype == jnp.int32
  return result.iterations.tolist()


def bim(steps=4, radius=0.4):
  threat = attacks.linf(radius)
  return attacks.bim(line, threat, step_size=0.1, steps=steps, **MARGIN)


def test_probes_up_to_the_first_success():
  assert counted(bim()) == [1, 2, 4, 5]
  # Going on to a larger loss after a success changes nothing.
  assert counted(bim(steps=6)) == [1, 2, 4, 7]


def test_starts_restarts_and_mixtures_add_up():
  nowhere = attacks.linf(0.0)
  pgd = attacks.pgd(line, nowhere, step_size=0.1, steps=3, restarts=2)
  # Two runs of the clean input, a start and three steps.
  assert counted(pgd) == [1, 10, 10, 10]
  assert counted(attacks.random_noise(line, nowhere, draws=6)) == [1, 7, 7, 7]
  assert counted(attacks.worst_of([bim(2), bim()])) == [1, 2, 3 + 4, 3 + 5]


def test_searches():
  nowhere = attacks.linf(0.0)
  assert counted(attacks.square(line, nowhere, queries=5)) == [1, 6, 6, 6]
  stages = attacks.shrinking_auto_pgd(line, attacks.l1(0.0), steps=9)
  early = 2 * (3 + 2)
  assert counted(stages) == [early + 1, *[early + 5] * 3]


def test_a_search_for_the_nearest_counts_all():
  threat = attacks.l2(0.1)
  attack = attacks.carlini_wagner(line, threat, steps=5, searches=2)
  whole = 1 + 2 * (5 + 1) + 1
  assert counted(attacks.as_attack(attack)) == [whole] * 4
  # The clean input and the projected one are tried beside.
  within = attacks.within(attacks.as_attack(attack), line, threat)
  assert counted(within) == [1, *[whole + 2] * 3]
  # DeepFool stops at its success; its result is looked at once more.
  deepfool = attacks.as_attack(attacks.deepfool(line, threat, steps=5))
  assert counted(deepfool) == [2, 3, 3, 3]


def test_queries_of_the_target_count_under_transfer():
  attack = attacks.transfer([bim(), bim(), bim()], line)
  assert counted(attack) == [1, 2, 2, 4]


@pytest.mark.parametrize("number", [1, 3])
def test_an_independent_count(number):
  """Every call of the network is noted as it is run."""
  calls = []
  inputs, labels = smooth_network.batch(4)
  inputs, labels = inputs[number : number + 1], labels[number : number + 1]

  def noted(key, points):
    logits = smooth_network.logits(key, points)
    wrong = jnp.argmax(logits, 1) != labels
    jax.debug.callback(lambda w: calls.append(bool(w[0])), wrong, ordered=True)
    return logits

  threat = attacks.linf(0.12)
  for attack in (
    attacks.pgd(noted, threat, step_size=0.03, steps=5, restarts=2),
    attacks.auto_pgd(noted, threat, steps=10),
    attacks.square(noted, threat, queries=20),
    attacks.targeted_auto_pgd(noted, threat, steps=4, targets=3),
  ):
    calls.clear()
    result = jax.jit(attack)(KEY, inputs, labels)
    jax.effects_barrier()
    found = calls.index(True) + 1 if True in calls else len(calls)
    assert int(result.iterations[0]) == found


def test_iterations_survive_vmap_and_are_evaluated():
  def run(radius):
    return bim(radius=radius)(KEY, INPUTS, LABELS).iterations

  both = jax.jit(jax.vmap(run))(jnp.array([0.0, 0.4]))
  assert both.tolist() == [[1, 5, 5, 5], [1, 2, 4, 5]]

  threat = attacks.linf(0.4)
  result = evaluation.evaluate(
    {"bim": lambda: evaluation.Trial(bim(), threat)},
    line,
    INPUTS,
    LABELS,
    key=KEY,
    microbatch=3,
  )
  # The first is misclassified as it is: not attempted.
  assert result.attacks["bim"].iterations.tolist() == [-1, 2, 4, 5]


def test_rows_saved_before_the_count_are_still_read():
  stage = evaluation.Chunk(
    evaluation.CLEAN,
    np.arange(2),
    evaluation.Clean(*[np.ones(2, bool)] * 5),
  )
  old = {
    name: np.ones(2, bool)
    for name in evaluation.Outcome._fields
    if name != "iterations"
  }
  rows = evaluation.Outcome(**old)
  chunks = [stage, evaluation.Chunk("pgd", np.arange(2), rows)]
  read = evaluation.collect(np.arange(2), np.zeros(2, int), ["pgd"], chunks)
  assert read.attacks["pgd"].iterations.tolist() == [-1, -1]


def test_results_of_equal_loss_and_nearness():
  loss = jnp.array([1.0, 2.0])
  success = jnp.array([True, True])
  held = attacks.candidate(jnp.array([[0.0], [0.0]]), loss, success)
  new = attacks.candidate(jnp.array([[1.0], [1.0]]), loss[::-1], success)
  same = attacks.nearest_success(lambda result: jnp.zeros(2))
  assert same.replaces(held, new).tolist() == [True, False]
  both = attacks.keep_better(same, held, new)
  assert both.iterations.tolist() == [2, 2]
  first = attacks.keep_better(attacks.success_then_loss, held, new)
  assert first.iterations.tolist() == [1, 1]
  assert first.loss.tolist() == [2.0, 2.0]


def test_a_targeted_success_is_counted_too():
  oracle = attacks.white_box(
    losses.scored(line, losses.margin_loss), targeted=True
  )
  attack = attacks.bim(oracle, attacks.linf(0.4), step_size=0.1, steps=4)
  result = jax.jit(attack)(KEY, INPUTS, jnp.ones(4, int))
  assert result.iterations.tolist() == [1, 2, 4, 5]


def test_deepfool_stops_when_all_of_its_batch_are_fooled():
  probes = []

  def watched(key, inputs):
    jax.debug.callback(lambda: probes.append(1))
    return line(key, inputs)

  def spent(steps, examples):
    probes.clear()
    attack = attacks.deepfool(watched, attacks.l2(0.1), steps=steps)
    result = jax.jit(attack)(KEY, INPUTS[examples], LABELS[examples])
    jax.block_until_ready(result)
    jax.effects_barrier()
    assert np.all(result.success)
    return len(probes)

  everyone = slice(0, 4)
  assert spent(5, everyone) == spent(50, everyone)
  assert spent(50, slice(0, 1)) < spent(50, everyone)


def test_deepfool_keeps_the_first_success_however_long_its_batch_goes_on():
  def noisy(keys, inputs):
    shift = jax.vmap(lambda k: jax.random.normal(k) / 5)(keys)
    return line(keys, inputs + shift[:, None])

  attack = jax.jit(attacks.deepfool(noisy, attacks.l2(0.1), steps=9))
  given = (
    jax.random.split(KEY, 12),
    jnp.tile(INPUTS, (3, 1)),
    jnp.zeros(12, int),
  )
  together = attack(*given)
  assert len(set(together.iterations.tolist())) > 1
  for row in range(12):
    alone = attack(*(part[row : row + 1] for part in given))
    for whole, single in zip(together, alone, strict=True):
      np.testing.assert_array_equal(whole[row], single[0])
