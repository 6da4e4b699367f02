"""Who is in a batch with an example does not change a bit of its results.

Asked at one size of the batch, which is what an evaluation has: another size
is another program, that may round otherwise. But for the rules that say that
they take statistics of the batch.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.building import build
from snnjax import attacks, backward, encoders, losses, models, neurons
from snnjax.backward import assg, pdsg
from snnjax.models.layers import BatchNorm
from snnjax.surrogates import atan, triangle
from tests import smooth_network, tiny_runs
from tests.laws.forward_test import RULES

FAST = smooth_network.fastest()
RNG = np.random.default_rng(3)
IMAGES = jnp.asarray(RNG.uniform(size=(12, 8, 8, 2)), jnp.float32)
LABELS = jnp.asarray(RNG.integers(0, 4, 12))
KEYS = jax.random.split(jax.random.key(0), 12)
# The first two stay where they are; the others are exchanged.
COMPANY = np.arange(7), np.r_[np.arange(2), np.arange(7, 12)]
NETWORKS = {
  "cnn": models.cnn(
    (6,),
    encoder=encoders.direct(4),
    neuron=neurons.lif(0.5, 0.5),
    hidden=(8,),
    norm=BatchNorm,
    classes=4,
  ),
  "mlp": models.mlp(
    (12, 8),
    encoder=encoders.poisson(4),
    neuron=neurons.lif(0.5, 0.5),
    classes=4,
  ),
}
VARIABLES = {
  name: network.init(jax.random.key(1), IMAGES)
  for name, network in NETWORKS.items()
}


def probed(network, rule):
  """Returns logits and loss gradients of the first two, by company."""
  logits = models.classifier(NETWORKS[network], VARIABLES[network], rule=rule)
  oracle = attacks.white_box(losses.scored(logits, losses.cross_entropy))

  def run(keys, images, labels):
    probe, _ = oracle.grad(keys, (), images, labels)
    return logits(keys, images), probe.gradient

  program = jax.jit(run, compiler_options=FAST)
  return [
    jax.tree.map(
      lambda leaf: leaf[:2], program(KEYS[rows], IMAGES[rows], LABELS[rows])
    )
    for rows in COMPANY
  ]


def equal(one, other):
  return all(
    np.array_equal(a, b)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  )


@pytest.mark.parametrize(
  ("name", "network"),
  [
    *((name, "cnn") for name in RULES),
    *((name, "mlp") for name in ("pdsg", "assg", "bptt_atan")),
  ],
)
def test_only_a_rule_that_says_so_depends_on_the_batch(name, network):
  (first, slope), (again, other) = probed(network, RULES[name])
  assert np.any(slope != 0)
  assert equal(first, again)
  assert equal(slope, other) != backward.depends_on_batch(RULES[name])


def test_the_rules_that_take_statistics_of_the_batch():
  taking = {n for n, rule in RULES.items() if backward.depends_on_batch(rule)}
  assert taking == {"pdsg"}
  plain, own = backward.Bptt(atan()), pdsg.Pdsg()
  assert backward.depends_on_batch(backward.PerLayer({"a": own}, plain))
  assert backward.depends_on_batch(backward.PerLayer({"a": plain}, own))
  assert not backward.depends_on_batch(backward.PerLayer({"a": plain}, plain))
  assert not backward.depends_on_batch(assg.assg_rule())
  assert not backward.depends_on_batch(backward.Hart(triangle()))


@pytest.mark.parametrize("remat", ["false", "true"])
def test_a_rule_by_name_says_the_same(remat):
  made = tiny_runs.config({"model.remat": remat})
  names = build.rule_names(made)
  assert {n for n in names if build.depends_on_batch(made, n)} == {"pdsg"}
