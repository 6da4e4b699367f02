"""Auto-PGD against the vectors of its authors' code, 20 steps each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, backward, losses, surrogates
from snnjax.models import classifier
from tests.parity import golden_network

THREATS = {"Linf": attacks.linf, "L2": attacks.l2, "L1": attacks.l1}
LOSSES = {"ce": losses.cross_entropy, "dlr": losses.dlr}
STEPS = 20


def damped(threat):
  """The l2 threat whose direction is theirs: g / (||g||_2 + 1e-12).

  It matters where the label is third among the logits: DLR is flat there but
  for the 1e-12 in its own denominator.
  """

  def ascent(gradient, candidate):
    del candidate
    norm = jnp.sqrt(jnp.sum(gradient**2, (1, 2, 3), keepdims=True))
    return gradient / (norm + 1e-12)

  return threat._replace(ascent=ascent)


def relative_error(inputs, expected, clean):
  moved = golden_network.images(expected) - clean
  return jnp.linalg.norm(inputs - clean - moved) / jnp.linalg.norm(moved)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norm", THREATS)
def test_auto_pgd(x64, norm, loss):
  golden = golden_network.load("sr_step")
  expected = golden_network.load("attacks")
  network, variables = golden_network.sr_network(golden)
  rule = backward.Bptt(surrogates.triangle(1.0))
  source = losses.scored(
    classifier(network, variables, rule=rule), LOSSES[loss]
  )
  threat = THREATS[norm](float(expected[f"apgd_{norm}_eps"]))
  first = golden_network.images(expected[f"apgd_{norm}_init"])
  clean, labels = golden_network.images(golden["x"]), jnp.asarray(golden["y"])

  def run(keep):
    attack = attacks.auto_pgd(
      source,
      damped(threat) if norm == "L2" else threat,
      steps=STEPS,
      start=lambda key, origin: first,
      keep=keep,
    )
    return attack(jax.random.key(0), clean, labels)

  best = jax.jit(lambda: run(attacks.best_loss))()
  name = f"apgd_{norm}_{loss}"
  assert relative_error(best.inputs, expected[f"{name}_best"], clean) <= 1e-6
  np.testing.assert_allclose(best.loss, expected[f"{name}_loss"], rtol=1e-6)
  robust = expected[f"{name}_robust"]
  assert not np.any(best.success & robust)
  if np.any(robust):
    strongest = jax.jit(lambda: run(attacks.strongest))()
    np.testing.assert_array_equal(~strongest.success, robust)
