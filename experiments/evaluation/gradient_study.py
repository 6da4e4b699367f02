"""What the input gradients of one network look like, clean and under attack."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.building import build
from experiments.command.progress import Progress, silent
from experiments.configuration.schema import Config
from experiments.evaluation import attack_grid
from snnjax import (
  attacks,
  input_gradients,
  losses,
  models,
  sparsity,
  vulnerability,
)
from snnjax.attacks.steppers import scaled, steepest
from snnjax.interfaces import (
  Array,
  Batch,
  Inputs,
  Key,
  Labels,
  Network,
  Variables,
)
from snnjax.prng import example_keys, split

CONFIDENCES = {
  "margin": losses.margin,
  "rival probability": losses.rival_probability,
}
Metrics = Mapping[str, sparsity.Metrics]  # by modality


class Study(NamedTuple):
  """Per-example measurements on N examples; every array starts with [N].

  Attributes:
    metrics: confidence -> condition -> modality -> metrics; the conditions
      are the inputs "clean", "halfway" through the attack and "adversarial".
    maps: condition -> modality -> margin gradients.
    along: modality -> metrics [N, S + 1] of the attack's own gradient.
    standing: [N, S + 1] whether the example is right at the attack's points.
    ratio: modality -> first-order linf vulnerability ratio of the margin.
    random: mean squared change of the margin under random noise.
    adversarial: its squared change under the attack.
    adversarial_inputs: what the attack returned.
  """

  metrics: Mapping[str, Mapping[str, Metrics]]
  maps: Mapping[str, Mapping[str, Array]]
  along: Metrics
  standing: Array
  ratio: Mapping[str, Array]
  random: Array
  adversarial: Array
  adversarial_inputs: Mapping[str, Array]


Measure = Callable[[Variables, Key, Inputs, Labels], Study]


def study(
  config: Config,
  measured: Measure,
  variables: Variables,
  batch: Batch,
  progress: Progress = silent,
) -> Study:
  """Measures a network in microbatches of one size, the last one padded.

  Args:
    config: the whole configuration.
    measured: from `measure`.
    variables: the network's.
    batch: N examples, at least 1.
    progress: told of every microbatch.
  """
  size, count = config.evaluation.microbatch, len(batch.labels)
  key = build.key(config, "gradient study")
  # Of the example, so that no result depends on the microbatch.
  keys = example_keys(key, count)
  parts = []
  progress(0, count, "measure gradients")  # the first one compiles
  for start in range(0, count, size):
    rows = np.minimum(np.arange(start, start + size), count - 1)
    part = measured(
      variables,
      keys[rows],
      jax.tree.map(lambda leaf, rows=rows: leaf[rows], batch.inputs),
      batch.labels[rows],
    )
    stop = min(start + size, count)
    parts.append(
      jax.tree.map(lambda leaf, n=stop - start: np.asarray(leaf)[:n], part)
    )
    progress(stop, count, "measure gradients")
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def measure(
  config: Config, network: Network, modalities: tuple[str, ...]
) -> Measure:
  """Returns the compiled measurement of one microbatch.

  The attack is PGD under the network's own rule on all modalities, with the
  largest radii of the configuration.

  Args:
    config: the whole configuration.
    network: the architecture.
    modalities: of its inputs.
  """
  rule = build.rule(config, config.model.rule)
  options = config.evaluation
  cell = attack_grid.cells(config, modalities)[-1]
  threat = build.threat_of(options.norm, attack_grid.traced(cell.radii))
  steps = jax.tree.map(
    lambda r: 2.5 * r / options.steps, attack_grid.traced(cell.radii)
  )

  @jax.jit
  def measured(
    variables: Variables, keys: Key, inputs: Inputs, labels: Labels
  ) -> Study:
    logits = models.classifier(network, variables, rule=rule)
    attack = attacks.ascend_recorded(
      attacks.white_box(losses.scored(logits, losses.cross_entropy)),
      optax.chain(steepest(threat), scaled(steps)),
      threat,
      steps=options.steps,
      start=threat.sample,
      record=lambda inputs, probe: (
        sparsity.measure(probe.gradient),
        probe.correct,
        inputs,
      ),
    )
    attack_key, logits_key, noise_key = split(keys, 3)
    result, (along, standing, iterates) = attack(attack_key, inputs, labels)
    halfway = jax.tree.map(lambda leaf: leaf[options.steps // 2], iterates)
    shown = {
      "clean": inputs,
      "halfway": halfway,
      "adversarial": result.inputs,
    }
    gradients = {
      name: {
        condition: _gradient(logits, confidence, logits_key, where, labels)
        for condition, where in shown.items()
      }
      for name, confidence in CONFIDENCES.items()
    }
    margin = losses.composed(logits, losses.against_rival(losses.margin))
    moved = margin(logits_key, result.inputs, labels) - margin(
      logits_key, inputs, labels
    )
    return Study(
      metrics=sparsity.measure(gradients),
      maps=gradients["margin"],
      along=jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), along),
      standing=standing.T,
      ratio={
        name: vulnerability.first_order(gradient, np.inf).ratio
        for name, gradient in gradients["margin"]["clean"].items()
      },
      random=vulnerability.random_vulnerability(
        margin, threat.sample, draws=max(options.random_draws, 2)
      )(noise_key, inputs, labels).mean,
      adversarial=jnp.square(moved),
      adversarial_inputs=build.by_modality(result.inputs),
    )

  return measured


def _gradient(
  logits: Any,
  confidence: losses.Confidence,
  keys: Key,
  inputs: Inputs,
  labels: Labels,
) -> Mapping[str, Array]:
  """The confidence's input gradient; statistics are frozen, so one vjp."""
  fn = losses.composed(logits, losses.against_rival(confidence))
  # All points are compared under the same draws of a stochastic encoder.
  slope = input_gradients.summed(fn)(jax.random.clone(keys), inputs, labels)
  return build.by_modality(slope)
