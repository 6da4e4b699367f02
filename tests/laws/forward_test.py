"""Laws of every neuron x rule: one forward, finite gradients, segments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import backward, encoders, models, neurons, readouts, surrogates
from snnjax.backward import assg, pdsg
from snnjax.models.layers import BatchNorm

NEURONS = {
  "if": neurons.integrate_and_fire(),
  "lif_hard": neurons.lif(),
  "lif_soft": neurons.lif(reset=neurons.soft_reset),
  "lif_no_reset": neurons.lif(reset=neurons.no_reset),
  "lif_strict": neurons.lif(strict=True),
  "convex": neurons.convex_lif(),
  "plif": neurons.plif(threshold=0.5),
  "adaptive": neurons.adaptive_lif(),
  "hire": neurons.hire(),
}
RULES = {
  "bptt_triangle": backward.Bptt(surrogates.triangle()),
  "bptt_atan": backward.Bptt(surrogates.atan()),
  "bptt_identity": backward.Bptt(surrogates.straight_through()),
  "bptt_detached": backward.Bptt(surrogates.atan(), detach_reset=True),
  "bptt_per_step": backward.Bptt(
    surrogates.atan(jnp.array([1.0, 2.0, 3.0, 4.0])), per_step=True
  ),
  "bptr": backward.Bptr(),
  "rga": backward.Rga(),
  "hart": backward.Hart(surrogates.atan()),
  "straight_through": backward.StraightThrough(),
  "pdsg": pdsg.Pdsg(),
  "assg": assg.assg_rule(),
  "per_layer": backward.PerLayer(
    {"body/dense_spike1": backward.Bptr()},
    backward.Bptt(surrogates.triangle()),
  ),
}
STEPS = 4
INPUTS = jnp.asarray(
  np.random.default_rng(0).uniform(size=(3, 6, 6, 1)), jnp.float32
)


def small(neuron, encoder=None, readout=None):
  return models.mlp(
    (12, 8),
    neuron=neuron,
    encoder=encoders.direct(STEPS) if encoder is None else encoder,
    readout=readout,
  )


def stronger(variables):
  """Weights large enough that every layer spikes, for any threshold here."""
  params = dict(variables["params"])
  params["body"] = {
    name: jax.tree.map(lambda w: 3.0 * w, layer) if "kernel" in layer else layer
    for name, layer in params["body"].items()
  }
  return {"params": params}


CURRENTS = jnp.asarray(
  np.random.default_rng(1).normal(0.4, 0.8, size=(STEPS, 2, 16)), jnp.float32
)


def built(neuron):
  if isinstance(neuron, neurons.Trainable):
    return neuron.build(jax.tree.map(jnp.asarray, dict(neuron.initial)))
  return neuron


@pytest.mark.parametrize("neuron", NEURONS)
def test_spikes_are_the_same_under_every_rule(neuron):
  """One layer: bit-identical spikes, drives and states; finite gradients."""
  want, gradients = None, {}
  for name, rule in RULES.items():

    @jax.jit
    def run(currents, rule=rule):
      def total(currents):
        trace = rule(built(NEURONS[neuron]), currents)
        weights = jnp.arange(1.0, STEPS + 1).reshape(STEPS, 1, 1)
        return jnp.sum(weights * trace.spikes), trace

      return jax.grad(total, has_aux=True)(currents)

    gradients[name], got = run(CURRENTS)
    want = got if want is None else want
    same = jax.tree.map(np.array_equal, got, want)
    assert all(jax.tree.leaves(same)), (name, same)
    assert np.all(np.isfinite(gradients[name])), name
    assert np.any(np.asarray(gradients[name]) != 0), name
  assert 0 < float(jnp.mean(want.spikes)) < 1
  for one, other in (
    ("bptt_triangle", "bptt_atan"),
    ("bptt_triangle", "bptr"),
    ("bptr", "rga"),
    ("hart", "bptt_atan"),
    ("bptt_per_step", "bptt_atan"),
  ):
    assert not np.array_equal(gradients[one], gradients[other]), (one, other)


@pytest.mark.parametrize("neuron", ["lif_hard", "hire"])
def test_forward_law(neuron):
  """Logits, outputs and spikes are bit-identical under every backward rule."""
  network = small(NEURONS[neuron])
  variables = stronger(network.init(jax.random.key(1), INPUTS))
  want = None
  for name, rule in RULES.items():

    @jax.jit
    def run(inputs, rule=rule):
      def total(inputs):
        forward = network.apply(variables, inputs, rule=rule)
        spikes = {n: trace.spikes for n, trace in forward.traces.items()}
        seen = (forward.logits, forward.outputs, spikes)
        return jnp.sum(forward.logits[:, 0]), seen

      return jax.grad(total, has_aux=True)(inputs)

    gradient, got = run(INPUTS)
    want = got if want is None else want
    same = jax.tree.map(np.array_equal, got, want)
    assert all(jax.tree.leaves(same)), (name, same)
    assert np.any(np.asarray(gradient) != 0), name
  rates = [float(jnp.mean(spikes)) for spikes in want[2].values()]
  assert all(0 < rate < 1 for rate in rates), rates


@pytest.mark.parametrize(
  ("neuron", "encoder"),
  [
    *((neuron, encoders.direct) for neuron in NEURONS),
    ("lif_hard", encoders.poisson),
    ("lif_hard", encoders.latency),
  ],
)
def test_segments_are_one_run(neuron, encoder):
  network = small(NEURONS[neuron], encoder=encoder(STEPS))
  key = jax.random.key(2)
  variables = network.init(jax.random.key(1), INPUTS)
  rule = backward.Bptt(surrogates.atan())
  whole = network.apply(variables, INPUTS, rule=rule, key=jax.random.clone(key))
  states, outputs = None, []
  for window in ((0, 1), (1, 3), (3, 4)):
    part = network.apply(
      variables,
      INPUTS,
      rule=rule,
      key=jax.random.clone(key),
      states=states,
      window=window,
    )
    states = part.states
    outputs.append(part.outputs)
  np.testing.assert_allclose(
    jnp.concatenate(outputs), whole.outputs, rtol=1e-5, atol=1e-6
  )
  for name, trace in whole.traces.items():
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
      states[name],
      trace.state,
    )


def test_membrane_readout_goes_on_in_segments():
  network = small(NEURONS["lif_hard"], readout=readouts.membrane(0.9))
  variables = stronger(network.init(jax.random.key(1), INPUTS))
  rule = backward.Bptt(surrogates.atan())
  whole = network.apply(variables, INPUTS, rule=rule)
  first = network.apply(variables, INPUTS, rule=rule, window=(0, 3))
  rest = network.apply(
    variables, INPUTS, rule=rule, window=(3, 4), states=first.states
  )
  np.testing.assert_allclose(rest.logits, whole.logits, rtol=1e-5, atol=1e-6)
  assert not np.allclose(first.logits, whole.logits)


def test_trained_neuron_parameters_receive_gradients():
  for neuron, names in (
    ("plif", {"rate_logit"}),
    ("hire", {"leak", "threshold"}),
  ):
    network = small(NEURONS[neuron])
    variables = stronger(network.init(jax.random.key(1), INPUTS))
    rule = backward.Bptt(surrogates.atan())

    def total(params, network=network, rule=rule):
      forward = network.apply({"params": params}, INPUTS, rule=rule)
      return jnp.sum(forward.logits[:, 0])

    gradient = jax.grad(total)(variables["params"])["body"]["dense_spike1"]
    assert set(gradient) == names
    assert all(float(jnp.abs(g)) > 0 for g in gradient.values())


def test_sharpness_per_step_equals_its_constant():
  network = small(NEURONS["lif_hard"])
  variables = network.init(jax.random.key(1), INPUTS)

  def gradient(rule):
    return jax.grad(
      lambda x: jnp.sum(network.apply(variables, x, rule=rule).logits[:, 0])
    )(INPUTS)

  constant = gradient(backward.Bptt(surrogates.atan(3.0)))
  varying = gradient(
    backward.Bptt(surrogates.atan(jnp.full(STEPS, 3.0)), per_step=True)
  )
  np.testing.assert_allclose(varying, constant, rtol=1e-6, atol=1e-8)


def test_normalised_segments_are_one_run_with_frozen_statistics():
  network = models.cnn(
    (4,), neuron=NEURONS["lif_hard"], encoder=encoders.direct(4), norm=BatchNorm
  )
  variables = network.init(jax.random.key(1), INPUTS)
  rule = backward.Bptt(surrogates.atan())
  whole = network.apply(variables, INPUTS, rule=rule)
  first = network.apply(variables, INPUTS, rule=rule, window=(0, 2))
  rest = network.apply(
    variables, INPUTS, rule=rule, window=(2, 4), states=first.states
  )
  np.testing.assert_allclose(
    jnp.concatenate([first.outputs, rest.outputs]),
    whole.outputs,
    rtol=1e-5,
    atol=1e-6,
  )
