"""Training methods: one or more weight updates per batch."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.arguments import check_takes
from snnjax.interfaces import (
  Array,
  Aux,
  Batch,
  Key,
  Objective,
  PyTree,
  Variables,
)
from snnjax.losses import predicts


class Stage(NamedTuple):
  """The values that a method carries from one update of a batch to the next.

  Attributes:
    perturbation: differentiated together with the weights, in the same
      backward pass; an empty tree if the method needs no such gradient.
    memory: anything else, such as membranes; never differentiated.
  """

  perturbation: PyTree = ()
  memory: PyTree = ()


StagedObjective = Callable[
  [Variables, Stage, Key, Batch, Array, int], tuple[Array, tuple[Aux, PyTree]]
]


class Method(NamedTuple):
  """A training method as pure functions.

  Attributes:
    updates: number of weight updates per batch.
    init: batch -> what is carried between batches.
    begin: (carried, batch) -> the batch's first `Stage`.
    objective: (variables, stage, key, batch, step, update) -> (scalar loss,
      (aux, the next stage's memory)). `step` is the traced number of batches
      before this one, `update` the number, a plain int, of the update of this
      batch.
    advance: (key, stage with that memory, the loss's gradient with respect to
      the stage's perturbation) -> the next stage.
    finish: last stage -> what is carried to the next batch.
  """

  updates: int
  init: Callable[[Batch], PyTree]
  begin: Callable[[PyTree, Batch], Stage]
  objective: StagedObjective
  advance: Callable[[Key, Stage, PyTree], Stage]
  finish: Callable[[Stage], PyTree]


def single(objective: Objective) -> Method:
  """Returns the method of one update per batch that descends `objective`.

  Args:
    objective: ``(variables, key, batch, step) -> (scalar loss, aux)``; `step`
      is the traced number of batches before this one.

  Raises:
    ValueError: if it does not take these arguments.
  """
  check_takes(
    "objective",
    objective,
    ("variables", "key", "batch", "step"),
    "methods.vanilla(network, rule=rule) is one; those without a schedule "
    "leave step aside",
  )

  def staged_objective(
    variables: Variables,
    stage: Stage,
    key: Key,
    batch: Batch,
    step: Array,
    update: int,
  ) -> tuple[Array, tuple[Aux, PyTree]]:
    del stage, update
    loss, aux = objective(variables, key, batch, step)
    return loss, (aux, ())

  return Method(
    updates=1,
    init=lambda batch: (),
    begin=lambda carried, batch: Stage(),
    objective=staged_objective,
    advance=lambda key, stage, gradient: stage,
    finish=lambda stage: (),
  )


def as_method(method: Method | Objective) -> Method:
  """Returns a method as it is, and an objective as one update per batch."""
  return method if isinstance(method, Method) else single(method)


def masked_mean(values: Array, mask: Array) -> Array:
  """Returns the mean of values [B] where the mask [B] is True; 0 if nowhere."""
  # At least 1, so that a batch of padding alone has the mean 0 and not NaN.
  weights = mask.astype(values.dtype)
  return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1)


def accuracy(logits: Array, batch: Batch) -> Array:
  """Returns the share of a batch's examples that logits [B, C] get right."""
  # Not argmax: logits that are not finite are never right.
  right = predicts(logits, batch.labels)
  return masked_mean(right.astype(logits.dtype), batch.mask)


def modality_of(path: tuple) -> str:
  """Returns the modality that a leaf's path names; "" for one array."""
  return path[0].key if path else ""


def by_modality(name: str, values: PyTree) -> dict[str, Array]:
  """Returns metrics: ``{"name/modality": value}``, of one value ``{name: ..}``.

  Args:
    name: of the metric.
    values: a scalar, or a mapping of them.
  """
  return {
    name + (f"/{modality_of(path)}" if path else ""): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(values)
  }
