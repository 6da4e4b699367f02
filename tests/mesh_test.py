"""Work split over devices: the same numbers, and each device its share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import (
  attacks,
  backward,
  encoders,
  evaluation,
  models,
  neurons,
  sharding,
  surrogates,
)
from snnjax.backward import pdsg
from snnjax.evaluation import Trial, gradients
from tests import tiny_runs

RNG = np.random.default_rng(0)
RULE = backward.Bptt(surrogates.triangle())
NETWORK = models.mlp(
  (8,), neuron=neurons.lif(0.5, 0.5), encoder=encoders.poisson(2)
)
INPUTS = RNG.uniform(size=(11, 4, 4, 1)).astype(np.float32)
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def mesh():
  return sharding.over_devices(jax.devices()[:2])


@functools.cache
def variables():
  """Called where nothing is traced."""
  return NETWORK.init(jax.random.key(0), INPUTS[:1])


def own(weights, key, inputs):
  return NETWORK.apply(weights, inputs, rule=RULE, key=key).logits


def mixing(weights, key, inputs):
  """Its gradients read statistics of the batch: who is beside whom matters."""
  return NETWORK.apply(weights, inputs, rule=pdsg.Pdsg(), key=key).logits


def pgd(view, weights, radius):
  threat = attacks.linf(radius)
  logits = jax.tree_util.Partial(view, weights)
  attack = attacks.pgd(logits, threat, step_size=radius / 2, steps=1)
  return Trial(attack, threat)


PGD = {view.__name__: functools.partial(pgd, view) for view in (own, mixing)}


def chunks(mesh, labels, **options):
  cases = {
    name: jax.tree_util.Partial(build, variables(), jnp.asarray(0.05))
    for name, build in PGD.items()
  }
  judge = jax.tree_util.Partial(own, variables())
  return list(
    evaluation.stream(
      cases, judge, INPUTS, labels, key=KEY, microbatch=2, mesh=mesh, **options
    )
  )


@pytest.fixture(scope="module")
def labels():
  """What the network says of all but the first two examples."""
  keys = jax.random.split(KEY, len(INPUTS))
  said = np.array(jnp.argmax(own(variables(), keys, INPUTS), 1))
  return np.where(np.arange(len(said)) < 2, (said + 1) % 10, said)


def same(one, other):
  assert [c.stage for c in one] == [c.stage for c in other]
  assert [c.budget for c in one] == [c.budget for c in other]
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)


def test_an_evaluation_has_the_chunks_of_one_device(mesh, labels):
  """Bit for bit, also where an odd microbatch is left, and of a rest."""
  alone = chunks(None, labels)
  assert [len(c.indices) for c in alone[:6]] == [2, 2, 2, 2, 2, 1]
  assert {c.stage for c in alone} == {"clean", "own", "mixing"}
  told = []
  split = chunks(mesh, labels, progress=lambda *words: told.append(words))
  same(split, alone)
  assert [done for done, _, stage in told if stage == "clean"] == [0, 4, 8, 11]
  # Stopped on two devices, gone on with on one, and the other way round.
  for before, after in ((mesh, None), (None, mesh)):
    first = chunks(before, labels)[:7]
    same([*first, *chunks(after, labels, finished=first)], alone)


def test_a_measurement_is_that_of_one_device(mesh, labels):
  @jax.jit
  def scaled(factor, logits, keys, inputs, labels):
    scores = factor * logits(keys, inputs)
    return {"scores": scores, "own": scores[jnp.arange(len(labels)), labels]}

  def measured(mesh):
    return gradients.in_microbatches(
      jax.tree_util.Partial(scaled, jnp.asarray(3.0)),
      jax.tree_util.Partial(own, variables()),
      jnp.asarray(INPUTS),
      jnp.asarray(labels),
      key=KEY,
      microbatch=2,
      mesh=mesh,
    )

  assert tiny_runs.same(measured(mesh), measured(None)) == 2
