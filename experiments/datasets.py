"""The data that a configuration asks for, split and ready for batches."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from experiments import build
from experiments.progress import Progress, silent
from experiments.settings import UsageError
from snnjax.data import (
  camera,
  dataset,
  events,
  manifest,
  pairing,
  pipeline,
  registry,
)
from snnjax.types import Batch, Inputs

Prepare = Callable[..., Inputs]  # of the inputs of a batch
MODALITIES = {
  "image": ("image",),
  "events": ("events",),
  "both": ("events", "image"),
}


class Training(NamedTuple):
  """The examples that weights are fitted to, in memory or on the disk.

  Attributes:
    size: number of examples.
    num_classes: number of classes.
    batches: ``(batch_size, seed=, epoch=, first=)`` -> the batches of an
      epoch from `first` on, as `pipeline.batches`.
  """

  size: int
  num_classes: int
  batches: Callable[..., Iterator[Batch]]


class Splits(NamedTuple):
  """One data set, split.

  Attributes:
    train: what weights are fitted to; None where only tests are run.
    validation: what a checkpoint may be selected on; None without one.
    test: what is reported, never selected on.
    prepare: from stored to network inputs, run on the device.
    modalities: "image", "events" or both.
  """

  train: Training | None
  validation: dataset.Dataset | None
  test: dataset.Dataset
  prepare: Prepare
  modalities: tuple[str, ...]


def load(
  config: Any, progress: Progress = silent, *, only_test: bool = False
) -> Splits:
  """Loads, splits and, for events, simulates the data of ``config.data``.

  Args:
    config: the whole configuration; the number of event frames is that of the
      model's steps.
    progress: told of the simulation.
    only_test: leave the training split alone, as an evaluation can.

  Raises:
    UsageError: the configuration does not fit the data.
    MissingDataError: the data set is not prepared; the message says how to.
    ValueError: a file is damaged.
  """
  modalities = _modalities(config)
  stored = _taken(config, _split(config, "test"), "test")
  _check_channels(config, stored)
  splits = Splits(
    None,
    None,
    _recorded(config, modalities, progress, stored, "test"),
    _prepare(modalities, config.data.event_cap),
    modalities,
  )
  if only_test:
    return splits
  read = _streamed if config.data.stream else _in_memory
  train, validation = read(config, splits, progress)
  return splits._replace(train=train, validation=validation)


def _modalities(config: Any) -> tuple[str, ...]:
  name = config.data.modality
  if name not in MODALITIES:
    raise UsageError(
      f"data.modality must be one of {sorted(MODALITIES)}; got {name!r}"
    )
  return MODALITIES[name]


def _split(config: Any, split: str) -> dataset.Dataset:
  data_dir = config.data.data_dir or None
  return registry.open_dataset(config.data.name, split, data_dir)


def _check_channels(config: Any, data: dataset.Dataset) -> None:
  """Refuses a configuration that other images were meant by."""
  pixels = np.asarray(data.inputs)
  if config.data.modality != "image" and pixels.shape[-1] != 1:
    raise UsageError(
      f"data.modality must be 'image' for {data.name}, whose images are "
      f"{pixels.shape[1:]}: the simulated event camera sees one channel, "
      f"[H, W, 1]; got {config.data.modality!r}"
    )
  for name, values in config.model.standardize.items():
    if len(values) not in (0, pixels.shape[-1]):
      raise UsageError(
        f"model.standardize.{name} must have one value per channel of "
        f"{data.name}, {pixels.shape[-1]}, or none; got {tuple(values)}"
      )


def _count(config: Any, size: int, split: str) -> int:
  count = config.data[f"{split}_examples"]
  if not 0 <= count <= size:
    raise UsageError(
      f"data.{split}_examples must lie in 0..{size} for {config.data.name}; "
      f"got {count}"
    )
  return count or size


def _taken(config: Any, data: dataset.Dataset, split: str) -> dataset.Dataset:
  count = _count(config, len(data.labels), split)
  # The whole split as it is: a copy of it would cost its memory again.
  return data if count == len(data.labels) else dataset.take(data, count)


def _held_out(
  config: Any, data: dataset.Dataset
) -> tuple[dataset.Dataset, dataset.Dataset | None]:
  share = config.data.validation
  if not share:
    return data, None
  try:
    return pipeline.train_validation(data, share, config.seed)
  except ValueError as error:
    raise UsageError(f"data.validation: {error}") from None


def _in_memory(
  config: Any, splits: Splits, progress: Progress
) -> tuple[Training, dataset.Dataset | None]:
  train, validation = _held_out(
    config, _taken(config, _split(config, "train"), "train")
  )
  record = functools.partial(_recorded, config, splits.modalities, progress)
  recorded = record(train, "train")
  return (
    Training(
      len(recorded.labels),
      recorded.num_classes,
      functools.partial(pipeline.batches, recorded, prepare=splits.prepare),
    ),
    None if validation is None else record(validation, "validation"),
  )


def _streamed(
  config: Any, splits: Splits, progress: Progress
) -> tuple[Training, dataset.Dataset | None]:
  """Leaves the training split on the disk; the validation part is loaded."""
  del progress
  data = config.data
  if data.name == registry.EMBEDDED or splits.modalities != ("image",):
    raise UsageError(
      "data.stream must be false but for the images of a prepared data set; "
      f"got true for data.modality {data.modality!r} of {data.name!r}"
    )
  manifest.locate(data.name, data.data_dir or None)
  # Grain and TFDS take seconds to import; a miss should not.
  from snnjax.data import prepared, streaming

  records = prepared.records(data.name, "train", data.data_dir or None)
  count = _count(config, records.size, "train")
  # Positions stand for their examples: split as those in memory are.
  positions = dataset.Dataset(
    np.arange(count),
    np.zeros(count, np.int32),
    records.num_classes,
    records.name,
    records.classes,
  )
  train, held = _held_out(config, positions)
  kept = np.asarray(train.inputs)
  part = records._replace(
    read=lambda wanted: records.read(kept[np.asarray(wanted)].tolist()),
    size=len(kept),
  )
  validation = None
  if held is not None:
    images, labels = records.read(np.asarray(held.inputs).tolist())
    validation = held._replace(inputs=images, labels=labels)
  return (
    Training(
      part.size,
      part.num_classes,
      functools.partial(streaming.batches, part, prepare=splits.prepare),
    ),
    validation,
  )


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
  # One per split, so that no split's events depend on another's size.
  key = build.key(config, f"events of the {split} split")
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
