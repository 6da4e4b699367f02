"""Who is measured: network, protocol, radii, examples and programs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from experiments.building import build
from experiments.command.progress import Progress
from experiments.configuration.study import Member, Protocol
from snnjax.evaluation.gradients import in_microbatches
from snnjax.interfaces import (
  Array,
  Batch,
  Forward,
  Inputs,
  Key,
  Labels,
  LogitsFn,
  Variables,
)

# (logits function, keys [B], inputs, labels [B]) -> arrays of B rows
Measure = Callable[[LogitsFn, Key, Inputs, Labels], Any]
# The same of the radii of a ball, before the others.
MeasureWithin = Callable[
  [Mapping[str, Array], LogitsFn, Key, Inputs, Labels], Any
]


class Programs(NamedTuple):
  """What the networks of one architecture share, compilations included.

  Attributes:
    logits: by rule, ``(variables, key, inputs) -> [B, C]``.
    forward: ``(variables, key, inputs) -> Forward`` under the training rule.
    gradients: see `gradient_table`.
    along: by norm; see `recorded_attack`.
    vulnerability: by norm; see `vulnerability_table`.
  """

  logits: Mapping[str, Callable[[Variables, Key, Inputs], Array]]
  forward: Callable[[Variables, Key, Inputs], Forward]
  gradients: Measure
  along: Mapping[str, MeasureWithin]
  vulnerability: Mapping[str, MeasureWithin]


class Subject(NamedTuple):
  """A network under measurement.

  Attributes:
    member: who it is.
    protocol: how it is measured.
    radii: by norm, rising, of every modality.
    programs: from `compiled_programs`.
    variables: its weights and statistics.
    batch: the test examples.
    progress: told of every microbatch.
    mesh: of devices that compute a microbatch each; None is one.
  """

  member: Member
  protocol: Protocol
  radii: Mapping[str, Sequence[float]]
  programs: Programs
  variables: Variables
  batch: Batch
  progress: Progress
  mesh: Mesh | None = None

  def bound(self, rule: str = "") -> jax.tree_util.Partial:
    """Returns its logits function under a rule, by default its own."""
    name = rule or self.member.config.model.rule
    return jax.tree_util.Partial(self.programs.logits[name], self.variables)

  def ball(self, norm: str, level: int, share: float = 1.0) -> dict[str, Array]:
    """Returns the radius of every modality, as arrays."""
    radius = share * self.radii[norm][level]
    return {name: jnp.asarray(radius) for name in self.member.modalities}

  def first(self, count: int) -> Batch:
    """Returns the first examples."""
    batch: Batch = jax.tree.map(lambda leaf: leaf[:count], self.batch)
    return batch

  def key(self, purpose: str) -> Key:
    """Returns the key of one measurement, equal for all arms of a seed."""
    return build.key(self.member.config, f"questions: {purpose}")

  def measured(
    self, measure: Measure, batch: Batch, purpose: str, rule: str = ""
  ) -> Any:
    """Returns what a function gives of every example, as rows.

    Args:
      measure: of a microbatch; with a mesh, as `in_microbatches` wants it.
      batch: the examples.
      purpose: of the key.
      rule: of the logits function, by default the network's own.
    """
    return in_microbatches(
      measure,
      self.bound(rule),
      batch.inputs,
      batch.labels,
      key=self.key(purpose),
      microbatch=min(self.protocol.microbatch, len(batch.labels)),
      mesh=self.mesh,
    )
