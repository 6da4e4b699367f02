import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import encoders, models, neurons, surrogates
from snnjax.backward.rules import Bptt
from snnjax.models import layers


def run(neuron, currents):
  """The membrane by hand: integrate, compare, reset, with plain floats."""
  state = neuron.init(jnp.asarray(currents[0]))
  drives, spikes, states = [], [], []
  for current in currents:
    state = neuron.integrate(state, jnp.asarray(current))
    drive = neuron.drive(state)
    spike = (drive > 0 if neuron.strict else drive >= 0).astype(drive.dtype)
    state = neuron.reset(state, spike)
    drives.append(float(drive))
    spikes.append(float(spike))
    states.append(jax.tree.map(float, state))
  return drives, spikes, states


CURRENTS = [0.6, 0.6, 0.6, -0.2, 2.0]

# neuron -> (spikes, states), computed by hand for CURRENTS.
TRACES = {
  "if_hard": (
    lambda: neurons.integrate_and_fire(1.0),
    [0, 1, 0, 0, 1],
    [0.6, 0.0, 0.6, 0.4, 0.0],
  ),
  "if_soft": (
    lambda: neurons.integrate_and_fire(1.0, reset=neurons.soft_reset),
    [0, 1, 0, 0, 1],
    [0.6, 0.2, 0.8, 0.6, 1.6],
  ),
  "if_none": (
    lambda: neurons.integrate_and_fire(1.0, reset=neurons.no_reset),
    [0, 1, 1, 1, 1],
    [0.6, 1.2, 1.8, 1.6, 3.6],
  ),
  "lif_hard": (
    lambda: neurons.lif(0.5, 1.0),
    [0, 0, 1, 0, 1],
    [0.6, 0.9, 0.0, -0.2, 0.0],
  ),
  "lif_soft": (
    lambda: neurons.lif(0.5, 1.0, reset=neurons.soft_reset),
    [0, 0, 1, 0, 1],
    [0.6, 0.9, 0.05, -0.175, 0.9125],
  ),
  "convex_hard": (
    lambda: neurons.convex_lif(0.5, 0.5),
    [0, 0, 1, 0, 1],
    [0.3, 0.45, 0.0, -0.1, 0.0],
  ),
}


@pytest.mark.parametrize("name", TRACES)
def test_membrane_by_hand(name, x64):
  make, want_spikes, want_states = TRACES[name]
  _, spikes, states = run(make(), CURRENTS)
  assert spikes == want_spikes
  np.testing.assert_allclose(states, want_states, atol=1e-12)


def test_drive_is_potential_minus_threshold(x64):
  drives, _, _ = run(neurons.lif(0.5, 1.0), CURRENTS)
  np.testing.assert_allclose(drives[:3], [-0.4, -0.1, 0.05], atol=1e-12)


def test_strict_neurons_stay_silent_at_the_threshold():
  for strict, want in ((False, 1), (True, 0)):
    _, spikes, _ = run(neurons.lif(0.5, 1.0, strict=strict), [1.0])
    assert spikes == [want]


def test_plif_leak_is_a_sigmoid_of_its_parameter(x64):
  trainable = neurons.plif(leak=0.8, threshold=0.5)
  neuron = trainable.build(
    {name: jnp.asarray(value) for name, value in trainable.initial.items()}
  )
  state = neuron.integrate(jnp.asarray(1.0), jnp.asarray(0.0))
  assert float(state) == pytest.approx(0.8)


def test_adaptive_threshold_rises_and_decays(x64):
  neuron = neurons.adaptive_lif(
    1.0, 1.0, adaptation_leak=0.5, adaptation_strength=0.4
  )
  drives, spikes, states = run(neuron, [1.0, 1.0, 0.5])
  # step 1: v=1, level 1, fires, v=0, a=1; step 2: v=1, level 1.4, silent,
  # a=.5; step 3: v=1.5, level 1.2, fires, v=.5, a=1.25
  assert spikes == [1, 0, 1]
  np.testing.assert_allclose(drives, [0, -0.4, 0.3], atol=1e-12)
  np.testing.assert_allclose(
    [s.potential for s in states], [0, 1, 0.5], atol=1e-12
  )
  np.testing.assert_allclose(
    [s.adaptation for s in states], [1, 0.5, 1.25], atol=1e-12
  )


def test_hire_neuron_by_hand(x64):
  trainable = neurons.hire(leak=0.5, threshold=2.0)
  neuron = trainable.build(
    {name: jnp.asarray(value) for name, value in trainable.initial.items()}
  )
  drives, spikes, states = run(neuron, [2.0, 1.5, 3.0])
  # v/theta - 1: 0 (strict, silent), (1 + 1.5)/2 - 1, (.25 + 3)/2 - 1
  np.testing.assert_allclose(drives, [0, 0.25, 0.625], atol=1e-12)
  assert spikes == [0, 1, 1]
  np.testing.assert_allclose(states, [2.0, 0.5, 1.25], atol=1e-12)


