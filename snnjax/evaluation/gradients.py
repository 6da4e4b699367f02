"""Measures the input gradients of one network, clean and under attack."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from snnjax import (
  attacks,
  input_gradients,
  losses,
  sharding,
  sparsity,
  vulnerability,
)
from snnjax.attacks import Threat
from snnjax.attacks.steppers import scale_steps, steepest
from snnjax.evaluation.planning import WHOLE
from snnjax.evaluation.steps import partial
from snnjax.interfaces import Array, Inputs, Key, Labels, LogitsFn
from snnjax.prng import example_keys, split
from snnjax.storage import array_files
from snnjax.validation import check_count

CONFIDENCES = {
  "margin": losses.margin,
  "rival probability": losses.rival_probability,
}
CONDITIONS = ("clean", "halfway", "adversarial")
ModalityMetrics = Mapping[str, sparsity.Metrics]  # by modality


class GradientStudy(NamedTuple):
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

  metrics: Mapping[str, Mapping[str, ModalityMetrics]]
  maps: Mapping[str, Mapping[str, Array]]
  along: ModalityMetrics
  standing: Array
  ratio: Mapping[str, Array]
  random: Array
  adversarial: Array
  adversarial_inputs: Mapping[str, Array]


Measured = TypeVar("Measured")
# (logits function, keys [B], inputs, labels) -> the study of B examples
Measure = Callable[[LogitsFn, Key, Inputs, Labels], GradientStudy]
Progress = Callable[[int, int], None]


def study_gradients(
  logits_fn: LogitsFn,
  threat: Threat,
  inputs: Inputs,
  labels: Labels,
  *,
  key: Key,
  step_size: Any,
  steps: int = 20,
  random_draws: int = 10,
  microbatch: int = 64,
) -> GradientStudy:
  """Measures a network's input gradients on clean and attacked examples.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``; its backward rule is the one that
      gradients and attack follow.
    threat: the budget of the attack, PGD on the cross-entropy.
    inputs: [N, ...] or a mapping of such arrays by modality.
    labels: [N] integer classes.
    key: a scalar key.
    step_size: of PGD, or one per modality.
    steps: of PGD.
    random_draws: of noise per example, at least 2.
    microbatch: how many examples are computed at once.

  Raises:
    ValueError: a count is too low, or inputs lie outside the box.
  """
  attacks.check_inputs(threat, inputs)
  measure = measure_gradients(
    threat, step_size=step_size, steps=steps, random_draws=random_draws
  )
  return in_microbatches(
    measure, logits_fn, inputs, labels, key=key, microbatch=microbatch
  )


def in_microbatches(
  measure: Callable[[LogitsFn, Key, Inputs, Labels], Measured],
  logits_fn: LogitsFn,
  inputs: Inputs,
  labels: Labels,
  *,
  key: Key,
  microbatch: int,
  progress: Progress | None = None,
  mesh: Mesh | None = None,
) -> Measured:
  """Measures examples in microbatches of one size, the last one padded.

  Args:
    measure: from `measure_gradients`, or another function of B examples that
      returns arrays of B rows.
    logits_fn: ``(key, inputs) -> [B, C]``.
    inputs: [N, ...] or a mapping of such arrays, N at least 1.
    labels: [N].
    key: a scalar key; those of the examples follow from it, so that no result
      depends on the microbatch.
    microbatch: how many examples are computed at once.
    progress: called as ``progress(done, total)`` before the first microbatch
      and after each, of a mesh after one of every device.
    mesh: of `sharding.over_devices`: every device computes a microbatch of its
      own. Then `measure` is compiled as a whole; what it needs of other arrays
      are arguments of a `jax.tree_util.Partial`.
  """
  check_count("microbatch", microbatch)
  count = len(labels)
  keys = example_keys(key, count)
  logits = partial(logits_fn)
  at_once = microbatch
  if mesh is not None:
    at_once *= mesh.size
    common = sharding.put((partial(measure), logits), sharding.whole(mesh))
  parts = []
  tell = progress or (lambda done, total: None)
  tell(0, count)  # the first one compiles
  for start in range(0, count, at_once):
    # The last example fills the last batch up; its copies are dropped below.
    rows = np.minimum(np.arange(start, start + at_once), count - 1)
    batch = (
      keys[rows],
      jax.tree.map(lambda leaf, rows=rows: leaf[rows], inputs),
      labels[rows],
    )
    if mesh is None:
      part = measure(logits, *batch)
    else:
      split = jax.device_put(batch, sharding.rows(mesh))
      part = _measure_own_rows(common, *split, mesh=mesh)
    stop = min(start + at_once, count)
    parts.append(
      jax.tree.map(lambda leaf, n=stop - start: np.asarray(leaf)[:n], part)
    )
    tell(stop, count)
  whole: Measured = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
  return whole


@functools.partial(jax.jit, static_argnames="mesh")
def _measure_own_rows(
  common: tuple[Callable, LogitsFn],
  keys: Key,
  inputs: Inputs,
  labels: Labels,
  mesh: Mesh,
) -> Any:
  """What a measurement and a logits function give of each device's rows."""

  def measure(common: tuple[Callable, LogitsFn], *batch: Any) -> Any:
    function, logits = common
    return function(logits, *batch)

  return sharding.on_own_rows(measure, mesh)(common, keys, inputs, labels)


