"""The gradients that the first attack of each chain follows, step by step."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.building import build
from experiments.configuration.study import Protocol
from experiments.measuring import gradient_table
from experiments.measuring.named_arrays import Arrays
from experiments.measuring.subject import MeasureWithin, Subject
from snnjax import attacks, losses
from snnjax.attacks.gradient.slide import sparse_steps
from snnjax.attacks.steppers import scale_steps, steepest
from snnjax.interfaces import Array, Inputs, Key, Labels, LogitsFn


def along(subject: Subject, correct: np.ndarray) -> Arrays:
  """Returns the metrics at every step, over the examples right when clean.

  Args:
    subject: the network.
    correct: [N] which examples are right when clean.

  Returns:
    ``along``, ``along_zeros`` and ``along_standing``, see `named_arrays`.
  """
  protocol = subject.protocol
  few = subject.first(protocol.along)
  right = correct[: len(few.labels)]
  means, zeros, standing = [], [], []
  for norm in protocol.norms:
    ball = subject.ball(norm, protocol.level)
    recorded = subject.measured(
      jax.tree_util.Partial(subject.programs.along[norm], ball), few, "along"
    )
    metrics, correct_there = (rows[right] for rows in recorded)
    # [A, S, Q, M] -> [Q, M, S]
    zero = np.isnan(metrics[..., 0])
    total = np.nansum(metrics, 0)
    with np.errstate(invalid="ignore"):  # no gradient left: nan, and counted
      means.append((total / (~zero).sum(0)[..., None]).transpose(1, 2, 0))
    zeros.append(zero.mean(0).T)
    standing.append(correct_there.mean(0))
  return {
    "along": np.stack(means),
    "along_zeros": np.stack(zeros),
    "along_standing": np.stack(standing),
  }


def program(norm: str, protocol: Protocol) -> MeasureWithin:
  """Returns the chain's first attack, recorded at every step.

  It returns metrics [B, S, Q, M], and which examples are right there, [B, S].
  """

  @jax.jit
  def measure(
    radii: Mapping[str, Array],
    logits: LogitsFn,
    keys: Key,
    inputs: Inputs,
    labels: Labels,
  ) -> Any:
    threat = build.threat_of(norm, radii)
    steps = protocol.chains[norm][0].steps
    size = jax.tree.map(lambda radius: 2.5 * radius / steps, threat.radius)
    ascended = sparse_steps(threat, 0.01) if norm == "l1" else threat
    recorded = attacks.ascend_recorded(
      attacks.white_box(losses.scored(logits, losses.cross_entropy)),
      optax.chain(steepest(ascended), scale_steps(size)),
      ascended,
      steps=steps,
      start=threat.sample,
      record=lambda _, probe: (
        gradient_table.metrics(probe.gradient),
        probe.correct,
      ),
    )
    _, records = recorded(keys, inputs, labels)
    # Rows of examples first.
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), records)

  return measure
