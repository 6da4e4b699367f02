"""Attacks under a budget for each modality, checked by independent NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from snnjax import attacks, encoders, evaluation, losses, models, neurons
from snnjax.attacks.threats import hyperplane
from snnjax.attacks.threats.norms import Block, Room
from snnjax.backward.pdsg import Pdsg
from tests import smooth_network

ROWS, CLASSES = 12, 4
KEY = jax.random.key(0)
RNG = np.random.default_rng(3)
SHAPES = {"image": (4, 4, 1), "events": (3, 4, 4, 2)}
FIRST = {
  name: jnp.asarray(RNG.normal(size=(int(np.prod(shape)), 12)) / 4, jnp.float32)
  for name, shape in SHAPES.items()
}
SECOND = jnp.asarray(RNG.normal(size=(12, CLASSES)), jnp.float32)
INPUTS = {
  name: jnp.asarray(RNG.random((ROWS, *shape)), jnp.float32)
  for name, shape in SHAPES.items()
}
MAKE = {"linf": attacks.linf, "l2": attacks.l2, "l1": attacks.l1}
RADII = {
  "linf": {"image": 0.12, "events": 0.06},
  "l2": {"image": 0.4, "events": 0.5},
  "l1": {"image": 2.0, "events": 3.0},
}
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
FAST = smooth_network.fastest()


def logits(key, inputs):
  """A small network that sums two modalities."""
  del key
  hidden = sum(
    inputs[name].reshape(len(inputs[name]), -1) @ FIRST[name] for name in SHAPES
  )
  return jnp.tanh(hidden) @ SECOND


LABELS = jnp.argmax(logits(KEY, INPUTS), 1)
MARGIN = losses.scored(logits, losses.margin_loss)


def modal(norm, radii):
  return attacks.per_modality({n: MAKE[norm](radii[n]) for n in SHAPES})


def nearest(make, threat):
  return attacks.within(attacks.as_attack(make(logits, threat)), logits, threat)


def spent(result, norm, name):
  delta = np.asarray(result.inputs[name], np.float64) - np.asarray(
    INPUTS[name], np.float64
  )
  return np.linalg.norm(delta.reshape(ROWS, -1), ORDERS[norm], 1)


def check(result, norm, radii):
  """Ball, box and claims, in plain NumPy; a radius of 0 moves no bit."""
  for name, radius in radii.items():
    values = np.asarray(result.inputs[name])
    assert np.all(np.isfinite(values) & (values >= 0) & (values <= 1))
    assert np.all(spent(result, norm, name) <= radius * (1 + 1e-5))
    if radius == 0:
      np.testing.assert_array_equal(values, INPUTS[name])
  wrong = np.argmax(logits(KEY, result.inputs), 1) != np.asarray(LABELS)
  np.testing.assert_array_equal(result.success, wrong)
  assert np.all(np.isfinite(result.loss))


ATTACKS = {
  "square": lambda threat: attacks.square(logits, threat, queries=60),
  "fab": functools.partial(
    nearest, functools.partial(attacks.fab, steps=10, restarts=2)
  ),
  "targeted_fab": functools.partial(
    nearest, functools.partial(attacks.targeted_fab, steps=10)
  ),
  "deepfool": functools.partial(
    nearest, functools.partial(attacks.deepfool, steps=8)
  ),
  "auto_pgd": lambda threat: attacks.auto_pgd(logits, threat, steps=8),
  "sa_pgd_steepest": lambda threat: attacks.sa_pgd_steepest(
    logits, threat, steps=8
  ),
  "sa_pgd": lambda threat: attacks.sa_pgd(logits, threat, steps=8),
  "slide": lambda threat: attacks.slide(
    logits, threat, step_size={"image": 0.5, "events": 1.0}, steps=8
  ),
  "hop_skip_jump": lambda threat: attacks.within(
    attacks.hop_skip_jump(logits, threat, rounds=4, halvings=6, draws=10),
    logits,
    threat,
  ),
}
NORMS = {
  "slide": ("l1",),
  "sa_pgd": ("linf",),
  "auto_pgd": ("l1",),
  "fab": ("linf", "l1"),
  "targeted_fab": ("l2",),
  "deepfool": ("linf", "l1"),
  "sa_pgd_steepest": ("l2", "l1"),
  "hop_skip_jump": ("linf", "l1"),
}


@pytest.mark.parametrize(
  ("name", "norm"),
  [(name, norm) for name in ATTACKS for norm in NORMS.get(name, ORDERS)],
)
def test_every_radius_and_no_radius_in_one_program(name, norm):
  traces = []

  def run(radii):
    traces.append(1)
    return ATTACKS[name](modal(norm, radii))(KEY, INPUTS, LABELS)

  compiled = jax.jit(run, compiler_options=FAST)
  full = RADII[norm]
  both = compiled(full)
  check(both, norm, full)
  for only in SHAPES:
    radii = {n: full[n] * (n == only) for n in SHAPES}
    check(compiled(radii), norm, radii)
  nothing = compiled(dict.fromkeys(SHAPES, 0.0))
  check(nothing, norm, dict.fromkeys(SHAPES, 0.0))
  assert not np.any(nothing.success)
  assert np.any(both.success), "too weak to be a test"
  assert len(traces) == 1


def solved(x, w, need, shape, ends, step, length):
  """Another solver's: positive and negative parts of a step, and its length."""
  size = len(x)

  def inside(block, a, b):
    def room(v):
      parts = v[:size][a:b] + v[size:-1][a:b]
      if block.order == 2:
        return v[-1] ** 2 - parts @ parts
      return v[-1] - (parts if block.order == np.inf else parts.sum())

    return {"type": "ineq", "fun": room}

  def onto(v):
    return w @ (v[:size] - v[size:-1]) - need

  found = scipy.optimize.minimize(
    lambda v: v[-1],
    np.r_[np.maximum(step, 0), np.maximum(-step, 0), 1.3 * length],
    bounds=[(0, room) for room in [*(1 - x), *x]] + [(0, None)],
    constraints=[
      {"type": "eq", "fun": onto},
      *map(inside, shape, ends[:-1], ends[1:]),
    ],
    method="SLSQP",
    options={"ftol": 1e-12, "maxiter": 300},
  )
  return found.fun


