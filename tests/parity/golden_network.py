"""The reference network of tests/data, as snnjax's own model.

The vectors are NCHW with dense weights over (C, H, W); snnjax is NHWC.
"""

import pathlib

import jax.numpy as jnp
import numpy as np

from snnjax import encoders, models, neurons
from snnjax.interfaces import Array, Network, Variables

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"


def load(name: str) -> dict[str, np.ndarray]:
  with np.load(DATA / f"{name}.npz", allow_pickle=False) as file:
    return dict(file)


def images(array: np.ndarray) -> Array:
  return jnp.asarray(array.transpose(0, 2, 3, 1))


def weights(golden: dict[str, np.ndarray], prefix: str) -> dict:
  dense = golden[f"{prefix}/fc.weight"].reshape(10, 16, 7, 7)

  def convolution(name: str) -> dict:
    return {
      "kernel": jnp.asarray(
        golden[f"{prefix}/{name}.weight"].transpose(2, 3, 1, 0)
      ),
      "bias": jnp.asarray(golden[f"{prefix}/{name}.bias"]),
    }

  return {
    "body": {"conv1": convolution("c1"), "conv2": convolution("c2")},
    "head": {
      "kernel": jnp.asarray(dense.transpose(2, 3, 1, 0).reshape(784, 10)),
      "bias": jnp.asarray(golden[f"{prefix}/fc.bias"]),
    },
  }


def sr_network(golden: dict[str, np.ndarray]) -> tuple[Network, Variables]:
  neuron = neurons.lif(float(golden["tau"]), 1.0)
  return _network(golden, neuron)


def assg_network(golden: dict[str, np.ndarray]) -> tuple[Network, Variables]:
  threshold = float(golden["threshold"])
  return _network(golden, neurons.convex_lif(0.5, threshold, strict=True))


def _network(golden, neuron) -> tuple[Network, Variables]:
  encoder = encoders.direct(int(golden["T"]))
  network = models.cnn((8, 16), neuron=neuron, encoder=encoder)
  return network, {"params": weights(golden, "param")}


def relative_error(got: Array, want: np.ndarray) -> float:
  want = np.asarray(want)
  return float(np.max(np.abs(np.asarray(got) - want)) / np.max(np.abs(want)))
