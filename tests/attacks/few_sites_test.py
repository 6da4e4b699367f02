"""The l0 threat and the attacks under it, on problems with known answers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks
from snnjax.attacks.sparse import corner_search, jsma, sparse_pgd, sparse_rs
from snnjax.attacks.threats import l0
from snnjax.interfaces import Scored

KEY = jax.random.key(0)
compiled = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
SHAPE = (3, 4, 2)
RNG = np.random.default_rng(0)
WEIGHTS = jnp.asarray(RNG.normal(size=(1, *SHAPE)), jnp.float32)
GREY = jnp.full((2, *SHAPE), 0.5)
LABELS = jnp.zeros(2, int)
# Moving a site to its best corner gains half the sum of its weights.
GAINS = np.sort(np.abs(np.asarray(WEIGHTS)).sum(-1).ravel() / 2)[::-1]
LEVEL = 5.0


def linear(key, inputs, labels):
  """Loss w (x - 1/2) - 5; class 1 wins where it is positive."""
  del key, labels
  loss = jnp.sum(WEIGHTS * (inputs - 0.5), (1, 2, 3)) - LEVEL
  return Scored(loss, jnp.stack([jnp.zeros_like(loss), loss], 1))


LINEAR = attacks.white_box(linear)
SITES = 4
THREAT = attacks.l0(SITES)
BEST = GAINS[:SITES].sum() - LEVEL
FINDERS = {
  # Its sites are those of the largest l2 gradient: good, not the best.
  "pgd_l0": (
    lambda: attacks.pgd_l0(
      LINEAR, THREAT, steps=20, step_size=3.0, random_start=False
    ),
    0.9,
  ),
  "spgd": (lambda: attacks.spgd(LINEAR, THREAT, steps=100), 0.95),
  "spgd_soft": (
    lambda: attacks.spgd(LINEAR, THREAT, steps=100, projected=False),
    0.95,
  ),
  "sparse_rs": (lambda: attacks.sparse_rs(LINEAR, THREAT, queries=500), 0.95),
  "jsma": (
    lambda: attacks.jsma(LINEAR, THREAT, steps=SITES),
    1.0,
  ),
  "corner_search": (
    lambda: attacks.corner_search(
      LINEAR, THREAT, sites=12, channels=2, candidates=5, draws=60
    ),
    1.0,
  ),
}


@pytest.mark.parametrize("name", FINDERS)
def test_the_best_sites_are_found(name):
  build, share = FINDERS[name]
  result = compiled(build())(KEY, GREY, LABELS)
  changed = np.any(np.asarray(result.inputs) != 0.5, -1).sum((1, 2))
  assert np.all(changed <= SITES)
  gained = np.asarray(result.loss) + LEVEL
  assert np.all(gained >= share * (BEST + LEVEL) - 1e-4), (gained, BEST + LEVEL)
  np.testing.assert_array_equal(THREAT.distance(result.inputs, GREY), changed)
  again = linear(KEY, result.inputs, LABELS)
  np.testing.assert_allclose(result.loss, again.loss, atol=1e-5)


def test_sigma_zero_finds_the_fewest_sites():
  fewest = int(np.searchsorted(np.cumsum(GAINS), LEVEL)) + 1
  assert 1 < fewest < 12
  attack = attacks.sigma_zero(LINEAR, steps=100)
  result = compiled(attack)(KEY, GREY, LABELS)
  assert np.all(result.success)
  changed = np.any(np.asarray(result.inputs) != 0.5, -1).sum((1, 2))
  assert np.all(changed <= fewest + 1)
  few = attacks.within(attack, LINEAR, attacks.l0(fewest - 1))
  bounded = compiled(few)(KEY, GREY, LABELS)
  assert not np.any(bounded.success)
  assert np.all(THREAT.distance(bounded.inputs, GREY) <= fewest - 1)


def test_projection_keeps_the_largest_pixels_whole():
  origin = jnp.full((1, 2, 2, 2), 0.5)
  moved = origin + jnp.array(
    [[0.1, 0.1], [0.0, 0.15], [0.3, 0], [9, 0]]
  ).reshape(1, 2, 2, 2)
  for count, kept in ((0, []), (1, [3]), (2, [3, 2]), (3, [3, 2, 1])):
    out = attacks.l0(count).project(moved, origin).reshape(4, 2)
    expected = np.full((4, 2), 0.5)
    for pixel in kept:
      expected[pixel] = np.clip(moved.reshape(4, 2)[pixel], 0, 1)
    np.testing.assert_allclose(out, expected)
  assert attacks.l0(2).contains(moved, origin).tolist() == [False]
  features = attacks.l0(2, site_axes=0)
  assert features.distance(moved, origin).tolist() == [5.0]


def test_sites_of_two_modalities_share_one_budget():
  inputs = {"a": jnp.full((2, 3, 2), 0.5), "b": jnp.full((2, 4), 0.5)}
  axes = {"a": 1, "b": 0}
  threat = attacks.l0(3, site_axes=axes)
  sample = threat.sample(KEY, inputs)
  assert threat.distance(sample, inputs).tolist() == [3.0, 3.0]
  layout = l0.sites_of(inputs, axes)
  assert layout.number == 7
  np.testing.assert_array_equal(
    layout.total(jnp.ones((1, 10))), [[2, 2, 2, 1, 1, 1, 1]]
  )
  np.testing.assert_array_equal(
    layout.spread(jnp.arange(7.0)[None]), [[0, 0, 1, 1, 2, 2, 3, 4, 5, 6]]
  )


def test_each_modality_has_sites_of_its_own():
  """Without any for the second, the first fares as it would alone."""
  both = {"a": GREY, "b": jnp.full((2, 4, 1), 0.5)}

  def of_both(key, inputs, labels):
    scored = linear(key, inputs["a"], labels)
    loss = scored.loss + 9 * jnp.mean(inputs["b"] - 0.5, (1, 2))
    return Scored(loss, scored.logits.at[:, 1].set(loss))

  oracle = attacks.white_box(of_both)
  for build, share in (
    (lambda threat: attacks.spgd(oracle, threat, steps=60), 0.9),
    (lambda threat: attacks.sparse_rs(oracle, threat, queries=300), 0.9),
    (
      lambda threat: attacks.pgd_l0(
        oracle, threat, steps=20, step_size=3.0, random_start=False
      ),
      0.9,
    ),
    (lambda threat: attacks.jsma(oracle, threat, steps=6), 0.9),
  ):

    def run(sites, build=build):
      threat = attacks.per_modality(
        {n: attacks.l0(k) for n, k in sites.items()}
      )
      result = build(threat)(KEY, both, LABELS)
      return result, threat.contains(result.inputs, both)

    run = compiled(run)
    for second in (0, 2):
      result, inside = run({"a": jnp.asarray(SITES), "b": jnp.asarray(second)})
      assert np.all(inside)
      changed = {
        name: np.any(np.asarray(moved) != 0.5, -1).reshape(2, -1).sum(1)
        for name, moved in result.inputs.items()
      }
      assert np.all(changed["a"] <= SITES)
      assert np.all(changed["b"] <= second)
      best = BEST + LEVEL + 9 * second / 8
      gained = np.asarray(result.loss) + LEVEL
      assert np.all(gained >= share * best - 1e-4), (second, gained, best)


def test_saliency_pushes_the_rival_up_and_the_others_down():
  matrix = jnp.array([[1.0, -2.0, 0.5], [3.0, 4.0, -1.0], [-1.0, 1.0, 2.0]])

  def logits(key, inputs):
    del key
    return inputs @ matrix.T + jnp.array([[0.0, -1.0, -5.0]])

  inputs = jnp.full((1, 3), 0.1)
  # Class 1 is the strongest but the label: it is the rival.
  probe, _ = jsma.saliency(logits).grad(KEY, (), inputs, jnp.zeros(1, int))
  up, down = np.array([3.0, 4, -1]), np.array([0.0, -1, 2.5])
  expected = np.where(up * down < 0, np.sign(up) * np.abs(up * down), 0)
  np.testing.assert_allclose(probe.gradient[0], expected, atol=1e-5)
  assert probe.correct[0]


def test_sparse_rs_moves_fewer_sites_as_it_goes():
  schedule = sparse_rs.share_schedule(10_000)
  assert schedule[[0, 1, 50, 51, 200, 201, 9999]].tolist() == [
    *(1, 1 / 2, 1 / 2, 1 / 4, 1 / 4, 1 / 5, 1 / 20)
  ]
  assert np.all(np.diff(schedule) <= 0)


def test_every_site_may_change():
  attack = attacks.sparse_rs(LINEAR, attacks.l0(50), queries=60)
  result = compiled(attack)(KEY, GREY, LABELS)
  assert np.all(result.loss > BEST)


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: attacks.l0(-1), "sites must lie in"),
    (lambda: attacks.l0(1, box=(0.0, np.inf)), "box must be finite"),
    (lambda: attacks.l0(1, box=0.5), "box must be a pair"),
    (lambda: l0.sites_of(jnp.ones((2, 3)), 2), "site_axes must be"),
    (lambda: sparse_pgd.spgd(LINEAR, THREAT, steps=0), "steps must be"),
    *(
      (
        lambda attack=attack, options=options: attack(
          LINEAR, attacks.linf(0.1), **options
        ),
        "threat must count sites, attacks.l0",
      )
      for attack, options in (
        (attacks.spgd, {"steps": 1}),
        (attacks.pgd_l0, {"steps": 1}),
        (attacks.sparse_rs, {"queries": 1}),
        (attacks.jsma, {"steps": 1}),
        (attacks.corner_search, {"sites": 12, "draws": 1}),
      )
    ),
    (
      lambda: attacks.spgd(
        LINEAR, attacks.per_modality({"a": THREAT}), steps=1
      )(KEY, {"b": GREY}, LABELS),
      r"for the modalities \['a'\]; the inputs have \['b'\]",
    ),
    (
      lambda: corner_search.corner_search(
        LINEAR, THREAT, sites=11, draws=1, channels=2
      )(KEY, GREY, LABELS),
      "sites and channels must be those of the inputs",
    ),
    (
      lambda: corner_search.corner_search(
        LINEAR, THREAT, sites=12, draws=1, channels=5
      ),
      "channels must be at most 4",
    ),
  ],
)
def test_bad_arguments(call, words):
  with pytest.raises(ValueError, match=words):
    call()
