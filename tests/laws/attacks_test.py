"""Every attack against the laws all attacks obey."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, losses, prng
from tests import smooth_network
from tests.laws import attack_table
from tests.laws.attack_table import ATTACKS, THREATS, batch

TOLERANCE = 2e-5
SIZES = (1, 7)
POOL = 64  # examples to choose company from
NETWORKS = {
  modalities: lambda key, inputs, of=of: attack_table.marked(of(key, inputs))
  for modalities, of in (
    (True, attack_table.fused_logits),
    (False, attack_table.image_logits),
  )
}
JUDGES = {
  modalities: jax.jit(losses.scored(network, losses.cross_entropy))
  for modalities, network in NETWORKS.items()
}
PROGRAMS = {}


FAST = smooth_network.fastest()


def keys(rows):
  return prng.example_keys(jax.random.key(3), rows)


def compiled(attack, threat):
  """The attack with the threat's size as an argument, and how often traced."""
  if (attack, threat) in PROGRAMS:
    return PROGRAMS[attack, threat]
  case, traces = THREATS[threat], []

  def run(size, key, inputs, labels):
    traces.append(1)
    build = ATTACKS[attack].build
    network = NETWORKS[case.modalities]
    return build(network, case.threat(size), case.step)(key, inputs, labels)

  program = jax.jit(run, compiler_options=FAST)
  PROGRAMS[attack, threat] = program, traces
  return program, traces


def assert_trees_equal(first, second):
  chex.assert_trees_all_equal(first, second)


def pick(tree, rows):
  return jax.tree.map(lambda leaf: leaf[rows], tree)


def test_every_public_attack_is_in_the_table():
  """A new name is an attack with laws to obey, or listed as something else."""
  known = (
    attack_table.TRIED
    | attack_table.SUITES
    | attack_table.PIECES
    | (set(ATTACKS) - attack_table.VARIANTS)
  )
  assert set(attacks.__all__) == known
  alone = {name for name, entry in ATTACKS.items()}
  modalities = {
    name
    for name, entry in ATTACKS.items()
    if any(THREATS[threat].modalities for threat in entry.threats)
  }
  assert modalities == alone


class Tried(NamedTuple):
  """An attack that ran once, with what the laws ask of it."""

  attack: str
  threat: str
  run: object
  traced: int  # how often before it ran
  inputs: object
  labels: jax.Array
  result: object

  @property
  def case(self):
    return THREATS[self.threat]

  @property
  def sign(self):
    return ATTACKS[self.attack].sign

  def again(self, size):
    return self.run(size, keys(SIZES[1]), self.inputs, self.labels)

  def judged(self, inputs):
    loss = JUDGES[self.case.modalities]
    return loss(keys(SIZES[1]), inputs, self.labels)


def stays_in_ball_and_box(tried):
  """By NumPy; and it does not stay where it was."""
  spent = tried.case.spent(tried.result.inputs, tried.inputs)
  assert np.all(spent <= 1 + TOLERANCE)
  assert np.any(spent > 0.1)
  for leaf in jax.tree.leaves(tried.result.inputs):
    assert np.all(np.isfinite(leaf) & (leaf >= 0) & (leaf <= 1))


def reports_what_is_true_of_its_point(tried):
  after = tried.judged(tried.result.inputs)
  np.testing.assert_allclose(
    tried.result.loss, tried.sign * after.loss, atol=1e-5
  )
  hit = np.argmax(after.logits, 1) == tried.labels
  np.testing.assert_array_equal(tried.result.success, hit == (tried.sign < 0))


def is_no_worse_than_the_clean_input(tried):
  clean = tried.judged(tried.inputs)
  won = (np.argmax(clean.logits, 1) == tried.labels) == (tried.sign < 0)
  assert np.all(tried.result.success | ~won)
  same = np.asarray(tried.result.success == won)
  assert np.all((tried.result.loss >= tried.sign * clean.loss - 1e-5)[same])


def gives_the_same_bits_again(tried):
  assert_trees_equal(tried.again(1.0), tried.result)


def changes_nothing_within_radius_zero(tried):
  assert_trees_equal(tried.again(0.0).inputs, tried.inputs)


def counts_its_probes(tried):
  """At least one; without a success no fewer than with one."""
  assert tried.result.iterations.dtype == jnp.int32
  assert np.all(tried.result.iterations >= 1)
  assert np.all(tried.result.iterations <= tried.again(0.0).iterations.max())


def takes_any_radius_in_one_program(tried):
  tried.again(0.5)
  assert len(compiled(tried.attack, tried.threat)[1]) <= tried.traced + 1


def holds_the_network_as_often_as_the_table_says(tried):
  """Once, as a rule: it is what the compilation of an attack is spent on."""
  if tried.threat != ATTACKS[tried.attack].threats[0]:
    return
  # The program that has run: it is traced already.
  traced = tried.run.trace(1.0, keys(SIZES[1]), tried.inputs, tried.labels)
  count = list(primitives(traced.jaxpr.jaxpr)).count(attack_table.MARK)
  assert count == ATTACKS[tried.attack].networks


def sees_no_other_example(tried):
  """Here, not in a test of its own, which might have to compile all again."""
  if tried.threat == ATTACKS[tried.attack].threats[0]:
    assert_batch_does_not_matter(tried.attack, tried.threat)


