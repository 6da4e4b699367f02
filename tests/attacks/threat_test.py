"""Balls, boxes and their composition over modalities."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from snnjax import attacks

settings.register_profile("attacks", deadline=None, max_examples=25)
settings.load_profile("attacks")

THREATS = {
  "linf": (attacks.linf, lambda d: np.abs(d).max(1)),
  "l2": (attacks.l2, lambda d: np.sqrt((d**2).sum(1))),
  "l1": (attacks.l1, lambda d: np.abs(d).sum(1)),
}
NAMES = sorted(THREATS)
# Compiled once: hypothesis then only changes the numbers.
PROJECTIONS = {
  name: jax.jit(lambda c, o, e, make=make: make(e).project(c, o))
  for name, (make, _) in THREATS.items()
}


def compiled(threat):
  """One compilation for each function instead of one for each operation."""
  return threat._replace(
    project=jax.jit(threat.project),
    sample=jax.jit(threat.sample),
    ascent=jax.jit(threat.ascent),
    contains=jax.jit(threat.contains),
    distance=jax.jit(threat.distance),
  )


def points(seed, spread, rows=3, width=7):
  rng = np.random.default_rng(seed)
  origin = rng.random((rows, width))
  # Clean pixels often sit exactly on a wall.
  origin[rng.random(origin.shape) < 0.3] = 0.0
  origin[rng.random(origin.shape) < 0.2] = 1.0
  move = spread * rng.normal(size=origin.shape)
  move[rng.random(origin.shape) < 0.2] = 0.0
  return origin.astype(np.float32), (origin + move).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
@given(
  seed=st.integers(0, 2**31),
  spread=st.sampled_from([0.0, 1e-6, 0.1, 1.0, 1e3]),
  epsilon=st.sampled_from([0.0, 1e-4, 0.3, 2.0, 50.0]),
)
def test_projection_lands_inside_and_stays_there(name, seed, spread, epsilon):
  origin, candidate = points(seed, spread)
  once = np.asarray(PROJECTIONS[name](candidate, origin, epsilon))
  norm = THREATS[name][1]
  delta = once.astype(np.float64) - origin
  assert np.all(norm(delta) <= epsilon * (1 + 1e-6) + 1e-6)
  assert np.all((once >= 0) & (once <= 1))
  twice = np.asarray(PROJECTIONS[name](once, origin, epsilon))
  np.testing.assert_allclose(twice, once, atol=1e-6)
  inside = (norm(candidate - origin.astype(np.float64)) < epsilon * 0.999) & (
    (candidate >= 0) & (candidate <= 1)
  ).all(1)
  np.testing.assert_array_equal(once[inside], candidate[inside])


@pytest.mark.parametrize("name", ["linf", "l1"])
@given(seed=st.integers(0, 2**31), epsilon=st.sampled_from([0.2, 1.0, 3.0]))
def test_no_feasible_point_is_nearer(name, seed, epsilon):
  """Nearest means: no feasible point lies on the candidate's side of ours."""
  origin, candidate = points(seed, 0.7)
  nearest = np.asarray(PROJECTIONS[name](candidate, origin, epsilon), float)
  _, others = points(seed + 1, 1.0)
  others = np.asarray(PROJECTIONS[name](others, origin, epsilon), float)
  angle = ((candidate - nearest) * (others - nearest)).sum(1)
  assert np.all(angle <= 1e-5)


