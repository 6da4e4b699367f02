import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import neurons


def run(neuron, currents):
  """The membrane by hand: charge, compare, reset, with plain floats."""
  state = neuron.init(jnp.asarray(currents[0]))
  drives, spikes, states = [], [], []
  for current in currents:
    state, drive = neuron.charge(state, jnp.asarray(current))
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
  state, _ = neuron.charge(jnp.asarray(1.0), jnp.asarray(0.0))
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


EVERY = {
  **{name: make for name, (make, _, _) in TRACES.items()},
  "adaptive": neurons.adaptive_lif,
  "plif": lambda: neurons.plif().build({"rate_logit": jnp.asarray(0.3)}),
  "hire": lambda: neurons.hire().build({"leak": 0.9, "threshold": 0.8}),
  "integrator": lambda: neurons.integrator(0.9),
}


@pytest.mark.parametrize("name", EVERY)
def test_the_drive_follows_from_the_charged_state(name):
  neuron = EVERY[name]()
  state = neuron.init(jnp.zeros(len(CURRENTS)))
  state, _ = neuron.charge(state, jnp.asarray(CURRENTS))
  state = neuron.reset(state, jnp.asarray([0.0, 1, 0, 1, 1]))
  charged, drive = neuron.charge(state, jnp.asarray(CURRENTS[::-1]))
  np.testing.assert_array_equal(neuron.drive(charged), drive)
  assert len(set(drive.tolist())) > 1


@pytest.mark.parametrize("name", EVERY)
def test_halves_are_the_charge_with_and_without_a_drive(name):
  neuron = EVERY[name]()
  state = neuron.init(jnp.zeros(len(CURRENTS)))
  wanted = neuron.charge(state, jnp.asarray(CURRENTS))
  for form in (neuron, neuron._replace(drive=None)):
    first, second = form.halves()
    given = second(first(state, jnp.asarray(CURRENTS)))
    jax.tree.map(np.testing.assert_array_equal, given, wanted)
