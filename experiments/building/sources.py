"""How each modality comes out of a data set: a row per modality.

A new modality is a class in `schema.Modalities` and a row of `TABLE`; nothing
else in the experiments knows modalities by name, but what is said of images
alone (augmentation, perceptual distance).
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.building import build
from experiments.command.exits import UsageError
from experiments.command.progress import Progress
from experiments.configuration.schema import Config
from snnjax.data import camera, dataset, events, pairing
from snnjax.interfaces import Array

Record = Callable[[Config, dataset.Dataset, str, Progress], np.ndarray]
Prepare = Callable[[Array], Array]


class Source(NamedTuple):
  """One modality's way from a data set into a batch.

  Attributes:
    record: ``(config, images, split, progress) -> [N, ...]``, what is kept of
      a split in memory, such as bytes.
    prepare: ``config -> (stored [B, ...] -> network inputs in [0, 1])``, run
      on the device.
    stored: whether `record` returns the data set's own images, which may as
      well be read batch by batch.
  """

  record: Record
  prepare: Callable[[Config], Prepare]
  stored: bool = False


def _images(
  config: Config, images: dataset.Dataset, split: str, progress: Progress
) -> np.ndarray:
  del config, split, progress
  return np.asarray(images.inputs)


def _events(
  config: Config, images: dataset.Dataset, split: str, progress: Progress
) -> np.ndarray:
  """The events of a simulated camera, [N, T, height, width, 2] counts.

  Of a colour image it sees the luminance.
  """
  shape = np.asarray(images.inputs).shape[1:]
  if shape[-1] not in (1, 3):
    raise UsageError(
      f"data.modalities must be 'image' for {images.name}, whose images are "
      f"{shape}: the simulated event camera sees grey or RGB images; got "
      f"{','.join(config.data.modalities)!r}"
    )
  paired = pairing.pair(
    images,
    # Of the data's seed: networks of all seeds see the same events. One per
    # split, so that no split's events depend on another's size.
    build.data_key(config, f"events of the {split} split"),
    camera.Camera(step_us=config.modalities.events.step_us),
    frames=config.model.steps,
    progress=lambda done, total: progress(
      done, total, f"simulate events ({split})"
    ),
  )
  return np.asarray(dict(paired.inputs)["events"])


TABLE: Mapping[str, Source] = {
  "image": Source(_images, lambda config: dataset.to_unit, stored=True),
  "events": Source(
    _events,
    lambda config: functools.partial(
      events.saturate, cap=config.modalities.events.cap
    ),
  ),
}
