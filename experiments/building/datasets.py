"""The data that a configuration asks for, split and ready for batches."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from experiments.building import build, examples
from experiments.building.examples import Used
from experiments.command.progress import Progress, silent
from experiments.configuration.settings import UsageError
from snnjax import prng
from snnjax.data import (
  camera,
  dataset,
  events,
  manifest,
  pairing,
  pipeline,
  registry,
  selection,
)
from snnjax.interfaces import Batch, Inputs

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
    used: which examples of the data set all these are.
  """

  train: Training | None
  validation: dataset.Dataset | None
  test: dataset.Dataset
  prepare: Prepare
  modalities: tuple[str, ...]
  used: Used


def load(
  config: Any, progress: Progress = silent, *, only_test: bool = False
) -> Splits:
  """Loads, splits and, for events, simulates the data of ``config.data``.

  A part of a split has of every class its share; which examples is a function
  of ``data.seed`` and the data alone: the same for all networks compared. The
  test examples are in an order each beginning of which is such a part.

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
  _check_seeds(config)
  stored = _split(config, "test")
  _check_channels(config, stored)
  taken = _subset(config, stored.labels, "test")
  splits = Splits(
    None,
    None,
    _recorded(
      config, modalities, progress, dataset.subset(stored, taken), "test"
    ),
    _prepare(modalities, config.data.event_cap),
    modalities,
    _used(config, stored.classes, "test", stored.labels, {"test": taken}),
  )
  if only_test:
    return splits
  read = _streamed if config.data.stream else _in_memory
  return read(config, splits, progress)


def evaluated(config: Any, splits: Splits) -> Used:
  """Which examples a network is fitted to, and which are evaluated."""
  labels = splits.test.labels[: config.evaluation.examples or None]
  return splits.used.first("test", labels)


def _check_seeds(config: Any) -> None:
  if "seed" not in config.data:
    raise UsageError(
      "data.seed is missing: an older version made this run, of other "
      "examples; train it again"
    )
  try:
    for name, seed in (("seed", config.seed), ("data.seed", config.data.seed)):
      prng.check_seed(seed, name)
  except ValueError as error:
    raise UsageError(str(error)) from None


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


def _subset(config: Any, labels: np.ndarray, split: str) -> np.ndarray:
  """The positions of as many examples as the configuration wants."""
  count, size = config.data[f"{split}_examples"], len(labels)
  if not 0 <= count <= size:
    raise UsageError(
      f"data.{split}_examples must lie in 0..{size} for {config.data.name}; "
      f"got {count}"
    )
  return selection.subset(labels, count, config.data.seed)


def _fitted(config: Any, labels: np.ndarray) -> dict[str, np.ndarray]:
  """Ascending positions of the training and the validation examples."""
  kept = np.sort(_subset(config, labels, "train"))
  share = config.data.validation
  if not share:
    return {"train": kept}
  try:
    train, held = pipeline.train_validation(
      labels[kept], share, config.data.seed
    )
  except ValueError as error:
    raise UsageError(f"data.validation: {error}") from None
  return {"train": kept[train], "validation": kept[held]}


def _used(
  config: Any,
  classes: tuple[str, ...],
  split: str,
  labels: np.ndarray,
  chosen: dict[str, np.ndarray],
) -> Used:
  """What is used of one split, by the parts' names."""
  data = config.data
  parts = {
    name: examples.part(split, labels, indices, len(classes))
    for name, indices in chosen.items()
  }
  made = registry.provenance(data.name, data.data_dir or None)
  return Used(made, data.seed, classes, parts)


def _with_training(
  splits: Splits,
  train: Training,
  validation: dataset.Dataset | None,
  used: Used,
) -> Splits:
  return splits._replace(
    train=train,
    validation=validation,
    used=used._replace(parts={**used.parts, **splits.used.parts}),
  )


def _in_memory(config: Any, splits: Splits, progress: Progress) -> Splits:
  stored = _split(config, "train")
  chosen = _fitted(config, stored.labels)
  parts = {
    # The whole split as it is: a copy of it would cost its memory again.
    name: stored
    if len(indices) == len(stored.labels)
    else dataset.subset(stored, indices)
    for name, indices in chosen.items()
  }
  recorded = {
    name: _recorded(config, splits.modalities, progress, data, name)
    for name, data in parts.items()
  }
  train = recorded["train"]
  return _with_training(
    splits,
    Training(
      len(train.labels),
      train.num_classes,
      functools.partial(pipeline.batches, train, prepare=splits.prepare),
    ),
    recorded.get("validation"),
    _used(config, stored.classes, "train", stored.labels, chosen),
  )


def _streamed(config: Any, splits: Splits, progress: Progress) -> Splits:
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
  labels = records.labels()
  chosen = _fitted(config, labels)
  kept = chosen["train"]
  part = records._replace(
    read=lambda wanted: records.read(kept[np.asarray(wanted)].tolist()),
    labels=lambda: labels[kept],
    size=len(kept),
  )
  validation = None
  if "validation" in chosen:
    validation = dataset.Dataset(
      *records.read(chosen["validation"].tolist()),
      records.num_classes,
      records.name,
      records.classes,
    )
  return _with_training(
    splits,
    Training(
      part.size,
      part.num_classes,
      functools.partial(streaming.batches, part, prepare=splits.prepare),
    ),
    validation,
    _used(config, records.classes, "train", labels, chosen),
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
  # Of the data's seed: networks of all seeds see the same events. One per
  # split, so that no split's events depend on another's size.
  key = build.data_key(config, f"events of the {split} split")
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
