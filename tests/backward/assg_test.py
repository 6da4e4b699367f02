"""Adaptive and potential-dependent surrogates beyond the reference numbers."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, encoders, losses, models, neurons
from snnjax.backward import assg
from snnjax.backward.pdsg import Pdsg
from snnjax.backward.rules import Bptr, Bptt
from snnjax.surrogates import atan

FAMILIES = {
  "atan": assg.ATAN,
  "triangle": assg.TRIANGLE,
  "rectangle": assg.RECTANGLE,
  "sigmoid": assg.SIGMOID,
  "gaussian": assg.GAUSSIAN,
}
STEPS = 3
# Small programs: unoptimised code costs half to compile.
compiled = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def small(encoder):
  network = models.mlp(
    (7,), neuron=neurons.lif(0.5, 0.5), encoder=encoder(STEPS), classes=3
  )
  inputs = jax.random.uniform(jax.random.key(1), (4, 6))
  return network, network.init(jax.random.key(0), inputs), inputs


LABELS = jnp.array([0, 1, 2, 0])


@pytest.mark.parametrize("name", FAMILIES)
def test_reach_holds_the_share_of_the_area(name):
  family = FAMILIES[name]
  width = family.quantile(0.85)
  for sharpness in (1.0, 3.0):
    u = np.linspace(-width / sharpness, width / sharpness, 20001)
    slope = np.asarray(family.surrogate(sharpness)(jnp.asarray(u)))
    np.testing.assert_allclose(np.trapezoid(slope, u), 0.85, rtol=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_probe_moves_the_moments_and_the_gradient(name):
  network, variables, inputs = small(encoders.direct)
  rule = assg.assg_rule(FAMILIES[name])
  oracle = attacks.assg(network, variables, losses.cross_entropy, rule=rule)
  start = oracle.init(inputs)
  grad = compiled(oracle.grad)
  first, state = grad(jax.random.key(0), start, inputs, LABELS)
  second, _ = grad(jax.random.key(0), state, inputs, LABELS)
  np.testing.assert_array_equal(first.loss, second.loss)
  assert np.any(first.gradient != second.gradient)
  assert np.all(np.isfinite(second.gradient))


def test_moments_are_those_of_the_drive():
  network, variables, inputs = small(encoders.direct)
  rule = assg.assg_rule()

  @compiled
  def run(inputs):
    trace = network.apply(variables, inputs, rule=rule).traces[
      "body/dense_spike1"
    ]
    return trace.drive, rule.update("body/dense_spike1", trace.drive)

  drive, found = run(inputs)
  magnitude = np.abs(drive)
  size = 0.9 + 0.1 * magnitude
  np.testing.assert_allclose(found.size, size, rtol=1e-5)
  spread = 0.1 * np.abs(magnitude - size)
  np.testing.assert_allclose(found.spread, spread, rtol=1e-4, atol=1e-6)


def test_later_draws_see_the_first_ones_moments():
  network, variables, inputs = small(encoders.poisson)
  one, three = (
    attacks.assg(network, variables, losses.cross_entropy, draws=draws)
    for draws in (1, 3)
  )
  key = jax.random.key(5)
  averaged, state = compiled(three.grad)(
    key, three.init(inputs), inputs, LABELS
  )
  first, first_state = compiled(one.grad)(key, one.init(inputs), inputs, LABELS)
  # One draw uses fold 0 of the key, as the first of three does.
  chex.assert_trees_all_equal(state, first_state)
  assert np.any(averaged.gradient != first.gradient)


def test_an_example_under_attack_does_not_see_its_batch():
  network, variables, inputs = small(encoders.direct)
  oracle = attacks.assg(network, variables, losses.cross_entropy)
  attack = attacks.sa_pgd(oracle, attacks.linf(0.3), steps=6)
  run = compiled(attack)
  keys = jax.random.split(jax.random.key(3), 4)
  whole = run(keys, inputs, LABELS)
  for i in range(2):
    alone = run(keys[i : i + 1], inputs[i : i + 1], LABELS[i : i + 1])
    np.testing.assert_allclose(alone.inputs[0], whole.inputs[i], atol=1e-5)
  assert np.all(np.abs(whole.inputs - inputs) <= 0.3 + 1e-6)


def test_rule_refuses_what_makes_no_sense():
  with pytest.raises(ValueError, match=r"coverage must lie in \(0, 1\); got 1"):
    assg.assg_rule(coverage=1.0)
  with pytest.raises(ValueError, match="decay"):
    assg.assg_rule(decay=1.5)
  with pytest.raises(ValueError, match="relaxation"):
    assg.assg_rule(relaxation=-1.0)


def test_pdsg_width_is_the_spread_of_all_drives_so_far():
  currents = jax.random.normal(jax.random.key(0), (STEPS, 2, 4, 4, 3))
  neuron = neurons.lif(0.5, 1.0)
  cotangent = jnp.ones_like(currents)

  @compiled
  def run(currents):
    def spikes(currents):
      trace = Pdsg()(neuron, currents)
      return trace.spikes, trace.drive

    _, pull, drive = jax.vjp(spikes, currents, has_aux=True)
    return pull(cotangent)[0], drive

  got, drive = run(currents)
  drive = np.asarray(drive, np.float64)
  # The last step's own gradient has no path through time.
  sigma = drive.reshape(-1, 3).std(0, ddof=1)
  z = (drive[-1] - sigma.reshape(1, 1, 1, -1) / 2) / sigma.reshape(1, 1, 1, -1)
  density = (
    np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / sigma.reshape(1, 1, 1, -1)
  )
  np.testing.assert_allclose(got[-1], density, rtol=1e-4)


def test_the_gradient_of_pdsg_depends_on_the_batch():
  currents = jax.random.normal(jax.random.key(0), (STEPS, 3, 5))
  neuron = neurons.lif(0.5, 1.0)

  gradient = compiled(jax.grad(lambda c: jnp.sum(Pdsg()(neuron, c).spikes)))
  whole, alone = gradient(currents), gradient(currents[:, :1])
  assert np.any(np.abs(whole[:, :1] - alone) > 1e-3)


def test_pdsg_of_equal_drives_is_finite():
  currents = jnp.zeros((STEPS, 1, 1))
  neuron = neurons.integrate_and_fire(1.0)

  def total(currents):
    return jnp.sum(Pdsg()(neuron, currents).spikes)

  gradient = compiled(jax.grad(total))(currents)
  # Drive -1, sigma 1: the density at -1.5, plus what later steps carry.
  assert np.all(np.isfinite(gradient))
  np.testing.assert_allclose(
    gradient[-1], np.exp(-(1.5**2) / 2) / np.sqrt(2 * np.pi), rtol=1e-5
  )


NEURONS = {
  "lif": neurons.lif(0.5, 0.5),
  "soft": neurons.lif(0.9, 0.7, reset=neurons.soft_reset),
  "strict": neurons.convex_lif(0.5, 0.5, strict=True),
  "adaptive": neurons.adaptive_lif(0.5, 0.5),
}


@pytest.mark.parametrize("name", NEURONS)
def test_forward_law(name):
  neuron = NEURONS[name]
  currents = jax.random.normal(jax.random.key(2), (STEPS, 2, 3, 3, 2))
  rules = (Bptt(atan()), Pdsg(), assg.assg_rule())

  @compiled
  def run(currents):
    return [rule(neuron, currents) for rule in rules]

  plain, *others = run(currents)
  assert 0 < plain.spikes.mean() < 1
  for trace in others:
    chex.assert_trees_all_equal(trace, plain)


def test_mixtures_over_rules_of_one_network():
  network, variables, inputs = small(encoders.direct)
  rules = (Bptt(atan()), Bptr(), Pdsg())
  threat = attacks.l2(0.8)
  white = [
    attacks.white_box(
      losses.scored(
        models.classifier(network, variables, rule=rule), losses.cross_entropy
      )
    )
    for rule in rules
  ]
  step = {"step_size": 0.3, "steps": 4}
  alone = [attacks.bim(oracle, threat, **step) for oracle in white]
  oracles = [*white, attacks.assg(network, variables, losses.cross_entropy)]
  mixed = attacks.bim(attacks.gradient_mean(oracles), threat, **step)

  @compiled
  def run(inputs):
    every = [*alone, attacks.worst_of(alone), mixed]
    key = jax.random.key(0)
    return [attack(jax.random.clone(key), inputs, LABELS) for attack in every]

  *single, worst, mean = run(inputs)
  for result in single:
    assert np.all(worst.success | ~result.success)
  highest = np.max([result.loss for result in single], 0)
  np.testing.assert_allclose(worst.loss, highest, rtol=1e-5)
  assert np.all(np.isfinite(mean.inputs))
  assert np.any(mean.inputs != inputs)


def test_a_sharpness_is_searched_in_one_program():
  network, variables, inputs = small(encoders.direct)
  traces = []

  def build(sharpness):
    traces.append(1)
    rule = Bptt(atan(sharpness))
    logits = models.classifier(network, variables, rule=rule)
    return attacks.bim(logits, attacks.l2(0.5), step_size=0.2, steps=3)

  candidates = (0.1, 2.0, 100.0)
  chosen = attacks.choose_sharpness(
    build,
    candidates,
    jax.random.key(0),
    inputs,
    LABELS,
    tuning_indices=range(4),
  )
  assert len(traces) == 1
  assert chosen.value in candidates
  assert chosen.successes[chosen.value] == max(chosen.successes.values())
