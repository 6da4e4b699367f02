"""Reference vectors of published attacks, on the network of sr_step.npz.

The adversarial images are torchattacks 3.5.1's on the SR reference code's
network. Its gradient is our `Bptt` with the triangle surrogate of width 1,
through a reset that is differentiated. Those attacks return their last
iterate, so ours are told to.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, backward, encoders, neurons, surrogates
from snnjax.models import classifier, cnn

DATA = pathlib.Path(__file__).parents[1] / "data"


def load(name):
  with np.load(DATA / name, allow_pickle=False) as archive:
    return dict(archive)


def images(array):
  """NCHW as NHWC."""
  return jnp.asarray(np.transpose(array, (0, 2, 3, 1)))


@pytest.fixture
def golden(x64):
  """The reference attacks, with the network's loss, inputs and labels."""
  step, expected = load("sr_step.npz"), load("attacks.npz")
  network = cnn(
    (8, 16),
    neuron=neurons.lif(float(step["tau"])),
    encoder=encoders.direct(int(step["T"])),
  )
  # The reference flattens channels first, we flatten them last.
  head = step["param/fc.weight"].reshape(10, 16, 7, 7).transpose(2, 3, 1, 0)
  kernels = {
    "conv1": step["param/c1.weight"].transpose(2, 3, 1, 0),
    "conv2": step["param/c2.weight"].transpose(2, 3, 1, 0),
    "head": head.reshape(784, 10),
  }
  biases = {"conv1": "c1", "conv2": "c2", "head": "fc"}
  inputs = images(step["x"])

  def reference(path, leaf):
    *_, layer, kind = (entry.key for entry in path)
    value = (
      kernels[layer]
      if kind == "kernel"
      else step[f"param/{biases[layer]}.bias"]
    )
    return jnp.asarray(value).reshape(leaf.shape)

  variables = jax.tree_util.tree_map_with_path(
    reference, jax.eval_shape(network.init, jax.random.key(0), inputs)
  )
  rule = backward.Bptt(surrogates.triangle(1.0))
  logits = classifier(network, variables, rule=rule)
  return expected, logits, inputs, jnp.asarray(step["y"])


def attack(name, logits, epsilon):
  linf, last = attacks.linf(epsilon), attacks.last
  if name == "fgsm":
    return attacks.fgsm(logits, linf, keep=last)
  if name == "pgd_linf_10":
    return attacks.bim(logits, linf, step_size=epsilon / 4, steps=10, keep=last)
  if name == "pgd_l2_10":
    return attacks.bim(
      logits, attacks.l2(1.0), step_size=0.2, steps=10, keep=last
    )
  return attacks.mi_fgsm(
    logits, linf, step_size=epsilon / 4, steps=10, decay=1.0, keep=last
  )


@pytest.mark.parametrize(
  "name", ["fgsm", "pgd_linf_10", "pgd_l2_10", "mifgsm_10"]
)
def test_torchattacks(golden, name):
  expected, logits, inputs, labels = golden
  run = jax.jit(attack(name, logits, float(expected["eps"])))
  result = run(jax.random.key(0), inputs, labels)
  moved = images(expected[name]) - inputs
  error = jnp.linalg.norm(result.inputs - inputs - moved)
  assert error <= 1e-6 * jnp.linalg.norm(moved)
  np.testing.assert_allclose(result.loss, expected[f"{name}/ce"], rtol=1e-6)


def test_the_strongest_iterate_is_no_weaker(golden):
  expected, logits, inputs, labels = golden
  run = attacks.bim(logits, attacks.l2(1.0), step_size=0.2, steps=10)
  best = jax.jit(run)(jax.random.key(0), inputs, labels)
  assert np.all(best.success)
  assert np.all(best.loss >= expected["pgd_l2_10/ce"] - 1e-9)


def test_l1_projection(x64):
  """Onto ball and box together, by the AutoAttack authors' code."""
  expected, step = load("attacks.npz"), load("sr_step.npz")
  origin = jnp.asarray(step["x"])
  threat = attacks.l1(float(expected["l1_projection_eps"]))
  moved = threat.project(origin + expected["l1_projection_in"], origin)
  wanted = expected["l1_projection_out"]
  error = np.linalg.norm(moved - origin - wanted)
  assert error <= 1e-6 * np.linalg.norm(wanted)