@pytest.mark.parametrize("mixed", [False, True])
def test_onto_plane_of_several_blocks_is_the_shortest_way(x64, mixed):
  shape = (Block(np.inf, 2), Block(2, 3), Block(1, 3))
  if not mixed:
    shape = (Block(1, 4), Block(1, 4))
  rng = np.random.default_rng(0)
  point, slope = rng.random((10, 8)), rng.normal(size=(10, 8))
  slope[0, 2], slope[1], slope[2, 4:] = 0, 0, 0
  gap = 1.5 * rng.normal(size=10)
  room = Room(jnp.zeros((1, 1)), jnp.ones((1, 1)))
  steps = np.asarray(
    hyperplane.project_onto_hyperplane(
      *map(jnp.asarray, (point, slope, gap)), room, shape
    )
  )
  assert np.all((point + steps >= -1e-12) & (point + steps <= 1 + 1e-12))
  ends = np.cumsum([0] + [block.width for block in shape])

  def length(step):
    return max(
      np.linalg.norm(step[a:b], block.order)
      for block, a, b in zip(shape, ends, ends[1:], strict=False)
    )

  reachable = 0
  for x, w, need, step in zip(point, slope, gap, steps, strict=True):
    if np.maximum(-x * w * np.sign(need), (1 - x) * w * np.sign(need)).sum() < (
      abs(need)
    ):
      wall = np.where(np.sign(need) * w > 0, 1 - x, -x)
      np.testing.assert_allclose(step, np.where(w == 0, 0, wall), atol=1e-12)
      continue
    reachable += 1
    np.testing.assert_allclose(w @ step, need, atol=1e-7)
    best = solved(x, w, need, shape, ends, step, length(step))
    assert length(step) <= best * (1 + 1e-5)
  assert 4 <= reachable < 10


def test_fab_meets_a_linear_boundary_at_the_same_share_of_both_budgets():
  slopes = {"image": np.array([1.0, 2.0]), "events": np.array([3.0])}

  def linear(key, inputs):
    del key
    score = sum(inputs[n] @ jnp.asarray(w) for n, w in slopes.items()) - 2
    return jnp.stack([jnp.zeros_like(score), score], 1)

  inputs = {"image": jnp.full((1, 2), 0.3), "events": jnp.full((1, 1), 0.1)}
  radii = {"image": 0.2, "events": 0.1}
  gap = 2 - 0.9 - 0.3
  steep = {  # dual norms
    "linf": 3 * radii["image"] + 3 * radii["events"],
    "l2": 5**0.5 * radii["image"] + 3 * radii["events"],
    "l1": 2 * radii["image"] + 3 * radii["events"],
  }
  alone = {"linf": 3, "l2": 5**0.5, "l1": 2}
  for norm, make in MAKE.items():

    def threat(radii, make=make):
      return attacks.per_modality({n: make(radii[n]) for n in radii})

    for build in (
      functools.partial(attacks.fab, steps=40),
      functools.partial(attacks.deepfool, overshoot=0.0),
    ):

      @functools.partial(jax.jit, compiler_options=FAST)
      def run(radii, build=build, threat=threat):
        return build(linear, threat(radii))(KEY, inputs, jnp.zeros(1, int))

      result = run(radii)
      np.testing.assert_allclose(result.distance, gap / steep[norm], rtol=6e-3)
      np.testing.assert_allclose(
        result.distance, threat(radii).distance(result.inputs, inputs)
      )
      # What may not change does not by a bit, or the distance is infinite.
      result = run(radii | {"events": 0.0})
      shortest = gap / alone[norm] / radii["image"]
      np.testing.assert_allclose(result.distance, shortest, rtol=6e-3)
      assert np.array_equal(result.inputs["events"], inputs["events"])


