"""Whether a configuration holds what may be in it; nothing heavy."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from experiments.command.exits import DataError
from experiments.configuration import schema, settings
from experiments.configuration.settings import UsageError

_TOLD = 8  # of what is wrong with a configuration


def of(key: str) -> schema.Key | None:
  """Returns what is known of a key; None if nothing is."""
  if key.startswith(f"{schema.NETWORKS}."):
    return schema.KEYS.get(f"method.{key.split('.', 2)[-1]}")
  return schema.KEYS.get(key)


def check(
  config: ml_collections.ConfigDict, groups: Sequence[str] | None = None
) -> None:
  """Raises unless every value of a configuration is allowed.

  Args:
    config: the whole configuration.
    groups: the keys, or groups of keys, that are read and must be there; all
      that are there if None.

  Raises:
    UsageError: keys are unknown or missing, or a value is not allowed; it
      names all of them.
  """
  flat = settings.flatten(config)
  found: list[str] = []
  for key, value in flat.items():
    if len(found) > _TOLD:
      break
    known = of(key)
    if known is None:
      hint = settings.nearest(key, list(schema.KEYS))
      found.append(f"no configuration key {settings.shown(key)} is known{hint}")
    elif not known.allowed.holds(value):
      got = settings.shown(value)
      found.append(f"{key} must be {known.allowed.told()}; got {got}")
  found += [
    f"{key} is missing: {known.about}"
    for key, known in schema.KEYS.items()
    if groups is not None and schema.covers(groups, key) and key not in flat
  ]
  if not found:
    found = _related(flat)
  if len(found) > _TOLD:
    found = [*found[:_TOLD], "and more"]
  if found:
    raise UsageError("; ".join(found))


def check_read(
  config: ml_collections.ConfigDict, groups: Sequence[str]
) -> None:
  """Raises unless the values that a binary reads are allowed.

  Args:
    config: the whole configuration.
    groups: the keys, or groups of keys, that it reads, where they are there.

  Raises:
    UsageError: keys are unknown, or a value is not allowed.
  """
  check(
    settings.from_dict(
      {
        group: config[group]
        for group in groups
        if "." not in group and group in config
      }
    )
  )


def recorded(plain: Any, folder: pathlib.Path) -> ml_collections.ConfigDict:
  """Returns the configuration that a run's folder holds, checked.

  The folder may be somebody else's: nothing in it is believed. The attacks
  of an evaluation are left to `suites`.

  Args:
    plain: the content of the folder's config.json.
    folder: for the message.

  Raises:
    DataError: it is no configuration of a run, or has a value that is not
      allowed.
  """
  file = folder / "config.json"
  try:
    config = settings.from_dict(plain)
    told = settings.from_dict(
      {
        group: {
          key: value
          for key, value in values.items()
          if (group, key) != ("evaluation", "attacks")
        }
        if isinstance(values, Mapping)
        else values
        for group, values in plain.items()
      }
    )
    check(told, schema.TRAINING)
  except (TypeError, AttributeError, KeyError, ValueError) as error:
    raise DataError(
      f"{file} must be the configuration of a run; it is damaged, foreign or "
      f"of an older version: {' '.join(str(error).split())}"
    ) from None
  except RecursionError:
    raise DataError(
      f"{file} must be the configuration of a run; it is nested too deep"
    ) from None
  return config


def _related(flat: Mapping[str, Any]) -> list[str]:
  """What is wrong between keys, each of which is allowed alone."""
  found = []

  def need(kept: bool, text: str) -> None:
    if not kept:
      found.append(text)

  modality = flat.get("data.modality", "image")
  need(
    flat.get("train.select") != "validation"
    or flat.get("data.validation", 0) > 0,
    "data.validation must be above 0 to select on it; got 0",
  )
  augment = flat.get("data.augment", "none")
  need(
    augment == "none" or modality == "image",
    "data.augment must be 'none' unless data.modality is 'image'; got "
    f"{augment!r} for {modality!r}",
  )
  streamed = flat.get("data.stream", False)
  need(
    not streamed or (modality == "image" and flat.get("data.name") != "digits"),
    "data.stream must be false but for the images of a prepared data set; got "
    f"true for data.modality {modality!r} of {flat.get('data.name')!r}",
  )
  kind = flat.get("model.kind", "cnn")
  need(
    modality != "both" or kind == "cnn",
    f"model.kind must be 'cnn' for data.modality 'both'; got {kind!r}",
  )
  lengths = {
    name: len(flat.get(f"evaluation.epsilons.{name}", ()))
    for name in ("image", "events")
  }
  need(
    modality != "both" or len(set(lengths.values())) == 1,
    "evaluation.epsilons must have as many radii for every modality; got "
    f"{lengths}",
  )
  return found


def lines(config: ml_collections.ConfigDict, groups: Sequence[str]) -> str:
  """Returns a line of help for each key, with its default.

  Args:
    config: the defaults.
    groups: the keys, or groups of keys, to tell of.
  """
  text = ""
  for key, value in settings.flatten(config).items():
    known = of(key)
    if schema.covers(groups, key):
      text += f"  --config.{key}={settings.spelt(value)}"
      text += (
        f"\n      {known.about}; {known.allowed.told()}\n" if known else "\n"
      )
  return text