def measure_gradients(
  threat: Threat,
  *,
  step_size: Any,
  steps: int,
  random_draws: int,
  name: str = WHOLE,
) -> Measure:
  """Returns the compiled measurement of one microbatch.

  Networks whose logits functions are `jax.tree_util.Partial`s of one function
  share its compilation.

  Args:
    threat: the budget of the attack, PGD on the cross-entropy.
    step_size: of PGD, or one per modality.
    steps: of PGD.
    random_draws: of noise per example; at least 2 are made.
    name: of the modality where the inputs are one array.
  """
  check_count("steps", steps)

  def by_modality(tree: Inputs) -> dict[str, Any]:
    return dict(tree) if isinstance(tree, Mapping) else {name: tree}

  @jax.jit
  def measure(
    logits: LogitsFn, keys: Key, inputs: Inputs, labels: Labels
  ) -> GradientStudy:
    attack = attacks.ascend_recorded(
      attacks.white_box(losses.scored(logits, losses.cross_entropy)),
      optax.chain(steepest(threat), scale_steps(step_size)),
      threat,
      steps=steps,
      start=threat.sample,
      record=lambda inputs, probe: (
        sparsity.measure(by_modality(probe.gradient)),
        probe.correct,
        inputs,
      ),
    )
    # The attack, the measured gradients and the noise draw independently.
    attack_key, logits_key, noise_key = split(keys, 3)
    result, (along, standing, iterates) = attack(attack_key, inputs, labels)
    # Recorded on the way: no second attack of half the steps is run.
    halfway = jax.tree.map(lambda leaf: leaf[steps // 2], iterates)
    points = dict(
      zip(CONDITIONS, (inputs, halfway, result.inputs), strict=True)
    )
    gradients = {
      confidence_name: {
        condition: by_modality(
          _gradient(logits, confidence, logits_key, point, labels)
        )
        for condition, point in points.items()
      }
      for confidence_name, confidence in CONFIDENCES.items()
    }
    # The margin, since it is what decides and does not saturate.
    margin = losses.composed(logits, losses.against_rival(losses.margin))
    moved = margin(logits_key, result.inputs, labels) - margin(
      logits_key, inputs, labels
    )
    return GradientStudy(
      metrics=sparsity.measure(gradients),
      maps=gradients["margin"],
      along=jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), along),
      standing=standing.T,
      ratio={
        modality: vulnerability.first_order(gradient, np.inf).ratio
        for modality, gradient in gradients["margin"]["clean"].items()
      },
      random=vulnerability.random_vulnerability(
        margin, threat.sample, draws=max(random_draws, 2)
      )(noise_key, inputs, labels).mean,
      adversarial=jnp.square(moved),
      adversarial_inputs=by_modality(result.inputs),
    )

  return measure


def template(modalities: Sequence[str], count: int, maps: int) -> GradientStudy:
  """Returns what `array_files.fill` needs to restore a study from its arrays.

  Args:
    modalities: of the inputs.
    count: of the examples.
    maps: of how many of them there are gradients to show.
  """
  rows: Any = array_files.Rows(count)
  few: Any = array_files.Rows(maps)
  metrics = sparsity.Metrics(*[rows] * len(sparsity.Metrics._fields))
  per_modality = dict.fromkeys(modalities, rows)
  along = dict.fromkeys(modalities, metrics)
  map_rows = dict.fromkeys(modalities, few)
  return GradientStudy(
    metrics=dict.fromkeys(CONFIDENCES, dict.fromkeys(CONDITIONS, along)),
    maps=dict.fromkeys(CONDITIONS, map_rows),
    along=along,
    standing=rows,
    ratio=per_modality,
    random=rows,
    adversarial=rows,
    adversarial_inputs=per_modality,
  )


def _gradient(
  logits: LogitsFn,
  confidence: losses.Confidence,
  keys: Key,
  inputs: Inputs,
  labels: Labels,
) -> Inputs:
  """The confidence's input gradient; statistics are frozen, so one vjp."""
  fn = losses.composed(logits, losses.against_rival(confidence))
  # All points are compared under the same draws of a stochastic encoder.
  return input_gradients.summed(fn)(jax.random.clone(keys), inputs, labels)