def test_l1_projection_matches_a_general_solver(x64):
  origin, candidate = (
    np.asarray(a, float) for a in points(3, 0.8, rows=4, width=5)
  )
  ours = np.asarray(attacks.l1(0.7).project(candidate, origin))
  for row, (center, target) in enumerate(zip(origin, candidate, strict=True)):
    # delta = plus - minus with both non-negative makes the ball linear.
    def split(z, center=center):
      return center + z[:5] - z[5:]

    found = optimize.minimize(
      lambda z, t=target, s=split: ((s(z) - t) ** 2).sum(),
      np.zeros(10),
      bounds=[(0, 1 - c) for c in center] + [(0, c) for c in center],
      constraints={"type": "ineq", "fun": lambda z: 0.7 - z.sum()},
      method="SLSQP",
      options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(ours[row], split(found.x), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_uniform_in_the_ball(name):
  make, norm = THREATS[name]
  threat = compiled(make(0.4, box=(-jnp.inf, jnp.inf)))
  origin = jnp.full((2000, 3), 0.5)
  delta = np.asarray(threat.sample(jax.random.key(0), origin) - origin)
  # The share of the ball's volume within radius r is (r / epsilon)^3.
  share = np.sort((norm(delta) / 0.4) ** 3)
  assert share[-1] <= 1 + 1e-5
  assert np.abs(share - np.linspace(0, 1, 2000)).max() < 1.63 / np.sqrt(2000)
  assert np.abs(delta.mean(0)).max() < 0.02
  spread = delta.std(0)
  assert spread.max() / spread.min() < 1.1


@pytest.mark.parametrize("name", NAMES)
def test_directions_have_unit_norm_and_climb(name):
  make, norm = THREATS[name]
  gradient = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
  here = jnp.full((5, 6), 0.5)
  direction = np.asarray(make(1.0).ascent(jnp.asarray(gradient), here))
  np.testing.assert_allclose(norm(direction), 1, rtol=1e-6)
  dual = {
    "linf": np.abs(gradient).sum(1),
    "l2": np.sqrt((gradient**2).sum(1)),
    "l1": np.abs(gradient).max(1),
  }[name]
  np.testing.assert_allclose((direction * gradient).sum(1), dual, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_directions_of_extreme_gradients_are_finite(name, size):
  make, norm = THREATS[name]
  gradient = jnp.array([[0.0, size, -size, size]])
  direction = np.asarray(make(1.0).ascent(gradient, jnp.full((1, 4), 0.5)))
  assert np.all(np.isfinite(direction))
  np.testing.assert_allclose(norm(direction), float(size > 0), rtol=1e-5)


def test_l1_direction_leaves_out_blocked_coordinates():
  gradient = jnp.array([[9.0, -8.0, 3.0, 1.0]])
  here = jnp.array([[1.0, 0.0, 0.5, 0.5]])
  exact = attacks.l1(1.0, fraction=0.0).ascent(gradient, here)
  np.testing.assert_array_equal(exact, [[0, 0, 1, 0]])
  half = attacks.l1(1.0, fraction=0.5).ascent(gradient, here)
  np.testing.assert_array_equal(half, [[0, 0, 0.5, 0.5]])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_goes_home_and_is_never_contained(name, bad):
  origin = jnp.array([[0.2, 0.4], [0.5, 0.5]])
  candidate = jnp.array([[bad, 0.41], [0.5, 0.51]])
  threat = compiled(THREATS[name][0](0.3))
  projected = threat.project(candidate, origin)
  np.testing.assert_allclose(projected, [[0.2, 0.41], [0.5, 0.51]], atol=1e-7)
  contained = threat.contains(candidate, origin)
  np.testing.assert_array_equal(contained, [False, True])


def test_contains_sees_ball_and_box():
  origin = jnp.array([[0.5, 0.95]] * 4)
  candidate = origin + jnp.array([[0.1, 0], [0.11, 0], [0, 0.049], [0, 0.06]])
  inside = attacks.linf(0.1).contains(candidate, origin)
  np.testing.assert_array_equal(inside, [True, False, True, False])
  distance = attacks.l1(1.0).distance(candidate, origin)
  np.testing.assert_allclose(distance, [0.1, 0.11, 0.049, 0.06], atol=1e-6)


def test_a_radius_for_every_example():
  origin = jnp.full((2, 3), 0.5)
  threat = compiled(attacks.l2(jnp.array([0.0, 0.2])))
  moved = threat.project(origin + 1.0, origin)
  np.testing.assert_allclose(threat.distance(moved, origin), [0, 0.2], 1e-6)


def both(origin=0.5, rows=2):
  return {
    "image": jnp.full((rows, 2, 2), origin),
    "events": jnp.full((rows, 3), origin),
  }


def test_every_modality_has_its_own_budget():
  threat = compiled(
    attacks.per_modality(
      {"events": attacks.l1(0.5), "image": attacks.linf(0.1)}
    )
  )
  origin = both()
  far = jax.tree.map(lambda leaf: leaf + 9, origin)
  moved = threat.project(far, origin)
  np.testing.assert_allclose(moved["image"], 0.6, rtol=1e-6)
  np.testing.assert_allclose(moved["events"].sum(1), 2.0, rtol=1e-6)
  np.testing.assert_allclose(threat.distance(moved, origin), 1, rtol=1e-5)
  assert np.all(threat.contains(moved, origin))
  assert not np.any(threat.contains(far, origin))


def test_a_frozen_modality_never_moves():
  threat = compiled(
    attacks.per_modality(
      {"image": attacks.linf(0.1), "events": attacks.frozen()}
    )
  )
  origin = both(3.0) | {"image": jnp.full((2, 2, 2), 0.5)}
  far = jax.tree.map(lambda leaf: leaf + 9, origin)
  for moved in (
    threat.project(far, origin),
    threat.sample(jax.random.key(0), origin),
  ):
    np.testing.assert_array_equal(moved["events"], origin["events"])
    assert np.all(threat.contains(moved, origin))
  assert np.all(np.isinf(threat.distance(far, origin)))
  np.testing.assert_array_equal(threat.distance(origin, origin), 0)


def test_one_joint_budget_weighs_the_modalities():
  threat = compiled(
    attacks.joint(attacks.l1, 1.0, {"image": 1.0, "events": 3.0})
  )
  origin = both()
  spent = origin | {"events": origin["events"].at[:, 0].add(0.2)}
  np.testing.assert_allclose(threat.distance(spent, origin), 0.6, rtol=1e-5)
  far = jax.tree.map(lambda leaf: leaf + 0.4, origin)
  moved = threat.project(far, origin)
  cost = sum(
    weight * np.abs(moved[name] - origin[name]).sum(tuple(range(1, axes)))
    for name, weight, axes in (("image", 1, 3), ("events", 3, 2))
  )
  np.testing.assert_allclose(cost, 1, rtol=1e-5)
  # In weighted units 0.4 is 0.4 and 1.2: the dear modality moved further.
  direction = threat.ascent(far, origin)
  np.testing.assert_allclose(threat.distance(direction, both(0.0)), 1, 1e-5)
  assert np.all(threat.contains(moved, origin))


def test_a_joint_budget_of_zero_changes_no_bit():
  threat = compiled(
    attacks.joint(attacks.l2, 0.0, {"image": 0.3, "events": 0.7})
  )
  origin = both(0.1)
  far = jax.tree.map(lambda leaf: leaf + 0.4, origin)
  for moved in (
    threat.project(far, origin),
    threat.sample(jax.random.key(0), origin),
  ):
    chex.assert_trees_all_equal(moved, origin)


def test_a_plain_threat_measures_all_modalities_together():
  origin = both()
  far = jax.tree.map(lambda leaf: leaf + 0.3, origin)
  distance = attacks.l2(1.0).distance(far, origin)
  np.testing.assert_allclose(distance, 0.3 * np.sqrt(7), rtol=1e-6)


def test_boxes_by_modality_and_coordinate():
  lower = {"image": 0.0, "events": -2.0}
  upper = {"image": 1.0, "events": jnp.array([1.0, 2.0, 3.0])}
  threat = attacks.linf(9.0, box=(lower, upper))
  far = jax.tree.map(lambda leaf: leaf + 5, both())
  moved = threat.project(far, both())
  np.testing.assert_array_equal(moved["image"], 1)
  np.testing.assert_array_equal(moved["events"], [[1, 2, 3]] * 2)


@pytest.mark.parametrize(
  ("build", "says"),
  [
    (lambda: attacks.linf(-0.1), "epsilon must lie"),
    (lambda: attacks.l2(float("nan")), "epsilon must lie"),
    (lambda: attacks.l1(float("inf")), "epsilon must lie"),
    (lambda: attacks.linf(jnp.zeros((2, 2))), "epsilon must be a scalar"),
    (lambda: attacks.linf(0.1, box=(1.0, 0.0)), "box must have lower < upper"),
    (lambda: attacks.linf(0.1, box=(0.0, 1.0, 2.0)), "box must be a pair"),
    (lambda: attacks.l1(0.1, fraction=1.5), "fraction must lie"),
    (lambda: attacks.per_modality({}), "at least one modality"),
    (
      lambda: attacks.joint(attacks.l2, 1.0, {"a": 0.0}),
      r"\['a'\] must be pos",
    ),
  ],
)
def test_bad_arguments_are_named(build, says):
  with pytest.raises(ValueError, match=says):
    build()


def test_unknown_modalities_are_named():
  threat = attacks.per_modality({"image": attacks.linf(0.1)})
  with pytest.raises(ValueError, match=r"\['image'\]; the inputs have \['ev"):
    threat.project(both(), both())
  with pytest.raises(ValueError, match="single array"):
    threat.project(jnp.zeros((2, 3)), jnp.zeros((2, 3)))


def test_clean_inputs_outside_their_box_are_named():
  threat = attacks.linf(0.1)
  attacks.check_inputs(threat, both())
  with pytest.raises(ValueError, match=r"lie in the box \(0.0, 1.0\).*255"):
    attacks.check_inputs(threat, jnp.full((2, 3), 255.0))
  with pytest.raises(ValueError, match="must lie in the box"):
    attacks.check_inputs(threat, jnp.full((2, 3), jnp.nan))
  with pytest.raises(ValueError, match=r"\['image'\] must be floating"):
    attacks.check_inputs(threat, both() | {"image": jnp.ones((2, 2), int)})


def test_box_only_is_bounded_by_the_box_and_by_nothing_else():
  inputs = {"image": jnp.full((2, 3), 0.5), "events": jnp.full((2, 1), 4.0)}
  threat = attacks.box_only({"image": (0.0, 1.0), "events": (-jnp.inf, 5.0)})
  far = {
    "image": jnp.asarray([[9.0, -9, 0.25], [jnp.nan, jnp.inf, 1]]),
    "events": jnp.asarray([[-1024.0], [9.0]]),
  }
  near = threat.project(far, inputs)
  # What is not finite goes back to its origin.
  np.testing.assert_array_equal(near["image"], [[1, 0, 0.25], [0.5, 0.5, 1]])
  np.testing.assert_array_equal(near["events"], [[-1024.0], [5]])
  assert threat.contains(near, inputs).tolist() == [True, True]
  assert threat.contains(far, inputs).tolist() == [False, False]
  # Nothing counts where the clean input is outside.
  outside = inputs | {"events": jnp.asarray([[6.0], [4.0]])}
  assert threat.contains(near, outside).tolist() == [False, True]
  drawn = threat.sample(jax.random.key(0), inputs)
  assert threat.contains(drawn, inputs).all()
  assert not np.any(np.asarray(drawn["image"] == inputs["image"]))
  np.testing.assert_array_equal(drawn["events"], inputs["events"])
