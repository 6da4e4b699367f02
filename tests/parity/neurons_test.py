"""The LIF layer of SR's reference code: spikes and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import backward, neurons, surrogates
from tests.parity.golden_network import load, relative_error

GOLDEN = load("neurons")
CASES = sorted({name.rsplit("/", 1)[0] for name in GOLDEN})
SURROGATES = {
  "zif": surrogates.triangle,
  "sig": surrogates.sigmoid,
  "atan": surrogates.atan,
}


def test_every_case_is_covered():
  assert len(CASES) == len(GOLDEN) // 4 > 0


@pytest.mark.parametrize("case", CASES)
def test_spikes_and_gradients(case, x64):
  mode, *family, leak, gamma = case.split("_")
  tau = float(leak.removeprefix("tau"))
  neuron = neurons.lif(tau, 1.0, strict=mode == "bptr")
  if mode == "bptr":
    rule = backward.Rga(tau, 1.0)
  else:
    sharpness = float(gamma.removeprefix("gamma"))
    rule = backward.Bptt(SURROGATES[family[0]](sharpness))
  current = jnp.asarray(GOLDEN[f"{case}/current"])
  spikes, pull = jax.vjp(lambda current: rule(neuron, current).spikes, current)
  (gradient,) = pull(jnp.asarray(GOLDEN[f"{case}/cotangent"]))
  np.testing.assert_array_equal(spikes, GOLDEN[f"{case}/spikes"])
  assert relative_error(gradient, GOLDEN[f"{case}/grad_current"]) <= 1e-6
