"""The data that a configuration asks for, split and ready for batches."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from experiments.progress import Progress, silent
from snnjax.data import camera, dataset, embedded, events, pairing, pipeline
from snnjax.types import Inputs

Prepare = Callable[..., Inputs]  # of the inputs of a batch
MODALITIES = {
  "image": ("image",),
  "events": ("events",),
  "both": ("events", "image"),
}


class Splits(NamedTuple):
  """One data set, split.

  Attributes:
    train: what weights are fitted to.
    validation: what a checkpoint may be selected on; None without one.
    test: what is reported, never selected on.
    prepare: from stored to network inputs, run on the device.
    modalities: "image", "events" or both.
  """

  train: dataset.Dataset
  validation: dataset.Dataset | None
  test: dataset.Dataset
  prepare: Prepare
  modalities: tuple[str, ...]


def load(config: Any, progress: Progress = silent) -> Splits:
  """Loads, splits and, for events, simulates the data of ``config.data``.

  Args:
    config: the whole configuration; the number of event frames is that of the
      model's steps.
    progress: told of the simulation.

  Raises:
    ValueError: if a name is unknown, a count too large or a file corrupt.
  """
  options = config.data
  if options.modality not in MODALITIES:
    raise ValueError(
      f"data.modality must be one of {sorted(MODALITIES)}; got "
      f"{options.modality!r}"
    )
  modalities = MODALITIES[options.modality]
  train = _taken(_split(options, "train"), options.train_examples, "train")
  test = _taken(_split(options, "test"), options.test_examples, "test")
  validation = None
  if options.validation:
    train, validation = pipeline.train_validation(
      train, options.validation, config.seed
    )
  record = functools.partial(_recorded, config, modalities, progress)
  return Splits(
    record(train, "train"),
    None if validation is None else record(validation, "validation"),
    record(test, "test"),
    _prepare(modalities, options.event_cap),
    modalities,
  )


def _split(options: Any, split: str) -> dataset.Dataset:
  if options.name != "digits":
    raise ValueError(
      f"data.name must be one of ['digits']; got {options.name!r}"
    )
  return dataset.validate(embedded.mnist(split))


def _taken(data: dataset.Dataset, count: int, split: str) -> dataset.Dataset:
  size = len(data.labels)
  if not 0 <= count <= size:
    raise ValueError(
      f"data.{split}_examples must lie in 0..{size} for {data.name}; got "
      f"{count}"
    )
  return dataset.take(data, count) if count else data


def _recorded(
  config: Any,
  modalities: tuple[str, ...],
  progress: Progress,
  data: dataset.Dataset,
  split: str,
) -> dataset.Dataset:
  """The images, their simulated events, or both, as the network takes them."""
  if modalities == ("image",):
    return data
  made = camera.Camera(step_us=config.data.event_step_us)
  # Not the key of the weights; one per split, so that no split's events
  # depend on another's size.
  key = jax.random.fold_in(jax.random.key(config.seed), len(split))
  paired = pairing.pair(
    data,
    key,
    made,
    frames=config.model.steps,
    progress=lambda done, total: progress(
      done, total, f"simulate events ({split})"
    ),
  )
  if modalities == ("events",):
    return dataset.map_inputs(paired, lambda inputs: inputs["events"])
  return paired


def _prepare(modalities: tuple[str, ...], cap: int) -> Prepare:
  if modalities == ("image",):
    return dataset.to_unit
  if modalities == ("events",):
    return functools.partial(events.saturate, cap=cap)
  return functools.partial(pairing.network_inputs, cap=cap)
