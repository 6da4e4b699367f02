"""One SR training step against the reference numbers, in double precision.

The reference is the SR authors' implementation; the network here is the
package's own, with the reference's weights in our layouts.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import input_gradients, losses, neurons, regularizers, surrogates
from snnjax.backward.rules import Bptt
from snnjax.encoders import direct
from snnjax.models import cnn

DATA = pathlib.Path(__file__).parents[1] / "data" / "sr_step.npz"
SIDE = 7  # of the last feature map, which the reference flattens as CHW
LAYERS = {
  "c1": ("body", "conv1"),
  "c2": ("body", "conv2"),
  "fc": ("head",),
}

pytestmark = pytest.mark.usefixtures("x64")


def in_our_layout(array):
  """OIHW to HWIO, CHW-flattened rows to HWC-flattened columns."""
  if array.ndim == 4:
    return array.transpose(2, 3, 1, 0)
  if array.ndim == 2:
    maps = array.reshape(len(array), -1, SIDE, SIDE)
    return maps.transpose(2, 3, 1, 0).reshape(-1, len(array))
  return array


def images(array):
  return jnp.asarray(array.transpose(0, 2, 3, 1))


def assert_close(ours, reference):
  """Relative error of the whole array, and of every entry that matters."""
  ours, reference = np.asarray(ours), np.asarray(reference)
  assert ours.dtype == np.float64
  assert ours.shape == reference.shape
  peak = np.abs(reference).max()
  assert np.linalg.norm(ours - reference) <= 1e-6 * np.linalg.norm(reference)
  np.testing.assert_allclose(ours, reference, rtol=1e-6, atol=1e-9 * peak)


def leaf(tree, path):
  for name in path:
    tree = tree[name]
  return tree


@pytest.fixture
def golden():
  with np.load(DATA, allow_pickle=False) as archive:
    return dict(archive)


@pytest.fixture
def step(golden):
  """The reference's inputs, labels, weights and forward function."""
  network = cnn(
    (8, 16),
    neuron=neurons.lif(float(golden["tau"]), 1.0),
    encoder=direct(int(golden["T"])),
  )
  inputs, labels = images(golden["x"]), jnp.asarray(golden["y"])
  shapes = jax.eval_shape(network.init, jax.random.key(0), inputs)
  params = jax.tree.map(lambda leaf: None, shapes["params"])
  for name, path in LAYERS.items():
    leaf(params, path).update(
      kernel=jnp.asarray(in_our_layout(golden[f"param/{name}.weight"])),
      bias=jnp.asarray(golden[f"param/{name}.bias"]),
    )
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(
    jnp.shape, shapes["params"]
  )
  rule = Bptt(surrogates.triangle(1.0))

  def forward(params, key, inputs):
    result = network.apply(
      {**shapes, "params": params}, inputs, rule=rule, key=key
    )
    return result.logits, result.traces

  return inputs, labels, params, forward


CONFIDENCES = {
  "rival_prob": losses.rival_probability,
  "softmax_prob": losses.softmax_probability,
}


@pytest.mark.parametrize("gradients", ["summed", "per_example"])
def test_input_gradients(golden, step, gradients):
  inputs, labels, params, forward = step
  studied = {
    f"{name}_grad": losses.against_rival(confidence)
    for name, confidence in CONFIDENCES.items()
  }
  studied["ce_grad"] = losses.cross_entropy
  for name, loss in studied.items():
    fn = losses.composed(lambda k, x: forward(params, k, x)[0], loss)
    evaluate = {
      "summed": input_gradients.value_and_summed,
      "per_example": input_gradients.value_and_per_example,
    }[gradients](fn)
    value, ours = jax.jit(evaluate)(jax.random.key(0), inputs, labels)
    reference = np.asarray(images(golden[name]))
    if name == "ce_grad":
      assert_close(jnp.mean(value), golden["ce"])
    else:
      assert_close(value, golden[name.removesuffix("_grad")])
    assert_close(ours, reference)


def test_logits_and_firing_rates(golden, step):
  inputs, _, params, forward = step
  logits, _ = jax.jit(forward)(params, jax.random.key(0), inputs)
  assert_close(logits, golden["logits"])
  # The reference's rates are those of its last forward pass, at x + h d.
  direction = jnp.sign(images(golden["rival_prob_grad"]))
  moved = input_gradients.advance(inputs, direction, float(golden["h"]))
  _, traces = jax.jit(forward)(params, jax.random.key(0), moved)
  rates = [trace.spikes.mean() for _, trace in sorted(traces.items())]
  assert_close(jnp.stack(rates), golden["firing_rates"])


def test_the_training_step(golden, step):
  inputs, labels, params, forward = step

  def objective(params, shape):
    result = regularizers.gradient_penalty(
      lambda k, x: forward(params, k, x),
      estimator=regularizers.finite_difference(float(golden["h"])),
      shape=shape,
    )(jax.random.key(0), inputs, labels)
    entropy = jnp.mean(losses.cross_entropy(result.logits, labels))
    penalty = jnp.mean(result.penalty)
    loss = entropy + float(golden["lam"]) * penalty
    return loss, (entropy, penalty, result.slope)

  (loss, (entropy, penalty, slope)), gradients = jax.jit(
    jax.value_and_grad(
      lambda p: objective(p, regularizers.squared), has_aux=True
    )
  )(params)
  assert_close(slope, golden["finite_difference"])
  assert_close(penalty, golden["penalty_square"])
  assert_close(entropy, golden["ce"])
  assert_close(loss, golden["loss"])
  _, (_, penalty, _) = jax.jit(lambda p: objective(p, regularizers.absolute))(
    params
  )
  assert_close(penalty, golden["penalty_abs"])
  for name, path in LAYERS.items():
    ours = leaf(gradients, path)
    assert_close(ours["kernel"], in_our_layout(golden[f"grad/{name}.weight"]))
    assert_close(ours["bias"], golden[f"grad/{name}.bias"])
