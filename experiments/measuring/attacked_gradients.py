"""The gradients of a network, clean and under attack, with their points."""

import jax.numpy as jnp
import numpy as np

from experiments.building import build
from experiments.measuring import (
  attack_chains,
  gradient_table,
  recorded_attack,
  vulnerability_table,
  worst_points,
)
from experiments.measuring.named_arrays import ATTACK, CLEAN, Arrays, small
from experiments.measuring.subject import Subject
from snnjax.attacks import perceptual_distance
from snnjax.interfaces import Array, Inputs, Key, Labels, LogitsFn


def gradients(subject: Subject) -> Arrays:
  """Measures the gradients of a network, clean and under attack.

  Args:
    subject: the network.

  Returns:
    All arrays of `named_arrays`; ``vulnerability`` of one modality alone.

  Raises:
    UnjudgedError: an output of an attack could not be judged.
  """
  protocol, level = subject.protocol, subject.protocol.level
  levels = dict.fromkeys(protocol.norms, (level,))
  outcome = worst_points.attack(subject, levels, attack_chains.beside(subject))
  result = dict(outcome.arrays)
  points = {CLEAN: subject.batch.inputs, **outcome.points}
  for norm, moved in outcome.points.items():
    result |= _visible(subject, norm, moved)
  result |= _clean_pass(subject)
  result["gradient"] = gradient_table.table(subject, points)
  result["part_sizes"] = gradient_table.part_sizes(subject)
  result |= recorded_attack.along(subject, result["correct"])
  if len(subject.member.modalities) == 1:
    # The theory is about one ball; several modalities have several.
    result["vulnerability"] = vulnerability_table.table(subject)
  return small(result)


def _visible(subject: Subject, norm: str, moved: Inputs) -> Arrays:
  """How far the worst attack went, and how visible that is."""
  result: Arrays = {}
  level = subject.protocol.level
  clean = build.by_modality(subject.batch.inputs)
  for name, candidate in build.by_modality(moved).items():
    change = np.asarray(candidate) - np.asarray(clean[name])
    length = np.sqrt((change.reshape(len(change), -1) ** 2).sum(1))
    path = ATTACK.format(norm=norm, level=level, field=f"distance/{name}")
    result[path] = length
    if name == "image":
      path = ATTACK.format(norm=norm, level=level, field="visibility/image")
      result[path] = np.asarray(
        perceptual_distance(jnp.asarray(candidate), jnp.asarray(clean[name]))
      )
  return result


def _clean_pass(subject: Subject) -> Arrays:
  """Margins, and spikes per neuron and step, of the clean inputs, each [N]."""

  def measure(
    logits: LogitsFn, keys: Key, inputs: Inputs, labels: Labels
  ) -> dict[str, Array]:
    del logits  # the forward pass gives them, with the spikes
    forward = subject.programs.forward(subject.variables, keys, inputs)
    rows = [
      jnp.moveaxis(trace.spikes, 1, 0).reshape(len(labels), -1)
      for trace in forward.traces.values()
    ]
    return {
      "margin": gradient_table.margin(forward.logits, jnp.asarray(labels)),
      "firing_rate": jnp.mean(jnp.concatenate(rows, 1), 1),
    }

  # One pass, on one device: compiled as a whole it would have other bits.
  alone = subject._replace(mesh=None)
  return dict(alone.measured(measure, subject.batch, "clean"))
