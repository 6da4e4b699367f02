"""Whether a configuration holds what may be in it; nothing heavy."""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from experiments import schema, settings
from experiments.settings import UsageError


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
  found = []
  for key, value in flat.items():
    known = of(key)
    if known is None:
      hint = settings.nearest(key, list(schema.KEYS))
      found.append(f"no configuration key {key!r} is known{hint}")
    elif not known.allowed.holds(value):
      found.append(f"{key} must be {known.allowed.told()}; got {value!r}")
  found += [
    f"{key} is missing: {known.about}"
    for key, known in schema.KEYS.items()
    if groups is not None and schema.covers(groups, key) and key not in flat
  ]
  if not found:
    found = _related(flat)
  if found:
    raise UsageError("; ".join(found))


def _related(flat: Mapping[str, Any]) -> list[str]:
  """What is wrong between keys, each of which is allowed alone."""
  found = []

  def need(kept: bool, text: str) -> None:
    if not kept:
      found.append(text)

  modality = flat.get("data.modality", "image")
  need(
    flat.get("train.select") != "validation" or flat["data.validation"] > 0,
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
    not streamed or (modality == "image" and flat["data.name"] != "digits"),
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