def test_integrator_sums_and_never_resets(x64):
  neuron = neurons.integrator(0.5)
  drives, _, states = run(neuron, [1.0, 4.0])
  assert drives == states == [1.0, 4.5]


@pytest.mark.parametrize(
  ("make", "name"),
  [
    (lambda: neurons.lif(leak=1.5), "leak"),
    (lambda: neurons.lif(leak=float("nan")), "leak"),
    (lambda: neurons.lif(threshold=0.0), "threshold"),
    (lambda: neurons.convex_lif(rate=0.0), "rate"),
    (lambda: neurons.plif(leak=1.0), "leak"),
    (lambda: neurons.hire(threshold=-1.0), "threshold"),
    (lambda: neurons.adaptive_lif(adaptation_leak=2.0), "adaptation_leak"),
    (lambda: neurons.integrator(-0.1), "leak"),
  ],
)
def test_constants_outside_their_range(make, name):
  with pytest.raises(ValueError, match=rf"{name} must .*got"):
    make()


def test_the_neuron_of_ones_own_in_the_docstring(x64):
  """Synaptic LIF: i <- .8 i + I after v <- .9 v + i; fires at v >= 1."""
  example = neurons.__doc__.split("\n\n")[2]
  names = {"Neuron": neurons.Neuron, "jnp": jnp}
  exec(textwrap.dedent(example), names)
  drives, spikes, states = run(names["synaptic"], [2.0, 0.0, 0.5])
  np.testing.assert_allclose(drives, [-1, 1, 0.6], atol=1e-12)
  assert spikes == [0, 1, 1]
  np.testing.assert_allclose(states, [[2, 0], [1.6, 0], [1.78, 0]], atol=1e-12)


RULE = Bptt(surrogates.atan())
MANY = jnp.ones((2, 3, 4))
ENCODER = encoders.direct(2)
NO_NEURONS = {
  "not called": (neurons.lif, r"the function lif: call it, neurons\.lif\(\)"),
  "a surrogate": (surrogates.atan(), r"got a Surrogate: neurons\.lif\(\) is"),
  "a name": ("lif", "got 'lif'"),
}
USES = {
  "mlp": lambda neuron: models.mlp((4,), neuron=neuron, encoder=ENCODER),
  "cnn": lambda neuron: models.cnn(neuron=neuron, encoder=ENCODER),
  "vgg": lambda neuron: models.vgg(neuron=neuron, encoder=ENCODER),
  "fusion": lambda neuron: models.fusion(
    {"image": ENCODER}, {"image": (2,)}, neuron=neuron
  ),
  "layer": lambda neuron: layers.Spiking(neuron).init(
    jax.random.key(0), MANY, layers.Context(RULE, 2, False, None, {})
  ),
  "rule": lambda neuron: RULE(neuron, MANY),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("wrong", NO_NEURONS)
def test_what_is_no_neuron_is_told(wrong, use):
  neuron, says = NO_NEURONS[wrong]
  with pytest.raises(ValueError, match=f"neuron must be a Neuron; .*{says}"):
    USES[use](neuron)
  with pytest.raises(ValueError, match=r"a Trainable: .* build\(parameters"):
    RULE(neurons.plif(), MANY)


BY_CHANNEL = jnp.asarray([0.3, 0.9, 0.6])
CHANNELS = {
  "lif": lambda c: neurons.lif(c, 0.5 + c),
  "lif_soft": lambda c: neurons.lif(c, 0.5 + c, reset=neurons.soft_reset),
  "convex": lambda c: neurons.convex_lif(c, c),
  "plif": lambda c: built(neurons.plif(c, c)),
  "hire": lambda c: built(neurons.hire(c, 0.5 + c)),
  "adaptive": lambda c: neurons.adaptive_lif(
    c, c, adaptation_leak=c, adaptation_strength=c
  ),
  "integrator": neurons.integrator,
}


def built(trainable):
  return trainable.build(jax.tree.map(jnp.asarray, dict(trainable.initial)))


@pytest.mark.parametrize("name", CHANNELS)
def test_a_constant_per_channel_is_that_of_each(name):
  currents = jax.random.normal(jax.random.key(1), (6, 2, 4, 3)) + 0.5
  many = RULE(CHANNELS[name](BY_CHANNEL), currents)
  assert 0 < float(many.spikes.mean()) < 1
  for channel, constant in enumerate(BY_CHANNEL):
    own = currents[..., channel]
    one = RULE(CHANNELS[name](constant), own)
    for got, want in zip(
      jax.tree.leaves(many), jax.tree.leaves(one), strict=True
    ):
      np.testing.assert_allclose(got[..., channel], want, rtol=1e-6, atol=1e-6)


def test_plif_is_built_inside_a_program():
  trainable = jax.jit(
    lambda: jnp.asarray(neurons.plif(0.8).initial["rate_logit"])
  )
  assert float(trainable()) == pytest.approx(np.log(0.25))
