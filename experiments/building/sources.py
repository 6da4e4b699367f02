"""How each modality comes out of a data set: a row per modality.

A data set says which modalities it has itself (`registry.modalities`); these
are read. A modality that it does not have is simulated from its images, where
the modality's row has a simulator.

A new modality is a class in `schema.Modalities` and a row of `TABLE`; nothing
else in the experiments knows modalities by name, but what is said of images
alone (augmentation, perceptual distance).
"""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import numpy as np

from experiments.building import build
from experiments.command.exits import UsageError
from experiments.command.progress import Progress
from experiments.configuration.schema import Config
from snnjax.data import camera, dataset, events, pairing
from snnjax.interfaces import Array

Simulate = Callable[[Config, dataset.Dataset, str, Progress], np.ndarray]
Prepare = Callable[[Array], Array]
_IMAGE = "image"  # what is simulated from


class Source(NamedTuple):
  """One modality's way from a data set into a batch.

  Attributes:
    prepare: ``config -> (stored [B, ...] -> network inputs in [0, 1])``, run
      on the device.
    simulate: ``(config, images, split, progress) -> [N, ...]``, for data sets
      that have images and not this modality; the same bytes as a data set has.
      None where it cannot be.
  """

  prepare: Callable[[Config], Prepare]
  simulate: Simulate | None = None


def needed(config: Config, own: Collection[str]) -> tuple[str, ...]:
  """Returns what of a data set must be read for a network's modalities.

  Args:
    config: the whole configuration.
    own: the modalities that the data set has itself.

  Raises:
    UsageError: the network sees what the data set neither has nor can be
      simulated from.
  """
  missing = [name for name in config.seen if name not in own]
  simulated = [
    name for name, source in TABLE.items() if source.simulate is not None
  ]
  possible = sorted({*own, *(simulated if _IMAGE in own else ())})
  if not set(missing) <= set(possible):
    raise UsageError(
      f"data.modalities must be among {','.join(possible)!r} for "
      f"{config.data.name}, which has {','.join(sorted(own))!r} itself; got "
      f"{','.join(config.data.modalities)!r}"
    )
  read = {name for name in config.seen if name in own}
  return tuple(sorted({*read, *((_IMAGE,) if missing else ())}))


def record(
  config: Config, data: dataset.Dataset, split: str, progress: Progress
) -> dict[str, np.ndarray]:
  """Returns the modalities that a network sees, [N, ...] each.

  Args:
    config: the whole configuration.
    data: what is `needed` of a data set, by modality.
    split: which part of it, for messages and the simulator's noise.
    progress: told of a simulation.

  Raises:
    UsageError: the data set's images do not fit the simulator.
  """
  own = data.inputs
  assert isinstance(own, Mapping)
  recorded = {}
  for name in config.seen:
    if name in own:
      recorded[name] = own[name]
      continue
    simulate = TABLE[name].simulate
    assert simulate is not None  # or `needed` had raised
    images = data._replace(inputs=own[_IMAGE])
    recorded[name] = simulate(config, images, split, progress)
  return recorded


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
  "image": Source(lambda config: dataset.to_unit),
  "events": Source(
    lambda config: functools.partial(
      events.saturate, cap=config.modalities.events.cap
    ),
    _events,
  ),
}
