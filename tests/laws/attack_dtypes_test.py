"""Every attack on inputs of every floating type, under JAX's switches.

What is returned has the inputs' type and lies inside ball and box as stored,
and what is said of it is true of what is stored.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, losses, prng
from snnjax.attacks.threats import ravel
from tests.laws import attack_table
from tests.laws.attack_table import ATTACKS, THREATS
from tests.laws.attacks_test import FAST

ROWS = 4
HALVES = ("float16", "bfloat16")


def weighed(values, weights):
  return jnp.sum(values[:, :, None] * jnp.asarray(weights, values.dtype), 1)


def image_logits(key, inputs):
  """The table's network, which computes in its inputs' own type."""
  del key
  rows = inputs.reshape(inputs.shape[0], -1)
  weights = attack_table.FIRST[None], attack_table.SECOND[None]
  return weighed(jnp.tanh(weighed(rows, weights[0])), weights[1])


def fused_logits(key, inputs):
  seen = inputs["events"].reshape(inputs["events"].shape[0], 2, 4, 4)[:, 0]
  image = inputs["image"]
  events = image_logits(key, seen * seen)
  return image_logits(key, image) + events.astype(image.dtype)


NETWORKS = {True: fused_logits, False: image_logits}


def batch(modalities, kind):
  inputs, labels = attack_table.batch(modalities, ROWS)
  return jax.tree.map(lambda leaf: jnp.asarray(leaf, kind), inputs), labels


def half_of(name):
  """One of the two types for each attack."""
  return HALVES[list(ATTACKS).index(name) % 2]


def spent(case, moved, clean):
  """How much of the budget is spent, by NumPy in double precision."""
  widest = jax.tree.map(lambda leaf: np.asarray(leaf).astype(float), moved)
  return case.spent(
    widest, jax.tree.map(lambda leaf: np.asarray(leaf).astype(float), clean)
  )


@pytest.fixture
def strict():
  """Refuses every sum of two types that does not say how."""
  jax.config.update("jax_numpy_dtype_promotion", "strict")
  yield
  jax.config.update("jax_numpy_dtype_promotion", "standard")


def assert_traces(name, threats, kinds):
  """The attack can be traced, and returns the type that it was given."""
  for threat in threats:
    case = THREATS[threat]
    for kind in kinds:
      inputs, labels = batch(case.modalities, kind)
      attack = ATTACKS[name].build(
        NETWORKS[case.modalities], case.threat(1.0), case.step
      )
      found = jax.eval_shape(attack, jax.random.key(0), inputs, labels)
      same = jax.tree.map(lambda a, b: a.dtype == b.dtype, found.inputs, inputs)
      assert all(jax.tree.leaves(same)), (threat, kind)


@pytest.mark.parametrize("name", ATTACKS)
def test_strict_promotion_in_every_type(strict, name):
  threats = ATTACKS[name].threats
  assert_traces(name, threats, ["float32"])
  assert_traces(name, threats[:1], [half_of(name)])


@pytest.mark.parametrize("name", ATTACKS)
def test_strict_promotion_beside_double_precision(strict, x64, name):
  assert_traces(name, ATTACKS[name].threats[-1:], ["float64"])


def networks_of_another_type():
  def single(key, inputs):
    return image_logits(key, inputs.astype(jnp.float32))

  def coarse(key, inputs):
    return image_logits(key, inputs.astype(jnp.bfloat16))

  def double(key, inputs):
    return image_logits(key, inputs.astype(jnp.float64))

  return {
    "float32 of half": (single, "bfloat16"),
    "half of float32": (coarse, "float32"),
    "float64 of float32": (double, "float32"),
  }


@pytest.mark.parametrize("which", networks_of_another_type())
@pytest.mark.parametrize(
  ("name", "threat"),
  [
    ("pgd", "linf"),
    ("square", "l2"),
    ("square", "l1"),
    ("auto_pgd", "l1"),
    ("spsa", "l2"),
    ("eot", "l2"),
    ("deepfool", "l2"),
    ("ead", "l1"),
    ("jsma", "l0_image"),
  ],
)
def test_networks_of_another_type_than_their_inputs(x64, name, threat, which):
  network, kind = networks_of_another_type()[which]
  threats = {
    "linf": attacks.linf(0.1),
    "l2": attacks.l2(0.5),
    "l1": attacks.l1(1.5),
    "l0_image": attacks.l0(4),
  }
  inputs, labels = batch(False, kind)
  attack = ATTACKS[name].build(network, threats[threat], 0.1)
  found = jax.eval_shape(attack, jax.random.key(0), inputs, labels)
  assert found.inputs.dtype == inputs.dtype


@pytest.mark.parametrize("kind", [*HALVES, "float32", "float64"])
@pytest.mark.parametrize("name", [n for n in THREATS if n != "perceptual"])
def test_threats_hold_what_is_stored(x64, name, kind):
  case = THREATS[name]
  clean, _ = batch(case.modalities, kind)
  threat = case.threat(1.0)
  rng = np.random.default_rng(0)
  far = jax.tree.map(
    lambda leaf: jnp.asarray(leaf + rng.normal(size=leaf.shape), kind), clean
  )
  for moved in (
    threat.project(far, clean),
    threat.project(ravel.widen(far), clean),
    threat.sample(jax.random.key(0), clean),
  ):
    assert np.all(spent(case, moved, clean) <= 1 + 2e-6)
    assert np.all(threat.contains(moved, clean))
    for leaf, like in zip(*map(jax.tree.leaves, (moved, clean)), strict=True):
      assert leaf.dtype == like.dtype
      assert np.all((leaf >= 0) & (leaf <= 1))
    assert np.all(spent(case, moved, clean) > 0.4)
  # Nothing but the origin is allowed where the radius is zero.
  nowhere = case.threat(0.0).project(far, clean)
  chex.assert_trees_all_equal(nowhere, clean)


def test_distances_are_not_measured_in_a_coarse_type():
  ones = jnp.ones((1, 300, 300, 1), jnp.float16)
  for threat in (attacks.l1(1.0), attacks.l0(1)):
    assert float(threat.distance(ones, 0 * ones)[0]) == 90_000  # over its range


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_judged_is_what_is_stored(name):
  kind, threat = half_of(name), ATTACKS[name].threats[0]
  case = THREATS[threat]
  inputs, labels = batch(case.modalities, kind)
  network = NETWORKS[case.modalities]
  attack = ATTACKS[name].build(network, case.threat(1.0), case.step)
  keys = prng.example_keys(jax.random.key(3), ROWS)
  found = jax.jit(attack, compiler_options=FAST)(keys, inputs, labels)

  for leaf, like in zip(
    *map(jax.tree.leaves, (found.inputs, inputs)), strict=True
  ):
    assert leaf.dtype == like.dtype
    assert np.all((leaf >= 0) & (leaf <= 1))
  assert np.all(spent(case, found.inputs, inputs) <= 1 + 2e-5)
  assert np.any(spent(case, found.inputs, inputs) > 0.1)
  assert found.loss.dtype == jnp.float32

  scored = jax.jit(losses.scored(network, losses.cross_entropy))(
    keys, found.inputs, labels
  )
  sign = ATTACKS[name].sign
  hit = np.argmax(np.asarray(scored.logits).astype(float), 1) == labels
  margin = losses.margin_loss(scored.logits.astype(jnp.float32), labels)
  # XLA may carry a network's own sums further than its type.
  clear = np.abs(margin) > 0.05
  np.testing.assert_array_equal(
    found.success[clear], (hit == (sign < 0))[clear]
  )
  np.testing.assert_allclose(found.loss, sign * scored.loss, atol=0.1)


@pytest.mark.parametrize("kind", ["uint8", "int32", "bool", "complex64"])
@pytest.mark.parametrize("name", ATTACKS)
def test_inputs_that_are_no_numbers_between_walls_are_refused(name, kind):
  case = THREATS[ATTACKS[name].threats[0]]
  inputs, labels = batch(case.modalities, "float32")
  inputs = jax.tree.map(lambda leaf: leaf.astype(kind), inputs)
  attack = ATTACKS[name].build(
    NETWORKS[case.modalities], case.threat(1.0), case.step
  )
  says = f"inputs.* must be floating point to be attacked; got {kind}"
  with pytest.raises(ValueError, match=says) as error:
    attack(jax.random.key(0), inputs, labels)
  assert "\n" not in str(error.value)


def test_draws_have_the_bits_that_they_need():
  """In bfloat16 itself a uniform draw has 128 values."""
  inputs = jnp.full((1, 64, 64, 1), 0.5, jnp.float32)
  draws = {}
  for kind in ("float32", "bfloat16"):
    threat = attacks.linf(0.25)
    key = jax.random.key(0)
    draws[kind] = threat.sample(key, inputs.astype(kind)).astype(float) - 0.5
  # The same numbers, rounded towards the origin.
  assert np.all(np.abs(draws["bfloat16"]) <= np.abs(draws["float32"]))
  assert np.max(np.abs(draws["bfloat16"] - draws["float32"])) <= 1 / 256


def test_stored_points_have_the_derivative_of_points():
  origin = jnp.array([[0.3, 0.9]], jnp.bfloat16)
  points = jnp.array([[0.1234567, 0.95]], jnp.float32)

  def total(points):
    return jnp.sum(ravel.store_like(points, origin).astype(jnp.float32) ** 2)

  slope = jax.grad(total)(points)
  rounded = ravel.store_like(points, origin).astype(jnp.float32)
  np.testing.assert_allclose(slope, 2 * rounded, rtol=1e-2)
  huge = ravel.store_like(jnp.array([1e30]), jnp.zeros(1, jnp.float16))
  assert float(huge[0]) == float(jnp.finfo(jnp.float16).max)
