"""What training runs of one shape share: data, network, compiled programs."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import (
  build,
  networks,
  training_methods,
)
from experiments.building.devices import ALONE, Devices
from experiments.building.shared import Shared
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from experiments.runs import origins
from snnjax import losses, prng
from snnjax import training as steps
from snnjax.data import augmentation
from snnjax.interfaces import Batch, Key, Network, Variables
from snnjax.training import TrainState

AUGMENTATIONS: Mapping[str, tuple[augmentation.Transform, ...]] = {
  "none": (),
  "crop_flip": (augmentation.random_crop(4), augmentation.horizontal_flip()),
  "crop_flip_cutout": (
    augmentation.random_crop(4),
    augmentation.horizontal_flip(),
    augmentation.cutout(8),
  ),
}


# Numbers that the training step takes as arguments: runs that differ in these
# alone share its program. They change the values of a run, not its shapes.
TRACED = (
  "seed",
  "method.sr.weight",
  "method.sr.participation",
  *schema.of_modalities("radius", "step_size", "radius_l2", "radius_l1"),
  "optimizer.learning_rate",
  "optimizer.weight_decay",
)


# What is read outside of the step alone: the examples reach it as arrays.
_OUTSIDE = (
  *schema.CHANGEABLE,
  "data.seed",
  "train.select",
)


class Programs(NamedTuple):
  """What training runs of one shape share, compilations included.

  Attributes:
    step: ``(values of the keys in `TRACED`, state, batch) -> (state,
      metrics)``.
    hits: ``(variables, key, batch)`` -> how many of its examples are right.
  """

  step: Callable[..., tuple[TrainState, steps.StepMetrics]]
  hits: Callable[[Variables, Key, Batch], jax.Array]


def data_key(config: Config, **options: Any) -> dict[str, Any]:
  """Returns all that says which data `datasets.load` returns.

  Args:
    config: the whole configuration.
    **options: those of `datasets.load`.

  Raises:
    MissingDataError: the data set is not prepared.
  """
  read = ("data", "model.steps", *schema.RECORDING)
  return {
    "digest": origins.training(config)["data"],
    "options": options,
    **settings.part(config, read),
  }


def shape(config: Config) -> dict[str, Any]:
  """Returns the values that shape the programs of a training run.

  Runs that agree in them, on data of the same shapes, compile once.

  Args:
    config: the whole configuration.
  """
  unread = (*TRACED, *_OUTSIDE, *schema.LATER)
  read = [
    key
    for key in schema.KEYS
    if key in schema.MEASURED or not schema.covers(unread, key)
  ]
  return settings.part(config, read)


def network_of(config: Config, classes: int, shared: Shared) -> Network:
  """Returns the network of a configuration, one for each architecture.

  Args:
    config: the whole configuration.
    classes: number of logits.
    shared: what other runs of this process built.
  """
  return shared.get(
    "network",
    [settings.part(config, schema.NETWORK), classes],
    lambda: networks.network(config, classes),
  )


def measured_network(config: Config, classes: int, shared: Shared) -> Network:
  """Returns `network_of`, computed as ``config.evaluation`` says."""
  return shared.get(
    "network",
    [settings.part(config, schema.MEASURED), classes],
    lambda: networks.as_measured(config, network_of(config, classes, shared)),
  )


def traced_values(config: Config) -> dict[str, Any]:
  """The values of the keys in `TRACED`, by key."""
  return {
    # A seed may be larger than the integers that JAX takes a number for; of
    # the others a file may say 1 for 1.0.
    key: np.uint32(value) if schema.KEYS[key].kind is int else float(value)
    for key, value in settings.part(config, TRACED).items()
  }


def build_programs(
  config: Config, network: Network, updates: int, devices: Devices = ALONE
) -> Programs:
  """Builds the compiled functions of all runs that share `shape`.

  Args:
    config: of one of them.
    network: its architecture.
    updates: of a whole run.
    devices: which a batch's rows are split over.
  """
  rule = build.rule(config, config.model.rule)
  measured = networks.as_measured(config, network)

  @functools.partial(jax.jit, donate_argnums=1)
  def step(
    values: Mapping[str, Any], state: TrainState, batch: Batch
  ) -> tuple[TrainState, steps.StepMetrics]:
    own = settings.replaced(config, values)
    method = training_methods.method(own, network)
    tx = build.optimizer(own, updates)
    step = _augmented(own, steps.make_train_step(method, tx))
    state, metrics = step(state, batch)
    size = config.train.batch_size
    return devices.keep(state, size), devices.keep_whole(metrics)

  @jax.jit
  def hits(variables: Variables, key: Key, batch: Batch) -> jax.Array:
    forward = measured.apply(variables, batch.inputs, rule=rule, key=key)
    correct = losses.predicts(forward.logits, batch.labels)
    return jnp.sum(correct & batch.mask)

  return Programs(step, hits)


def _augmented(config: Config, step: Callable) -> Callable:
  """The step on augmented images; each example draws from its own key."""
  chain = build.chosen(AUGMENTATIONS, "data.augment", config.data.augment)
  if not chain:
    return step
  transform = augmentation.batched(augmentation.compose(*chain))

  def augmented(state: TrainState, batch: Batch) -> tuple:
    own = prng.fold_in_name(state.key, "augmentation")
    key = jax.random.fold_in(own, state.step)
    inputs = build.by_modality(batch.inputs)
    images = transform(key, jnp.asarray(inputs["image"]))
    return step(state, batch._replace(inputs={**inputs, "image": images}))

  return augmented
