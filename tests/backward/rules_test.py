import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import backward, neurons, surrogates

CURRENTS = jnp.asarray(
  np.random.default_rng(0).normal(0.5, 0.7, size=(5, 3, 4))
)
NEURON = neurons.lif(0.5, 1.0)


def gradient(rule, currents, cotangent, neuron=NEURON):
  _, pull = jax.vjp(lambda c: rule(neuron, c).spikes, currents)
  return pull(cotangent)[0]


def cotangent():
  values = np.random.default_rng(1).normal(size=CURRENTS.shape)
  return jnp.asarray(values, CURRENTS.dtype)


def test_bptt_by_hand(x64):
  # Two steps, one neuron: I = (.6, 1.2), tau = .5; u = (-.4, .5), s = (0, 1).
  # ds2/dI1 = h(u2) dv2/dI1, dv2/dI1 = tau (1 - s1 - v1 h(u1)).
  currents = jnp.array([0.6, 1.2]).reshape(2, 1, 1)
  h1, h2 = 0.6, 0.5
  for detach, through in ((False, 1 - 0.6 * h1), (True, 1.0)):
    rule = backward.Bptt(surrogates.triangle(1.0), detach_reset=detach)
    got = gradient(rule, currents, jnp.array([0.0, 1.0]).reshape(2, 1, 1))
    want = [h2 * 0.5 * through, h2]
    np.testing.assert_allclose(got.ravel(), want, rtol=1e-12)


def test_straight_through_passes_each_step_its_own():
  got = gradient(backward.StraightThrough(), CURRENTS, cotangent())
  np.testing.assert_array_equal(got, cotangent())


def test_bptr_masks_neurons_that_never_fire():
  spikes = backward.Bptr()(NEURON, CURRENTS).spikes
  alive = np.asarray(spikes).sum(0, keepdims=True) > 0
  assert 0 < alive.mean() < 1
  got = gradient(backward.Bptr(), CURRENTS, cotangent())
  np.testing.assert_array_equal(got, cotangent() * alive)


def test_rga_slope_by_hand(x64):
  # tau .5, theta .5: .2 up to .25, (1 - .05) / .75 up to 1, 0 elsewhere.
  currents = jnp.array([-0.1, 0.0, 0.2, 0.3, 1.0, 1.1]).reshape(1, 1, 6)
  got = gradient(backward.Rga(0.5, 0.5), currents, jnp.ones((1, 1, 6)))
  steep = 0.95 / 0.75
  want = [0, 0.2, 0.2, steep, steep, 0]
  np.testing.assert_allclose(got.ravel(), want, rtol=1e-12)


def test_rga_of_an_integrator_is_the_inverse_range(x64):
  got = gradient(
    backward.Rga(1.0, 0.7), jnp.full((1, 1, 1), 0.5), jnp.ones((1, 1, 1))
  )
  assert float(got[0, 0, 0]) == pytest.approx(1 / (2 * 0.7))


def test_hart_is_the_mean_of_local_gradients():
  trace = backward.Hart(surrogates.atan())(NEURON, CURRENTS)
  local = cotangent() * surrogates.atan()(trace.drive)
  want = np.broadcast_to(np.mean(local, 0, keepdims=True), CURRENTS.shape)
  got = gradient(backward.Hart(surrogates.atan()), CURRENTS, cotangent())
  np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-7)


def test_per_layer_picks_by_name():
  rule = backward.PerLayer({"a": backward.StraightThrough()}, backward.Bptr())
  for layer, want in (
    ("a", backward.StraightThrough()),
    ("b", backward.Bptr()),
  ):
    _, pull = jax.vjp(
      lambda c, layer=layer: rule(NEURON, c, layer=layer).spikes, CURRENTS
    )
    np.testing.assert_array_equal(
      pull(cotangent())[0], gradient(want, CURRENTS, cotangent())
    )


def test_rules_are_pytrees_swept_in_one_compilation():
  traces = []

  @jax.jit
  def run(rule, currents):
    traces.append(1)
    return jax.grad(lambda c: jnp.sum(rule(NEURON, c).spikes))(currents)

  for width in (1.0, 2.0):
    run(backward.Bptt(surrogates.triangle(jnp.asarray(width))), CURRENTS)
  assert len(traces) == 1


@pytest.mark.parametrize(
  "rule",
  [
    backward.Bptt(surrogates.atan()),
    backward.Bptr(),
    backward.Rga(),
    backward.Hart(surrogates.atan()),
    backward.StraightThrough(),
  ],
)
def test_forward_mode_agrees_with_reverse_mode(rule):
  tangent = jnp.asarray(
    np.random.default_rng(2).normal(size=CURRENTS.shape), CURRENTS.dtype
  )
  _, pushed = jax.jvp(lambda c: rule(NEURON, c).spikes, (CURRENTS,), (tangent,))
  forward = jnp.sum(pushed * cotangent())
  reverse = jnp.sum(gradient(rule, CURRENTS, cotangent()) * tangent)
  np.testing.assert_allclose(forward, reverse, rtol=1e-4)


def test_rga_constants_outside_their_range():
  with pytest.raises(ValueError, match=r"leak must lie in \[0, 1\]; got 2"):
    backward.Rga(leak=2.0)


@pytest.mark.parametrize("leak", [1.0, 0.5])
def test_rga_is_steep_at_a_mean_current_of_exactly_zero_only_without_a_leak(
  leak,
):
  """Without a leak the flat piece [0, (1 - tau) theta] is no piece at all."""
  currents = jnp.zeros((2, 1, 1))
  rule = backward.Rga(leak=leak)
  neuron = neurons.lif(leak, 1.0)
  slope = jax.grad(lambda c: jnp.sum(rule(neuron, c).spikes))(currents)
  knee = 1 - leak
  steep = (1 - 0.2 * knee) / (leak + 2.0 - 1)
  np.testing.assert_allclose(slope, 0.2 if leak < 1 else steep, rtol=1e-6)
  # From there it goes on without a jump.
  after = jax.grad(lambda c: jnp.sum(rule(neuron, c).spikes))(currents + 1e-6)
  np.testing.assert_allclose(after, slope, rtol=1e-6)
