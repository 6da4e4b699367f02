"""Every attack under every threat against the laws all attacks obey."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, losses

SIZE = 4
CLASSES = 3
TOLERANCE = 2e-5


def image_logits(key, inputs):
  """A small smooth network, random but fixed."""
  del key
  rng = np.random.default_rng(0)
  flat = inputs.reshape(inputs.shape[0], -1)
  hidden = jnp.tanh(flat @ rng.normal(size=(16, 8)).astype(np.float32))
  return hidden @ rng.normal(size=(8, CLASSES)).astype(np.float32)


def fused_logits(key, inputs):
  seen = inputs["events"].reshape(inputs["events"].shape[0], 2, 4, 4)
  return image_logits(key, inputs["image"]) + image_logits(key, seen[:, 0] ** 2)


def batch(modalities, rows=SIZE):
  rng = np.random.default_rng(1)
  image = jnp.asarray(rng.random((rows, 4, 4, 1)), jnp.float32)
  events = jnp.asarray(rng.random((rows, 2, 4, 4, 1)), jnp.float32)
  labels = jnp.asarray(rng.integers(0, CLASSES, rows))
  return ({"image": image, "events": events} if modalities else image), labels


LOSSES = {
  False: jax.jit(losses.scored(image_logits, losses.cross_entropy)),
  True: jax.jit(losses.scored(fused_logits, losses.cross_entropy)),
}


def flat(array):
  return np.asarray(array, np.float64).reshape(len(array), -1)


def norm_linf(delta):
  return np.abs(delta).max(1)


def norm_l2(delta):
  return np.sqrt((delta**2).sum(1))


def norm_l1(delta):
  return np.abs(delta).sum(1)


def norm_l0(delta):
  return (delta != 0).sum(1)


class Case(NamedTuple):
  """A threat scaled by `size`, and NumPy's view of how much of it is spent."""

  threat: object
  spent: object
  modalities: bool = False
  step: object = 0.4


def single(make, radius, norm):
  return Case(
    lambda size: make(size * radius),
    lambda moved, clean: norm(flat(moved) - flat(clean)) / radius,
    step=0.4 * radius,
  )


def separate(moved, clean):
  image = norm_linf(flat(moved["image"]) - flat(clean["image"])) / 0.1
  events = norm_l1(flat(moved["events"]) - flat(clean["events"])) / 1.5
  return np.maximum(image, events)


def only_events(moved, clean):
  assert np.array_equal(moved["image"], clean["image"])
  return norm_l2(flat(moved["events"]) - flat(clean["events"])) / 0.6


def together(moved, clean):
  delta = [
    weight * (flat(moved[name]) - flat(clean[name]))
    for name, weight in (("image", 1.0), ("events", 0.3))
  ]
  return norm_l2(np.concatenate(delta, 1)) / 0.5


THREATS = {
  "linf": single(attacks.linf, 0.1, norm_linf),
  "l2": single(attacks.l2, 0.5, norm_l2),
  "l1": single(attacks.l1, 1.5, norm_l1),
  "l0": single(attacks.l0, 4, norm_l0),
  "separate": Case(
    lambda size: attacks.per_modality(
      {"image": attacks.linf(0.1 * size), "events": attacks.l1(1.5 * size)}
    ),
    separate,
    True,
    {"image": 0.04, "events": 0.6},
  ),
  "frozen": Case(
    lambda size: attacks.per_modality(
      {"image": attacks.frozen(), "events": attacks.l2(0.6 * size)}
    ),
    only_events,
    True,
    0.2,
  ),
  "joint": Case(
    lambda size: attacks.joint(
      attacks.l2, 0.5 * size, {"image": 1.0, "events": 0.3}
    ),
    together,
    True,
    0.2,
  ),
}

