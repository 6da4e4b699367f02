"""Auto-PGD against the vectors of its authors' code, 20 steps each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, backward, losses, surrogates
from snnjax.models import classifier
from tests.parity import golden_network

THREATS = {"Linf": attacks.linf, "L2": attacks.l2, "L1": attacks.l1}
STEPS = 20


def authors_dlr(logits, labels):
  """DLR as its authors' code has it, with its rounding.

  Where the label is third among the logits nothing but the 1e-12 of the
  denominator has a slope, below the rounding of this quotient's two summands.
  `losses.dlr` has that slope to its last digits, theirs to three: in l2, whose
  step grows with such a gradient, the difference is half a percent of the
  perturbation.
  """
  rows = jnp.arange(len(labels))
  ordered = jnp.sort(logits, axis=1)
  top = (jnp.argmax(logits, axis=1) == labels).astype(logits.dtype)
  rival = ordered[:, -2] * top + ordered[:, -1] * (1 - top)
  spread = ordered[:, -1] - ordered[:, -3] + 1e-12
  return -(logits[rows, labels] - rival) / spread


LOSSES = {"ce": losses.cross_entropy, "dlr": authors_dlr}


def test_dlr_has_the_values_and_slopes_of_its_authors(x64):
  logits = jax.random.normal(jax.random.key(0), (64, 10))
  labels = jnp.argsort(logits, axis=1)[jnp.arange(64), jnp.arange(64) % 10]
  third = jnp.argsort(logits, axis=1)[:, -3] == labels
  assert 0 < np.sum(third) < 64
  np.testing.assert_allclose(
    losses.dlr(logits, labels), authors_dlr(logits, labels), rtol=1e-12
  )

  def slopes(loss):
    return jax.grad(lambda z: jnp.sum(loss(z, labels)))(logits)

  own, theirs = slopes(losses.dlr), slopes(authors_dlr)
  np.testing.assert_allclose(own[~third], theirs[~third], rtol=1e-9, atol=1e-12)
  assert np.max(np.abs(own[third])) < 1e-10
  assert np.max(np.abs(theirs[third])) < 1e-10


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
  logits = classifier(network, variables, rule=rule)
  threat = THREATS[norm](float(expected[f"apgd_{norm}_eps"]))
  first = golden_network.images(expected[f"apgd_{norm}_init"])
  clean, labels = golden_network.images(golden["x"]), jnp.asarray(golden["y"])

  def run(keep):
    attack = attacks.auto_pgd(
      logits,
      damped(threat) if norm == "L2" else threat,
      loss=LOSSES[loss],
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
    strongest = jax.jit(lambda: run(attacks.success_then_loss))()
    np.testing.assert_array_equal(~strongest.success, robust)
