"""Input gradients under the backward rules of the ASSG authors' code."""

import jax
import numpy as np
import pytest

from snnjax import backward, input_gradients, losses, models, surrogates
from snnjax.backward import pdsg
from tests.parity.golden_network import (
  assg_network,
  images,
  load,
  relative_error,
)

RULES = {
  "stbp_atan2": lambda: backward.Bptt(surrogates.atan(2.0), detach_reset=True),
  "rga": lambda: backward.Rga(leak=0.5, threshold=0.5),
  "bptr": lambda: backward.Bptr(),
  "hart": lambda: backward.Hart(surrogates.atan(2.0)),
  "pdsg": pdsg.Pdsg,
}


@pytest.mark.parametrize("name", RULES)
def test_input_gradients(name, x64):
  golden = load("assg")
  network, variables = assg_network(golden)
  logits = models.classifier(network, variables, rule=RULES[name]())
  inputs, labels = images(golden["x"]), jax.numpy.asarray(golden["y"])

  def loss(key, inputs, labels):
    return losses.cross_entropy(logits(key, inputs), labels)

  np.testing.assert_allclose(
    logits(jax.random.key(0), inputs), golden["logits"], rtol=1e-6
  )
  gradient = input_gradients.summed(loss)(jax.random.key(0), inputs, labels)
  assert relative_error(gradient, images(golden[f"grad/{name}"])) <= 1e-6
