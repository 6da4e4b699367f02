"""The data that a configuration asks for, split and ready for batches."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from experiments.building import examples, sources
from experiments.building.examples import Used
from experiments.command.exits import UsageError
from experiments.command.progress import Progress, silent
from experiments.configuration.schema import Config
from snnjax.data import (
  dataset,
  pipeline,
  registry,
  selection,
)
from snnjax.interfaces import Array, Batch, Inputs

Prepare = Callable[[Inputs], Inputs]  # of the inputs of a batch


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
    prepare: from stored to network inputs, a mapping of modalities; run on
      the device.
    modalities: the names of these, sorted.
    used: which examples of the data set all these are.
  """

  train: Training | None
  validation: dataset.Dataset | None
  test: dataset.Dataset
  prepare: Prepare
  modalities: tuple[str, ...]
  used: Used


def load(
  config: Config, progress: Progress = silent, *, only_test: bool = False
) -> Splits:
  """Loads and splits the data of ``config.data``.

  A modality that the data set has not itself is simulated, see `sources`.

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
  stored = _split(config, "test")
  taken = _subset(config, stored.labels, "test")
  test = _recorded(config, progress, dataset.subset(stored, taken), "test")
  _check_channels(config, test)
  splits = Splits(
    None,
    None,
    test,
    _prepare(config),
    tuple(config.seen),
    _used(config, stored.classes, "test", stored.labels, {"test": taken}),
  )
  if only_test:
    return splits
  read = _streamed if config.data.stream else _in_memory
  return read(config, splits, progress)


def evaluated(config: Config, splits: Splits) -> Used:
  """Which examples a network is fitted to, and which are evaluated."""
  labels = splits.test.labels[: config.evaluation.examples or None]
  return splits.used.first("test", labels)


def _own(config: Config) -> tuple[str, ...]:
  """The modalities that the data set has itself."""
  return registry.modalities(config.data.name, config.data.data_dir or None)


def _split(config: Config, split: str) -> dataset.Dataset:
  """What is needed of one split, by modality."""
  return registry.open_dataset(
    config.data.name,
    split,
    config.data.data_dir or None,
    wanted=sources.needed(config, _own(config)),
    frames=config.model.steps,
  )


def _check_channels(config: Config, data: dataset.Dataset) -> None:
  """Refuses a configuration that other inputs were meant by."""
  for name, stored in _arrays(data).items():
    own = config.seen[name].standardize
    for key, values in (("mean", own.mean), ("std", own.std)):
      if len(values) not in (0, stored.shape[-1]):
        raise UsageError(
          f"modalities.{name}.standardize.{key} must have one value per "
          f"channel of {data.name}, {stored.shape[-1]}, or none; got {values}"
        )


def _arrays(data: dataset.Dataset) -> Mapping[str, np.ndarray]:
  """The inputs of `_recorded`, by modality."""
  assert isinstance(data.inputs, Mapping)
  return data.inputs


def _subset(config: Config, labels: np.ndarray, split: str) -> np.ndarray:
  """The positions of as many examples as the configuration wants."""
  wanted = {
    "train": config.data.train_examples,
    "test": config.data.test_examples,
  }
  count, size = wanted[split], len(labels)
  if not 0 <= count <= size:
    raise UsageError(
      f"data.{split}_examples must lie in 0..{size} for {config.data.name}; "
      f"got {count}"
    )
  return selection.subset(labels, count, config.data.seed)


def _fitted(config: Config, labels: np.ndarray) -> dict[str, np.ndarray]:
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
  config: Config,
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


def _in_memory(config: Config, splits: Splits, progress: Progress) -> Splits:
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
    name: _recorded(config, progress, data, name)
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


def _streamed(config: Config, splits: Splits, progress: Progress) -> Splits:
  """Leaves the training split on the disk; the validation part is loaded."""
  del progress
  data = config.data
  own = _own(config)
  if data.name == registry.EMBEDDED or not set(config.seen) <= set(own):
    raise UsageError(
      "data.stream must be false but for what a prepared data set has itself "
      f"({','.join(own)}); got true for data.modalities "
      f"{','.join(config.seen)!r} of {data.name!r}"
    )
  # Grain and TFDS take seconds to import; a miss should not.
  from snnjax.data import prepared, streaming

  records = prepared.records(
    data.name,
    "train",
    data.data_dir or None,
    wanted=tuple(config.seen),
    frames=config.model.steps,
  )
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
    inputs, held = records.read(chosen["validation"].tolist())
    validation = dataset.Dataset(
      inputs,
      held,
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
  config: Config, progress: Progress, data: dataset.Dataset, split: str
) -> dataset.Dataset:
  """The modalities that the network sees, read or simulated."""
  recorded = sources.record(config, data, split, progress)
  return data._replace(inputs=recorded)


def _prepare(config: Config) -> Prepare:
  steps = {name: sources.TABLE[name].prepare(config) for name in config.seen}

  def prepare(inputs: Inputs) -> dict[str, Array]:
    return {name: step(inputs[name]) for name, step in steps.items()}

  return prepare
