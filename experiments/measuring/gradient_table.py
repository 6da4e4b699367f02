"""The metrics of the gradients of all confidences, points, rules and parts."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import build
from experiments.configuration.study import JOINT
from experiments.measuring.named_arrays import CONFIDENCES, parts_of, points_of
from experiments.measuring.subject import Measure, Subject
from snnjax import input_gradients, losses, sparsity
from snnjax.interfaces import Array, Inputs, Key, Labels, LogitsFn

margin = losses.against_rival(losses.margin)
_BY_NAME = {"margin": margin, "cross_entropy": losses.cross_entropy}


def table(subject: Subject, points: Mapping[str, Inputs]) -> np.ndarray:
  """Returns the metrics of all gradients, [C, P, R, Q, M, N].

  Args:
    subject: the network.
    points: by name, as in `points_of`: the inputs where they are measured.
  """
  rules = subject.protocol.rules
  columns = []
  done, total = 0, len(points) * len(rules)
  for point in points_of(subject.protocol):
    there = subject.batch._replace(inputs=points[point])
    for rule in rules:
      subject.progress(done, total, "measure gradients", compiles=done == 0)
      columns.append(
        subject.measured(subject.programs.gradients, there, "gradients", rule)
      )  # [N, C, Q, M]
      done += 1
  subject.progress(done, total, "measure gradients")
  stacked = np.stack(columns).reshape(
    len(points), len(rules), *columns[0].shape
  )
  return np.moveaxis(stacked, (2, 3, 4, 5), (5, 0, 3, 4))


def part_sizes(subject: Subject) -> np.ndarray:
  """Returns the dimensions of all parts, [Q]."""
  inputs = build.by_modality(subject.batch.inputs)
  sizes = {name: int(np.prod(leaf.shape[1:])) for name, leaf in inputs.items()}
  sizes[JOINT] = sum(sizes.values())
  return np.asarray([sizes[p] for p in parts_of(inputs)], np.int32)


def program() -> Measure:
  """Returns the measurement of all confidences at one point, [B, C, Q, M]."""

  @jax.jit
  def measure(
    logits: LogitsFn, keys: Key, inputs: Inputs, labels: Labels
  ) -> Array:
    rows = []
    for name in CONFIDENCES:
      function = losses.composed(logits, _BY_NAME[name])
      # Statistics are frozen: one backward pass gives every example's own.
      pulled = input_gradients.summed(function)(
        jax.random.clone(keys), inputs, labels
      )
      rows.append(metrics(pulled))
    return jnp.stack(rows, 1)

  return measure


def metrics(tree: Inputs) -> Array:
  """Returns the metrics of all parts of B gradients, [B, Q, M]."""
  own = dict(build.by_modality(tree))
  rows = {n: leaf.reshape(leaf.shape[0], -1) for n, leaf in own.items()}
  if len(rows) > 1:
    rows[JOINT] = jnp.concatenate(list(rows.values()), 1)
  parts = []
  for part in parts_of(own):
    measures = sparsity.measure(rows[part])
    values = (
      jnp.log(measures.participation_ratio),
      measures.gini,
      measures.l0_relative / rows[part].shape[1],
      jnp.log(measures.l1),
      jnp.log(measures.linf),
    )
    # A zero gradient is no gradient: it is counted, never averaged in.
    known = ~measures.is_zero[:, None]
    parts.append(jnp.where(known, jnp.stack(values, 1), jnp.nan))
  return jnp.stack(parts, 1)