ATTACKS = {
  "fgsm": lambda loss, threat, step: attacks.fgsm(loss, threat),
  "r_fgsm": lambda loss, threat, step: attacks.r_fgsm(loss, threat),
  "bim": lambda loss, threat, step: attacks.bim(
    loss, threat, step_size=step, steps=3
  ),
  "pgd": lambda loss, threat, step: attacks.pgd(
    loss, threat, step_size=step, steps=3, restarts=2
  ),
  "pgd_best_loss": lambda loss, threat, step: attacks.pgd(
    loss, threat, step_size=step, steps=2, keep=attacks.best_loss
  ),
  "mi_fgsm": lambda loss, threat, step: attacks.mi_fgsm(
    loss, threat, step_size=step, steps=3
  ),
  "targeted": lambda loss, threat, step: attacks.pgd(
    attacks.white_box(loss, targeted=True), threat, step_size=step, steps=3
  ),
  "random_noise": lambda loss, threat, step: attacks.random_noise(
    loss, threat, draws=3
  ),
  "sa_pgd": lambda loss, threat, step: attacks.sa_pgd(loss, threat, steps=3),
  "sa_pgd_steepest": lambda loss, threat, step: attacks.sa_pgd_steepest(
    loss, threat, steps=3
  ),
  "worst_of": lambda loss, threat, step: attacks.worst_of(
    [
      attacks.fgsm(loss, threat),
      attacks.random_noise(loss, threat, draws=2),
    ]
  ),
  "gradient_mean": lambda loss, threat, step: attacks.bim(
    attacks.gradient_mean(
      [attacks.white_box(loss), attacks.nes(loss, draws=2)]
    ),
    threat,
    step_size=step,
    steps=2,
  ),
  "spsa": lambda loss, threat, step: attacks.pgd(
    attacks.spsa(loss, draws=4), threat, step_size=step, steps=3
  ),
  "transfer": lambda loss, threat, step: attacks.transfer(
    [attacks.fgsm(loss, threat)], loss
  ),
  "pgd_l0": lambda loss, threat, step: attacks.pgd_l0(
    loss, threat, steps=3, step_size=4.0
  ),
  "spgd": lambda loss, threat, step: attacks.spgd(loss, threat, steps=6),
  "sparse_rs": lambda loss, threat, step: attacks.sparse_rs(
    loss, threat, queries=8
  ),
  "jsma": lambda loss, threat, step: attacks.jsma(
    attacks.white_box(loss), threat, steps=5
  ),
  "corner_search": lambda loss, threat, step: attacks.corner_search(
    loss, threat, sites=16, draws=4
  ),
  "sigma_zero": lambda loss, threat, step: attacks.within(
    attacks.sigma_zero(loss, steps=12), loss, threat
  ),
  "boundary": lambda loss, threat, step: attacks.within(
    attacks.boundary(loss, threat, rounds=2, halvings=4, draws=4), loss, threat
  ),
  "auto_pgd": lambda loss, threat, step: attacks.auto_pgd(
    loss, threat, steps=6, restarts=2
  ),
  "shrinking_auto_pgd": lambda loss, threat, step: attacks.shrinking_auto_pgd(
    loss, threat, steps=6
  ),
  "targeted_auto_pgd": lambda loss, threat, step: attacks.within(
    attacks.targeted_auto_pgd(
      logits_of(loss), threat, steps=5, loss=losses.targeted_margin_loss
    ),
    loss,
    threat,
  ),
  "slide": lambda loss, threat, step: attacks.slide(
    loss, threat, step_size=step, steps=3, quantile=0.9
  ),
  "square": lambda loss, threat, step: attacks.square(loss, threat, queries=12),
  "fab": lambda loss, threat, step: limited(
    attacks.fab(logits_of(loss), threat, steps=8, restarts=2), loss, threat
  ),
  "targeted_fab": lambda loss, threat, step: limited(
    attacks.targeted_fab(logits_of(loss), threat, steps=8), loss, threat
  ),
  "deepfool": lambda loss, threat, step: limited(
    attacks.deepfool(logits_of(loss), threat, steps=6), loss, threat
  ),
  "carlini_wagner": lambda loss, threat, step: limited(
    attacks.carlini_wagner(
      logits_of(loss), threat, steps=20, searches=3, step_size=0.1, weight=0.1
    ),
    loss,
    threat,
  ),
  "ead": lambda loss, threat, step: limited(
    attacks.ead(
      logits_of(loss), threat, steps=20, searches=3, step_size=0.1, weight=0.1
    ),
    loss,
    threat,
  ),
}


def logits_of(loss):
  def logits(key, inputs):
    rows = jax.tree.leaves(inputs)[0].shape[0]
    return loss(key, inputs, jnp.zeros(rows, int)).logits

  return logits


def limited(attack, loss, threat):
  return attacks.within(attacks.as_attack(attack), loss, threat)


def compiled(attack, case, traces=None):
  """The attack with the threat's size as an argument, compiled."""
  loss = losses.scored(
    fused_logits if case.modalities else image_logits, losses.cross_entropy
  )

  def run(size, key, inputs, labels):
    if traces is not None:
      traces.append(1)
    return ATTACKS[attack](loss, case.threat(size), case.step)(
      key, inputs, labels
    )

  # Hundreds of tiny programs: unoptimised code costs half to compile.
  fast = {"xla_backend_optimization_level": 0}
  return jax.jit(run, compiler_options=fast), LOSSES[case.modalities]


def assert_trees_equal(first, second):
  jax.tree.map(np.testing.assert_array_equal, first, second)


# Variants of another attack or threat meet only some of the rest.
FEW_THREATS = {
  "pgd_best_loss": ("l1",),
  "targeted": ("separate",),
  "sa_pgd": ("linf", "separate"),
  "sa_pgd_steepest": ("l2", "l1", "separate", "joint"),
  "worst_of": ("l1",),
  "gradient_mean": ("l2",),
  "spsa": ("separate",),
  "transfer": ("separate",),
  "pgd_l0": ("l0",),
  "spgd": ("l0",),
  "sparse_rs": ("l0",),
  "jsma": ("l0",),
  "corner_search": ("l0",),
  "sigma_zero": ("l0",),
  "boundary": ("l2",),
  "auto_pgd": ("l1", "separate"),
  "shrinking_auto_pgd": ("l1",),
  "targeted_auto_pgd": ("l2",),
  "slide": ("l1",),
  "square": ("linf", "joint"),
  "fab": ("l1",),
  "targeted_fab": ("joint",),
  "deepfool": ("l2", "l1"),
  "carlini_wagner": ("joint",),
  "ead": ("l1",),
}
SPARSE = ("pgd_l0", "spgd", "sparse_rs", "jsma", "corner_search", "sigma_zero")
FEW_ATTACKS = {
  "frozen": ("pgd",),
  "joint": (
    "pgd",
    "fgsm",
    "sa_pgd_steepest",
    "square",
    "targeted_fab",
    "carlini_wagner",
  ),
  "l0": (*SPARSE, "random_noise"),
}


