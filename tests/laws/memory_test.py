"""Memory as a function of the steps T, as XLA counts what a program needs."""

import itertools

import jax
import jax.numpy as jnp
import pytest

from snnjax import (
  attacks,
  backward,
  encoders,
  models,
  neurons,
  surrogates,
)

NEURONS = 1000
LOOPED = (40, 80, 160)  # steps; all of them are computed by a loop
RULE = backward.Bptt(surrogates.triangle(1.0))


def temporary(function, *arguments):
  """The bytes that a compiled function needs beside its in- and outputs."""
  compiled = jax.jit(function).lower(*arguments).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def slopes(function):
  """Arrays [NEURONS] that every further step costs, between the T of LOOPED."""
  needed = [
    temporary(function, jnp.ones((steps, NEURONS))) / (4 * NEURONS)
    for steps in LOOPED
  ]
  return [
    (after - before) / (more - less)
    for (before, after), (less, more) in zip(
      itertools.pairwise(needed), itertools.pairwise(LOOPED), strict=True
    )
  ]


@pytest.mark.parametrize(
  ("neuron", "states"),
  [(neurons.lif(), 1), (neurons.convex_lif(), 1), (neurons.adaptive_lif(), 2)],
)
def test_a_layer_needs_the_same_for_every_further_step(neuron, states):
  def forward(currents):
    return jnp.sum(RULE(neuron, currents).spikes, 0)

  def loss(currents):
    spikes = RULE(neuron, currents).spikes
    return jnp.sum(jnp.sin(spikes * currents))

  for slope in slopes(forward):
    assert slope <= 1.01  # the spikes
  for slope in slopes(jax.grad(loss)):
    # What is kept of every state, the spikes, and their cotangents.
    assert slope <= states + 2.01


@pytest.mark.parametrize("steps", [4, 40])
def test_an_attack_needs_no_more_for_more_of_its_steps(steps):
  inputs, labels = jnp.full((16, 8, 8, 1), 0.5), jnp.arange(16) % 10
  network = models.mlp(
    (16,), neuron=neurons.lif(), encoder=encoders.direct(steps)
  )
  variables = network.init(jax.random.key(0), inputs)
  logits = models.classifier(network, variables, rule=RULE)

  def needed(count):
    attack = attacks.pgd(logits, attacks.linf(0.1), step_size=0.01, steps=count)
    return temporary(attack, jax.random.key(1), inputs, labels)

  assert needed(50) <= 1.01 * needed(5)