def test_linf_budgets_are_one_weighted_ball():
  """The same as `joint` with the inverse radii as weights."""
  radii = RADII["linf"]
  weights = {name: 1 / radius for name, radius in radii.items()}
  pair = (
    attacks.per_modality({n: attacks.linf(r) for n, r in radii.items()}),
    attacks.joint(attacks.linf, 1.0, weights),
  )
  one, other = (
    jax.jit(attacks.fab(logits, threat, steps=15), compiler_options=FAST)(
      KEY, INPUTS, LABELS
    )
    for threat in pair
  )
  np.testing.assert_array_equal(one.success, other.success)
  np.testing.assert_allclose(one.distance, other.distance, rtol=1e-3)


def test_square_tries_only_what_may_change():
  """All its queries go to the modality that may change."""
  alone = {"image": 0.12, "events": 0.0}
  run = jax.jit(
    lambda radii: ATTACKS["square"](modal("linf", radii))(KEY, INPUTS, LABELS),
    compiler_options=FAST,
  )
  fixed = jax.jit(
    attacks.square(
      logits,
      attacks.per_modality(
        {"image": attacks.linf(0.12), "events": attacks.frozen()}
      ),
      queries=60,
    ),
    compiler_options=FAST,
  )(KEY, INPUTS, LABELS)
  np.testing.assert_array_equal(
    run(alone).inputs["image"], fixed.inputs["image"]
  )
  assert np.mean(fixed.loss) > np.mean(MARGIN(KEY, INPUTS, LABELS).loss) + 0.1


def test_autoattack_of_a_fused_network():
  norm = "l1"
  effort = attacks.Effort(steps=6, queries=20, targets=2)
  suite = functools.partial(attacks.autoattack_standard, effort=effort)
  made = functools.partial(modal, norm)
  radii = {n: jnp.asarray(r, float) for n, r in RADII[norm].items()}
  result = evaluation.autoattack(
    logits,
    made,
    INPUTS,
    LABELS,
    key=KEY,
    epsilon=radii,
    suite=suite,
    microbatch=ROWS,
  )
  left = evaluation.worst(result).robust
  assert left.sum() < ROWS
  for outcome in result.attacks.values():
    tried = outcome.attempted
    assert np.all(outcome.contained[tried])
    assert np.all(outcome.distance[tried] <= 1 + 1e-5)
    np.testing.assert_array_equal(
      outcome.claimed[tried], outcome.success[tried]
    )
  ready = attacks.autoattack_plus(logits, made(RADII[norm]), effort=effort)
  assert len(ready) == 6


@pytest.mark.parametrize(("name", "norm"), [("assg", "linf"), ("pdsg", "l1")])
def test_spiking_networks_with_a_modality_that_may_not_change(name, norm):
  """Adaptive gradients stay numbers, and nothing leaves its budget."""
  frames = {"image": INPUTS["image"], "events": INPUTS["events"][:, :2]}
  network = models.fusion(
    {"image": encoders.direct(2), "events": encoders.frames(2)},
    {"image": (2,), "events": (2,)},
    neuron=neurons.lif(0.5, 0.1),
    hidden=(8,),
    classes=3,
  )
  variables = network.init(jax.random.key(5), frames)
  labels = jnp.argmax(network.apply(variables, frames, rule=Pdsg()).logits, 1)
  # Where no spike changes, no point is better than the clean one.
  last = {"keep": attacks.last}
  if name == "assg":
    oracle = attacks.assg(network, variables, losses.cross_entropy)
    attack = functools.partial(attacks.sa_pgd, oracle, steps=4, **last)
  else:
    follow = models.classifier(network, variables, rule=Pdsg())
    attack = functools.partial(
      attacks.slide, follow, steps=4, step_size=0.5, **last
    )
  run = jax.jit(
    lambda radii: attack(modal(norm, radii))(KEY, frames, labels),
    compiler_options=FAST,
  )
  for radii in ({"image": 0.0, "events": 1.0}, {"image": 1.0, "events": 0.0}):
    result = run(radii)
    assert np.all(np.isfinite(result.loss))
    for modality, radius in radii.items():
      moved = np.asarray(result.inputs[modality])
      delta = (moved - np.asarray(frames[modality])).reshape(ROWS, -1)
      spent = np.linalg.norm(delta, ORDERS[norm], 1)
      assert np.all(np.isfinite(moved) & (moved >= 0) & (moved <= 1))
      assert np.all(spent <= radius * (1 + 1e-5))
      assert (spent.max() > 0) == (radius > 0)


def test_what_is_not_a_ball_is_refused_with_advice():
  threat = modal("l2", RADII["l2"])
  with pytest.raises(ValueError, match="joint"):
    attacks.carlini_wagner(logits, threat)
  with pytest.raises(ValueError, match="joint"):
    attacks.ead(logits, modal("l1", RADII["l1"]))
  odd = attacks.per_modality(
    {"image": attacks.l0(3), "events": attacks.l2(1.0)}
  )
  for build in (attacks.fab, attacks.deepfool, attacks.targeted_fab):
    with pytest.raises(ValueError, match=r"'image'.*, not all"):
      build(logits, odd)
  with pytest.raises(ValueError, match="order 1"):
    attacks.slide(logits, threat, step_size=0.1, steps=1)
