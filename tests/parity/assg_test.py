"""ASSG and SA-PGD against numbers of the ASSG authors' code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, losses
from snnjax.attacks.gradient import sa_pgd
from tests.parity.golden_network import (
  assg_network,
  images,
  load,
  relative_error,
)


@pytest.fixture
def golden(x64):
  vectors = load("assg")
  network, variables = assg_network(vectors)
  oracle = attacks.assg(network, variables, losses.cross_entropy)
  return vectors, oracle, images(vectors["x"]), jnp.asarray(vectors["y"])


def test_three_calls(golden):
  vectors, oracle, inputs, labels = golden
  state = oracle.init(inputs)
  grad = jax.jit(oracle.grad)
  for call in range(3):
    probe, state = grad(jax.random.key(0), state, inputs, labels)
    wanted = images(vectors[f"grad/assg_call{call}"])
    assert relative_error(probe.gradient, wanted) <= 1e-6


def test_sa_pgd(golden):
  vectors, oracle, inputs, labels = golden
  threat = attacks.linf(float(vectors["sapgd_eps"]))
  steps = int(vectors["sapgd_steps"])
  start = images(vectors["sapgd_init"])
  stepper = sa_pgd.stable_steps(threat.radius, steps)

  def run(keep):
    attack = attacks.ascend(
      oracle,
      stepper,
      threat,
      steps=steps,
      start=lambda key, origin: start,
      keep=keep,
    )
    return jax.jit(attack)(jax.random.key(0), inputs, labels)

  best = run(attacks.best_loss)
  moved = images(vectors["sapgd_best"]) - inputs
  assert relative_error(best.inputs - inputs, moved) <= 1e-6
  np.testing.assert_allclose(best.loss, vectors["sapgd_loss"], rtol=1e-6)
  robust = ~run(attacks.success_then_loss).success
  np.testing.assert_array_equal(robust, vectors["sapgd_robust"])