LAWS = (
  stays_in_ball_and_box,
  reports_what_is_true_of_its_point,
  is_no_worse_than_the_clean_input,
  gives_the_same_bits_again,
  changes_nothing_within_radius_zero,
  counts_its_probes,
  takes_any_radius_in_one_program,
  holds_the_network_as_often_as_the_table_says,
  sees_no_other_example,
)


def obey(laws, tried):
  """Asks every law, so that one that is broken does not hide another."""
  broken = []
  for law in laws:
    try:
      law(tried)
    except AssertionError as error:
      error.add_note(law.__name__)
      broken.append(error)
  if broken:
    names = ", ".join(error.__notes__[-1] for error in broken)
    raise ExceptionGroup(f"{len(broken)} laws are broken: {names}", broken)


@pytest.mark.parametrize(
  ("attack", "threat"),
  [(name, threat) for name in ATTACKS for threat in ATTACKS[name].threats],
)
def test_laws(attack, threat):
  run, traces = compiled(attack, threat)
  before = len(traces)
  inputs, labels = batch(THREATS[threat].modalities, SIZES[1])
  result = run(1.0, keys(SIZES[1]), inputs, labels)
  obey(LAWS, Tried(attack, threat, run, before, inputs, labels, result))


def test_every_broken_law_is_told():
  def first(tried):
    assert tried == 1

  def second(tried):
    assert tried == 2

  def third(tried):
    assert tried == 3

  with pytest.raises(
    ExceptionGroup, match=r"2 laws .*: first, third"
  ) as caught:
    obey((first, second, third), 2)
  assert len(caught.value.exceptions) == 2


def primitives(jaxpr):
  """The name of every operation of a program, those of its parts included."""
  for equation in jaxpr.eqns:
    yield equation.primitive.name
    for part in jax.tree.leaves(
      equation.params, is_leaf=lambda value: hasattr(value, "eqns")
    ):
      inner = getattr(part, "jaxpr", part)
      if hasattr(inner, "eqns"):
        yield from primitives(inner)


def assert_batch_does_not_matter(attack, threat):
  """In any company and order the same bits; alone up to rounding.

  Another size is another program of XLA's, which may round otherwise.
  """
  run, rounding = compiled(attack, threat)[0], ATTACKS[attack].rounding
  inputs, labels = batch(THREATS[threat].modalities, POOL)

  def of(rows):
    own = keys(POOL)[rows]
    return run(1.0, own, pick(inputs, rows), labels[rows])

  among = of(np.arange(SIZES[1]))
  order = np.array([4, 2, 6, 0, 5, 1, 3])
  assert_trees_equal(of(order), pick(among, order))
  others = of(np.r_[np.arange(3), np.arange(20, 24)])
  assert_trees_equal(pick(others, slice(3)), pick(among, slice(3)))
  copies = of(np.full(SIZES[1], 1))
  assert_trees_equal(copies, pick(among, np.full(SIZES[1], 1)))
  for row in ([0], [3]):
    alone, same = of(np.array(row)), pick(among, np.array(row))
    np.testing.assert_array_equal(alone.success, same.success)
    np.testing.assert_array_equal(alone.iterations, same.iterations)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=rounding),
      (alone.inputs, alone.loss),
      (same.inputs, same.loss),
    )


def test_a_scalar_key_stands_for_its_fold_with_each_index():
  run, _ = compiled("random_noise", "separate")
  inputs, labels = batch(True, 7)
  # Two programs: one folds the key itself.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6),
    run(1.0, jax.random.key(3), inputs, labels),
    run(1.0, keys(7), inputs, labels),
  )


def test_sharded_equals_single_device():
  run, _ = compiled("bim", "separate")
  inputs, labels = batch(True, 4)
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("data",))
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  split = jax.device_put((inputs, labels), rows)
  alone = run(1.0, jax.random.key(0), inputs, labels)
  spread = run(1.0, jax.random.key(0), *split)
  assert len(spread.loss.sharding.device_set) == 2
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), spread, alone
  )


def test_vmap_over_radii():
  run, _ = compiled("fgsm", "l2")
  inputs, labels = batch(False, 7)
  sizes = jnp.array([0.0, 0.5, 1.0])
  stacked = jax.vmap(run, (0, None, None, None))(sizes, keys(7), inputs, labels)
  for row, size in enumerate(sizes):
    one = run(size, keys(7), inputs, labels)
    np.testing.assert_allclose(stacked.inputs[row], one.inputs, atol=1e-5)


def test_eager_equals_compiled():
  run, _ = compiled("fgsm", "l2")
  inputs, labels = batch(False, 7)
  case = THREATS["l2"]
  eager = ATTACKS["fgsm"].build(NETWORKS[False], case.threat(1.0), case.step)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    eager(keys(7), inputs, labels),
    run(1.0, keys(7), inputs, labels),
  )


def test_different_keys_give_different_noise():
  run, _ = compiled("random_noise", "separate")
  inputs, labels = batch(True, 7)
  first = run(1.0, keys(7), inputs, labels)
  second = run(1.0, prng.fold_in(keys(7), 1), inputs, labels)
  assert np.all(first.loss != second.loss)