@pytest.mark.parametrize(
  ("attack", "threat"),
  [
    (attack, threat)
    for attack in ATTACKS
    for threat in THREATS
    if threat in FEW_THREATS.get(attack, THREATS)
    and attack in FEW_ATTACKS.get(threat, ATTACKS)
  ],
)
def test_laws(attack, threat):
  case = THREATS[threat]
  traces = []
  run, loss = compiled(attack, case, traces)
  inputs, labels = batch(case.modalities)
  key = jax.random.key(0)
  result = run(1.0, key, inputs, labels)

  # Inside ball and box, by NumPy.
  assert np.all(case.spent(result.inputs, inputs) <= 1 + TOLERANCE)
  for leaf in jax.tree.leaves(result.inputs):
    assert np.all(np.isfinite(leaf) & (leaf >= 0) & (leaf <= 1))
  assert np.any(case.spent(result.inputs, inputs) > 0.1)

  # What is reported is true of the point returned, and no worse than clean.
  sign = -1 if attack == "targeted" else 1
  clean, after = (loss(key, x, labels) for x in (inputs, result.inputs))
  np.testing.assert_allclose(result.loss, sign * after.loss, atol=1e-5)
  hit = np.argmax(after.logits, 1) == labels
  np.testing.assert_array_equal(result.success, hit == (sign < 0))
  before = (np.argmax(clean.logits, 1) == labels) == (sign < 0)
  assert np.all(result.success | ~before)
  same = np.asarray(result.success == before) | (attack == "pgd_best_loss")
  assert np.all((result.loss >= sign * clean.loss - 1e-5)[same])

  # The same key gives the same bits, and a radius of zero changes nothing.
  assert_trees_equal(run(1.0, key, inputs, labels), result)
  assert_trees_equal(run(0.0, key, inputs, labels).inputs, inputs)

  # A sweep over radii is one program.
  run(0.5, key, inputs, labels)
  assert len(traces) == 1


@pytest.mark.parametrize(
  ("attack", "threat"),
  [
    ("pgd", "separate"),
    ("random_noise", "l1"),
    ("sparse_rs", "l0"),
    ("boundary", "l2"),
  ],
)
def test_an_example_does_not_depend_on_its_batch(attack, threat):
  case = THREATS[threat]
  run, _ = compiled(attack, case)
  inputs, labels = batch(case.modalities, rows=7)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(3), jnp.arange(7)
  )
  whole = run(1.0, keys, inputs, labels)
  order = np.array([4, 2, 6, 0, 5, 1, 3])
  pick = lambda tree, rows: jax.tree.map(lambda leaf: leaf[rows], tree)  # noqa: E731
  shuffled = run(1.0, keys[order], pick(inputs, order), labels[order])
  alone = [
    run(1.0, keys[i : i + 1], pick(inputs, slice(i, i + 1)), labels[i : i + 1])
    for i in range(7)
  ]
  singles = jax.tree.map(lambda *leaves: np.concatenate(leaves), *alone)
  close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4)  # noqa: E731
  jax.tree.map(close, singles, whole)
  jax.tree.map(close, shuffled, pick(whole, order))
  # A scalar key stands for its fold with each index.
  scalar = run(1.0, jax.random.key(3), inputs, labels)
  jax.tree.map(close, scalar, whole)


def test_sharded_equals_single_device():
  case = THREATS["separate"]
  run, _ = compiled("pgd", case)
  inputs, labels = batch(case.modalities)
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
  case = THREATS["l2"]
  run, _ = compiled("bim", case)
  inputs, labels = batch(False)
  sizes = jnp.array([0.0, 0.5, 1.0])
  stacked = jax.vmap(run, (0, None, None, None))(
    sizes, jax.random.key(0), inputs, labels
  )
  for row, size in enumerate(sizes):
    one = run(size, jax.random.key(0), inputs, labels)
    np.testing.assert_allclose(stacked.inputs[row], one.inputs, atol=1e-5)


def test_eager_equals_compiled():
  case = THREATS["linf"]
  run, loss = compiled("bim", case)
  inputs, labels = batch(False)
  eager = ATTACKS["bim"](loss, case.threat(1.0), case.step)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    eager(jax.random.key(0), inputs, labels),
    run(1.0, jax.random.key(0), inputs, labels),
  )


def test_different_keys_give_different_noise():
  run, _ = compiled("random_noise", THREATS["linf"])
  inputs, labels = batch(False)
  first = run(1.0, jax.random.key(0), inputs, labels)
  second = run(1.0, jax.random.key(1), inputs, labels)
  assert np.all(first.loss != second.loss)
